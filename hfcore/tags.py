"""Own the tags by which hfcore knows its own in a cloud: everything that a plug-in makes carries them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hfcore.context import Context
    from hfcore.models import Template

OWNER = "hfcore:owner"
PROVIDER = "hfcore:provider"
REQUEST = "hfcore:request-id"
TEMPLATE = "hfcore:template-id"
OURS = (OWNER, PROVIDER, REQUEST, TEMPLATE)


def ours(context: Context, template_id: str, request_id: str = "") -> dict[str, str]:
    """Give hfcore's own tags; without a request id for what several requests share."""
    tags = {OWNER: context.owner, PROVIDER: context.provider, TEMPLATE: template_id}
    return tags | {REQUEST: request_id} if request_id else tags


def of_instances(context: Context, template: Template, request_id: str = "") -> dict[str, str]:
    """Give the tags of a request's instances: the template's `instanceTags`, which never override ours."""
    return dict(template.instance_tags) | ours(context, template.template_id, request_id)
