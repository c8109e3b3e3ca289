"""Launch templates (one version each, since no operation served makes a second one), and what all launches check."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfcore.testing.aws.protocol import AwsError, Params
from hfcore.testing.aws.select import find, matching, page, tag_list

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hfcore.testing.aws.world import Region

NAME = re.compile(r"[a-zA-Z0-9().\-/_]{3,128}")
PAGE = 200
MAX_TAGS = 50
MAX_USER_DATA = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A launch template with its tags."""

    id: str
    name: str
    created: float
    tags: dict[str, str]
    data: Params

    def describe(self) -> Params:
        """Describe it in the words of DescribeLaunchTemplates."""
        return {
            "LaunchTemplateId": self.id,
            "LaunchTemplateName": self.name,
            "CreateTime": self.created,
            "CreatedBy": "arn:aws:iam::123456789012:user/hfcore",
            "DefaultVersionNumber": 1,
            "LatestVersionNumber": 1,
            "Tags": tag_list(self.tags),
        }


def collect_tags(specifications: Iterable[Params], resource: str, allowed: set[str] | None = None) -> dict[str, str]:
    """Collect and check the tags meant for `resource`; a resource type outside `allowed` is refused."""
    found: dict[str, str] = {}
    for one in specifications:
        kind = one.get("ResourceType", "")
        if allowed is not None and kind not in allowed:
            text = f"'{kind}' is not a valid taggable resource type for this operation."
            raise AwsError("InvalidParameterValue", text)
        tags = {t["Key"]: t.get("Value", "") for t in one.get("Tags", ())}
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


def find_template(region: Region, named: Params) -> Template:
    """Find a template by `LaunchTemplateId` or `LaunchTemplateName`, of which exactly one must be given."""
    template_id, name = named.get("LaunchTemplateId"), named.get("LaunchTemplateName")
    if bool(template_id) == bool(name):
        text = "Either LaunchTemplateId or LaunchTemplateName must be specified, but not both."
        raise AwsError("InvalidParameterCombination" if name else "MissingParameter", text)
    if template_id:
        return find(region.templates, template_id, r"lt-[0-9a-f]{8,17}", "InvalidLaunchTemplateId")
    for template in region.templates.values():
        if template.name == name:
            return template
    text = f"The specified launch template, with template name {name}, does not exist."
    raise AwsError("InvalidLaunchTemplateName.NotFoundException", text)


def find_version(region: Region, named: Params) -> Template:
    """Find a template of which this version is there: `$Latest`, `$Default` (also when absent) or 1."""
    template, version = find_template(region, named), named.get("Version", "$Default")
    if version not in {"$Latest", "$Default", "1"}:
        text = f"Could not find the specified version {version} for the launch template with ID {template.id}."
        raise AwsError("InvalidLaunchTemplateId.VersionNotFound", text)
    return template


def create_launch_template(region: Region, params: Params) -> Params:
    """CreateLaunchTemplate; what the data names is not checked before a launch."""
    name, data = params["LaunchTemplateName"], params["LaunchTemplateData"]

    def make() -> Template:
        if not NAME.fullmatch(name):
            text = "A launch template name has 3 to 128 characters: letters, numbers, and ().-/_"
            raise AwsError("InvalidLaunchTemplateName.MalformedException", text)
        if any(t.name == name for t in region.templates.values()):
            raise AwsError("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
        check_user_data(data.get("UserData", ""))
        collect_tags(data.get("TagSpecifications", ()), "instance")
        tags = collect_tags(params.get("TagSpecifications", ()), "launch-template", {"launch-template"})
        template_id = f"lt-0{secrets.token_hex(8)}"
        made = Template(id=template_id, name=name, created=region.timeline.now() // 1, tags=tags, data=data)
        region.templates[made.id] = made
        return made

    return {"LaunchTemplate": region.once("CreateLaunchTemplate", params, make).describe()}


def describe_launch_templates(region: Region, params: Params) -> Params:
    """DescribeLaunchTemplates: an unknown id or name is an error; by filters it is only absent."""
    asked = [{"LaunchTemplateId": i} for i in params.get("LaunchTemplateIds", ())]
    asked += [{"LaunchTemplateName": n} for n in params.get("LaunchTemplateNames", ())]
    items = [find_template(region, one) for one in asked] or list(region.templates.values())
    kept = matching(items, params.get("Filters", []), {"launch-template-name": lambda t: t.name}, lambda t: t.tags)
    part, token = page(kept, params.get("MaxResults", PAGE), params.get("NextToken"))
    return {"LaunchTemplates": [t.describe() for t in part], "NextToken": token}


def describe_launch_template_versions(region: Region, params: Params) -> Params:
    """DescribeLaunchTemplateVersions."""
    template = find_template(region, params)
    for version in params.get("Versions", ()):
        find_version(region, {"LaunchTemplateId": template.id, "Version": version})
    about = template.describe()
    own = {"VersionNumber": 1, "DefaultVersion": True, "LaunchTemplateData": template.data}
    return {"LaunchTemplateVersions": [about | own]}


def delete_launch_template(region: Region, params: Params) -> Params:
    """DeleteLaunchTemplate, used or not: what was made from it lives on, but launches no more."""
    return {"LaunchTemplate": region.templates.pop(find_template(region, params).id).describe()}
