"""Secrets and user data are in no output, log, journal or store, and hostile input does no harm."""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.aws.queue import named
from hfcore.cli.app import run
from hfcore.cli.examples import EXAMPLES
from hfcore.testing.aws import Fault
from hfcore.testing.faults import fault_point
from hfcore.testing.site import CASES, templates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hfcore.testing.site import Case
    from tests.scenarios.conftest import Scene

MARKERS = {
    name: f"hush{number}{name}qz"
    for number, name in enumerate(
        (
            *("secret", "filesecret", "token", "filetoken", "script", "pairs", "data", "asked", "proxy", "canonical"),
            *("blob", "answer"),
        )
    )
}
ENVIRONMENT = {"AWS_SECRET_ACCESS_KEY": MARKERS["secret"], "AWS_SESSION_TOKEN": MARKERS["token"]}
ARGUMENTS = {
    "machines list": "--all",
    "machines return": "{machine} --yes",
    "plugins check": "ASG",
    "plugins show": "ASG",
    "requests cancel": "{request} --yes",
    "requests list": "--all",
    "requests show": "{request}",
    "requests watch": "{returned} --interval 0.1",
    "store export": "--archived",
    "store repair": "--dry-run",
    "templates generate": "m5.large --api ASG --image ami-12c6146b --subnet {subnet} --security-group {group}",
    "templates show": "Group",
}
"""What commands of people are given; the others go without."""

FOREIGN = ("hostfactory", "init", "plugins new", "sandbox")
"""Groups and commands that are no business of an instance's people."""

NASTY = (
    "../../../etc/passwd",
    "$(touch {0})",
    "; touch {0} ;",
    "`touch {0}`",
    "a\nb",
    "a/b",
    "{0}",
    ".",
    "x" * 5000,
    "%n",
)


def spellings(marker: str) -> Iterator[str]:
    """Give a marker as it is, in hex, and in Base64 wherever it may begin there."""
    yield marker
    yield marker.encode().hex()
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + marker.encode()).decode()
        yield coded[4 if shift else 0 : -4]


def found_in(text: str) -> set[str]:
    return {name for name, marker in MARKERS.items() if any(spelt in text for spelt in spellings(marker))}


@pytest.fixture
def told(scene: Scene, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    """Plant secrets wherever there may be some; give what was printed, to which a test adds."""
    (scene.conf / "boot.sh").write_text(f"#!/bin/sh\nexport TOKEN={MARKERS['script']}\n")
    more = base64.b64encode(f"#!/bin/sh\necho {MARKERS['data']}\n".encode()).decode()
    ways = ({"userDataScript": "boot.sh"}, {"launchTemplateData": {"UserData": more}})  # a template has one of them
    planted = (one | ways[number % 2] for number, one in enumerate(templates(scene.aws)))
    pairs = {"userData": f"TOKEN={MARKERS['pairs']}"}
    scene.put("prov_templates.json", {"templates": [one | pairs for one in planted]})
    keys = {"aws_access_key_id": "AKIAAWS0123456789012", "aws_secret_access_key": MARKERS["filesecret"]}
    keys |= {"aws_session_token": MARKERS["filetoken"]}
    (scene.conf / "credentials").write_text(
        "[default]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
    )
    (scene.conf / "hfcore.toml").write_text('credential_file = "credentials"\nlog_level = "debug"\n')
    for name, value in (scene.environment() | ENVIRONMENT).items():
        monkeypatch.setenv(name, value)
    texts: list[str] = []
    yield texts
    texts += capfd.readouterr()
    written = [path for folder in (scene.work, scene.log) for path in folder.rglob("*") if path.is_file()]
    assert "storage.json" in {path.name for path in written}
    for path in written:
        assert found_in(path.read_bytes().decode("latin-1")) == set(), path
    for text in texts:
        assert found_in(text) == set(), text


@pytest.fixture
def call(scene: Scene, told: list[str]) -> Callable[..., dict[str, Any]]:
    """Carry out a verb that may fail, and keep what it printed."""

    def carry_out(verb: str, document: object, **how: Any) -> dict[str, Any]:  # noqa: ANN401 - of `Forks.start`
        ended = scene.call(verb, document, env=ENVIRONMENT | how.pop("env", {}), **how)
        told.extend((ended.stdout.decode(), ended.stderr.decode()))
        answer: dict[str, Any] = json.loads(ended.stdout or b"{}")
        return answer

    return carry_out


def wanted(case: Case) -> dict[str, Any]:
    template = {"templateId": case.template_id, "machineCount": 2}
    return {"template": template, "userData": {"ASKED": MARKERS["asked"]}, "rc_account": "grid"}


def asked(*request_ids: str) -> dict[str, Any]:
    return {"requests": [{"requestId": one} for one in request_ids]}


def test_markers_are_found_in_every_spelling() -> None:
    script = f"#!/bin/sh\nexport TOKEN={MARKERS['script']}\n".encode()
    for text in (
        script.decode(),
        script.hex(),
        base64.b64encode(script).decode(),
        base64.b64encode(script[1:]).decode(),
    ):
        assert found_in(text) == {"script"}


def test_no_secret_is_told_or_kept_while_all_goes_well(
    scene: Scene, case: Case, call: Callable[..., dict[str, Any]], told: list[str]
) -> None:
    call("getAvailableTemplates", {})
    request_id = call("requestMachines", wanted(case))["requestId"]
    scene.pass_time(1)
    machines = call("getRequestStatus", asked(request_id))["requests"][0]["machines"]
    call("getReturnRequests", {"machines": machines[:1]})
    returned = call("requestReturnMachines", {"machines": machines[:1]})["requestId"]
    scene.pass_time(60)
    call("getRequestStatus", asked(request_id, returned))
    sent = json.dumps([one.parameters for one in scene.aws.calls], default=str)
    assert found_in(sent) & {"script", "data"}, "user data did reach AWS"


def test_no_command_of_people_tells_a_secret(scene: Scene, call: Callable[..., dict[str, Any]]) -> None:
    requests = [call("requestMachines", wanted(one))["requestId"] for one in CASES.values()]
    scene.pass_time(1)
    answers = call("getRequestStatus", asked(*requests))["requests"]
    first, second, *_ = (one["machines"][0] for one in answers)
    region = scene.aws.region()
    named = {
        "request": requests[1],
        "returned": call("requestReturnMachines", {"machines": [first]})["requestId"],
        "machine": second["machineId"],
        "subnet": next(iter(region.subnets)),
        "group": next(iter(region.security_groups)),
    }
    scene.pass_time(60)
    for command in (one for one in EXAMPLES if not one.startswith(FOREIGN)):
        how = "table" if command in {"doctor", "machines list", "requests list", "templates list"} else "json"
        words = f"{command} {ARGUMENTS.get(command, '')}".format(**named).split()
        assert run([*words, "-o", how, "--debug"]) in {0, 1, 3}, words


FAULTS = {
    "refused": Fault(kind="error", code="UnauthorizedOperation", on="mutating", message="Encoded authorization failure "
    f"message: {MARKERS['blob']}"),
    "badly signed": Fault(kind="error", code="SignatureDoesNotMatch", status=403, message="The Canonical String for "
    f"this request should have been\n'POST\n/\nx-amz-security-token:{MARKERS['canonical']}'"),
    "throttled": Fault(kind="throttle", times=3),
    "cut off": Fault(kind="reset", after=True, on="mutating"),
    "broken": Fault(kind="server-error", on="mutating", times=2),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_no_secret_is_told_or_kept_when_aws_fails(scene: Scene, name: str, call: Callable[..., dict[str, Any]]) -> None:
    scene.aws.faults.add(FAULTS[name])
    requests = [call("requestMachines", wanted(one)).get("requestId", "req-none") for one in CASES.values()]
    call("getRequestStatus", asked(*requests))
    call("requestReturnMachines", {"machines": [{"machineId": "i-0123456789abcdef0"}]})
    call("getReturnRequests", {})
    if FAULTS[name].kind == "error":  # where AWS has words of its own
        run(["doctor", "-o", "json"])
    assert (scene.log / "hfcore.log").stat().st_size
    scene.aws.faults.clear()
    scene.pass_time(5)
    call("getRequestStatus", asked(*requests))
    run(["requests", "list", "--all", "-o", "json"])


@pytest.mark.parametrize("point", ["intent-written:after", "call-sent:before"])
def test_no_secret_is_kept_by_a_process_that_dies(
    scene: Scene, case: Case, point: str, call: Callable[..., dict[str, Any]]
) -> None:
    call("requestMachines", wanted(case), kill=fault_point(point))
    journal = [path.read_text() for path in (scene.data / "journal").glob("*.json")]
    assert journal, "an intent is open"
    assert not any(found_in(text) for text in journal)
    scene.pass_time(1)
    call("getRequestStatus", asked(*scene.stored()))


@pytest.fixture
def garbled() -> Iterator[str]:
    """A server whose every answer has a secret, and breaks off."""

    class Garbled(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = f"<AssumeRoleResponse><SecretAccessKey>{MARKERS['answer']}</SecretAccessKey>".encode()
            self.send_response(500 if self.command == "GET" else 200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Garbled) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("way", ["role", "container", "launch template"])
def test_an_answer_that_can_t_be_read_is_told_to_nobody(
    scene: Scene, call: Callable[..., dict[str, Any]], way: str, garbled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scene.conf / "hfcore.toml").write_text('log_level = "debug"\ncall_timeout_sec = 6\n')
    (scene.conf / "config").write_text(
        "[profile grid]\nrole_arn = arn:aws:iam::123456789012:role/grid\nsource_profile = own\n"
        "[profile own]\naws_access_key_id = AKIAAWS0123456789012\naws_secret_access_key = strict-aws\n"
    )
    no_keys = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": ""}
    env = {
        "role": no_keys
        | {
            "AWS_PROFILE": "grid",
            "AWS_CONFIG_FILE": str(scene.conf / "config"),
            "AWS_ENDPOINT_URL_STS": garbled,
        },
        "container": no_keys | {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{garbled}/{MARKERS['token']}"},
        "launch template": {"AWS_ENDPOINT_URL": f"{garbled}/{MARKERS['token']}?{MARKERS['token']}"},
    }[way]
    answer = call("requestMachines", wanted(CASES["RunInstances"]), env=env)
    assert "its text is left out" in answer["message"]
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    run(["--debug", "reconcile", "--dry-run"])
    if way != "launch template":
        run(["doctor", "-o", "json"])


def test_a_queue_is_told_by_its_name_alone(scene: Scene, call: Callable[..., dict[str, Any]]) -> None:
    url = f"https://sqs.us-east-1.amazonaws.com/123456789012/q?{MARKERS['token']}"
    call("getRequestStatus", asked("req-none"))
    answer = call("getRequestStatus", asked("req-none"), env={"HFCORE_RECLAIM_QUEUE_URL": url})
    assert "HFCORE_RECLAIM_QUEUE_URL" in answer["message"]
    assert named(url) == "sqs.us-east-1.amazonaws.com/…/q"


def test_a_proxy_s_password_is_told_to_nobody(scene: Scene, call: Callable[..., dict[str, Any]], case: Case) -> None:
    proxy = f"http://user:{MARKERS['proxy']}@127.0.0.1:9"
    through = {"HTTP_PROXY": proxy, "http_proxy": proxy, "NO_PROXY": "", "no_proxy": ""}
    answer = call("requestMachines", wanted(case), env=through)
    assert "roxy" in answer["message"], answer
    (scene.conf / "hfcore.toml").write_text(f'proxy_host = "user:{MARKERS["proxy"]}@proxy"\nlog_level = "debug"\n')
    run(["config", "show"])
    run(["doctor", "--offline"])
    answer = call("getRequestStatus", asked("req-none"))
    assert "proxy_host" in answer["message"], answer


def test_a_proxy_of_the_settings_has_no_password_to_tell(scene: Scene, call: Callable[..., dict[str, Any]]) -> None:
    call("getRequestStatus", asked("req-none"))
    (scene.conf / "hfcore.toml").write_text(f'proxy_host = "http://{MARKERS["proxy"]}:x@proxy"\n')
    assert "proxy_host" in call("getRequestStatus", asked("req-none"))["message"]


@pytest.mark.parametrize("number", range(len(NASTY)))
def test_ids_and_names_reach_neither_a_shell_nor_a_path(scene: Scene, tmp_path: Path, number: int) -> None:
    trap = tmp_path / "touched"
    nasty = NASTY[number].format(trap)
    for verb, document in (
        ("requestMachines", {"template": {"templateId": nasty, "machineCount": 1}}),
        ("getRequestStatus", asked(nasty)),
        ("requestReturnMachines", {"machines": [{"machineId": nasty, "name": nasty}]}),
        ("getReturnRequests", {"machines": [{"machineId": nasty, "name": nasty}]}),
    ):
        scene.run(verb, document)
    for words in (("requests", "show", nasty), ("templates", "show", nasty), ("requests", "cancel", nasty, "--yes")):
        run(["--provider", str(scene.folder), *words])
    assert not trap.exists()
    names = {path.relative_to(scene.folder).parts[0] for path in scene.folder.rglob("*")}
    assert names <= {"conf", "work", "log"}
    assert [path.name for path in (scene.data / "journal").iterdir() if path.suffix == ".json"] == []


def test_an_input_that_is_too_deep_or_too_large_is_refused(scene: Scene) -> None:
    deep: Any = "end"
    for _ in range(70):
        deep = [deep]
    ran = scene.run("getRequestStatus", {"requests": [{"requestId": "req-none", "more": deep}]})
    assert (ran.code, "within each other" in ran.message) == (1, True)
    ran = scene.run("getRequestStatus", {"requests": [{"requestId": "x" * (17 * 1024 * 1024)}]})
    assert (ran.code, "larger than 16 MiB" in ran.message) == (1, True)


def test_a_template_file_that_is_too_deep_or_too_large_is_refused(scene: Scene) -> None:
    deep: Any = {}
    for _ in range(70):
        deep = {"Deeper": deep}
    scene.offer(launchTemplateData=deep)
    ran = scene.run("getAvailableTemplates", {})
    assert (ran.code, "within each other" in ran.message) == (1, True)
    scene.offer(keyName="x" * (2 * 1024 * 1024))
    ran = scene.run("getAvailableTemplates", {})
    assert (ran.code, "larger than 16 MiB" in ran.message) == (1, True)


def test_imdsv2_is_required_of_every_machine(scene: Scene, case: Case) -> None:
    scene.running(case)
    plans = [one.plan.template for one in scene.aws.live_instances()]
    assert {plan.data["MetadataOptions"]["HttpTokens"] for plan in plans if plan} == {"required"}
    assert all(plans)
