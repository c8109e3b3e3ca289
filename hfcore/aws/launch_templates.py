"""Own launch templates: those that requests of the same content share, and those of one request alone.

User data travels in them alone, and is written nowhere else.
"""

from __future__ import annotations

import base64
import os
import stat
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, TypeVar

import hfcore
from hfcore.aws import images, tags
from hfcore.aws.accounts import making
from hfcore.aws.calls import ask, is_late, once, repeat
from hfcore.aws.errors import NotOurs, lost_launch_template
from hfcore.aws.exports import exported
from hfcore.aws.launch import digest, launch_data
from hfcore.config import expanded
from hfcore.context import TOO_LATE
from hfcore.errors import CloudError, ConfigError, OutcomeUnknown
from hfcore.models import EMPTY, Fault, FaultKind, PlannedCall
from hfcore.withheld import SECRET, without_user_data

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hfcore.context import Context, Intent
    from hfcore.models import Request, Template

T = TypeVar("T")

MOST_USER_DATA = 16 * 1024
"""Bytes of a start-up script, before it is encoded (EC2 user guide, user data)."""

_STEP = "launch-template"
_ANEW = "ask for the machines anew"
_EXISTS = "InvalidLaunchTemplateName.AlreadyExistsException"
_FIELDS = (
    "key_name",
    "security_group_ids",
    "instance_profile",
    "root_device_volume_size",
    "volume_type",
    "iops",
    "launch_template_id",
    "launch_template_version",
    "ebs_optimized",
    "placement_group_name",
    "placement_partition",
    "tenancy",
    "host_id",
    "host_resource_group_arn",
    "interface_type",
    "efa_count",
    "capacity_reservation",
    "launch_template_data",
    "withheld",
)


def using(context: Context, request: Request, template: Template, launch: Callable[[str], T]) -> T:
    """Call `launch` with the name of the shared launch template; once more with one made anew if AWS has lost it.

    After the request's deadline, when nothing is launched any more, the name is empty.

    Raises:
        CloudError: AWS refused.
        ConfigError: The start-up script can't be read.
    """
    if is_late(context, request.deadline):
        return launch("")
    try:
        return launch(shared(context, request, template))
    except CloudError as error:
        if not lost_launch_template(error.fault):
            raise
        context.memory.remember(_known(context, template)[0], None)
        return launch(shared(context, request, template))


def _lost(template: Template) -> str:
    return f"template {template.template_id}: its user data is stored nowhere, and can't be had again"


def shared(context: Context, request: Request, template: Template) -> str:
    """Give the name of the launch template of this content; made if it is not known, in one call.

    It carries no request id: what launches from it gives its instances their own tags besides.

    Raises:
        CloudError: AWS refused.
        ConfigError: The start-up script can't be read.
    """
    key, base = _known(context, template)
    made = _made(context, request) if template.withheld else None
    if name := context.memory.recall(key) or (made and made.parameters["LaunchTemplateName"]):
        return str(name)
    name, parameters, secret = _creation(context, template, base=base)
    # The name is a hash of the content, our owner tag included: what has it already is what we want.
    place = (context, request.request_id, _STEP, "ec2", "CreateLaunchTemplate", parameters)
    making(context, _maker(repeat(*place, secret=secret, accept=(_EXISTS,)).get("LaunchTemplate", EMPTY)))
    context.memory.remember(key, name)
    return name


def _maker(described: Mapping[str, Any]) -> str:
    return str(described.get("CreatedBy", ""))


def _made(context: Context, request: Request) -> Intent | None:
    """Give the step by which a launch template was made for a request before, by a call that has died since."""
    steps = (one for one in context.journal.steps(request.request_id) if one.step == _STEP and one.outcome is not None)
    return next(steps, None)


def own_name(request: Request) -> str:
    """Give the name of a request's own launch template."""
    return f"hfcore-{request.request_id}"


def own(context: Context, request: Request, template: Template) -> str:
    """Give the name of the request's own launch template, made if need be; its instances get the request's tags by it.

    Raises:
        CloudError: AWS refused, or one of this name is not ours.
        ConfigError: The start-up script can't be read.
    """
    name, parameters, secret = own_name(request), EMPTY, EMPTY
    if begun := _made(context, request):
        making(context, str((begun.outcome or EMPTY).get("maker", "")))
        return name  # also where its user data can't be had any more
    until = request.deadline
    if template.withheld:  # nothing is sent without it: what was begun is only looked for
        until = context.clock.now()
    elif not is_late(context, until):
        name, parameters, secret = _creation(context, template, request)
    place = (context, request.request_id, _STEP, "ec2", "CreateLaunchTemplate", parameters)

    def keep(answer: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"name": name, "maker": _maker(answer.get("LaunchTemplate", EMPTY))}

    try:
        made = once(*place, keep=keep, find=lambda _: _found(context, name), until=until, secret=secret)
    except OutcomeUnknown as error:
        raise (OutcomeUnknown(replace(error.fault, message=_lost(template))) if template.withheld else error) from error
    except CloudError as error:
        if template.withheld and error.fault.code == TOO_LATE.code:
            raise ConfigError(_lost(template), hint=_ANEW) from error
        raise
    making(context, str(made.get("maker", "")))
    return name


def _found(context: Context, name: str) -> Mapping[str, Any] | None:
    try:
        found = ask(context, "ec2", "DescribeLaunchTemplates", {"LaunchTemplateNames": [name]}, name)["LaunchTemplates"]
    except CloudError as error:
        if error.fault.kind is FaultKind.GONE:
            return None
        raise
    if all(tags.read(one.get("Tags")).get(tags.OWNER) != context.owner for one in found):
        raise NotOurs(f"a launch template named {name}")
    return {"name": name, "maker": "".join(map(_maker, found))}


def delete_own(context: Context, request: Request) -> Fault | None:
    """Delete the request's own launch template; gone already is success.

    Returns:
        Why it could not be deleted.
    """
    parameters = {"LaunchTemplateName": own_name(request)}
    try:
        repeat(context, request.request_id, "delete-launch-template", "ec2", "DeleteLaunchTemplate", parameters)
    except CloudError as error:
        return None if error.fault.kind is FaultKind.GONE else error.fault
    return None


def planned(
    context: Context, template: Template, request: Request | None = None
) -> tuple[str, tuple[PlannedCall, ...]]:
    """Give the name of the launch template that a request would use, and the call that would make it, if one would.

    Args:
        context: The context.
        template: The template.
        request: The request whose own it would be; `None` for a shared one.
    """
    key, base = _known(context, template)
    if not request and (known := context.memory.recall(key)):
        return str(known), ()
    name, parameters, _ = _creation(context, template, request, base=base)
    return name, (PlannedCall(service="ec2", operation="CreateLaunchTemplate", parameters=parameters),)


def shown_data(context: Context, template: Template) -> Mapping[str, Any]:
    """Give the data of the launch template that requests share, without user data; nothing is made."""
    _, parameters, _ = _creation(context, template)
    data: Mapping[str, Any] = parameters["LaunchTemplateData"]
    return data


def user_data(context: Context, template: Template, base: Mapping[str, Any] = EMPTY) -> bytes:
    """Give what machines start by: a template's script, or that in its own words or its base, with what is exported.

    Raises:
        ConfigError: A stored template lacks it; the script can't be read, is no regular file, can't export, or all of
            it is larger than EC2 takes (16 KiB before encoding).
    """
    if template.withheld:
        raise ConfigError(_lost(template), hint=_ANEW)
    encoded = template.launch_template_data.get(SECRET) or (template.user_data and base.get(SECRET)) or ""
    content = script(context, template)
    try:
        content = exported(content or base64.b64decode(encoded), template.user_data or "")
    except ValueError as error:
        hint = "let userDataScript begin with #!/bin/sh, or leave userData out"
        raise ConfigError(f"template {template.template_id}: {error}", hint=hint) from None
    if len(content) > MOST_USER_DATA:
        raise ConfigError(
            f"template {template.template_id}: its user data is larger than {MOST_USER_DATA} bytes with userData",
            hint="let a short script fetch the rest",
        )
    return content


def script(context: Context, template: Template) -> bytes:
    """Read a template's start-up script; a relative path starts at the conf folder.

    Raises:
        ConfigError: It can't be read, is no regular file, or is larger than EC2 takes (16 KiB before encoding).
    """
    if not template.user_data_script:
        return b""
    path = context.conf_dir / expanded(template.user_data_script)
    try:
        content = _regular_content(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"template {template.template_id}: userDataScript {path} can't be read: {why}",
            hint="correct the path, or let the user that runs hfcore read it",
        ) from error
    if len(content) > MOST_USER_DATA:
        raise ConfigError(
            f"template {template.template_id}: userDataScript {path} is larger than {MOST_USER_DATA} bytes",
            hint="let a short script fetch the rest",
        )
    return content


def _regular_content(path: Path) -> bytes:
    """Read what may be sent and one byte more; a pipe or a device would never end."""
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:  # noqa: PTH123 - a descriptor
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is no regular file")
        return file.read(MOST_USER_DATA + 1)


def _known(context: Context, template: Template) -> tuple[str, Mapping[str, Any] | None]:
    """Give the key under which the name for this template is remembered, and the user's data as far as it was asked.

    A numbered version never changes, so it is asked for only when the template is made; `$Latest` is asked each time.
    """
    version = template.launch_template_version or ""
    fixed = not template.launch_template_id or version.isdecimal()
    base = None if fixed else _base(context, template)
    fields = {name: value for name, value in asdict(without_user_data(template)).items() if name in _FIELDS}
    content = [
        fields,
        bool(template.vm_types or template.instance_requirements),
        images.image_id(context, template.image_id),
        script(context, template).hex(),
        tags.of_instances(context, template),
        base,
        hfcore.__version__,
    ]
    return f"launch-template:{context.region}:{digest(content)}", base


def _creation(
    context: Context, template: Template, request: Request | None = None, *, base: Mapping[str, Any] | None = None
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Give a launch template's name, CreateLaunchTemplate's parameters as they may be written down, and the secret one.

    Args:
        context: The context.
        template: The template.
        request: The request whose own it is; `None` for a shared one, named by its content.
        base: The user's data, where it was asked for already.
    """
    request_id = request.request_id if request else ""
    base = _base(context, template) if base is None else base
    image = images.image_id(context, template.image_id)
    named = template.launch_template_data.get("ImageId") or image or base.get("ImageId", "")
    data = launch_data(
        template,
        image_id=image,
        root_device=images.root_device(context, named) if named and images.needs_root_device(template) else "",
        user_data=user_data(context, template, base),
        tags=tags.of_instances(context, template, request_id),
        base=base,
    )
    name = own_name(request) if request else f"hfcore-{digest(data)}"
    its_tags = tags.specifications(tags.ours(context, template.template_id, request_id), "launch-template")
    shown = {"LaunchTemplateData": {name: data[name] for name in data if name != SECRET}, "TagSpecifications": its_tags}
    return name, {"LaunchTemplateName": name, **shown}, {"LaunchTemplateData": data}


def users_interfaces(context: Context, template: Template) -> list[dict[str, Any]]:
    """Give the network interfaces that come from the user's own launch template: a subnet is said inside these alone.

    A numbered version never changes: it is asked for once.
    """
    version = template.launch_template_version or ""
    if not template.launch_template_id or not template.subnet_id:
        return []
    key = f"interfaces:{context.region}:{template.launch_template_id}:{version}:{digest(template.security_group_ids)}"
    known: list[dict[str, Any]] | None = context.memory.recall(key) if version.isdecimal() else None
    if known is None:
        data = launch_data(template, user_data=b"", tags={}, base=_base(context, template))
        known = data.get("NetworkInterfaces", [])
        context.memory.remember(key, known)
    return known


def _base(context: Context, template: Template) -> Mapping[str, Any]:
    """Give the data of the user's own launch template, in the form in which one is made; asked for once a call."""
    version = template.launch_template_version or "$Default"
    key = ("aws-users-template", context.region, context.endpoint, template.launch_template_id, version)
    return context.cache.once(key, lambda: _asked(context, template, version)) if template.launch_template_id else EMPTY


def _asked(context: Context, template: Template, version: str) -> Mapping[str, Any]:
    parameters = {"LaunchTemplateId": template.launch_template_id, "Versions": [version]}
    subject = f"{template.launch_template_id} version {version}"
    found = ask(context, "ec2", "DescribeLaunchTemplateVersions", parameters, subject)["LaunchTemplateVersions"]
    if not found:
        raise CloudError(Fault(code="NoSuchVersion", message=f"{subject} is not there", kind=FaultKind.GONE))
    model = context.clients("ec2", "patient").meta.service_model.shape_for("RequestLaunchTemplateData")
    known: dict[str, Any] = _pruned(found[0]["LaunchTemplateData"], model)
    _refuse(known, template, subject)
    return known


def _refuse(data: Mapping[str, Any], template: Template, subject: str) -> None:
    """Refuse what of the user's launch template can't be honoured, and must not be left out."""
    if data.get("DisableApiTermination"):
        message = f"launchTemplateId {subject}: DisableApiTermination is on: hfcore could not end the machines"
        raise ConfigError(message, hint="name a version without it")
    if data.get("InstanceMarketOptions", {}).get("MarketType") == "spot" and template.price_type in (None, "ondemand"):
        message = f"launchTemplateId {subject} says Spot, and the template buys on demand"
        raise ConfigError(message, hint="say priceType spot, or name a version without InstanceMarketOptions")


def _pruned(value: Any, shape: Any) -> Any:  # noqa: ANN401 - AWS's documents, and botocore's shapes
    """Leave out what an answer holds and a request must not, such as `MetadataOptions.State`."""
    if shape.type_name == "structure":
        return {key: _pruned(one, shape.members[key]) for key, one in value.items() if key in shape.members}
    return [_pruned(one, shape.member) for one in value] if shape.type_name == "list" else value
