"""Own finding and reading a provider instance's template files, and keeping the result between calls.

The files are looked at afresh at each call, because Host Factory's REST API may rewrite them at any time. Parsing takes
longer than a whole call may, so its result is kept in the work folder for as long as nothing that it came from changes.
A file is `{"defaults": {…}, "templates": [{…}, …]}`, where the defaults may be left out: each template has their fields
as if it gave them itself, but for those that it does give. What a field may be is `hfcore.templatefields`; what an API
honours is its plug-in's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from hfcore import __version__
from hfcore.config import SETTINGS, nearest, parse_json, read_file
from hfcore.environment import versions
from hfcore.errors import ConfigError, HfcoreError, TemplateError, UnknownTemplate
from hfcore.models import EMPTY, Problem, Severity, Template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from hfcore.config import Settings

    Claimed = Callable[[], frozenset[str]]
    Check = Callable[[Template], tuple[Problem, ...]]

OWN_FILE = "templates.json"
DEFAULTS = "defaults"
KEYS = (DEFAULTS, "templates", "$schema")
IBM_FILE = "prov_templates.json"
_ID_SPELLINGS = ("templateId", "template_id")
_SECRETS = ("user_data", "launch_template_data")
_HINT = "lay out a provider instance with `hfcore init`, or put IBM's awsprov_templates.json there"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSet:
    """The templates of a provider instance.

    Args:
        templates: Those that can be used, in the order of the files.
        problems: Everything that is wrong or has no effect, in the same order. A template with an error is left out.
    """

    templates: tuple[Template, ...] = ()
    problems: tuple[Problem, ...] = ()

    def get(self, template_id: str) -> Template | None:
        """Give the usable template of this id, if there is one."""
        return next((template for template in self.templates if template.template_id == template_id), None)

    def require(self, template_id: str) -> Template:
        """Give the usable template of this id.

        Raises:
            TemplateError: It has errors; they are in the exception.
            UnknownTemplate: No file has it.
        """
        template = self.get(template_id)
        if template:
            return template
        wrong = tuple(each for each in self.problems if each.template_id == template_id and _is_error(each))
        if wrong:
            said = "; ".join(str(problem) for problem in wrong)
            raise TemplateError(f"template {template_id} has errors: {said}", problems=wrong, hint=_remedy(wrong))
        known = ", ".join(template.template_id for template in self.templates)
        raise UnknownTemplate(f"there is no template {template_id}", hint=f"there are: {known or 'none'}")

    def require_any(self) -> None:
        """Make sure that a template can be used: Host Factory drops what an empty list no longer has.

        Raises:
            TemplateError: None can be used; what is wrong is in the exception.
        """
        if self.templates:
            return
        wrong = tuple(filter(_is_error, self.problems))
        said = "; ".join(str(problem) for problem in wrong) or "the files have none"
        raise TemplateError(f"no template can be used: {said}", problems=wrong, hint=_remedy(wrong))


def infer_provider_api(template: Template) -> str:
    """Give the provider API of a template, by its price type where it names none.

    Spot goes to Spot Fleet only where the role is given that IBM's plug-in needs for it. What RunInstances can't honour
    (`ec2FleetConfig`, `instanceRequirements`) goes to a fleet.
    """
    if template.provider_api:
        return template.provider_api
    if template.ec2_fleet_config:
        return "EC2Fleet"
    if template.price_type in (None, "ondemand") and not template.instance_requirements:
        return "RunInstances"
    return "SpotFleet" if template.fleet_role else "EC2Fleet"


def load_templates(
    settings: Settings, *, claimed: Claimed, check: Check, fingerprint: str, code: Callable[[], tuple[str, ...]] = tuple
) -> TemplateSet:
    """Read the template files of a provider instance, or give what was kept of reading the same files before.

    Args:
        settings: The settings; all but those of the log may matter to `check`.
        claimed: Gives the fields beside hfcore's own that plug-ins honour, as files spell them.
        check: A plug-in's own validation of a template whose fields are right; must depend on nothing but the
            template, the settings and the plug-in. It and `claimed` are called only where nothing is kept.
        fingerprint: Changes whenever plug-ins are installed or removed; nothing is kept with an empty one.
        code: Names the files of what has judged: an editable installation changes in its place.

    Raises:
        ConfigError: There is no template file, or one can't be read, is not JSON or has no list `templates`.
    """
    sources = _read_sources(settings)
    digest = _digest(settings, sources, fingerprint)
    cache = settings.work_dir / "cache" / "templates.json"
    found = _kept(cache, digest, sources)
    if found is None:
        entries, problems = _parse(sources, claimed, check)
        if fingerprint and not any(problem.passing for problem in problems):
            _keep(cache, digest, code(), entries, problems)
        found = TemplateSet(templates=tuple(entry.template for entry in entries), problems=problems)
    return found


def template_ids(settings: Settings) -> tuple[str, ...]:
    """Give the ids in the template files, of wrong templates too; nothing is judged or kept.

    Raises:
        ConfigError: There is no template file, or one can't be read.
    """
    raws = (raw for source in _read_sources(settings) for raw in _document(source).templates)
    return tuple(filter(None, map(_id_of, raws)))


class _Source(NamedTuple):
    """One template file as it is now."""

    path: Path
    data: bytes


class _Document(NamedTuple):
    """What a template file holds: templates as they stand there, what holds where they say nothing, and other keys."""

    defaults: Mapping[str, Any]
    templates: list[Any]
    unknown: tuple[str, ...]


class _Entry(NamedTuple):
    """One usable template and where it stands: file, place in the list, and how fields that are not kept are spelt."""

    template: Template
    source: str
    place: int
    extra: Mapping[str, str]
    secret: Mapping[str, str]


def _read_sources(settings: Settings) -> tuple[_Source, ...]:
    folder = settings.conf_dir
    instance = folder / f"{settings.provider}{IBM_FILE}"
    ibm = [instance] if instance.exists() else sorted(folder.glob(f"*{IBM_FILE}"))
    own = folder / OWN_FILE
    paths = [*ibm, own] if own.exists() else ibm
    if not paths:
        raise ConfigError(f"{folder} holds no template file: neither *{IBM_FILE} nor {OWN_FILE}", hint=_HINT)
    return tuple(_Source(path, read_file(path)) for path in paths)


def _digest(settings: Settings, sources: tuple[_Source, ...], fingerprint: str) -> str:
    """Tell all that a parse depends on from anything else, by lengths and checksums: hashlib takes long to import."""
    values = {name: getattr(settings, name) for name in SETTINGS if not name.startswith("log_")}
    parts = [repr((__version__, fingerprint, values)).encode()]
    for source in sources:
        parts += [source.path.name.encode(), source.data]
    return " ".join(f"{len(part)}:{crc32(part):08x}" for part in parts)


def _parse(sources: tuple[_Source, ...], claimed: Claimed, check: Check) -> tuple[list[_Entry], tuple[Problem, ...]]:
    from hfcore.templatefields import parse_defaults

    entries: list[_Entry] = []
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    for source in sources:
        name = source.path.name
        document = _document(source)
        own = [_unknown(key, name) for key in document.unknown]
        shared: dict[Problem, list[str]] = {problem: [] for problem in parse_defaults(document.defaults, claimed)}
        known = frozenset(shared)
        for place, raw in enumerate(document.templates):
            template_id = _id_of(raw)
            entry, found, inherited = _parse_one(raw, document.defaults, claimed, check)
            if template_id in seen:
                message = f"template {template_id} stands in {seen[template_id]} already, and again in {name}"
                field = next(key for key in _ID_SPELLINGS if raw.get(key))
                found.append(Problem(field=field, message=message, hint="rename one of them"))
            elif template_id:
                seen[template_id] = name
            label = template_id or f"templates[{place}]"
            for problem in inherited:
                shared.setdefault(problem, []).append(label)
            own += [_placed(problem, name, label) for problem in found]
            if entry and not any(_is_error(problem) for problem in found):
                entries.append(entry._replace(source=name, place=place))
        problems += [_of_defaults(each, name, () if each in known else ids) for each, ids in shared.items()] + own
    return entries, tuple(problems)


def _document(source: _Source) -> _Document:
    content = parse_json(source.data, source.path)
    templates = content.get("templates") if isinstance(content, dict) else None
    if not isinstance(templates, list):
        raise ConfigError(f'{source.path} must hold {{"templates": […]}}', hint="see `hfcore init` for a sample")
    defaults = content.get(DEFAULTS)
    if not isinstance(defaults, dict | None):
        raise ConfigError(f"{source.path}: {DEFAULTS} must be an object of template fields")
    return _Document(defaults or {}, templates, tuple(key for key in content if key not in KEYS))


def _unknown(key: str, source: str) -> Problem:
    message, hint = "is not known and has no effect", nearest(key, KEYS)
    return Problem(field=key, message=message, severity=Severity.WARNING, hint=hint, source=source)


def _id_of(raw: object) -> str:
    """Give the id by which people find the template, even where it is wrong; empty where there is none."""
    ids = [raw.get(key) for key in _ID_SPELLINGS] if isinstance(raw, dict) else []
    return next((str(each)[:80] for each in ids if each), "")


def _parse_one(
    raw: object, defaults: Mapping[str, Any], claimed: Claimed, check: Check
) -> tuple[_Entry | None, list[Problem], list[Problem]]:
    """Give a template, what is wrong in it, and what is wrong in fields that it has from the defaults."""
    from hfcore.templatefields import SPELLINGS, parse_template, with_defaults

    if not isinstance(raw, dict):
        return None, [Problem(field="", message="a template must be an object")], []
    whole = with_defaults(raw, defaults)
    parsed = parse_template(whole, claimed)
    problems = list(parsed.problems)
    entry = None
    if parsed.template is not None:
        template = replace(parsed.template, provider_api=infer_provider_api(parsed.template))
        for problem in check(template):
            spelling = parsed.spelt.get(SPELLINGS.get(problem.field, problem.field), problem.field)
            problems.append(replace(problem, field=spelling))
        extra = {name: parsed.spelt[name] for name in template.extra}
        secret = {name: parsed.spelt[name] for name in _SECRETS if getattr(template, name)}
        entry = _Entry(template, "", 0, extra, secret)
    rest = whole.keys() - raw.keys()
    inherited = [problem for problem in problems if _key(problem, rest)]
    wrong = dict.fromkeys(_key(problem, rest) for problem in inherited if _is_error(problem))
    found = [problem for problem in problems if not _key(problem, rest)] + [_wrong_there(key) for key in wrong]
    return entry, found, inherited


def _key(problem: Problem, keys: Iterable[str]) -> str:
    """Give the key that a problem is with, or is inside of; empty if it is none of these."""
    return next((key for key in keys if f"{problem.field}.".startswith(f"{key}.")), "")


def _wrong_there(field: str) -> Problem:
    return Problem(field=field, message=f"is wrong in {DEFAULTS}", hint="correct it there, or give it here")


def _of_defaults(problem: Problem, source: str, ids: Sequence[str]) -> Problem:
    """Give a problem of the defaults, that some templates alone have, as one of the file."""
    others = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
    where = f" (in {ids[0]}{others})" if ids else ""
    return replace(
        problem, field=f"{DEFAULTS}.{problem.field}", message=f"{problem.message}{where}", source=source, template_id=""
    )


def _placed(problem: Problem, source: str, template_id: str) -> Problem:
    return replace(problem, source=problem.source or source, template_id=problem.template_id or template_id)


def _remedy(wrong: Iterable[Problem]) -> str:
    return "correct the file" + ("; see: hfcore plugins list" if any(p.field == "providerApi" for p in wrong) else "")


def _is_error(problem: Problem) -> bool:
    return problem.severity is Severity.ERROR


def _keep(cache: Path, digest: str, code: Iterable[str], entries: list[_Entry], problems: tuple[Problem, ...]) -> None:
    """Keep what was read. User data stays out, and so do values of extra fields: they may be anything."""
    from hfcore.files import make_private_folder, refuse_foreign_owner, replace_checked
    from hfcore.records import template_to_record

    if not cache.parent.parent.is_dir():
        return
    content = {
        "digest": digest,
        "code": versions(code),
        "templates": [
            {
                "record": template_to_record(replace(entry.template, extra=EMPTY)),
                "source": entry.source,
                "place": entry.place,
                "extra": dict(entry.extra),
                "secret": dict(entry.secret),
            }
            for entry in entries
        ],
        "problems": [
            {name: getattr(problem, name) for name in ("field", "message", "severity", "hint", "template_id", "source")}
            for problem in problems
        ],
    }
    try:
        make_private_folder(cache.parent)
        refuse_foreign_owner(cache.parent)
        replace_checked(cache, content)
    except HfcoreError:
        return  # the next call reads the files itself, as this one did


def _kept(cache: Path, digest: str, sources: tuple[_Source, ...]) -> TemplateSet | None:
    from hfcore.files import read_checked

    try:
        content = read_checked(cache)
        if not content or content["digest"] != digest or content["code"] != versions(content["code"]):
            return None
        return TemplateSet(
            templates=tuple(_restored(content["templates"], sources)),
            problems=tuple(
                Problem(**(each | {"severity": Severity(each["severity"])})) for each in content["problems"]
            ),
        )
    except (OSError, ValueError, TypeError, LookupError, AttributeError, HfcoreError):
        return None  # as if nothing had been kept


def _restored(kept: list[dict[str, Any]], sources: tuple[_Source, ...]) -> Iterator[Template]:
    """Give kept templates, with the values that are not kept as the file has them."""
    from hfcore.records import template_from_record

    needed = {each["source"] for each in kept if each["extra"] or each["secret"]}
    documents = {source.path.name: _document(source) for source in sources if source.path.name in needed}
    for each in kept:
        template = template_from_record(each["record"])
        if each["extra"] or each["secret"]:
            document = documents[each["source"]]
            raw = {**document.defaults, **document.templates[each["place"]]}
            secret = {name: raw[key] for name, key in each["secret"].items()}
            extra = {name: raw[key] for name, key in each["extra"].items()}
            template = replace(template, extra=extra, withheld="", **secret)
        yield template
