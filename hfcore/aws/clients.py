"""Own how AWS is reached: one session, one client for each service and patience, all within the call's deadline."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import hfcore
from hfcore.aws.errors import WITHHELD, address_only, as_fault, failures, fault
from hfcore.errors import CloudError
from hfcore.models import Fault, FaultKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from botocore.config import Config
    from botocore.session import Session

    from hfcore.config import Settings
    from hfcore.context import Clock

PATIENT_ATTEMPTS = 4
LONGEST_READ = 15.0
OUT_OF_TIME = "OutOfTime"
"""Code of what was not sent any more, so close to the call's deadline."""

_CONNECTIONS = 32
"""So many at once that are kept open to one service: `hfcore doctor` asks about several templates at a time."""

LONGEST_PAUSE = 4.0
"""Seconds that botocore waits at most before a patient client's last attempt."""


def connect(
    *,
    settings: Settings,
    region: str,
    endpoint: str,
    clock: Clock,
    deadline: float,
    operations: Callable[[], Iterable[str]] | None = None,
) -> Callable[[str, str], Any]:
    """Give the function that gives clients: service (`ec2`) and patience (`patient` to ask, `quick` to change).

    A `quick` client sends once: what it changes is repeated by `hfcore.aws.calls`, which knows what a repeat may do.
    No client sends when a full time-out no longer fits before `deadline`. One that can't be made, by the settings or by
    AWS's own, raises `CloudError`; nothing is sent then.

    Args:
        settings: Credential file, proxy and time-outs.
        region: Region of the requests at hand.
        endpoint: EC2's endpoint; empty for AWS's own. Other services keep botocore's (`AWS_ENDPOINT_URL_<SERVICE>`).
        clock: The time that `deadline` is meant in.
        deadline: `clock.monotonic()` at which the call must have ended.
        operations: Gives what the installed plug-ins declare, as `service:Operation`: what is quick to have
            (`hfcore.aws.slim`). Whatever else a client is asked for, one with botocore's whole models does; with
            `None`, all of it.
    """
    lock = threading.RLock()

    @cache
    def slim_session() -> tuple[Session, frozenset[str]]:
        return _session(settings, region, operations)

    @cache
    def whole_session() -> Session:
        session, slimmed = slim_session()
        if not (slimmed and operations):
            return session
        session.get_component("data_loader").doubt(operations())  # something was asked for that it does not have
        return _session(settings, region)[0]

    @cache
    def make(service: str, patience: str, *, slimmed: bool) -> Any:  # noqa: ANN401 - as below
        session = slim_session()[0] if slimmed else whole_session()
        url = endpoint if service == "ec2" and endpoint else None
        made = _client(session, service, region, url, _config(settings, patience))
        _end_in_time(made, clock, deadline, _longest(settings, patience))

        def whole() -> Any:  # noqa: ANN401 - as below
            with lock:
                return make(service, patience, slimmed=False)

        if slimmed:
            _complete(made, whole)
        return made

    def client(service: str, patience: str) -> Any:  # noqa: ANN401 - boto3's clients are made at run time
        with lock:
            return make(service, patience, slimmed=service in slim_session()[1])

    return client


def _session(
    settings: Settings, region: str, operations: Callable[[], Iterable[str]] | None = None
) -> tuple[Session, frozenset[str]]:
    """Give a session with its credentials, and the services that have slim models in it; none without `operations`."""
    from botocore.session import Session

    from hfcore.aws import slim

    if not region:
        raise CloudError(as_fault("NoRegion", "no AWS region is set"))
    session, slimmed = Session(), frozenset[str]()
    # botocore asks STS for a role's credentials: in this region, through the proxy, no longer than a call may take.
    session.set_config_variable("region", region)
    session.set_default_client_config(_config(settings, "patient"))
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time)
    try:
        if operations:
            slimmed = slim.use(session, settings.work_dir / "cache" / slim.FILE, operations)
        if settings.credential_file:
            Path(settings.credential_file).open().close()  # botocore passes over what it can't read
            session.set_config_variable("credentials_file", settings.credential_file)
        if credentials := session.get_credentials():
            credentials.get_frozen_credentials()
    except failures() as error:
        raise CloudError(fault(error)) from error
    except Exception as error:  # what fetches credentials is anybody's: a file, a program, a server
        told = str(error) if isinstance(error, OSError) else WITHHELD
        raise CloudError(as_fault("CredentialRetrievalError", f"{type(error).__name__}: {told}")) from error
    return session, slimmed


def _time(value: Any) -> datetime:  # noqa: ANN401 - a text, or a number in JSON
    """Read a time of an answer: EC2's form by itself, as botocore's parser takes a quarter of a large answer's time."""
    if isinstance(value, str) and value.endswith("Z"):
        with suppress(ValueError):
            return datetime.fromisoformat(value)
    from botocore.utils import parse_timestamp

    found: datetime = parse_timestamp(value)
    return found


def _client(session: Session, service: str, region: str, url: str | None, config: Config) -> Any:  # noqa: ANN401 - as above
    try:
        made = session.create_client(service, region_name=region, endpoint_url=url, config=config)
        _refuse_no_address(made.meta.endpoint_url)
    except failures() as error:
        raise CloudError(fault(error, service)) from error
    except ValueError as error:
        raise CloudError(as_fault("InvalidEndpoint", address_only(str(error)), service)) from error
    return made


def _complete(slim: Any, whole: Callable[[], Any]) -> None:  # noqa: ANN401 - as above
    """Let the whole client do what a slim one lacks: operations, and what is asked about one by its name."""

    def undeclared(event_name: str, **_: object) -> Any:  # noqa: ANN401 - as above
        name = event_name.rpartition(".")[2]
        return None if name.startswith("_") else getattr(whole(), name, None)

    def either(method: str) -> Callable[..., Any]:
        own, known = getattr(slim, method), slim.meta.method_to_api_mapping

        def ask(*words: Any, **named: Any) -> Any:  # noqa: ANN401 - as above
            told = any(isinstance(each, str) and each in known for each in (*words, *named.values()))
            return (own if told else getattr(whole(), method))(*words, **named)

        return ask

    slim.meta.events.register("getattr", undeclared)
    for method in ("can_paginate", "get_paginator", "generate_presigned_url"):
        setattr(slim, method, either(method))


def _refuse_no_address(url: str) -> None:
    """Raise `ValueError` for an address that botocore takes, and fails with at the first call."""
    address = urlsplit(url)
    try:
        is_none = address.scheme not in {"http", "https"} or address.port == 0
    except ValueError:
        is_none = True
    if is_none:
        raise ValueError(f"Invalid endpoint: {url}")


def _timeouts(settings: Settings) -> tuple[float, float]:
    """Give seconds to connect and to read, both of which fit several times into one call."""
    whole = float(settings.call_timeout_sec)
    return min(settings.connection_timeout_ms / 1000, whole / 6), min(LONGEST_READ, whole / 4)


def _longest(settings: Settings, patience: str) -> float:
    """Give the seconds that one attempt may take, with the pause that follows its failure."""
    pause = min(LONGEST_PAUSE, settings.call_timeout_sec / 4) if patience == "patient" else 0.0
    return sum(_timeouts(settings)) + pause


def _config(settings: Settings, patience: str) -> Config:
    from botocore.config import Config

    connecting, reading = _timeouts(settings)
    retries = settings.request_retry_attempts
    attempts = PATIENT_ATTEMPTS if retries is None else retries + 1
    proxy = _proxy(settings)
    return Config(
        retries={"mode": "standard", "total_max_attempts": attempts if patience == "patient" else 1},
        connect_timeout=connecting,
        max_pool_connections=_CONNECTIONS,
        read_timeout=reading,
        proxies={"http": proxy, "https": proxy} if proxy else None,
        user_agent_extra=f"hfcore/{hfcore.__version__}",
    )


def _proxy(settings: Settings) -> str:
    if not settings.proxy_host:
        return ""
    host = settings.proxy_host if "://" in settings.proxy_host else f"http://{settings.proxy_host}"
    return f"{host}:{settings.proxy_port}" if settings.proxy_port else host


def _end_in_time(client: Any, clock: Clock, deadline: float, longest: float) -> None:  # noqa: ANN401 - as above
    """Let a client send nothing that might be answered after the deadline; the error has what went wrong before."""
    from botocore.exceptions import ClientError

    last = threading.local()

    def begin(**_: object) -> None:
        last.error = None

    def note(response: Any = None, caught_exception: Exception | None = None, **_: object) -> None:  # noqa: ANN401 - as above
        refusal = ClientError(response[1], "") if response and "Error" in response[1] else None
        last.error = caught_exception or refusal

    def check(**_: object) -> None:
        if deadline - clock.monotonic() < longest:
            before = getattr(last, "error", None)
            cause = f"{fault(before)}; " if before else ""
            message = "not sent, because too little of this call's time is left; it is tried again at the next call"
            raise CloudError(Fault(code=OUT_OF_TIME, message=cause + message, kind=FaultKind.TRANSIENT))

    client.meta.events.register("before-call", begin)
    client.meta.events.register("before-send", check)
    client.meta.events.register_first("needs-retry", note)
