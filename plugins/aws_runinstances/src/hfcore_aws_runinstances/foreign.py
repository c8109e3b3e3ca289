"""Own what RunInstances says of requests that another API made, whose plug-in is not installed. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore.aws.discovery import outcome
from hfcore.models import Fault, FaultKind

if TYPE_CHECKING:
    from hfcore.models import Outcome, Request

NAME = "RunInstances"


def is_foreign(request: Request) -> bool:
    """Tell whether another API made the request."""
    return bool(request.provider_api) and request.provider_api.lower() != NAME.lower()


def would_be_replaced(request: Request) -> bool:
    """Tell whether a machine of this request, ended here, would come back."""
    return is_foreign(request) and request.refills and not request.frozen


def found_by_tag(request: Request) -> str:
    """Say how the machines of another API's request were found."""
    return f"found by tag, because the plug-in of {request.provider_api} is not installed: install {_missing(request)}"


def not_installed(request: Request) -> Fault:
    """Give the reason why nothing can be done for another API's resource here."""
    message = f"needs the plug-in of {request.provider_api}, which is not installed: install {_missing(request)}"
    subject = ", ".join(request.resource_ids)
    return Fault(code="PluginNotInstalled", message=message, kind=FaultKind.TRANSIENT, subject=subject)


def nothing_to_do(request: Request) -> Outcome:
    """Give the outcome where RunInstances has nothing to do, and for another API's resource can do nothing."""
    return outcome(request, [not_installed(request)] if is_foreign(request) else [])


def _missing(request: Request) -> str:
    return request.distribution or f"a plug-in that serves {request.provider_api}"
