"""What a person reads for each error code of the table in `hfcore.aws.faults`, through the verbs on the strict AWS.

The sentences stand in `golden_error_codes.json`. With `HFCORE_GOLDEN=write` in the environment what is said now is
written down instead; the changes are then to be read.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hfcore.aws.errors import as_fault
from hfcore.aws.faults import MEANINGS
from hfcore.testing.aws import StrictAws
from hfcore.testing.golden import WRITE
from hfcore.testing.site import ForkedSite, templates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hfcore.testing.forks import Forks

GOLDEN = Path(__file__).with_name("golden_error_codes.json")
CODES = [code for meaning in MEANINGS for code in meaning.codes if "*" not in code]
CREATING = {
    "CreateAutoScalingGroup": (
        "Group",
        """ResourceContention ServiceLinkedRoleFailure ValidationError AccessDenied AccessDeniedException
        Throttling ThrottlingException InternalFailure ServiceUnavailable""",
    ),
    "CreateFleet": ("Fleet-Instant", "MaxFleetCountExceeded UnfulfillableCapacity TagLimitExceeded"),
    "RequestSpotFleet": ("Spot-Plain", "MaxSpotFleetRequestCountExceeded SpotInstanceCountLimitExceeded"),
    "GetParameter": ("By-Parameter", "ParameterNotFound TooManyRequestsException InternalServerError"),
    "RunInstances": ("OnDemand-Small", " ".join(CODES)),
}
"""Where codes are met by `requestMachines`: operation to template and codes; the first that names one holds."""

ENDING = {
    "TerminateInstances": ("OnDemand-Small", "OperationNotPermitted IncorrectInstanceState DependencyViolation"),
    "DeleteFleets": ("Fleet-Request", "fleetIdMalformed fleetIdDoesNotExist fleetNotInDeletableState unexpectedError"),
    "CancelSpotFleetRequests": (
        "Spot-Plain",
        "fleetRequestIdMalformed fleetRequestIdDoesNotExist fleetRequestNotInCancellableState",
    ),
    "DeleteAutoScalingGroup": ("Group", "ScalingActivityInProgress ResourceInUse"),
    "DescribeInstances": ("OnDemand-Small", "FilterLimitExceeded RequestResourceCountExceeded"),
}
"""Where codes are met by later calls: operation to template and codes."""

BOTOCORE: dict[str, dict[str, str | None]] = {
    "EndpointConnectionError": {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
    "ProxyConnectionError": {"HFCORE_PROXY_HOST": "127.0.0.1", "HFCORE_PROXY_PORT": "9"},
    "NoCredentialsError": {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
    "PartialCredentialsError": {"AWS_SECRET_ACCESS_KEY": None},
    "ProfileNotFound": {"AWS_PROFILE": "nobody"},
    "ConfigParseError": {"AWS_CONFIG_FILE": "broken"},
    "InvalidConfigError": {"AWS_ACCOUNT_ID_ENDPOINT_MODE": "sometimes"},
    "InvalidEndpoint": {"AWS_ENDPOINT_URL": "nowhere"},
    "CredentialRetrievalError": {
        "AWS_ACCESS_KEY_ID": None,
        "AWS_SECRET_ACCESS_KEY": None,
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/grid",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/tmp/nowhere",
    },
    "ConnectionClosedError": {"fault": "reset:RunInstances"},
    "ReadTimeoutError": {"fault": "timeout:RunInstances", "HFCORE_CALL_TIMEOUT_SEC": "5"},
    "SSLError": {"AWS_ENDPOINT_URL": "https"},
}
"""What makes botocore raise its own exceptions: variables, and a fault."""

NOBODY = {"AWS_ENDPOINT_URL": "nowhere"}

BY_UNIT = [
    "ConnectTimeoutError",
    "ConnectionError",
    "HTTPClientError",
    "IncompleteReadError",
    "ResponseParserError",
    "ResponseStreamingError",
    "MetadataRetrievalError",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
    "SSOTokenLoadError",
    "ParamValidationError",
    "NoRegion",
    "NoRegionError",
    "iamFleetRoleInvalid",
    "launchSpecUnusable",
    "NoSuchEntity",
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
]
"""What no server and no setting of ours brings about, and what other pages tell: the sentence alone is held."""

AT_THE_START = "Client.InternalError"
"""The code of a machine that dies at its start, as EC2's reason for its state."""

_VOLATILE = re.compile(r"\b(req|ret|i|r|sg|subnet|fleet|sfr|hf-req)-[0-9a-f-]{8,}")


@pytest.fixture(scope="module")
def started() -> Iterator[StrictAws]:
    with StrictAws(boot_seconds=0, shutdown_seconds=0, fill_seconds=1e-6) as found:
        yield found


@pytest.fixture
def site(started: StrictAws, forks: Forks, tmp_path: Path) -> ForkedSite:
    started.reset()
    found = ForkedSite(tmp_path / "site", started, forks)
    basic = templates(started)
    by_parameter = basic[0] | {"templateId": "By-Parameter", "imageId": "/aws/service/some/image"}
    found.put("prov_templates.json", {"templates": [*basic, by_parameter]})
    return found


@pytest.fixture
def told() -> Callable[[str, str], None]:
    """Hold what was said of a code against what is written down."""

    def check(code: str, message: str) -> None:
        said = _VOLATILE.sub(r"\1-…", message)
        said = re.sub(r"127\.0\.0\.1:\d+|/tmp/\S+(?=[ )'\"])", "…", said)
        written = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
        if os.environ.get(WRITE) == "write":
            text = json.dumps(written | {code: said}, indent=2, sort_keys=True, ensure_ascii=False)
            GOLDEN.write_text(text + "\n")
            return
        assert said == written[code]

    return check


def met(where: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Give where each code is met: operation and template."""
    later = {AT_THE_START, *BOTOCORE, *BY_UNIT}
    later |= {code for _, codes in ENDING.values() for code in codes.split()} if where is CREATING else set()
    found: dict[str, tuple[str, str]] = {}
    for operation, (template_id, codes) in where.items():
        for code in codes.split():
            if code not in later:
                found.setdefault(code, (operation, template_id))
    return found


AT_CREATION, AT_THE_END = met(CREATING), met(ENDING)


@pytest.mark.parametrize("code", AT_CREATION)
def test_what_requestmachines_says(site: ForkedSite, told: Callable[[str, str], None], code: str) -> None:
    operation, template_id = AT_CREATION[code]
    site.aws.faults.add(f"error:{code}:{operation}")
    asked = {"template": {"templateId": template_id, "machineCount": 1}}
    told(code, site.run("requestMachines", asked).message)


@pytest.mark.parametrize("code", AT_THE_END)
def test_what_later_calls_say(site: ForkedSite, told: Callable[[str, str], None], code: str) -> None:
    operation, template_id = AT_THE_END[code]
    request_id = site.request(template_id, 1)
    ended = operation in {"TerminateInstances", "DeleteAutoScalingGroup"}
    if ended:
        site.wait_for_running(1)
        machines = site.poll_until(request_id)["machines"]
    site.aws.faults.add(f"error:{code}:{operation}")
    if operation == "TerminateInstances":
        told(code, site.run("requestReturnMachines", {"machines": machines}).message)
        return
    if ended:
        site.aws.kill(machines[0]["machineId"])
    told(code, site.status(request_id)["message"])


def test_what_is_said_of_a_machine_that_dies_at_its_start(site: ForkedSite, told: Callable[[str, str], None]) -> None:
    request_id = site.request("OnDemand-Small", 1)
    (dead,) = site.live()
    site.aws.kill(dead, AT_THE_START)
    told(AT_THE_START, site.status(request_id)["message"])


@pytest.mark.parametrize("name", BOTOCORE)
def test_what_is_said_when_the_call_does_not_get_there(
    site: ForkedSite, told: Callable[[str, str], None], tmp_path: Path, name: str
) -> None:
    how = dict(BOTOCORE[name])
    fault = how.pop("fault", None)
    if fault:
        site.aws.faults.add(fault)
    (tmp_path / "broken").write_text("[profile\n")
    if "AWS_CONFIG_FILE" in how:
        how["AWS_CONFIG_FILE"] = str(tmp_path / "broken")
    if how.get("AWS_ENDPOINT_URL") == "https":
        how["AWS_ENDPOINT_URL"] = site.aws.endpoint_url.replace("http:", "https:")
    full = site.environment() | {"HOME": str(tmp_path)} | {key: value or "" for key, value in how.items()}
    environment = {key: value for key, value in full.items() if how.get(key, "") is not None}
    asked = {"template": {"templateId": "OnDemand-Small", "machineCount": 1}}
    ended = site.forks.run(environment, "requestMachines", asked)
    assert name in ended.answer["message"]
    told(name, ended.answer["message"])
    if "asked, but not answered yet" not in ended.answer["message"]:
        assert ended.code == 1
        nothing_is_left(site)


def nothing_is_left(site: ForkedSite) -> None:
    assert {one["status"] for one in site.stored().values()} == {"failed"}
    assert not list((site.data / "journal").glob("*.json"))
    assert not site.live()


def test_settings_with_which_nobody_can_be_asked_refuse_new_machines_whatever_the_api_is(site: ForkedSite) -> None:
    for template_id in dict.fromkeys(one["templateId"] for one in templates(site.aws)):
        asked = {"template": {"templateId": template_id, "machineCount": 1}}
        ended = site.call("requestMachines", asked, env=NOBODY)
        assert (ended.code, "InvalidEndpoint" in ended.answer["message"]) == (1, True), template_id
    nothing_is_left(site)
    assert site.aws.calls == []


def test_settings_with_which_nobody_can_be_asked_leave_what_is_known_as_it_is(site: ForkedSite) -> None:
    request_id, machines = site.complete("OnDemand-Small", 1)
    for verb, asked in (
        ("getRequestStatus", {"requests": [{"requestId": request_id}]}),
        ("getReturnRequests", {"machines": []}),
        ("requestReturnMachines", {"machines": machines}),
    ):
        ran = site.run(verb, asked, env=NOBODY)
        assert (ran.code, "HF2043" in str(ran.answer)) == (0, False)
        assert verb == "getReturnRequests" or "InvalidEndpoint" in str(ran.answer), ran.answer
    assert len(site.live()) == 1
    assert site.poll_until(ran.answer["requestId"])["machines"][0]["result"] in {"executing", "succeed"}
    assert not site.live()


@pytest.mark.parametrize("name", BY_UNIT)
def test_what_is_said_of_what_nothing_here_brings_about(told: Callable[[str, str], None], name: str) -> None:
    told(name, str(as_fault(name, "It was asked for.")))


def test_there_is_a_sentence_for_every_code_of_the_table_and_for_nothing_else() -> None:
    assert json.loads(GOLDEN.read_text()).keys() == set(CODES)
    assert {*AT_CREATION, *AT_THE_END, AT_THE_START, *BOTOCORE, *BY_UNIT} == set(CODES)
