"""Own what stands in EC2 under our owner tag, whatever API made it: instances and launch templates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore.aws import tags
from hfcore.aws.calls import pages
from hfcore.aws.instances import describe_live, utc
from hfcore.models import OwnedResource

if TYPE_CHECKING:
    from hfcore.context import Context


def common(context: Context) -> tuple[OwnedResource, ...]:
    """List live instances and launch templates of ours; asked once for all plug-ins of one call.

    Raises:
        CloudError: EC2 could not be asked.
    """
    return (*_instances(context), *_launch_templates(context))


def _instances(context: Context) -> tuple[OwnedResource, ...]:
    return tuple(
        OwnedResource(
            kind="instance",
            resource_id=one.instance_id,
            request_id=one.tags.get(tags.REQUEST, ""),
            template_id=one.tags.get(tags.TEMPLATE, ""),
            status=one.status.value,
            created_at=one.launch_time,
        )
        for one in describe_live(context).instances.values()
    )


def _launch_templates(context: Context) -> tuple[OwnedResource, ...]:
    def make() -> tuple[OwnedResource, ...]:
        parameters = {"Filters": tags.filters(context), "MaxResults": 200}
        found = pages(context, "ec2", "DescribeLaunchTemplates", "LaunchTemplates", parameters)
        read = [(one, tags.read(one.get("Tags"))) for one in found]
        return tuple(
            OwnedResource(
                kind="launch-template",
                resource_id=one["LaunchTemplateName"],
                request_id=its.get(tags.REQUEST, ""),
                template_id=its.get(tags.TEMPLATE, ""),
                status="active",
                created_at=utc(one.get("CreateTime")),
            )
            for one, its in read
        )

    return context.cache.once(("aws-launch-templates", context.region, context.endpoint), make)
