"""Own what stands in EC2 under our owner tag, whatever API made it: instances and launch templates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore.aws import tags
from hfcore.aws.calls import pages
from hfcore.aws.instances import describe_live, utc
from hfcore.models import OwnedResource

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from hfcore.context import Context


def common(context: Context) -> tuple[OwnedResource, ...]:
    """List live instances and launch templates of ours; asked once for all plug-ins of one call."""
    live = describe_live(context).instances.values()
    instances = (resource("instance", i.instance_id, i.tags, i.launch_time, status=i.status.value) for i in live)
    return (*instances, *_launch_templates(context))


def resource(
    kind: str, resource_id: str, its_tags: Mapping[str, str], created_at: datetime | None, *, status: str = "active"
) -> OwnedResource:
    """Give what reconcile is told of a thing of ours; its tags say whose it is."""
    return OwnedResource(
        kind=kind,
        resource_id=resource_id,
        request_id=its_tags.get(tags.REQUEST, ""),
        template_id=its_tags.get(tags.TEMPLATE, ""),
        status=status,
        created_at=utc(created_at),
    )


def _launch_templates(context: Context) -> tuple[OwnedResource, ...]:
    def make() -> tuple[OwnedResource, ...]:
        parameters = {"Filters": tags.filters(context), "MaxResults": 200}
        found = pages(context, "ec2", "DescribeLaunchTemplates", "LaunchTemplates", parameters)
        return tuple(
            resource("launch-template", one["LaunchTemplateName"], tags.read(one.get("Tags")), one.get("CreateTime"))
            for one in found
        )

    return context.cache.once(("aws-launch-templates", context.region, context.endpoint), make)
