"""Own whose account answers: what another account does not know proves nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hfcore.aws.calls import ask
from hfcore.errors import CloudError
from hfcore.models import Fault, FaultKind

if TYPE_CHECKING:
    from hfcore.context import Context

_MAKER = re.compile(r"arn:[^:]*:[^:]*:[^:]*:(\d{12}):")


def answering(context: Context) -> str:
    """Give the account of the credentials in use, asked once a call; empty if AWS can't be asked.

    Needs no permission (STS API reference, GetCallerIdentity). Asked only where EC2 shows nothing that it should: else
    its own answers name the account.
    """

    def make() -> str:
        try:
            return str(ask(context, "sts", "GetCallerIdentity")["Account"])
        except CloudError as error:
            context.logger.warning("whose account this is can't be told: %s", error)
            return ""

    return context.cache.once(("aws-account", context.region, context.endpoint), make)


def making(context: Context, maker: str = "") -> str:
    """Give the account in which this call makes what it makes, as far as an answer has told; empty otherwise.

    Args:
        context: The context.
        maker: The ARN of who has made a launch template, as EC2 gives it (LaunchTemplate, CreatedBy).
    """
    named = _MAKER.match(maker)
    key = ("aws-making-account", context.region, context.endpoint)
    return context.cache.once(key, lambda: named[1] if named else "")


def elsewhere(instance_id: str, account: str, answered: str) -> Fault:
    """Give the fault of an instance that the answering account does not know, as it lives in another one."""
    message = f"the answer came from account {answered}, the machine lives in {account}"
    return Fault(code="OtherAccount", message=message, kind=FaultKind.PERMISSION, subject=instance_id)
