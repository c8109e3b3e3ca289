"""Own finding, loading, judging and calling plug-ins; nobody else touches pluggy's manager.

A provider API's name is its entry point's name, so a call imports the one plug-in that it needs. What is wrong with a
plug-in is kept as the reason in its record; it harms no other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pluggy

from hfcore import hookspecs
from hfcore.environment import entry_points, imported
from hfcore.errors import HfcoreError, PluginCallError, PluginUnusable, UnknownProvider, told, word
from hfcore.models import (
    Check,
    Discovery,
    Fault,
    Found,
    Notice,
    Offers,
    Outcome,
    OwnedResource,
    PlannedCall,
    Problem,
    ProviderInfo,
    Provisioned,
    Reclaim,
    Released,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from logging import Logger
    from types import ModuleType

    from hfcore.config import Settings
    from hfcore.context import Context, Memory
    from hfcore.models import Event, Machine, Release, Request, SubnetsWanted, Template

T = TypeVar("T")


class PluginStatus(StrEnum):
    """What can be said of an installed plug-in."""

    ACTIVE = "active"
    FAILED = "failed"  # does not import, or its hooks do not fit the specification
    INCOMPATIBLE = "incompatible"  # made for another hook version
    CONFLICT = "conflict"  # two distributions claim its name
    DISABLED = "disabled"  # by the settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An entry point of a plug-in, not imported yet.

    Args:
        name: The provider API, or the observer's name.
        module: The module of hook implementations, as the entry point has it.
        source: Where its distribution stands.
        group: `hfcore.providers` or `hfcore.observers`.
    """

    name: str
    module: str
    distribution: str
    version: str
    source: str = ""
    group: str = hookspecs.PROVIDERS


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginRecord:
    """What `hfcore plugins list` shows of one entry point.

    Args:
        candidate: The entry point.
        status: Whether it can be used.
        reason: Why it can't; empty for an active one.
        info: What the plug-in says of itself, where it could be asked.
        hooks: The hooks that it implements.
        aliases: Further entry points of the same distribution and module, usable like this one.
    """

    candidate: Candidate
    status: PluginStatus
    reason: str = ""
    info: ProviderInfo | None = None
    hooks: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


class Provider:
    """One usable plug-in, with a typed method for each hook.

    An unexpected exception, or a result of the wrong type, becomes one `PluginCallError` that names the distribution,
    its version and the hook, and the log has where it was raised; hfcore's own errors pass.
    """

    def __init__(
        self, candidate: Candidate, info: ProviderInfo, manager: pluggy.PluginManager, plugin: object, logger: Logger
    ) -> None:
        self.candidate = candidate
        self.info = info
        self._manager = manager
        self._plugin = plugin
        self._logger = logger

    @property
    def name(self) -> str:
        """The provider API, as the entry point spells it."""
        return self.candidate.name

    def validate_template(self, template: Template, context: Context) -> tuple[Problem, ...]:
        """Call the hook of this name."""
        return self._several("validate_template", Problem, template=template, context=context)

    def provision(self, request: Request, template: Template, context: Context) -> Provisioned:
        """Call the hook of this name."""
        result = self._call("provision", request=request, template=template, context=context)
        return self._own("provision", self._checked("provision", result, Provisioned), (request,))

    def advance(self, requests: tuple[Request, ...], context: Context) -> tuple[Provisioned, ...]:
        """Call the hook of this name."""
        made = self._several("advance", Provisioned, requests=requests, context=context)
        return tuple(self._own("advance", one, requests) for one in made)

    def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
        """Call the hook of this name; each request gets its answer."""
        return self._one_each("discover_instances", Discovery, requests, context)

    def stop_launching(self, requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
        """Call the hook of this name; each request gets its answer."""
        return self._one_each("stop_launching", Outcome, requests, context)

    def cleanup(self, requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
        """Call the hook of this name; each request gets its answer."""
        return self._one_each("cleanup", Outcome, requests, context)

    def release_instances(self, releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
        """Call the hook of this name."""
        return self._several("release_instances", Released, releases=releases, context=context)

    def reclaimed_instances(
        self, machines: tuple[Machine, ...], requests: tuple[Request, ...], context: Context
    ) -> tuple[Reclaim, ...]:
        """Call the hook of this name."""
        return self._several("reclaimed_instances", Reclaim, machines=machines, requests=requests, context=context)

    def find_instances(
        self, instance_ids: tuple[str, ...], host_names: tuple[str, ...], request_ids: tuple[str, ...], context: Context
    ) -> tuple[Found, ...]:
        """Call the hook of this name."""
        asked = {"instance_ids": instance_ids, "host_names": host_names, "request_ids": request_ids}
        return self._several("find_instances", Found, **asked, context=context)

    def receive_notices(self, context: Context) -> tuple[Notice, ...]:
        """Call the hook of this name."""
        return self._several("receive_notices", Notice, context=context)

    def forget_notices(self, notices: tuple[Notice, ...], context: Context) -> tuple[Fault, ...]:
        """Call the hook of this name."""
        return self._several("forget_notices", Fault, notices=notices, context=context)

    def implements(self, hook: str) -> bool:
        """Tell whether the plug-in has an optional hook."""
        return any(caller.name == hook for caller in self._manager.get_hookcallers(self._plugin) or ())

    def owned_resources(self, context: Context) -> tuple[OwnedResource, ...]:
        """Call the hook of this name."""
        return self._several("owned_resources", OwnedResource, context=context)

    def remove_owned(self, resources: tuple[OwnedResource, ...], context: Context) -> tuple[Fault, ...]:
        """Call the hook of this name."""
        return self._several("remove_owned", Fault, resources=resources, context=context)

    def plan(self, request: Request, template: Template, context: Context) -> tuple[PlannedCall, ...]:
        """Call the hook of this name."""
        return self._several("plan", PlannedCall, request=request, template=template, context=context)

    def check(self, template: Template, context: Context) -> tuple[Check, ...]:
        """Call the hook of this name."""
        return self._several("check", Check, template=template, context=context)

    def describe_offers(
        self, instance_types: tuple[str, ...], subnets: SubnetsWanted | None, context: Context
    ) -> Offers:
        """Call the hook of this name."""
        result = self._call("describe_offers", instance_types=instance_types, subnets=subnets, context=context)
        return self._checked("describe_offers", result, Offers)

    def check_account(
        self, actions: tuple[str, ...], accounts: Mapping[str, int], context: Context
    ) -> tuple[Check, ...]:
        """Call the hook of this name."""
        return self._several("check_account", Check, actions=actions, accounts=accounts, context=context)

    def access_policy(self, plugins: tuple[ProviderInfo, ...], owner: str, settings: Settings | None) -> dict[str, Any]:
        """Call the hook of this name, which the plug-in must have."""
        result = self._call("access_policy", plugins=plugins, owner=owner, settings=settings)
        return self._checked("access_policy", result, dict)

    def _call(self, hook: str, **arguments: object) -> object:
        others = [plugin for plugin in self._manager.get_plugins() if plugin is not self._plugin]
        caller = self._manager.subset_hook_caller(hook, remove_plugins=others)
        try:
            return caller(**arguments)
        except HfcoreError:
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the plug-in's boundary: what it raises is its own fault, said once
            from hfcore.raised import raised, steps

            fault = self._at_fault(hook, f"raised {raised(error, self.candidate.module)}")
            self._logger.warning("%s\n%s", fault.message, steps(error))
            raise fault from error

    def _several(self, hook: str, kind: type[T], **arguments: object) -> tuple[T, ...]:
        result = self._call(hook, **arguments)
        if result is None and not self.implements(hook):
            return ()
        return tuple(self._checked(hook, item, kind) for item in self._checked(hook, result, tuple))

    def _own(self, hook: str, made: Provisioned, requests: tuple[Request, ...]) -> Provisioned:
        if made.request_id in (asked := [one.request_id for one in requests]):
            return made
        raise self._at_fault(hook, f"answered for {made.request_id}, and was asked for {asked}")

    def _one_each(self, hook: str, kind: type[T], requests: tuple[Request, ...], context: Context) -> tuple[T, ...]:
        results = self._several(hook, kind, requests=requests, context=context)
        asked = sorted(request.request_id for request in requests)
        answered = sorted(cast("Any", result).request_id for result in results)
        if asked != answered:
            raise self._at_fault(hook, f"answered for {answered}, and was asked for {asked}")
        return results

    def _checked(self, hook: str, result: object, kind: type[T]) -> T:
        from hfcore.hooktypes import CHECKED, misfit

        wrong = "" if isinstance(result, kind) else word(type(result).__name__)
        if not wrong and isinstance(result, CHECKED) and (unfit := misfit(result)):
            wrong = f"{kind.__name__} whose {unfit}"
        if not wrong:
            return cast("T", result)
        raise self._at_fault(hook, f"returned {wrong}, expected {kind.__name__}")

    def _at_fault(self, hook: str, what: str) -> PluginCallError:
        hint = f"this is a fault of the plug-in: report it to the makers of {self.candidate.distribution}"
        return PluginCallError(f"{self._culprit(hook)} {what}", hint=hint)

    def _culprit(self, hook: str) -> str:
        return f"plug-in {self.name} ({self.candidate.distribution} {self.candidate.version}): {hook}()"


class Plugins:
    """All installed plug-ins, by name without regard to case.

    Args:
        candidates: The entry points of group `hfcore.providers`.
        pins: Provider API to the distribution that is to serve it, where two claim it (setting `plugins`).
        disabled: Provider APIs that are not to be used (setting `disabled_plugins`).
        observers: The entry points of group `hfcore.observers`; imported at the first event.
    """

    def __init__(
        self,
        candidates: Iterable[Candidate],
        *,
        logger: Logger,
        pins: Mapping[str, str] | None = None,
        disabled: Iterable[str] = (),
        observers: Iterable[Candidate] = (),
        trace: bool = False,
    ) -> None:
        self._candidates = tuple(candidates)
        self._pins = {name.casefold(): _normal(dist) for name, dist in (pins or {}).items()}
        self._disabled = frozenset(name.casefold() for name in disabled)
        self._observer_candidates = tuple(observers)
        self._observers: pluggy.PluginManager | None = None
        self._logger = logger
        self._trace = trace
        self._manager = self._new_manager()
        self._loaded: dict[tuple[str, str], Provider | PluginRecord] = {}

    def names(self) -> tuple[str, ...]:
        """Give the names of all installed provider APIs, without importing any."""
        return tuple(sorted({candidate.name for candidate in self._candidates}, key=str.casefold))

    def code(self) -> tuple[str, ...]:
        """Name the files of hfcore's and the plug-ins' code that has been imported."""
        return imported(("hfcore", *(row.module.partition(".")[0] for row in self._candidates)))

    def provider(self, name: str, distribution: str = "") -> Provider:
        """Give the plug-in of a provider API, imported.

        Args:
            name: The provider API, in any case.
            distribution: The distribution that a stored request names; no other one serves it.

        Raises:
            UnknownProvider: No installed plug-in has this name, or none of this distribution.
            PluginUnusable: There is one, but it is broken, conflicting, disabled or incompatible.
        """
        rows = [row for row in self._candidates if row.name.casefold() == name.casefold()]
        if not rows:
            again = f": install {distribution}, which has served it" if distribution else ""
            raise UnknownProvider(f"provider API {name!r} is not installed{again}", hint=self._installed_hint())
        loaded = self._judge(self._chosen(rows, name, distribution), alone=bool(distribution))
        if isinstance(loaded, Provider):
            return loaded
        raise PluginUnusable(
            f"plug-in {loaded.candidate.name} of {loaded.candidate.distribution} "
            f"{loaded.candidate.version} is {loaded.status}: {loaded.reason}",
            hint="see: hfcore plugins list",
        )

    def records(self) -> tuple[PluginRecord, ...]:
        """Judge every installed plug-in: import each, and give what became of it, broken ones included."""
        rows = [self._record(row) for row in sorted(self._candidates, key=lambda row: row.name.casefold())]
        return tuple(replace(row, aliases=_aliases(row, rows)) for row in rows if not _main_row(row, rows))

    def observer_records(self) -> tuple[PluginRecord, ...]:
        """Judge every installed observer, as `records` does with providers."""
        manager = self._new_manager()
        rows = sorted(self._observer_candidates, key=lambda row: row.name.casefold())
        return tuple(self._load_observer(row, manager) for row in rows)

    def template_fields(self) -> frozenset[str]:
        """Give the template fields that usable plug-ins honour, as files spell them."""
        infos = (record.info for record in self.records() if record.status is PluginStatus.ACTIVE)
        return frozenset(name for info in infos if info for name in info.template_fields)

    def notify(self, event: Event) -> None:
        """Tell every observer; what one raises is logged and stops nothing."""
        if self._observers is None:
            self._observers = self._load_observers()
        for plugin in self._observers.get_plugins():
            others = [other for other in self._observers.get_plugins() if other is not plugin]
            try:
                self._observers.subset_hook_caller("on_event", remove_plugins=others)(event=event)
            except BaseException as error:  # noqa: BLE001 - an observer's fault is never the caller's
                from hfcore.raised import raised

                name = self._observers.get_name(plugin)
                row = next(one for one in self._observer_candidates if one.name == name)
                self._logger.warning("observer %s failed at %s: %s", name, event.name, raised(error, row.module))

    def _chosen(self, rows: list[Candidate], name: str, distribution: str) -> Candidate:
        """Give the row of the distribution that a stored request, or else the setting `plugins`, names."""
        wanted = _normal(distribution)
        chosen = next((row for row in rows if _normal(row.distribution) == (wanted or self._pin_of(row)[1])), None)
        if distribution and chosen is None:
            raise UnknownProvider(
                f"provider API {name!r} of {distribution} is not installed", hint=f"pip install {distribution}"
            )
        return chosen or rows[0]

    def _judge(self, row: Candidate, *, alone: bool = False) -> Provider | PluginRecord:
        objection = self._objection(row, alone=alone)
        if objection:
            return objection
        key = (row.name, row.distribution)
        if key not in self._loaded:
            self._loaded[key] = self._load(row)
        return self._loaded[key]

    def _objection(self, row: Candidate, *, alone: bool) -> PluginRecord | None:
        """Give the reason not to import a plug-in at all: disabled, or its name claimed twice and not decided.

        What holds of a name holds of its aliases.
        """
        names = self._names(row)
        disabled = next((name for name in names if name.casefold() in self._disabled), None)
        if disabled:
            reason = f"setting disabled_plugins names it: take {disabled} out of it to use it"
            return PluginRecord(candidate=row, status=PluginStatus.DISABLED, reason=reason)
        own = _normal(row.distribution)
        pinned, pin = self._pin_of(row)
        if pin and pin != own and not alone:
            use = _pin(pinned, own)
            reason = f"setting plugins gives {pinned} to {pin}: write {use} to use this one"
            return PluginRecord(candidate=row, status=PluginStatus.DISABLED, reason=reason)
        for name in names if not pin and not alone else ():
            same = (other for other in self._candidates if other.name.casefold() == name.casefold())
            claims = sorted({_normal(other.distribution) for other in same})
            if len(claims) > 1:
                ways = " or ".join(_pin(name, claim) for claim in claims)
                reason = f"{' and '.join(claims)} both claim {name}: write {ways} into hfcore.toml"
                return PluginRecord(candidate=row, status=PluginStatus.CONFLICT, reason=reason)
        return None

    def _names(self, row: Candidate) -> tuple[str, ...]:
        """Give a row's name and its aliases: entry points of the same distribution and module."""
        others = (other.name for other in self._candidates if _target(other) == _target(row) and other != row)
        return (row.name, *others)

    def _pin_of(self, row: Candidate) -> tuple[str, str]:
        """Give the name by which the setting `plugins` decides on a row, its own before an alias, and for whom."""
        found = ((name, self._pins[name.casefold()]) for name in self._names(row) if name.casefold() in self._pins)
        return next(found, ("", ""))

    def _load(self, row: Candidate) -> Provider | PluginRecord:
        try:
            module = load(row)
            info = _ask_info(module)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plug-in may raise what it likes
            self._logger.warning("plug-in %s of %s does not load", row.name, row.distribution, exc_info=True)
            return PluginRecord(candidate=row, status=PluginStatus.FAILED, reason=redacted(told(error)))
        if info.hook_version != hookspecs.HOOK_VERSION:
            return PluginRecord(
                candidate=row,
                status=PluginStatus.INCOMPATIBLE,
                info=info,
                reason=f"made for hook version {info.hook_version}; this hfcore has {hookspecs.HOOK_VERSION}: "
                f"pip install --upgrade hfcore {row.distribution}",
            )
        try:
            self._register(module, f"{row.name} ({row.distribution} {row.version})")
        except Exception as error:  # noqa: BLE001 - pluggy raises several kinds, none of which may harm the others
            return PluginRecord(candidate=row, status=PluginStatus.FAILED, info=info, reason=_first_line(error))
        return Provider(row, info, self._manager, module, self._logger)

    def _register(self, module: ModuleType, name: str) -> None:
        if self._manager.is_registered(module):  # an alias: a second entry point with the same target
            return
        _refuse_without(hookspecs.REQUIRED, module)
        self._manager.register(module, name)
        try:
            self._manager.check_pending()  # finds hooks that the specification does not have
        except pluggy.PluginValidationError:
            self._manager.unregister(module)
            raise

    def _record(self, row: Candidate) -> PluginRecord:
        judged = self._judge(row)
        if isinstance(judged, PluginRecord):
            return judged
        callers = self._manager.get_hookcallers(judged._plugin) or []  # noqa: SLF001 - the facade's own part
        hooks = tuple(sorted(caller.name for caller in callers))
        return PluginRecord(candidate=row, status=PluginStatus.ACTIVE, info=judged.info, hooks=hooks)

    def _load_observers(self) -> pluggy.PluginManager:
        manager = self._new_manager()
        for row in self._observer_candidates:
            self._load_observer(row, manager)
        return manager

    def _load_observer(self, row: Candidate, manager: pluggy.PluginManager) -> PluginRecord:
        try:
            module = load(row)
            _refuse_without({"on_event"}, module)
            manager.register(module, name=row.name)
        except BaseException as error:  # a broken observer harms nothing
            self._logger.warning("observer %s of %s does not load", row.name, row.distribution, exc_info=True)
            reason = _first_line(error) if isinstance(error, pluggy.PluginValidationError) else redacted(told(error))
            return PluginRecord(candidate=row, status=PluginStatus.FAILED, reason=reason)
        return PluginRecord(candidate=row, status=PluginStatus.ACTIVE, hooks=("on_event",))

    def _new_manager(self) -> pluggy.PluginManager:
        manager = pluggy.PluginManager("hfcore")
        manager.add_hookspecs(hookspecs)
        if self._trace:
            from hfcore.tracing import trace

            trace(manager)
        return manager

    def _installed_hint(self) -> str:
        names = ", ".join(self.names())
        return f"installed: {names}; see: hfcore plugins list" if names else "no provider plug-in is installed"


def load(candidate: Candidate) -> ModuleType:
    """Import the module of an entry point.

    Raises:
        ImportError: The entry point names a thing in a module, which nobody would look at. The module may raise more.
    """
    module, _, inside = candidate.module.partition(":")
    if inside:
        raise ImportError(f"the entry point names {candidate.module}: it must be the module alone, {module}")
    return import_module(module)


def redacted(text: str) -> str:
    """Take out of a plug-in's text what looks like a secret."""
    from hfcore.logs import redact

    return redact(text)


def _refuse_without(hooks: AbstractSet[str], module: ModuleType) -> None:
    missing = sorted(hooks - implemented(module).keys())
    if missing:
        raise TypeError(f"implements no {', '.join(missing)}")


def implemented(module: ModuleType) -> dict[str, str]:
    """Give the hooks that a module is marked to implement, each with the name of its function."""
    manager = pluggy.PluginManager("hfcore")
    marks = {name: manager.parse_hookimpl_opts(module, name) for name in dir(module)}
    return {mark.get("specname") or name: name for name, mark in marks.items() if mark is not None}


def installed(group: str, memory: Memory | None = None) -> tuple[Candidate, ...]:
    """List the entry points of a group in this environment, without importing any; see `entry_points`."""
    found = {}
    for point in entry_points(group, memory):
        row = Candidate(
            name=point.name,
            module=point.value,
            distribution=point.distribution,
            version=point.version,
            source=point.source,
            group=group,
        )
        # A folder that stands twice on sys.path shows its distributions twice.
        found[(row.name, row.distribution, row.module)] = row
    return tuple(found.values())


def cloud_clients(cloud: str, memory: Memory | None = None) -> Callable[..., Callable[[str, str], Any]]:
    """Give what makes the clients of a cloud (entry-point group `hfcore.clouds`); called once for a region.

    Raises:
        UnknownProvider: No installed distribution knows the cloud.
    """
    for point in entry_points(hookspecs.CLOUDS, memory):
        if point.name == cloud:
            module, _, name = point.value.partition(":")
            return cast("Callable[..., Callable[[str, str], Any]]", getattr(import_module(module), name))
    raise UnknownProvider(f"no installed distribution makes clients for cloud {cloud!r}")


def _main_row(row: PluginRecord, rows: Iterable[PluginRecord]) -> PluginRecord | None:
    """Give the row of which a usable row is an alias: same distribution and module, under the plug-in's own name."""
    if row.info is None or row.status is not PluginStatus.ACTIVE or row.candidate.name == row.info.name:
        return None
    mains = (r for r in rows if _target(r.candidate) == _target(row.candidate) and r is not row)
    return next((main for main in mains if main.info and main.candidate.name == main.info.name), None)


def _target(row: Candidate) -> tuple[str, str]:
    """Give what a row and its aliases have in common."""
    return row.distribution, row.module


def _aliases(row: PluginRecord, rows: Iterable[PluginRecord]) -> tuple[str, ...]:
    return tuple(other.candidate.name for other in rows if _main_row(other, rows) is row)


def _ask_info(module: ModuleType) -> ProviderInfo:
    info = module.provider_info()
    if not isinstance(info, ProviderInfo):
        raise TypeError(f"provider_info() returned {type(info).__name__}, expected ProviderInfo")
    return info


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines) or type(error).__name__


def _pin(name: str, distribution: str) -> str:
    """Give the line of `hfcore.toml` by which a distribution serves an API."""
    return f'plugins = {{{name} = "{distribution}"}}'


def _normal(distribution: str) -> str:
    """Spell a distribution's name as PEP 503 has it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


__all__ = [
    "Candidate",
    "PluginRecord",
    "PluginStatus",
    "Plugins",
    "Provider",
    "cloud_clients",
    "implemented",
    "installed",
    "load",
    "redacted",
]
