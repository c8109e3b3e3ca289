"""By which name a machine joins the cluster."""

from __future__ import annotations

import socket

import pytest

from hfcore.models import Instance
from hfcore.naming import host_name_by

INSTANCE = Instance(
    instance_id="i-1", private_ip="10.0.58.4", private_dns="ip-10-0-58-4.ec2.internal", tags={"Name": "grid-7"}
)
UNBORN = Instance(instance_id="i-2")


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("privateDns", "ip-10-0-58-4.ec2.internal"),
        ("privateIp", "10.0.58.4"),
        ("tag:Name", "grid-7"),
        ("tag:Other", ""),
    ],
)
def test_a_machine_is_named_by_the_rule(rule: str, name: str) -> None:
    assert host_name_by(rule)(INSTANCE) == name


@pytest.mark.parametrize("rule", ["privateDns", "privateIp", "reverseDns", "tag:Name"])
def test_an_instance_without_an_address_has_no_name(rule: str) -> None:
    assert host_name_by(rule)(UNBORN) == ""


def test_a_name_by_reverse_dns_is_what_the_resolver_has_for_the_private_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = {"10.0.58.4": ("node-4.grid.example", [], ["10.0.58.4"])}
    monkeypatch.setattr(socket, "gethostbyaddr", known.__getitem__)
    assert host_name_by("reverseDns")(INSTANCE) == "node-4.grid.example"


def test_a_name_that_the_resolver_does_not_have_is_not_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(address: str) -> object:
        raise socket.herror(1, f"unknown host {address}")

    monkeypatch.setattr(socket, "gethostbyaddr", unknown)
    assert host_name_by("reverseDns")(INSTANCE) == ""


def test_only_the_rule_by_reverse_dns_asks_the_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(address: str) -> object:
        raise AssertionError(address)

    monkeypatch.setattr(socket, "gethostbyaddr", never)
    for rule in ("privateDns", "privateIp", "tag:Name"):
        host_name_by(rule)(INSTANCE)
