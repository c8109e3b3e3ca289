"""Launch templates (of one version each, as no operation served makes a second one), and what else launches name."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfcore.testing.aws.protocol import AwsError, Params, find, matching, page, read_tags, tag_list

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hfcore.testing.aws.protocol import Fields
    from hfcore.testing.aws.world import Region

NAME = re.compile(r"[a-zA-Z0-9().\-/_]{3,128}")
PAGE = range(1, 201)
MAX_TAGS = 50
MAX_USER_DATA = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A launch template with its tags."""

    id: str
    name: str
    created: float
    account: str
    tags: dict[str, str]
    data: Params

    def describe(self) -> Params:
        """Describe it in the words of DescribeLaunchTemplates."""
        named = {"LaunchTemplateId": self.id, "LaunchTemplateName": self.name, "CreateTime": self.created}
        named["CreatedBy"] = _who(self.account)
        return {**named, "DefaultVersionNumber": 1, "LatestVersionNumber": 1, "Tags": tag_list(self.tags)}


def collect_tags(specifications: Iterable[Params], resource: str, allowed: set[str] | None = None) -> dict[str, str]:
    """Collect and check the tags meant for `resource`; a resource type outside `allowed` is refused."""
    found: dict[str, str] = {}
    for one in specifications:
        kind, tags = one.get("ResourceType", ""), read_tags(one.get("Tags", ()))
        if allowed is not None and kind not in allowed:
            raise AwsError("InvalidParameterValue", f"'{kind}' is not a valid taggable resource type here.")
        if any(key.lower().startswith("aws:") for key in tags):
            raise AwsError("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
        found |= tags if kind == resource else {}
    if len(found) > MAX_TAGS:
        raise AwsError("TagLimitExceeded", f"The maximum number of Tags for a resource is {MAX_TAGS}")
    return found


def check_user_data(text: str) -> None:
    """Refuse user data that is not Base64, or more than 16 KB before it."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise AwsError("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from None
    if len(data) > MAX_USER_DATA:
        raise AwsError("InvalidParameterValue", f"User data is limited to {MAX_USER_DATA} bytes")


def _find(region: Region, named: Params) -> Template:
    template_id, name = named.get("LaunchTemplateId"), named.get("LaunchTemplateName")
    if bool(template_id) == bool(name):
        code = "InvalidParameterCombination" if name else "MissingParameter"
        raise AwsError(code, "Either LaunchTemplateId or LaunchTemplateName must be specified, but not both.")
    if template_id:
        return find(region.templates, template_id, r"lt-[0-9a-f]{8,17}", "InvalidLaunchTemplateId")
    for template in region.templates.values():
        if template.name == name:
            return template
    text = f"The specified launch template, with template name {name}, does not exist."
    raise AwsError("InvalidLaunchTemplateName.NotFoundException", text)


def find_version(region: Region, named: Params, version: str = "$Default") -> Template:
    """Find a template of which the named version is there: `$Latest`, `$Default` or 1."""
    template, version = _find(region, named), named.get("Version", version)
    if version not in {"$Latest", "$Default", "1"}:
        raise AwsError("InvalidLaunchTemplateId.VersionNotFound", f"{template.id} has no version {version}.")
    return template


def create_launch_template(region: Region, params: Params) -> Params:
    """CreateLaunchTemplate; what the data names is not checked before a launch."""
    name, data = params["LaunchTemplateName"], params["LaunchTemplateData"]

    def make() -> Template:
        if not NAME.fullmatch(name):
            raise AwsError("InvalidLaunchTemplateName.MalformedException", f"It does not match {NAME.pattern}")
        if any(template.name == name for template in region.templates.values()):
            raise AwsError("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
        check_user_data(data.get("UserData", ""))
        collect_tags(data.get("TagSpecifications", ()), "instance")
        tags = collect_tags(params.get("TagSpecifications", ()), "launch-template", {"launch-template"})
        template_id = f"lt-0{secrets.token_hex(8)}"
        at = region.timeline.now() // 1
        made = Template(id=template_id, name=name, created=at, account=region.account, tags=tags, data=data)
        region.templates[made.id] = made
        return made

    return {"LaunchTemplate": region.once("CreateLaunchTemplate", params, make).describe()}


def describe_launch_templates(region: Region, params: Params) -> Params:
    """DescribeLaunchTemplates: an unknown name is an error; by filters it is only absent."""
    named = [_find(region, {"LaunchTemplateName": name}) for name in params.get("LaunchTemplateNames", ())]
    kept = matching(named or region.templates.values(), params, {}, lambda template: template.tags)
    return page(params, [template.describe() for template in kept], "LaunchTemplates", PAGE)


def describe_launch_template_versions(region: Region, params: Params) -> Params:
    """DescribeLaunchTemplateVersions."""
    template = _find(region, params)
    for version in params.get("Versions", ()):
        find_version(region, params, version)
    own = {"VersionNumber": 1, "DefaultVersion": True, "LaunchTemplateData": template.data}
    return {"LaunchTemplateVersions": [template.describe() | own]}


def delete_launch_template(region: Region, params: Params) -> Params:
    """DeleteLaunchTemplate, used or not: what was made from it lives on, but launches no more."""
    return {"LaunchTemplate": region.templates.pop(_find(region, params).id).describe()}


def describe_images(region: Region, params: Params) -> Params:
    """DescribeImages, by ids; one that is not there fails the whole call."""
    return {"Images": [find(region.images, one, r"ami-[0-9a-f]{8,17}", "InvalidAMIID") for one in params["ImageIds"]]}


def describe_subnets(region: Region, params: Params) -> Params:
    """DescribeSubnets, by filters or by ids, of which one that is not there fails the whole call."""
    fields: Fields = {"state": lambda _: ["available"], "vpc-id": lambda one: [one.vpc_id]}
    named = [
        find(region.subnets, one, r"subnet-[0-9a-f]{8,17}", "InvalidSubnetID") for one in params.get("SubnetIds", ())
    ]
    found = matching(named or region.subnets.values(), params, fields, lambda one: one.tags)
    shown = [
        {
            "SubnetId": one.id,
            "VpcId": one.vpc_id,
            "AvailabilityZone": one.zone,
            "State": "available",
            "AvailableIpAddressCount": len(one.free),
            "Tags": tag_list(one.tags),
        }
        for one in found
    ]
    return page(params, shown, "Subnets", range(5, 1001))


def describe_vpcs(region: Region, _: Params) -> Params:
    """DescribeVpcs: the cheapest question there is."""
    return {"Vpcs": [{"VpcId": region.vpc_id, "State": "available"}]}


def get_caller_identity(region: Region, _: Params) -> Params:
    """GetCallerIdentity of STS."""
    return {"Account": region.account, "UserId": "AIDASTRICTAWS", "Arn": _who(region.account)}


def _who(account: str) -> str:
    return f"arn:aws:iam::{account}:user/strict"


def get_parameter(region: Region, params: Params) -> Params:
    """GetParameter of SSM."""
    if params["Name"] not in region.parameters:
        raise AwsError("ParameterNotFound", "")
    return {"Parameter": {"Name": params["Name"], "Type": "String", "Value": region.parameters[params["Name"]]}}
