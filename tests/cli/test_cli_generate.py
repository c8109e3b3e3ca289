"""`hfcore templates schema` and `templates generate`: what is printed is right, and nothing is overwritten."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from hfcore.cli.output import ExitCode
from hfcore.testing.aws import StrictAws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GROUP = ("--security-group", "sg-0123456789abcdef0")
IMAGE = ("--image", "ami-0123456789abcdef0")
ROLE = ("--fleet-role", "arn:aws:iam::123456789012:role/fleet")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[StrictAws]:
    with StrictAws() as strict:
        for name, value in strict.environment().items():
            monkeypatch.setenv(name, value)
        yield strict
        assert strict.violations == []


@pytest.fixture
def generate(cli: Callable[..., Any], instance: Path, aws: StrictAws) -> Callable[..., Any]:
    def call(*words: object) -> Any:  # noqa: ANN401 - what `cli` gives
        return cli("templates", "generate", *words, "--provider", instance)

    return call


def operations(aws: StrictAws) -> list[str]:
    return [call.operation for call in aws.calls]


def test_what_init_lays_out_is_right_by_the_schema(cli: Callable[..., Any], tmp_path: Path) -> None:
    schema = json.loads(cli("templates", "schema", "-o", "table").out)
    assert cli("init", "--provider", tmp_path / "new").code == 0
    laid_out = json.loads((tmp_path / "new" / "conf" / "newprov_templates.json").read_text())
    jsonschema.validate(laid_out, schema)


@pytest.mark.usefixtures("good")
def test_the_schema_has_the_fields_of_installed_plugins(cli: Callable[..., Any]) -> None:
    fields = cli("templates", "schema").document["$defs"]["fields"]["properties"]
    assert fields["fakeField"] == {"description": "Honoured by Fake."}
    assert "Fake" in fields["providerApi"]["examples"]


@pytest.mark.parametrize("api", ["RunInstances", "ASG", "EC2Fleet", "SpotFleet"])
@pytest.mark.parametrize("price", ["ondemand", "spot", "heterogeneous"])
def test_a_generated_file_is_right_for_each_api_and_price(
    cli: Callable[..., Any], generate: Callable[..., Any], tmp_path: Path, api: str, price: str
) -> None:
    words = (*IMAGE, *GROUP, *(ROLE if api == "SpotFleet" else ()), "--price-type", price)
    ended = generate("m5.large", "c5.2xlarge", "--api", api.lower(), *words)
    assert (ended.code, ended.err) == (0, "")
    jsonschema.validate(ended.document, cli("templates", "schema").document)
    file = tmp_path / "generated.json"
    file.write_text(ended.out)
    checked = cli("templates", "validate", file)
    assert checked.code == 0
    assert checked.document["usable_templates"] == 2
    assert [item["message"] for item in checked.items if item["severity"] == "error"] == []


def test_it_says_what_the_machines_have_in_host_factorys_terms(generate: Callable[..., Any], aws: StrictAws) -> None:
    document = generate("m5.large", "c5.2xlarge", *IMAGE, *GROUP, "--max-number", 7).document
    large, other = document["templates"]
    assert large == {
        "templateId": "RunInstances-m5-large-ondemand",
        "attributes": {"type": ["String", "X86_64"], "ncpus": ["Numeric", "1"], "nram": ["Numeric", "8192"]},
        "vmTypes": {"m5.large": 1},
    }
    assert (other["attributes"]["ncpus"], other["attributes"]["nram"]) == (["Numeric", "4"], ["Numeric", "16384"])
    assert document["defaults"] == {
        "providerApi": "RunInstances",
        "priceType": "ondemand",
        "maxNumber": 7,
        "imageId": IMAGE[1],
        "subnetId": list(aws.region().subnets),
        "securityGroupIds": [GROUP[1]],
    }
    assert operations(aws) == ["DescribeInstanceTypes", "DescribeSubnets"]


def test_subnets_that_are_named_are_not_asked_for(generate: Callable[..., Any], aws: StrictAws) -> None:
    document = generate("m5.large", *IMAGE, *GROUP, "--subnet", "subnet-1", "--subnet", "subnet-2").document
    assert document["defaults"]["subnetId"] == ["subnet-1", "subnet-2"]
    assert operations(aws) == ["DescribeInstanceTypes"]


def test_subnets_may_be_chosen_by_vpc_and_by_tag(generate: Callable[..., Any], aws: StrictAws) -> None:
    first, second, third = aws.region().subnets.values()
    first.vpc_id = "vpc-00000000"
    second.tags["grid"] = "yes"
    first.tags["grid"] = "no"

    def chosen(*words: str) -> list[str]:
        found: list[str] = generate("m5.large", *IMAGE, *GROUP, *words).document["defaults"]["subnetId"]
        return found

    assert chosen("--vpc", third.vpc_id) == [second.id, third.id]
    assert chosen("--vpc", "vpc-00000000") == [first.id]
    assert chosen("--tag", "grid=yes") == [second.id]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("m5.large",), ExitCode.FAILED, "several VPCs: vpc-00000000"),
        (("m5.large", "--tag", "grid=yes"), ExitCode.FAILED, "no such subnet"),
        (("m5.large", "--tag", "grid"), ExitCode.FAILED, "--tag must be pairs"),
        (("m5.huge", "--subnet", "s"), ExitCode.PROVIDER, "m5.huge"),
        (("m5.large", "--subnet", "s", "--api", "Gone"), ExitCode.PLUGIN, "'Gone' is not installed"),
        (("m5.large", "--subnet", "s", "--api", "Fake"), ExitCode.FAILED, "can't tell what there is"),
        (("m5.large", "--subnet", "s"), ExitCode.CONFIG, "imageId: is missing; securityGroupIds: is missing"),
        (("m5.large", "--subnet", "s", *IMAGE, *GROUP, "--price-type", "cheap"), ExitCode.CONFIG, "priceType: must be"),
        (("m5.large", "--subnet", "s", *IMAGE, *GROUP, "--api", "SpotFleet"), ExitCode.CONFIG, "fleetRole"),
    ],
    ids=["several VPCs", "no subnet", "no pair", "no type", "no API", "no offers", "lacking", "no price", "no role"],
)
@pytest.mark.usefixtures("good")
def test_what_would_not_be_right_is_refused_with_the_reason(
    generate: Callable[..., Any], aws: StrictAws, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    next(iter(aws.region().subnets.values())).vpc_id = "vpc-00000000"
    ended = generate(*words, "-f", tmp_path / "new.json")
    assert ended.code == code
    assert said in ended.document["error"]["message"]
    assert not (tmp_path / "new.json").exists()


def test_a_file_is_written_once_and_never_overwritten(generate: Callable[..., Any], instance: Path) -> None:
    file = instance / "conf" / "templates.json"
    words = ("m5.large", *IMAGE, *GROUP, "-f", file)
    ended = generate(*words)
    assert (ended.code, ended.out) == (0, "")
    written = file.read_text()
    assert json.loads(written)["templates"]
    again = generate(*words)
    assert again.code == ExitCode.FAILED
    assert "not overwritten" in again.document["error"]["message"]
    assert file.read_text() == written
