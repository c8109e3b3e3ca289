"""Own what AWS's errors come to: faults by the table in `faults`, and whether AWS has certainly made nothing."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from hfcore.aws.faults import MEANINGS, Meaning
from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.models import Fault, FaultKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hfcore.context import Context

_BY_CODE = {code: meaning for meaning in MEANINGS for code in meaning.codes}
_FAMILIES = tuple((family, meaning) for family, meaning in _BY_CODE.items() if "*" in family)

MADE_BEFORE = frozenset(
    {
        "AlreadyExists",
        "InvalidLaunchTemplateName.AlreadyExistsException",
        "IdempotentInstanceTerminated",
        "IdempotentParameterMismatch",
    }
)
"""Codes by which AWS says that the thing asked for was made by an earlier call."""


class NotOurs(CloudError):
    """What has the name that ours would have is somebody else's, by its tags."""

    def __init__(self, what: str) -> None:
        message = f"{what} exists, and is not this request's by its tags"
        super().__init__(Fault(code="AlreadyExists", message=message, kind=FaultKind.INVALID))


_TIMED_OUT = frozenset({"RequestTimeout", "RequestTimeoutException"})
_CERTAIN = frozenset({FaultKind.CAPACITY, FaultKind.QUOTA, FaultKind.THROTTLE, FaultKind.PERMISSION, FaultKind.INVALID})
_INSTANCE_ID = re.compile(r"\bi-[0-9a-f]{8,17}\b")
# An authorization blob tells the policy; AWS echoes the canonical request, session token included; botocore the values.
_SECRET = re.compile(
    r"(Encoded authorization failure message:\s*)\S+|(The Canonical String for this request).*|(\bvalue: ).*", re.DOTALL
)
# Who logs in, a path and a query may be secrets too: of an address, scheme, host and port are told.
_ADDRESS = re.compile(
    r"""(\w+://|Invalid\sendpoint:\s(?!\w+://))(?:[^/\s"']*@)?((?:\[[\w.:]+\]|[\w.-]*)(?::\d+\b)?)[^\s"']*""",
    re.VERBOSE,
)
# botocore's errors whose text is made of what this host has set, and of what the operating system says. That of others
# may hold an answer, and with it credentials or user data: ResponseParserError has the whole of it.
_PLAIN = frozenset(
    {
        "ConfigNotFound",
        "ConfigParseError",
        "ConnectTimeoutError",
        "ConnectionClosedError",
        "EndpointConnectionError",
        "IncompleteReadError",
        "InfiniteLoopConfigError",
        "InvalidConfigError",
        "InvalidDefaultsMode",
        "InvalidRegionError",
        "InvalidRetryModeError",
        "InvalidSTSRegionalEndpointsConfigError",
        "NoCredentialsError",
        "NoRegionError",
        "ParamValidationError",
        "PartialCredentialsError",
        "ProfileNotFound",
        "ProxyConnectionError",
        "ReadTimeoutError",
        "RefreshWithMFAUnsupportedError",
        "SSLError",
        "UnauthorizedSSOTokenError",
        "UnknownServiceError",
    }
)
WITHHELD = "its text is left out, as it may hold what was answered"
_LONGEST = 500
_CLIENT_ERROR, _SERVER_ERROR = 400, 500


def meaning_of(code: str) -> Meaning | None:
    """Give what is known of an AWS error code: by itself, by what stands before its first dot, or by its family.

    Args:
        code: The code, with or without the `Client.` or `Server.` that histories put before it.
    """
    bare = re.sub(r"^(Client|Server)\.", "", code)
    known = _BY_CODE.get(code) or _BY_CODE.get(bare) or _BY_CODE.get(bare.partition(".")[0])
    return known or next((meaning for family, meaning in _FAMILIES if fnmatchcase(bare, family)), None)


def kind_of(code: str, status: int = 0) -> FaultKind:
    """Say what an AWS error code means for what to do next.

    Args:
        code: As for `meaning_of`.
        status: The HTTP status, by which a code that nobody knows is judged; 0 where it stands inside an answer.
    """
    if known := meaning_of(code):
        return known.kind
    if _CLIENT_ERROR <= status < _SERVER_ERROR:
        return FaultKind.INVALID
    return FaultKind.TRANSIENT if status >= _SERVER_ERROR else FaultKind.UNKNOWN


def as_fault(code: str, message: str, subject: str = "", status: int = 0) -> Fault:
    """Make a fault of a code and a message that AWS puts into an answer, such as CreateFleet's `Errors`."""
    text = " ".join(_SECRET.sub(lambda match: "".join(part or "" for part in match.groups()) + "…", message).split())
    known = meaning_of(code)
    hint = known.hint if known else ""
    return Fault(code=code, message=text[:_LONGEST], kind=kind_of(code, status), subject=subject, hint=hint)


def fault(error: Exception, subject: str = "") -> Fault:
    """Make a fault of what botocore raised, without secrets.

    Args:
        error: A `ClientError`, another error of botocore's, or a `CloudError`, whose fault it already is.
        subject: What it happened to.
    """
    from botocore.exceptions import ClientError

    if isinstance(error, CloudError):
        return error.fault
    if isinstance(error, ClientError):
        told = error.response.get("Error", {})
        return as_fault(told.get("Code") or "Unknown", told.get("Message") or str(error), subject, _status(error))
    code = type(error).__name__
    source = getattr(error, "kwargs", {}).get("provider", "")  # of credentials
    withheld = f"from {source}: {WITHHELD}" if source else WITHHELD
    found = as_fault(code, address_only(str(error)) if code in _PLAIN else withheld, subject)
    return found if found.kind is not FaultKind.UNKNOWN else replace(found, kind=FaultKind.TRANSIENT)


def address_only(text: str) -> str:
    """Take out of the addresses in a text all but scheme, host and port."""
    return _ADDRESS.sub(r"\1\2", text)


def aws_request_id(error: Exception) -> str:
    """Give the id by which AWS's support finds a failed call; for logs."""
    return str(_metadata(error).get("RequestId", "none"))


def _status(error: Exception) -> int:
    return int(_metadata(error).get("HTTPStatusCode", 0))


def _metadata(error: Exception) -> Mapping[str, Any]:
    # botocore's HTTP errors have a `response` too, which is None.
    answer = getattr(error, "response", None) or {}
    metadata: Mapping[str, Any] = answer.get("ResponseMetadata", {})
    return metadata


def refused(error: Exception) -> bool:
    """Tell whether AWS has certainly made nothing; else the outcome of the call is unknown.

    AWS's own no (a 4xx, or a capacity, quota or throttling code under whatever status: InsufficientInstanceCapacity is
    HTTP 500) and what failed before sending are refusals; other 5xx, time-outs and resets after sending are not.
    """
    from botocore import exceptions as boto

    if isinstance(error, CloudError):
        return not isinstance(error, OutcomeUnknown)
    if isinstance(error, boto.ClientError):
        found = fault(error)
        rejected = _CLIENT_ERROR <= _status(error) < _SERVER_ERROR
        return found.code not in MADE_BEFORE | _TIMED_OUT and (rejected or found.kind in _CERTAIN)
    if isinstance(error, boto.SSLError):
        return "CERTIFICATE_VERIFY_FAILED" in str(error)
    if isinstance(error, boto.HTTPClientError) and isinstance(error.kwargs.get("error"), ValueError):
        return True  # urllib3 could make nothing of an address or a header
    after_sending = (boto.HTTPClientError, boto.IncompleteReadError)
    never_opened = (boto.ConnectTimeoutError, boto.EndpointConnectionError, boto.ProxyConnectionError)
    return isinstance(error, never_opened) or (
        isinstance(error, boto.BotoCoreError) and not isinstance(error, after_sending)
    )


def named_instances(text: str) -> frozenset[str]:
    """Find the instance ids that a message of AWS's names."""
    return frozenset(_INSTANCE_ID.findall(text))


def missing_instance_ids(error: Fault | Exception) -> frozenset[str]:
    """Find the ids that AWS does not know; empty for any other error.

    AWS names one or several ids in InvalidInstanceID.NotFound, in words that have changed over the years.
    """
    found = error if isinstance(error, Fault) else fault(error)
    return named_instances(found.message) if found.code == "InvalidInstanceID.NotFound" else frozenset()


def lost_launch_template(found: Fault) -> bool:
    """Tell whether a launch failed because its launch template is no more (EC2's codes, Auto Scaling's sentence)."""
    if found.code == "ValidationError":
        text = found.message.lower()
        return "launch template" in text and ("not found" in text or "not exist" in text)
    return found.code.startswith("InvalidLaunchTemplate") and "NotFound" in found.code


def failures() -> tuple[type[Exception], ...]:
    """Give what a call by botocore may raise; `CloudError` where a client would not send so close to the deadline."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    return (ClientError, BotoCoreError, ResponseParserError, CloudError)


@contextmanager
def asking(context: Context, subject: str = "") -> Iterator[None]:
    """Turn what botocore raises in a call that only reads into `CloudError`, and log AWS's request id."""
    try:
        yield
    except CloudError:
        raise
    except failures() as error:
        found = fault(error, subject)
        context.logger.warning("AWS did not answer: %s [AWS request %s]", found, aws_request_id(error))
        raise CloudError(found) from error
