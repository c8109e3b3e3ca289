"""Own how a template file is made of what a cloud offers: a template for each type of machine. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hfcore.errors import InputError
from hfcore.templates import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hfcore.models import MachineType, Subnet

_WITHIN_ID = re.compile(r"[^0-9A-Za-z-]+")  # LSF allows no underscore in a template's id


def template_file(types: Iterable[MachineType], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Give a template file with one template for each type, named after API, type and price.

    Args:
        types: The types.
        shared: The fields that all of them have, as files spell them; empty ones are left out.
    """
    defaults = {name: value for name, value in shared.items() if value not in (None, "", [], {})}
    return {DEFAULTS: defaults, "templates": [_template(one, shared) for one in types]}


def _template(one: MachineType, shared: Mapping[str, Any]) -> dict[str, Any]:
    name = f"{shared['providerApi']}-{one.name}-{shared['priceType']}"
    attributes = {
        "type": ["String", one.architecture.upper()],
        "ncpus": ["Numeric", str(one.cores)],
        "nram": ["Numeric", str(one.memory_mib)],
    }
    return {"templateId": _WITHIN_ID.sub("-", name), "attributes": attributes, "vmTypes": {one.name: 1}}


def subnet_ids(subnets: Iterable[Subnet]) -> list[str]:
    """Give the ids of subnets that one template can name together.

    Raises:
        InputError: There is none, or they are of several networks.
    """
    found = tuple(subnets)
    networks = sorted({one.network for one in found})
    if not networks:
        raise InputError("there is no such subnet", hint="look for others: --vpc, --tag, or name them: --subnet")
    if len(networks) > 1:
        raise InputError(f"the subnets are of several VPCs: {', '.join(networks)}", hint="name one of them: --vpc ID")
    return [one.subnet_id for one in found]
