"""Own whose account answers: what another account does not know proves nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore.aws.calls import ask
from hfcore.errors import CloudError
from hfcore.models import Fault, FaultKind

if TYPE_CHECKING:
    from hfcore.context import Context


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


def elsewhere(instance_id: str, account: str, answered: str) -> Fault:
    """Give the fault of an instance that the answering account does not know, as it lives in another one."""
    message = f"the answer came from account {answered}, the machine lives in {account}"
    return Fault(code="OtherAccount", message=message, kind=FaultKind.PERMISSION, subject=instance_id)
