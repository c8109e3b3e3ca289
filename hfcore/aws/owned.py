"""Own what stands in EC2 under our owner tag, whatever API made it: instances and launch templates."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hfcore.aws import tags
from hfcore.aws.accounts import answering
from hfcore.aws.calls import pages, repeat
from hfcore.aws.instances import LAUNCHER_TAGS, describe_live, utc
from hfcore.errors import CloudError
from hfcore.hookspecs import hookimpl
from hfcore.models import FaultKind, OwnedResource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from hfcore.context import Context
    from hfcore.models import Fault

_LAUNCHED_FROM = "aws:ec2launchtemplate:id"
_NAMES = ("LaunchTemplateId", "LaunchTemplateName")
_NOBODYS = "reconcile"  # in whose name the journal has the removal of what several requests share


def common(context: Context, others: Iterable[OwnedResource] = ()) -> tuple[OwnedResource, ...]:
    """List live instances and launch templates of ours, asked once for all plug-ins of one call, and `others`.

    Each gets the account that answered; STS is asked for that only where no instance shows it.
    """
    account = describe_live(context).account or answering(context)
    return tuple(
        replace(one, account_id=account) for one in (*_instances(context), *launch_templates(context), *others)
    )


def resource(
    kind: str,
    resource_id: str,
    its_tags: Mapping[str, str],
    created_at: datetime | None,
    *,
    form: str = "",
    status: str = "active",
    launch_templates: Iterable[Mapping[str, str]] = (),
) -> OwnedResource:
    """Give what reconcile is told of a thing of ours; its tags say whose it is.

    Args:
        kind: What it is.
        resource_id: Its id.
        its_tags: All its tags.
        created_at: When AWS made it.
        form: What sort of its kind it is.
        status: AWS's word for its state.
        launch_templates: Those that it launches from or is, as AWS names them: by id, by name or by both.
    """
    named = (one[key] for one in launch_templates for key in _NAMES if one.get(key))
    return OwnedResource(
        kind=kind,
        resource_id=resource_id,
        request_id=its_tags.get(tags.REQUEST, ""),
        template_id=its_tags.get(tags.TEMPLATE, ""),
        provider=its_tags.get(tags.PROVIDER, ""),
        launcher=next((its_tags[key] for key in LAUNCHER_TAGS if key in its_tags), ""),
        form=form,
        status=status,
        created_at=utc(created_at),
        launch_templates=tuple(dict.fromkeys(named)),
    )


def _instances(context: Context) -> Iterable[OwnedResource]:
    for one in describe_live(context).instances.values():
        used = [{_NAMES[0]: one.tags.get(_LAUNCHED_FROM, "")}]
        place = ("instance", one.instance_id, one.tags, one.launch_time)
        yield resource(*place, status=one.status.value, launch_templates=used)


def launch_templates(context: Context) -> tuple[OwnedResource, ...]:
    """List launch templates of ours, asked once in one call."""
    key = ("aws-launch-templates", context.region, context.endpoint)
    return context.cache.once(key, lambda: _list_templates(context))


def _list_templates(context: Context) -> tuple[OwnedResource, ...]:
    parameters = {"Filters": tags.filters(context), "MaxResults": 200}
    found = pages(context, "ec2", "DescribeLaunchTemplates", "LaunchTemplates", parameters)
    return tuple(_template(one) for one in found)


def _template(one: Mapping[str, Any]) -> OwnedResource:
    place = ("launch-template", one["LaunchTemplateName"], tags.read(one.get("Tags")), one.get("CreateTime"))
    return resource(*place, launch_templates=[one])


@hookimpl
def remove_owned(resources: tuple[OwnedResource, ...], context: Context) -> tuple[Fault, ...]:
    """Delete launch templates by the ids that they have now, under our owner tag."""
    wanted = {one.resource_id for one in resources}
    still_ours = [one for one in _list_templates(context) if one.resource_id in wanted]
    return tuple(filter(None, (_removed(context, one) for one in still_ours)))


def _removed(context: Context, one: OwnedResource) -> Fault | None:
    template_id = one.launch_templates[0]
    place = (context, one.request_id or _NOBODYS, f"delete-{template_id}", "ec2", "DeleteLaunchTemplate")
    try:
        repeat(*place, {"LaunchTemplateId": template_id})
    except CloudError as error:
        return None if error.fault.kind is FaultKind.GONE else replace(error.fault, subject=one.resource_id)
    return None
