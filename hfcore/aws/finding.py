"""Own what EC2 tells of instances that no record names: whose they are, and which API's resource launched them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hfcore.aws import tags
from hfcore.aws.accounts import answering
from hfcore.aws.calls import ask, each
from hfcore.aws.instances import describe, describe_by_name, describe_by_request
from hfcore.errors import CloudError
from hfcore.hookspecs import hookimpl
from hfcore.models import FaultKind, Found, Template
from hfcore.naming import host_name_by

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from hfcore.context import Context
    from hfcore.models import FleetType, Instance

# EC2 refuses a whole call for one id of another form.
_INSTANCE_ID = re.compile(r"i-(?:[0-9a-f]{8}|[0-9a-f]{17})")
# In EC2's filters `*`, `?` and `\` match other names than the one that is meant.
_HOST_NAME = re.compile(r"[^*?\\]+")
# The tag by which AWS names what launched an instance, and whose plug-in that is; without one it was RunInstances.
_LAUNCHERS = {
    "aws:autoscaling:groupName": "ASG",
    "aws:ec2:fleet-id": "EC2Fleet",
    "aws:ec2spot:fleet-request-id": "SpotFleet",
}


@hookimpl
def find_instances(
    instance_ids: tuple[str, ...], host_names: tuple[str, ...], request_ids: tuple[str, ...], context: Context
) -> tuple[Found, ...]:
    """Look for instances by id, 1,000 a call, by host name, 199 a call, and for those of requests by tag, 199 a call.

    One DescribeFleets for each EC2 Fleet besides, as its type decides how its machines are ended.

    Raises:
        CloudError: AWS could not be asked.
    """
    seen = describe(context, filter(_INSTANCE_ID.fullmatch, instance_ids))
    names = tuple(filter(_HOST_NAME.fullmatch, host_names))
    named = describe_by_name(context, names)
    tagged = describe_by_request(context, request_ids)
    ours = {**tagged.instances, **named.instances, **seen.instances}
    others = {**named.untagged, **seen.untagged}
    by_id = _names(context, names, {**named.instances, **named.untagged})
    types = _fleet_types(context, ours.values())
    account = seen.account or named.account or tagged.account
    account = account or (answering(context) if instance_ids or names else "")
    nameless = (Found(host_name=name, account_id=account) for name in names if name not in by_id.values())
    return (
        *(
            _found(ours[i], by_id.get(i, ""), types, account)
            if i in ours
            else Found(instance_id=i, host_name=by_id.get(i, ""), known=i in others, account_id=account)
            for i in dict.fromkeys((*instance_ids, *by_id, *ours))
        ),
        *nameless,
    )


def _names(context: Context, names: Collection[str], seen: Mapping[str, Instance]) -> dict[str, str]:
    name_of = host_name_by(context.settings.host_name)
    named = ((i, name_of(one)) for i, one in seen.items())
    return {i: name for i, name in named if name in names}


def _found(instance: Instance, name: str, types: Mapping[str, FleetType], account: str) -> Found:
    api = next((name for tag, name in _LAUNCHERS.items() if tag in instance.tags), "RunInstances")
    fleet_type = types.get(instance.resource_id)
    return Found(
        instance_id=instance.instance_id,
        host_name=name,
        known=True,
        ours=True,
        instance=instance,
        request_id=instance.tags.get(tags.REQUEST, ""),
        template=Template(template_id=instance.tags.get(tags.TEMPLATE, ""), provider_api=api, fleet_type=fleet_type),
        provider_api=api,
        refills=api == "ASG" or fleet_type == "maintain",
        account_id=account,
    )


def _fleet_types(context: Context, instances: Iterable[Instance]) -> dict[str, FleetType]:
    """Ask for the types of EC2 Fleets; one that is no more launches nothing, like one of type `request`."""
    fleets = dict.fromkeys(one.resource_id for one in instances if "aws:ec2:fleet-id" in one.tags)

    def type_of(fleet_id: str) -> FleetType:
        try:
            described = ask(context, "ec2", "DescribeFleets", {"FleetIds": [fleet_id]}, fleet_id)["Fleets"]
        except CloudError as error:
            if error.fault.kind is not FaultKind.GONE:
                raise
            described = []
        its: FleetType = described[0]["Type"] if described else "request"
        return its

    return dict(zip(fleets, each(type_of, fleets), strict=True))
