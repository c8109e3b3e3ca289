"""Own the slim models: botocore's own data cut to the operations that plug-ins declare, kept in the cache folder.

Most of a client's cost is reading what it never uses. Whatever is not kept, botocore has as ever.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from botocore import __version__  # noqa: TID253 - as below
from botocore.loaders import Loader  # noqa: TID253 - this module is imported when the first client is made

from hfcore.environment import fingerprint
from hfcore.errors import HfcoreError
from hfcore.files import (
    make_private_folder,
    prove_room,
    read_checked,
    refuse_foreign_owner,
    remove_quietly,
    replace_checked,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from botocore.session import Session

    Json = dict[str, Any]

FILE: Final = "botocore.json"
MODEL, RULES, ENDPOINTS = "service-2", "endpoint-rule-set-1", "endpoints"
_FORM: Final = 2
_ROOM: Final = 1 << 20  # bytes, more than is kept
# What botocore calls to have credentials, and where it does.
_BY_CREDENTIALS: Final = ("sts:AssumeRole", "sts:AssumeRoleWithWebIdentity")
_LOGIN_ENDPOINTS: Final = frozenset({"oidc", "portal.sso", "sso", "signin"})


class SlimLoader(Loader):
    """Finds what is kept, and everything else where botocore has it.

    Args:
        kept: Service to data by type, and the endpoints.
        path: The file that it is of.
    """

    def __init__(self, kept: Json, path: Path) -> None:
        super().__init__()
        self._kept = kept
        self._path = path

    def doubt(self, operations: Iterable[str]) -> None:
        """Have what is kept made anew by the next call if it was made for others than these operations."""
        if self._kept["declared"] != sorted(operations):
            remove_quietly(self._path)

    def load_service_model(self, service_name: str, type_name: str, *more: Any, **named: Any) -> Any:  # noqa: ANN401 - JSON
        """Give a service's data; an API version that is asked for is not kept."""
        found = None if any((*more, *named.values())) else self._kept["services"].get(service_name, {}).get(type_name)
        return found or super().load_service_model(service_name, type_name, *more, **named)

    def load_data_with_path(self, name: str) -> Any:  # noqa: ANN401 - JSON and a path
        """Give other data; the endpoints are botocore's own, and have to count as such."""
        if name == ENDPOINTS:
            return self._kept[ENDPOINTS], os.path.join(self.BUILTIN_DATA_PATH, ENDPOINTS)  # noqa: PTH118 - as botocore
        return super().load_data_with_path(name)


def use(session: Session, path: Path, operations: Callable[[], Iterable[str]]) -> frozenset[str]:
    """Let a session read slim models, of this botocore and these installed plug-ins; they are made now if need be.

    Args:
        session: The session, before its first client.
        path: The file in which they are kept.
        operations: Gives what the plug-ins declare, as `service:Operation`.

    Returns:
        The services that it has of them: none where they can't be kept, the user has models of their own, or what is
        installed may be changing.
    """
    installed = fingerprint()
    if not installed or session.get_config_variable("data_path") or os.path.isdir(Loader.CUSTOMER_DATA_PATH):  # noqa: PTH112 - as botocore
        return frozenset()
    stamp = f"{_FORM} {__version__} {installed}"
    kept = _read(path, stamp) or _make(path, stamp, session.get_component("data_loader"), operations)
    if kept:
        session.register_component("data_loader", SlimLoader(kept, path))
    return frozenset(kept["services"] if kept else ())


def _read(path: Path, stamp: str) -> Json | None:
    """Give what is kept; nothing if it is missing or damaged, or of another botocore or other plug-ins."""
    found = read_checked(path)
    return found if _is_kept(found) and found["stamp"] == stamp else None


def _is_kept(found: Any) -> bool:  # noqa: ANN401 - JSON
    match found:
        case {"stamp": str(), "declared": list(), "services": dict(services), "endpoints": {"partitions": [_, *_]}}:
            return all(map(_is_service, services.values()))
    return False


def _is_service(found: Any) -> bool:  # noqa: ANN401 - JSON
    match found:
        case {
            "service-2": {"metadata": dict(), "operations": dict(), "shapes": dict()},
            "endpoint-rule-set-1": {"rules": list()},
        }:
            return True
    return False


def _make(path: Path, stamp: str, loader: Loader, operations: Callable[[], Iterable[str]]) -> Json | None:
    try:
        make_private_folder(path.parent)
        refuse_foreign_owner(path.parent)
        prove_room(path.parent, _ROOM)  # before the work
        declared = sorted(operations())
        made = {"stamp": stamp, "declared": declared, **_slim(loader, declared)}
        replace_checked(path, made)
    except (HfcoreError, LookupError, TypeError, AttributeError):  # not writable; or data of a form that is not known
        return None
    return made


def _slim(loader: Loader, operations: Iterable[str]) -> Json:
    """Cut botocore's data to what these operations need: by service, and the endpoints."""
    wanted: dict[str, set[str]] = {}
    for service, _, operation in (one.partition(":") for one in (*operations, *_BY_CREDENTIALS)):
        wanted.setdefault(service, set()).add(operation)
    services = {
        service: {
            MODEL: _cut(loader.load_service_model(service, MODEL), wanted[service]),
            RULES: loader.load_service_model(service, RULES),
        }
        for service in sorted(wanted.keys() & loader.list_available_services(RULES))
    }
    endpoints = loader.load_data(ENDPOINTS)
    prefixes = {each[MODEL]["metadata"]["endpointPrefix"] for each in services.values()} | _LOGIN_ENDPOINTS
    partitions = [
        {**one, "services": {name: at for name, at in one["services"].items() if name in prefixes}}
        for one in endpoints["partitions"]
    ]
    return {"services": services, ENDPOINTS: {**endpoints, "partitions": partitions}}


def _cut(model: Json, names: set[str]) -> Json:
    """Give a service model with these operations and the shapes that they lead to, without documentation."""
    operations = {name: one for name, one in model["operations"].items() if name in names}
    shapes: Json = {}
    todo = list(_shapes_in(operations))
    while todo:
        name = todo.pop()
        if name not in shapes:
            shapes[name] = model["shapes"][name]
            todo += _shapes_in(shapes[name])
    slimmed: Json = _undocumented({**model, "operations": operations, "shapes": shapes})
    return slimmed


def _shapes_in(part: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Name the shapes that a part of a model refers to; where a member's name is `shape`, its value is no name."""
    for key, value in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        if key == "shape" and isinstance(value, str):
            yield value
        else:
            yield from _shapes_in(value)


def _undocumented(part: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(part, dict):
        told = part.items()
        return {k: _undocumented(v) for k, v in told if not (k == "documentation" and isinstance(v, str))}
    return [_undocumented(each) for each in part] if isinstance(part, list) else part
