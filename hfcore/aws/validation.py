"""Own what is wrong with a template on any AWS API. Pure, but for the start-up script, which is looked at."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from hfcore.aws import launch_templates, native
from hfcore.aws.launch import efa_count
from hfcore.aws.tags import OURS
from hfcore.errors import ConfigError
from hfcore.models import EMPTY, Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hfcore.config import Settings
    from hfcore.context import Context
    from hfcore.models import Template

MOST_TAGS = 50 - len(OURS)
"""Tags of an instance (EC2 user guide, tag restrictions), less hfcore's own."""

MOST_KEY, MOST_VALUE = 128, 256

BARE_METAL_SECONDS = 1200
"""So long a bare metal machine may take until it runs: its hardware is verified first (EC2 user guide)."""

_CARRY_GROUPS = {"SecurityGroupIds", "SecurityGroups", "NetworkInterfaces"}
_PREFERENCES = ("open", "none", "capacity-reservations-only")
_RESERVATION = re.compile(rf"cr-[0-9a-f]{{8,17}}|arn:aws[a-z-]*:resource-groups:.+:group/.+|{'|'.join(_PREFERENCES)}")
_WITH_IOPS = ("io1", "io2", "gp3")
_ALWAYS_IOPS = ("io1", "io2")
_IMAGE = re.compile(r"ami-[0-9a-f]{8,17}|(resolve:ssm:)?/[\w./-]+(:[\w.-]+)?|resolve:ssm:[\w./-]+(:[\w.-]+)?")


def common(
    template: Template, *, ignored: Mapping[str, str] = EMPTY, refused: Mapping[str, str] = EMPTY
) -> tuple[Problem, ...]:
    """Find what is wrong with a template on any AWS API.

    Args:
        template: The template.
        ignored: Fields, as files spell them, that have no effect on this API, each with the reason: warnings.
        refused: Fields without which the request would mean something else than asked, but which this API can't
            honour, each with the reason: errors.
    """
    rules = (_machines, _storage, _tags, _prices, _placement, _interfaces, _capacity_reservation)
    found = [problem for rule in rules for problem in rule(template)]
    found += [Problem(field=field, message=reason) for field, reason in refused.items() if is_set(template, field)]
    found += [warning(field, f"has no effect: {why}") for field, why in ignored.items() if is_set(template, field)]
    return tuple(found)


def is_set(template: Template, field: str) -> bool:
    """Tell whether a template says anything under a field, given as files spell it."""
    value = getattr(template, re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", field).lower())
    return value is not None and value not in ((), {})


def exports(context: Context, template: Template) -> Iterator[Problem]:
    """Find a start-up script that `userData` can't be exported to; it may be another one at the next call."""
    if not template.user_data:
        return
    with suppress(ConfigError):  # one that can't be read now is told at the launch
        launch_templates.script(context, template)
        yield from _not_exported(context, template)


def _not_exported(context: Context, template: Template) -> Iterator[Problem]:
    try:
        launch_templates.user_data(context, template)
    except ConfigError as error:
        yield Problem(field="userData", message=error.message, hint=error.hint, passing=True)


def warning(field: str, message: str) -> Problem:
    """Give a problem that leaves the template usable."""
    return Problem(field=field, message=message, severity=Severity.WARNING)


def slow_to_start(template: Template, settings: Settings) -> Iterator[Problem]:
    """Find the types whose machines may be ended as pending for too long before they could start."""
    limit = settings.instance_pending_timeout_sec
    slow = sorted(one for one in {*template.vm_types, *template.vm_types_on_demand} if ".metal" in one)
    if slow and limit < BARE_METAL_SECONDS:
        told = f"{', '.join(slow)}: bare metal may take {BARE_METAL_SECONDS} s to start, and is ended after {limit} s"
        hint = f"set AWS_INSTANCE_PENDING_TIMEOUT_SEC to {BARE_METAL_SECONDS}"
        yield Problem(field="vmTypes", message=told, severity=Severity.WARNING, hint=hint)


def ineffective_on_demand(template: Template) -> Iterator[Problem]:
    """Find the fields that say something of Spot alone, where a template buys on demand alone."""
    for field in ("allocationStrategy", "poolsCount", "percentOnDemand"):
        if is_set(template, field):
            yield warning(field, "has no effect: priceType is ondemand")


def _machines(template: Template) -> Iterator[Problem]:
    if template.launch_template_version and not template.launch_template_id:
        yield Problem(field="launchTemplateVersion", message="needs launchTemplateId")
    if template.image_id and not _IMAGE.fullmatch(template.image_id):
        hint = "ami-…, or the path of an SSM parameter such as /aws/service/…"
        yield Problem(field="imageId", message=f"{template.image_id!r} is no image id", hint=hint)
    if template.instance_requirements and template.vm_types:
        yield Problem(field="instanceRequirements", message="is given beside vmTypes", hint="leave one of them out")
    yield from native.requirements(template, "ec2", "InstanceRequirementsRequest")
    if template.launch_template_id:
        return
    needed: Mapping[str, Callable[[Template], object]] = {
        "imageId": lambda t: t.image_id or t.launch_template_data.get("ImageId"),
        "subnetId": lambda t: t.subnet_id or t.ec2_fleet_config,
        "securityGroupIds": lambda t: t.security_group_ids or t.launch_template_data.keys() & _CARRY_GROUPS,
        "vmTypes": lambda t: t.vm_types or t.instance_requirements or t.ec2_fleet_config,
    }
    for field, value in needed.items():
        if not value(template):
            yield Problem(field=field, message="is missing", hint="or name a launchTemplateId that has it")


def _storage(template: Template) -> Iterator[Problem]:
    kind = template.volume_type
    if template.iops and kind not in _WITH_IOPS and not (kind is None and template.launch_template_id):
        yield Problem(field="iops", message=f"needs volumeType {', '.join(_WITH_IOPS)}, which is {kind or 'not given'}")
    if kind in _ALWAYS_IOPS and not (template.iops or template.launch_template_id):
        yield Problem(field="volumeType", message=f"{kind} needs iops")


def _tags(template: Template) -> Iterator[Problem]:
    tags = template.instance_tags
    if len(tags) > MOST_TAGS:
        yield Problem(field="instanceTags", message=f"are {len(tags)}; AWS allows {MOST_TAGS} beside hfcore's own")
    for key, value in tags.items():
        if not 0 < len(key) <= MOST_KEY or len(value) > MOST_VALUE:
            message = f"{key[:MOST_KEY]!r}: a key has 1 to {MOST_KEY} characters, a value at most {MOST_VALUE}"
            yield Problem(field="instanceTags", message=message)
        if key.lower().startswith("aws:"):
            yield Problem(field="instanceTags", message=f"{key!r}: keys that begin with aws: are AWS's own")
        if key in OURS:
            yield warning("instanceTags", f"{key!r} has no effect: hfcore sets it itself")


def _prices(template: Template) -> Iterator[Problem]:
    price = template.price_type or "ondemand"
    if template.max_spot_price is not None and price == "ondemand":
        yield warning("maxSpotPrice", "has no effect: priceType is ondemand")
    if template.vm_types_on_demand and price == "spot" and template.percent_on_demand:
        message = "can't be held to: only heterogeneous has types of its own on demand"
        yield Problem(field="vmTypesOnDemand", message=message, hint="let vmTypes have them, or leave them out")
    elif template.vm_types_on_demand and price != "heterogeneous":
        yield warning("vmTypesOnDemand", "has no effect: priceType is not heterogeneous")
    unknown = sorted(template.vm_types_priority.keys() - template.vm_types.keys() - template.vm_types_on_demand.keys())
    if unknown:
        yield Problem(field="vmTypesPriority", message=f"{', '.join(unknown)} is not among vmTypes")


def _buys_spot(template: Template) -> bool:
    return template.price_type in ("spot", "heterogeneous")


def _placement(template: Template) -> Iterator[Problem]:
    if template.placement_partition and not (template.placement_group_name or template.launch_template_id):
        yield Problem(field="placementPartition", message="needs placementGroupName")
    for field, host in (("hostId", template.host_id), ("hostResourceGroupArn", template.host_resource_group_arn)):
        if host and template.tenancy not in (None, "host"):
            yield Problem(field=field, message=f"needs tenancy host, which is {template.tenancy}")
    if template.host_id and template.host_resource_group_arn:
        yield Problem(field="hostId", message="is given beside hostResourceGroupArn", hint="leave one of them out")
    hosts = {"tenancy": template.tenancy == "host", "hostId": template.host_id}
    field = next((name for name, on_hosts in hosts.items() if on_hosts), "hostResourceGroupArn")
    if (any(hosts.values()) or template.host_resource_group_arn) and _buys_spot(template):
        message = f"can't be honoured with priceType {template.price_type}: Dedicated Hosts have no Spot machines"
        yield Problem(field=field, message=message)


def _interfaces(template: Template) -> Iterator[Problem]:
    if template.efa_count and template.interface_type == "interface":
        yield Problem(field="efaCount", message="needs interfaceType efa, which is interface")
    if not efa_count(template):
        return
    field = "efaCount" if template.efa_count else "interfaceType"
    if template.launch_template_data.get("NetworkInterfaces"):
        yield Problem(field=field, message="is given beside launchTemplateData.NetworkInterfaces")
    carried = {"securityGroupIds": template.security_group_ids, "subnetId": template.subnet_id}
    for name in (name for name, said in carried.items() if template.launch_template_id and not said):
        message = "is missing: Elastic Fabric Adapters stand in place of the interfaces that the launch template has"
        yield Problem(field=name, message=message)


def _capacity_reservation(template: Template) -> Iterator[Problem]:
    said = template.capacity_reservation
    if not said:
        return
    if not _RESERVATION.fullmatch(said):
        hint = f"cr-…, the ARN of a resource group of such, {', '.join(_PREFERENCES)}"
        yield Problem(field="capacityReservation", message=f"{said!r} names no capacity reservation", hint=hint)
    elif _buys_spot(template):
        message = f"with priceType {template.price_type}: Spot machines run in no capacity reservation"
        if said in ("open", "none"):
            yield warning("capacityReservation", f"has no effect on a part of the machines {message}")
        else:
            yield Problem(field="capacityReservation", message=f"can't be honoured {message}")
