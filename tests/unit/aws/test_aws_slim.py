"""Slim models: as good as botocore's own for what is declared, and out of the way wherever they can't be had."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import pytest
from botocore.loaders import create_loader
from botocore.model import ServiceModel, Shape, StructureShape
from botocore.session import Session

from hfcore.aws import slim
from hfcore.aws.about import aws_provider
from hfcore.aws.clients import connect
from hfcore.config import Settings
from hfcore.errors import CloudError
from hfcore.files import read_checked, replace_checked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hfcore.context import Clock
    from hfcore.testing.aws import StrictAws

DECLARED = aws_provider("Any", "Anything.", call_budgets={}).operations
WHOLE = cache(create_loader)
MANY = 500


@pytest.fixture(autouse=True)
def _nothing_is_being_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hfcore.environment.SETTLED", 0)


@pytest.fixture(autouse=True)
def _botocore_reads_its_data_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.session.create_loader", lambda path=None: create_loader(path) if path else WHOLE())


@pytest.fixture
def clients(
    tmp_path: Path, clock: Clock, strict_aws: StrictAws, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Callable[[str, str], Any]]:
    """Make the clients of one call, which may make slim models for `operations` once."""
    for name, value in strict_aws.environment().items():
        monkeypatch.setenv(name, value)
    settings = Settings(
        conf_dir=tmp_path, work_dir=tmp_path, log_dir=tmp_path, provider="grid", region="us-east-1", call_timeout_sec=60
    )
    place = {"settings": settings, "region": "us-east-1", "endpoint": "", "clock": clock, "deadline": float("inf")}

    def make(operations: Callable[[], tuple[str, ...]] = lambda: DECLARED) -> Callable[[str, str], Any]:
        return connect(**place, operations=operations)

    return make


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "cache" / slim.FILE


def refuse() -> tuple[str, ...]:
    raise AssertionError("slim models are made anew")


def operations_of(client: Any) -> list[str]:  # noqa: ANN401 - made at run time
    return list(client.meta.service_model.operation_names)


def declared(service: str) -> list[str]:
    return sorted(one.split(":")[1] for one in DECLARED if one.startswith(f"{service}:"))


def test_slim_models_hold_what_is_declared_and_are_made_once(clients: Callable[..., Any], kept: Path) -> None:
    assert sorted(operations_of(clients()("ec2", "patient"))) == declared("ec2")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    again = clients(refuse)
    assert sorted(operations_of(again("ec2", "patient"))) == declared("ec2")
    assert "AssumeRole" in operations_of(again("sts", "quick")), "botocore's own credentials call it"
    again("ec2", "patient").describe_instances()


@pytest.mark.parametrize("spoil", ["cut", "emptied", "flipped"])
def test_damaged_models_are_made_anew(clients: Callable[..., Any], kept: Path, spoil: str) -> None:
    clients()("ec2", "patient")
    good = kept.read_bytes()
    bad = {
        "cut": good[: len(good) // 2],
        "emptied": b"",
        "flipped": good.replace(b"DescribeInstances", b"DescribeInstanceZ"),
    }[spoil]
    kept.write_bytes(bad)
    clients()("ec2", "patient").describe_instances()
    assert kept.read_bytes() == good


def test_what_is_of_another_form_is_made_anew_though_its_checksum_is_right(
    clients: Callable[..., Any], kept: Path
) -> None:
    few = lambda: ("ec2:DescribeInstances",)  # noqa: E731 - as short as it can be
    clients(few)("ec2", "patient")
    good = kept.read_bytes()
    found = read_checked(kept)
    wrong = ({"services": []}, {"services": {"ec2": []}}, {"services": {"ec2": {}}}, {"endpoints": {}}, {"stamp": []})
    for bad in ([], None, *(found | one for one in wrong)):
        replace_checked(kept, bad)
        assert operations_of(clients(few)("ec2", "patient")) == ["DescribeInstances"]
        assert kept.read_bytes() == good


def test_a_pipe_in_their_place_is_not_waited_for(clients: Callable[..., Any], kept: Path) -> None:
    kept.parent.mkdir(mode=0o700)
    os.mkfifo(kept)
    assert clients()("ec2", "patient").describe_instances()["Reservations"] == []


@pytest.mark.parametrize("asked", ["an operation", "a service"])
def test_what_a_plug_in_declares_by_now_is_kept_once_it_was_asked_for(clients: Callable[..., Any], asked: str) -> None:
    more = ("ec2:DescribeInstances", "ec2:DescribeVpcs", "autoscaling:DescribeAutoScalingGroups")
    clients(lambda: more[:1])("ec2", "quick")
    client = clients(lambda: more)
    if asked == "an operation":
        client("ec2", "quick").describe_vpcs()
    else:
        client("autoscaling", "quick").describe_auto_scaling_groups()
    assert operations_of(clients(lambda: more)("autoscaling", "quick")) == ["DescribeAutoScalingGroups"]
    assert operations_of(clients(refuse)("ec2", "quick")) == ["DescribeInstances", "DescribeVpcs"]


@pytest.mark.parametrize("changed", ["hfcore.aws.slim.__version__", "hfcore.aws.slim.fingerprint"])
def test_another_botocore_or_other_plug_ins_make_them_anew(
    clients: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    clients()("ec2", "patient")
    monkeypatch.setattr(changed, "9.9.9" if changed.endswith("__") else lambda: "other plug-ins")
    assert operations_of(clients(lambda: ("ec2:DescribeVpcs",))("ec2", "patient")) == ["DescribeVpcs"]


def test_while_something_may_be_being_installed_nothing_is_kept(
    clients: Callable[..., Any], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hfcore.aws.slim.fingerprint", lambda: "")
    assert len(operations_of(clients(refuse)("ec2", "patient"))) > MANY
    assert not kept.exists()


def test_where_nothing_can_be_kept_the_whole_models_serve(clients: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    client = clients(refuse)("ec2", "patient")
    assert len(operations_of(client)) > MANY
    client.describe_instances()


def test_data_of_an_unknown_form_is_left_alone(
    clients: Callable[..., Any], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hfcore.aws.slim.ENDPOINTS", "partitions")
    assert len(operations_of(clients()("ec2", "patient"))) > MANY
    assert not kept.exists()


def test_models_of_the_user_s_own_stay_in_force(
    clients: Callable[..., Any], kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients()("ec2", "patient")
    folder = tmp_path / "models" / "ec2" / "2016-11-15"
    folder.mkdir(parents=True)
    own = read_checked(kept)["services"]["ec2"]["service-2"]
    own["operations"] = {"DescribeImages": own["operations"]["DescribeImages"]}
    (folder / "service-2.json").write_text(json.dumps(own))
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path / "models"))
    assert operations_of(clients(refuse)("ec2", "patient")) == ["DescribeImages"]


def test_a_profile_that_does_not_exist_is_told_all_the_same(
    clients: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(CloudError, match=r"ProfileNotFound: .*\(nobody\)"):
        clients()("ec2", "patient")


def test_what_no_plug_in_declares_can_be_asked_all_the_same(clients: Callable[..., Any], strict_aws: StrictAws) -> None:
    few = clients(lambda: ("ec2:DescribeInstances", "nowhere:Foo", "odd"))
    assert few("ec2", "quick").describe_vpcs()["Vpcs"]
    assert few("autoscaling", "patient").describe_auto_scaling_groups()["AutoScalingGroups"] == []
    assert [call.operation for call in strict_aws.calls][-2:] == ["DescribeVpcs", "DescribeAutoScalingGroups"]
    assert next(page["Vpcs"] for page in few("ec2", "quick").get_paginator(operation_name="describe_vpcs").paginate())
    assert few("ec2", "quick").can_paginate("describe_instances")
    assert not few("ec2", "quick").can_paginate("describe_regions")
    assert "DescribeRegions" in few("ec2", "quick").generate_presigned_url("describe_regions")
    with pytest.raises(KeyError):
        few("ec2", "quick").get_paginator("no_such_operation")
    with pytest.raises(AttributeError):
        _ = few("ec2", "quick").no_such_operation
    clients(refuse)("ec2", "quick")


def test_processes_that_make_them_at_the_same_time_do_no_harm(clients: Callable[..., Any], kept: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: clients()("ec2", "patient"), range(4)))
    assert {len(operations_of(one)) for one in made} == {len(declared("ec2"))}
    assert [one.name for one in kept.parent.iterdir()] == [slim.FILE]
    clients(refuse)("ec2", "patient")


def same(one: Shape | None, other: Shape | None, seen: set[str]) -> None:
    """Hold two shapes against each other, and all that they lead to."""
    if one is None or other is None or one.name in seen:
        assert (one is None) == (other is None)
        return
    seen.add(one.name)
    assert (one.type_name, one.serialization, one.metadata) == (other.type_name, other.serialization, other.metadata)
    if isinstance(one, StructureShape) and isinstance(other, StructureShape):
        assert list(one.members) == list(other.members)
        for name in one.members:
            same(one.members[name], other.members[name], seen)
    for part in ("member", "key", "value"):
        same(getattr(one, part, None), getattr(other, part, None), seen)


@pytest.mark.parametrize("service", sorted({one.split(":")[0] for one in DECLARED}))
def test_a_slim_model_says_the_same_as_the_whole_one(service: str, tmp_path: Path) -> None:
    session = Session()
    assert slim.use(session, tmp_path / slim.FILE, lambda: DECLARED) >= {service}
    cut = ServiceModel(session.get_component("data_loader").load_service_model(service, "service-2"), service)
    whole = ServiceModel(WHOLE().load_service_model(service, "service-2"), service)
    assert set(cut.operation_names) >= set(declared(service))
    seen: set[str] = set()
    for name in cut.operation_names:
        one, other = cut.operation_model(name), whole.operation_model(name)
        assert one.http == other.http
        same(one.input_shape, other.input_shape, seen)
        same(one.output_shape, other.output_shape, seen)
        for error, its_like in zip(one.error_shapes, other.error_shapes, strict=True):
            same(error, its_like, seen)


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "us-gov-west-1", "cn-north-1"])
def test_endpoints_are_those_of_the_whole_data(region: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    cut, whole = Session(), Session()
    services = slim.use(cut, tmp_path / slim.FILE, lambda: DECLARED)
    loader = cut.get_component("data_loader")
    assert loader.is_builtin_path(loader.load_data_with_path("endpoints")[1]), "else botocore uses no rules"
    for session in (cut, whole):
        session.set_credentials("nobody", "nothing")
    for service in sorted(services):
        make = partial(Session.create_client, service_name=service, region_name=region)
        one, other = make(cut), make(whole)
        assert one.meta.endpoint_url == other.meta.endpoint_url
        assert one.meta.partition == other.meta.partition
        assert one._request_signer.region_name == other._request_signer.region_name
