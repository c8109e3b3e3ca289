"""Own the static part of a plug-in's contract: what can be said of its hooks and words without calling a cloud.

`hfcore plugins check` prints it, and the contract suite (`hfcore.testing.contract`) holds a plug-in to it.
"""

from __future__ import annotations

import inspect
import re
from importlib import metadata
from typing import TYPE_CHECKING, Final

from hfcore import hookspecs
from hfcore.config import nearest
from hfcore.errors import UnknownProvider
from hfcore.models import Check, ProviderInfo
from hfcore.plugins import cloud_clients, implemented, installed, load, redacted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import ModuleType

    from hfcore.plugins import Candidate

HOOKS: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(inspect.signature(spec).parameters)
    for name, spec in vars(hookspecs).items()
    if hasattr(spec, "hfcore_spec")
}
"""Every hook of the specification, and the arguments that it may take."""

_GATHER: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_BY_NAME: Final = (inspect.Parameter.KEYWORD_ONLY,)
_FIELDS: Final = "template_fields"
_SECRET: Final = re.compile(r"(?i)password|secret|token|credential|private_?key")
_WORDS: Final = {
    "iam_actions": (re.compile(r"[\w.:/-]+"), "a permission without *, such as ec2:RunInstances"),
    "operations": (re.compile(r"[\w.-]+:\w+"), "service:Operation, such as ec2:RunInstances"),
    _FIELDS: (re.compile(r"[a-z][A-Za-z0-9]*"), "a field as files spell it, such as vmType, for no secret"),
}


def checks(candidate: Candidate) -> Iterator[Check]:
    """Check a plug-in, row by row; it can be used if no row is an error, and nothing else decides against it.

    Args:
        candidate: Its entry point, or what would be one.
    """
    try:
        module = load(candidate)
    except BaseException as error:  # noqa: BLE001 - a plug-in may raise what it likes
        told = redacted(f"{candidate.module} does not import: {type(error).__name__}: {error}")
        yield Check(name="module", status="error", message=told, hint="import it by hand to see the traceback")
        return
    yield Check(name="module", status="ok", message=candidate.module)
    yield from _of_hooks(module)
    info = _info(module)
    if not isinstance(info, ProviderInfo):
        yield Check(name="provider_info", status="error", message=info, hint="return hfcore.models.ProviderInfo")
        return
    typed = _row("provider_info", _type_faults(info), "has the types of ProviderInfo", "correct them")
    yield typed
    if typed.status == "error":
        return
    yield _of_version(info)
    yield _of_name(candidate, info)
    yield from _of_words(info)
    yield _of_clients(info)
    yield _of_distribution(candidate)


def _row(name: str, wrong: Iterable[str], fine: str, hint: str) -> Check:
    """Give one row of all that is wrong with one thing."""
    told = "; ".join(wrong)
    return (
        Check(name=name, status="error", message=told, hint=hint)
        if told
        else Check(name=name, status="ok", message=fine)
    )


def _of_hooks(module: ModuleType) -> Iterator[Check]:
    functions = implemented(module)
    marked = set(functions)
    lacking = (f"{name} is missing" for name in sorted(hookspecs.REQUIRED - marked))
    yield _row("required hooks", lacking, f"all {len(hookspecs.REQUIRED)}", "write them, each marked with @hookimpl")
    unknown = [f"{name} is no hook {nearest(name, HOOKS)}".rstrip() for name in sorted(marked - HOOKS.keys())]
    unmarked = [
        f"{name} is not marked with @hookimpl"
        for name in sorted(HOOKS.keys() - marked)
        if inspect.isroutine(inspect.getattr_static(module, name, None))  # a `__getattr__` may raise what it likes
    ]
    known = sorted(marked & HOOKS.keys())
    yield _row("hook names", [*unknown, *unmarked], f"{len(known)} of the specification", "see hfcore.hookspecs")
    hooks = {name: getattr(module, functions[name]) for name in known}
    wrong = (told for name, hook in hooks.items() if (told := _signature_fault(name, hook)))
    yield _row("signatures", wrong, "take what the specification gives", "take only what hfcore.hookspecs gives")
    later = (f"{name} gives {kind}" for name, hook in hooks.items() if (kind := _not_a_result(hook)))
    yield _row("results", later, "are returned", "write a plain function that returns what hfcore.hookspecs says")
    pair = {"receive_notices", "forget_notices"}
    alone = [f"{next(iter(pair & marked))} alone"] if len(pair & marked) == 1 else []
    yield _row(
        "messages", alone, "received and forgotten" if pair <= marked else "none", f"write {' and '.join(sorted(pair))}"
    )


def _signature_fault(name: str, hook: object) -> str:
    """Say what is wrong with the arguments of a hook; pluggy looks at their names, and gives them by place."""
    if not callable(hook):
        return f"{name} is no function"
    given = HOOKS[name]
    needed = [one for one in inspect.signature(hook).parameters.values() if one.default is one.empty]
    more = [str(one) for one in needed if one.kind not in _GATHER and (one.name not in given or one.kind in _BY_NAME)]
    if not more:
        return ""
    return f"{name} takes {', '.join(more)}, and is given {', '.join(sorted(given)) or 'nothing'}"


def _not_a_result(hook: object) -> str:
    """Say what the call of a hook gives in place of a result; a wrapper has to be a generator."""
    mark = getattr(hook, "hfcore_impl", {})
    if inspect.iscoroutinefunction(hook) or inspect.isasyncgenfunction(hook):
        return "what must be awaited, and nobody does: it is async"
    wraps = mark.get("wrapper") or mark.get("hookwrapper")
    return "a generator: it yields" if inspect.isgeneratorfunction(hook) and not wraps else ""


def _info(module: ModuleType) -> ProviderInfo | str:
    """Give what a plug-in says of itself, or what is wrong with that."""
    try:
        info = module.provider_info()
    except BaseException as error:  # noqa: BLE001 - the same
        return redacted(f"raised {type(error).__name__}: {error}")
    return info if isinstance(info, ProviderInfo) else f"returned {type(info).__name__}"


def _type_faults(info: ProviderInfo) -> Iterator[str]:
    for name in ("name", "summary", "cloud"):
        value = getattr(info, name)
        if not isinstance(value, str) or not value.strip() or "\n" in value:
            yield f"{name} is {value!r}, expected one line"
    for name in ("iam_actions", "operations", "template_fields"):
        value = getattr(info, name)
        if not isinstance(value, tuple) or not all(isinstance(one, str) for one in value):
            yield f"{name} is {value!r}, expected a tuple of texts"
    for name in ("without_effect", "refused_fields", "call_budgets"):
        value = getattr(info, name)
        if not hasattr(value, "items") or not all(isinstance(one, str) and one.strip() for one in value.values()):
            yield f"{name} is {value!r}, expected texts by name"


def _of_version(info: ProviderInfo) -> Check:
    wrong = info.hook_version != hookspecs.HOOK_VERSION
    told = f"made for {info.hook_version}; this hfcore has {hookspecs.HOOK_VERSION}"
    return _row("hook version", [told] if wrong else [], str(info.hook_version), "pip install --upgrade both")


def _of_name(candidate: Candidate, info: ProviderInfo) -> Check:
    """Hold the entry point's name to the plug-in's own; another name is an alias beside that."""
    others = {
        one.name
        for one in installed(hookspecs.PROVIDERS)
        if (one.distribution, one.module) == (candidate.distribution, candidate.module)
    }
    wrong = [] if info.name in {candidate.name, *others} else [f"{candidate.name}, and the plug-in says {info.name}"]
    fine = candidate.name if candidate.name == info.name else f"{candidate.name}, an alias of {info.name}"
    return _row("entry point", wrong, fine, "give both the same name, in the same spelling")


def _of_words(info: ProviderInfo) -> Iterator[Check]:
    for name, (pattern, expected) in _WORDS.items():
        words = tuple(map(str, getattr(info, name)))
        wrong = [f"{one!r}" for one in words if not pattern.fullmatch(one)]
        wrong += [f"{one} twice" for one in dict.fromkeys(words) if words.count(one) > 1]
        wrong += [
            f"{one!r}, which is stored with each request" for one in words if name == _FIELDS and _SECRET.search(one)
        ]
        yield _row(
            name, wrong, f"{len(words)} named" if words else "none named", f"each is {expected}, and stands there once"
        )
    yield _row("fields that are not honoured", _field_faults(info), "have their reasons", "say of a field one thing")


def _field_faults(info: ProviderInfo) -> Iterator[str]:
    from hfcore.templatefields import TemplateFields

    known = {*info.template_fields, *(field.alias or name for name, field in TemplateFields.model_fields.items())}
    honoured, idle, refused = set(info.template_fields), set(info.without_effect), set(info.refused_fields)
    twice = (honoured & (idle | refused)) | (idle & refused)
    yield from (f"{field} is honoured and not honoured, or refused and without effect" for field in sorted(twice))
    for field in sorted((idle | refused) - known):
        yield f"{field} is no field {nearest(field, known)}".rstrip()


def _of_clients(info: ProviderInfo) -> Check:
    """Hold what makes the clients of the plug-in's cloud to what it is given; nothing is connected."""
    fine, wrong = f"made for cloud {info.cloud}", list[str]()
    try:
        inspect.signature(cloud_clients(info.cloud)).bind(**dict.fromkeys(hookspecs.CLIENT_FACTS))
    except UnknownProvider:
        fine = f"no distribution makes clients for cloud {info.cloud}: the plug-in goes its own way to it"
    except BaseException as error:  # noqa: BLE001 - another's code is imported
        wrong = [f"what makes them for cloud {info.cloud} can't be called: {type(error).__name__}: {error}"]
    hint = f"take {', '.join(hookspecs.CLIENT_FACTS)} by name, or **_ in place of what is not needed"
    return _row("clients", wrong, fine, hint)


def _of_distribution(candidate: Candidate) -> Check:
    """Tell whether an upgrade of hfcore could break the plug-in unseen."""
    try:
        needed = metadata.requires(candidate.distribution) or []
    except (metadata.PackageNotFoundError, ValueError):  # the latter where the name is empty
        return Check(name="distribution", status="not checked", message=f"{candidate.distribution} is not installed")
    named = [one for one in needed if re.match(r"hfcore\b(?!-)", one)]
    if any("<" in one or "==" in one or "~=" in one for one in named):
        return Check(name="distribution", status="ok", message=f"{candidate.distribution} requires {named[0]}")
    told = f"{candidate.distribution} requires {named[0] if named else 'no hfcore'}"
    hint = "give hfcore a bound below and above in its dependencies"
    return Check(name="distribution", status="warning", message=told, hint=hint)
