"""Own what AWS can confirm of what a template names, whatever API is to launch it; nothing is made or changed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hfcore.aws import images, launch_templates, offers
from hfcore.aws.access import refusal, rehearse
from hfcore.aws.calls import ask, each, pages
from hfcore.errors import CloudError, HfcoreError
from hfcore.hookspecs import hookimpl
from hfcore.models import Check, FaultKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hfcore.context import Context
    from hfcore.models import CheckStatus, MachineType, Template

    Json = Mapping[str, Any]

AVAILABLE = "available"
_OF_LAUNCHES = ("image", "launch")
"""The checks that ask what a launch itself asks, for which the rights lack then, too."""


@hookimpl
def check(template: Template, context: Context) -> tuple[Check, ...]:
    """Look up everything that a template names, and put its first launch to EC2's DryRun."""
    return _Checks(context, template).all()


class _Checks:
    """The checks of one template; answers are shared with those of others by the context's cache."""

    def __init__(self, context: Context, template: Template) -> None:
        self._context, self._template = context, template

    def all(self) -> tuple[Check, ...]:
        """Give a check for each thing that the template names."""
        template, types = self._template, self._types()
        rows: tuple[tuple[str, object, Callable[[str], Check]], ...] = (
            ("image", template.image_id, self._image),
            ("instance types", types, self._machines),
            ("architecture", template.image_id and types, self._architecture),
            ("types in zones", types and template.subnet_id, self._zones),
            ("subnets", template.subnet_id, self._subnets),
            ("free addresses", template.subnet_id, self._addresses),
            ("security groups", template.security_group_ids, self._security_groups),
            ("network", template.security_group_ids and template.subnet_id, self._network),
            ("key pair", template.key_name, self._key_pair),
            ("instance profile", template.instance_profile, self._instance_profile),
            ("fleet role", template.fleet_role, self._fleet_role),
            ("placement group", template.placement_group_name, self._placement_group),
            ("launch template", template.launch_template_id, self._launch_template),
            ("launch", True, self._launch),
        )
        return each(lambda row: _guarded(row[0], row[2]), (row for row in rows if row[1]))

    def _ask(self, service: str, operation: str, parameters: Json, subject: str = "") -> Json:
        key = ("check", self._context.region, self._context.endpoint, operation, json.dumps(parameters, sort_keys=True))
        return self._context.cache.once(key, lambda: ask(self._context, service, operation, parameters, subject))

    def _types(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self._template.vm_types, *self._template.vm_types_on_demand)))

    def _described_image(self) -> Json:
        image = images.image_id(self._context, self._template.image_id)
        found = self._ask("ec2", "DescribeImages", {"ImageIds": [image]}, image)["Images"]
        return found[0] if found else {"ImageId": image, "State": "not there"}

    def _described_subnets(self) -> list[Json]:
        named = sorted(self._template.subnet_id)
        return list(self._ask("ec2", "DescribeSubnets", {"SubnetIds": named})["Subnets"]) if named else []

    def _image(self, name: str) -> Check:
        found = self._described_image()
        told = f"{found['ImageId']} ({found.get('Architecture', 'unknown architecture')})"
        hint = "name an image that is available, in imageId"
        return _row(name, found["State"] == AVAILABLE, f"{told} is {found['State']}", hint)

    def _described_types(self) -> tuple[MachineType, ...]:
        key = ("check-types", self._context.region, self._types())
        return self._context.cache.once(key, lambda: offers.describe_offers(self._types(), None, self._context)).types

    def _machines(self, name: str) -> Check:
        return _row(name, good=True, message=f"EC2 has {', '.join(one.name for one in self._described_types())}")

    def _architecture(self, name: str) -> Check:
        wanted = str(self._described_image().get("Architecture", ""))
        odd = sorted(
            f"{one.name} ({one.architecture})" for one in self._described_types() if one.architecture != wanted
        )
        told = f"the image is {wanted}, and not for {', '.join(odd)}" if odd else f"all run the image's {wanted}"
        return _row(name, not odd, told, "name types and an image of one architecture")

    def _zones(self, name: str) -> Check:
        zones = sorted({one["AvailabilityZone"] for one in self._described_subnets()})
        filters = [{"Name": "instance-type", "Values": sorted(self._types())}, {"Name": "location", "Values": zones}]
        asked = {"LocationType": "availability-zone", "Filters": filters}

        def listed() -> set[tuple[str, str]]:
            found = pages(self._context, "ec2", "DescribeInstanceTypeOfferings", "InstanceTypeOfferings", asked)
            return {(one["InstanceType"], one["Location"]) for one in found}

        there = self._context.cache.once(("check-offers", self._context.region, json.dumps(asked)), listed)
        lacking = {one: [zone for zone in zones if (one, zone) not in there] for one in self._types()}
        told = "; ".join(f"{one} not in {', '.join(its)}" for one, its in lacking.items() if its)
        if not told:
            return _row(name, good=True, message=f"all are offered in {', '.join(zones)}")
        nowhere = all(len(its) == len(zones) for its in lacking.values())
        hint = "name subnets in other zones, or other types"
        return Check(name=name, status="error" if nowhere else "warning", message=told, hint=hint)

    def _subnets(self, name: str) -> Check:
        found = self._described_subnets()
        bad = [f"{one['SubnetId']} is {one['State']}" for one in found if one["State"] != AVAILABLE]
        told = ", ".join(f"{one['SubnetId']} in {one['AvailabilityZone']}" for one in found)
        return _row(name, not bad, ", ".join(bad) or told, "name subnets that are available, in subnetId")

    def _addresses(self, name: str) -> Check:
        free = sum(one["AvailableIpAddressCount"] for one in self._described_subnets())
        lightest = min((*self._template.vm_types.values(), *self._template.vm_types_on_demand.values()), default=1)
        most = max(1, -(-self._template.max_number // lightest))
        if free >= most:
            return _row(name, good=True, message=f"the subnets have {free}")
        hint = "name more subnets, larger ones, or a smaller maxNumber"
        status: CheckStatus = "warning" if free else "error"
        return Check(name=name, status=status, message=f"the subnets have {free}, maxNumber wants {most}", hint=hint)

    def _described_groups(self) -> list[Json]:
        ids = sorted(self._template.security_group_ids)
        return list(self._ask("ec2", "DescribeSecurityGroups", {"GroupIds": ids})["SecurityGroups"])

    def _security_groups(self, name: str) -> Check:
        return _row(name, good=True, message=f"EC2 has {', '.join(one['GroupId'] for one in self._described_groups())}")

    def _network(self, name: str) -> Check:
        networks = sorted({one["VpcId"] for one in (*self._described_groups(), *self._described_subnets())})
        hint = "subnets and security groups must be of one VPC"
        return _row(name, len(networks) == 1, f"all is in {' and '.join(networks)}", hint)

    def _key_pair(self, name: str) -> Check:
        key_name = str(self._template.key_name)
        self._ask("ec2", "DescribeKeyPairs", {"KeyNames": [key_name]}, key_name)
        return _row(name, good=True, message=f"{key_name} is there")

    def _instance_profile(self, name: str) -> Check:
        given = str(self._template.instance_profile)
        asked = {"InstanceProfileName": _last(given)}
        found = self._ask("iam", "GetInstanceProfile", asked, given)["InstanceProfile"]
        roles = [one["RoleName"] for one in found["Roles"]]
        return _same_arn(name, given, found["Arn"]) or _row(
            name, bool(roles), f"{given} has {f'role {roles[0]}' if roles else 'no role'}", "add a role to the profile"
        )

    def _fleet_role(self, name: str) -> Check:
        given = str(self._template.fleet_role)
        found = self._ask("iam", "GetRole", {"RoleName": _last(given)}, given)["Role"]
        return _same_arn(name, given, found["Arn"]) or _row(name, good=True, message=f"{given} is there")

    def _placement_group(self, name: str) -> Check:
        given = str(self._template.placement_group_name)
        found = self._ask("ec2", "DescribePlacementGroups", {"GroupNames": [given]}, given)["PlacementGroups"]
        state = found[0]["State"] if found else "not there"
        return _row(name, state == AVAILABLE, f"{given} is {state}", "name a placement group that is available")

    def _launch_template(self, name: str) -> Check:
        template_id, version = str(self._template.launch_template_id), self._template.launch_template_version
        asked = {"LaunchTemplateId": template_id, "Versions": [version or "$Default"]}
        found = self._ask("ec2", "DescribeLaunchTemplateVersions", asked, template_id)["LaunchTemplateVersions"]
        told = f"{template_id} version {version or '$Default'} is {'there' if found else 'not there'}"
        return _row(name, bool(found), told, "correct launchTemplateId or launchTemplateVersion")

    def _launch(self, name: str) -> Check:
        """Put RunInstances of one machine to DryRun: the first type in the first subnet, on demand, without user data.

        For fleets and groups too: what they launch is checked by the same rules, with the same rights.
        """
        data = launch_templates.shown_data(self._context, self._template)
        kind, subnet = next(iter(self._types()), ""), next(iter(self._template.subnet_id), "")
        if not kind and not self._template.launch_template_id:
            return Check(name=name, status="not checked", message="the template names no type: EC2 chooses one")
        found = rehearse(self._context, "RunInstances", _one_machine(self._context, data, kind, subnet))
        told = " in ".join(part for part in (f"EC2 would launch {kind or 'a machine'}", subnet) if part)
        return refusal(name, found) if found else _row(name, good=True, message=told)


def _guarded(name: str, look: Callable[[str], Check]) -> Check:
    """Give the check of a look; what the credentials may not and need not ask for is not checked; all else is wrong."""
    try:
        return look(name)
    except CloudError as error:
        found = error.fault
        if found.kind is not FaultKind.PERMISSION or name in _OF_LAUNCHES:
            return refusal(name, replace(found, hint=found.hint or "correct what the template names"))
        told = f"the credentials may not ask for it ({found.code})"
        return Check(name=name, status="not checked", message=told, hint=found.hint)
    except HfcoreError as error:
        return Check(name=name, status="error", message=str(error), hint=error.hint)


def _row(name: str, good: bool, message: str, hint: str = "") -> Check:  # noqa: FBT001 - the sentence's yes or no
    return Check(name=name, status="ok" if good else "error", message=message, hint="" if good else hint)


def _same_arn(name: str, given: str, found: str) -> Check | None:
    if not given.startswith("arn:") or given == found:
        return None
    return _row(name, good=False, message=f"{given} is not there, but {found}", hint="correct the ARN")


def _last(name_or_arn: str) -> str:
    """Give the name of a role or profile: of an ARN, what stands behind its path."""
    return name_or_arn.rpartition("/")[2]


def _one_machine(context: Context, data: Json, kind: str, subnet: str) -> dict[str, Any]:
    """Build RunInstances' parameters of a launch template's data, as far as both have them."""
    known = context.clients("ec2", "patient").meta.service_model.operation_model("RunInstances").input_shape.members
    named: dict[str, Any] = {key: value for key, value in data.items() if key in known}
    if interfaces := named.get("NetworkInterfaces"):
        named["NetworkInterfaces"] = [{**one, **({"SubnetId": subnet} if subnet else {})} for one in interfaces]
    elif subnet:
        named["SubnetId"] = subnet
    return {**named, **({"InstanceType": kind} if kind else {}), "MinCount": 1, "MaxCount": 1}
