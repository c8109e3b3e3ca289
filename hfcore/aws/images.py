"""Own what must be asked about a template's image: the id behind an SSM path, and the image's root device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore.aws.calls import ask
from hfcore.errors import CloudError
from hfcore.models import Fault, FaultKind

if TYPE_CHECKING:
    from hfcore.context import Context
    from hfcore.models import Template

PATH_AGE = 3600.0
"""Seconds for which the image behind an SSM path is remembered."""


def image_id(context: Context, named: str | None) -> str:
    """Give the id of the image that a template names: `ami-…`, `/aws/service/…` or `resolve:ssm:/…`.

    At most one GetParameter an hour for each path.

    Raises:
        CloudError: SSM does not have the path, or could not be asked.
    """
    path = (named or "").removeprefix("resolve:ssm:")
    if not path or path.startswith("ami-"):
        return path
    key = f"image:{context.region}:{path}"
    known = context.memory.recall(key, PATH_AGE)
    if known is None:
        answer = ask(context, "ssm", "GetParameter", {"Name": path}, path)
        known = answer["Parameter"]["Value"]
        context.memory.remember(key, known)
    return str(known)


def needs_root_device(template: Template) -> bool:
    """Tell whether a template changes the image's root volume, for which AWS wants its device name."""
    return bool(template.root_device_volume_size or template.volume_type or template.iops)


def root_device(context: Context, image: str) -> str:
    """Give an image's root device; asked once, because an image never changes it.

    Raises:
        CloudError: AWS does not have the image, or could not be asked.
    """
    key = f"root-device:{context.region}:{image}"
    known = context.memory.recall(key)
    if known is None:
        found = ask(context, "ec2", "DescribeImages", {"ImageIds": [image]}, image)["Images"]
        if not found:
            raise CloudError(Fault(code="InvalidAMIID.NotFound", message=f"{image} is not there", kind=FaultKind.GONE))
        known = found[0]["RootDeviceName"]
        context.memory.remember(key, known)
    return str(known)
