"""Own the host name by which a machine joins the cluster (setting `hostName`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfcore.models import Instance

TAG_PREFIX = "tag:"


def host_name_by(rule: str) -> Callable[[Instance], str]:
    """Give what names an instance.

    Args:
        rule: `privateDns`, `privateIp`, `reverseDns` (asks the resolver for the private address), or `tag:KEY`.

    Returns:
        A function that gives an empty name while the instance has none: a name is never made up.
    """
    if rule.startswith(TAG_PREFIX):
        key = rule.removeprefix(TAG_PREFIX)
        return lambda instance: instance.tags.get(key, "")
    return {"privateIp": _private_ip, "reverseDns": _reverse_dns}.get(rule, _private_dns)


def address_of(name: str) -> str:
    """Give the private address of a name that `reverseDns` has made; empty while the resolver knows none."""
    import socket

    try:
        return socket.gethostbyname(name)
    except OSError:
        return ""


def _private_dns(instance: Instance) -> str:
    return instance.private_dns


def _private_ip(instance: Instance) -> str:
    return instance.private_ip


def _reverse_dns(instance: Instance) -> str:
    import socket

    if not instance.private_ip:
        return ""
    try:
        return socket.gethostbyaddr(instance.private_ip)[0]
    except OSError:
        return ""
