"""The README says what the code does."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import pytest

from hfcore.config import find_folders
from hfcore.errors import InputError
from hfcore.hostfactory import answer_document, machines_wanted, request_ids, status_document
from hfcore.models import Machine, MachineStatus, Request, RequestStatus
from hfcore.testing import demo
from hfcore.views import Answer, RequestView

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PLUGINS = {
    name: import_module(f"hfcore_aws_{name.lower()}.plugin").provider_info()
    for name in ("RunInstances", "ASG", "EC2Fleet", "SpotFleet")
}


def quoted(text: str) -> set[str]:
    return set(re.findall(r"`((?:ec2|autoscaling|iam|sqs|ssm|sts):\w+)`", text))


def test_the_iam_actions_of_each_plugin_are_the_common_ones_and_those_of_its_row() -> None:
    common = quoted(README.split("<!-- iam:")[1].split("besides:")[0])
    rows = dict(re.findall(r"^\| (\w+) \|(.*)\|$", README.split("besides:")[1], re.MULTILINE))
    for name, info in PLUGINS.items():
        assert common | quoted(rows[name]) == set(info.iam_actions), name


def test_the_two_commands_of_the_first_screen_are_targets_of_the_makefile() -> None:
    first = README.split("```")[1]
    targets = re.findall(r"^make (\w+)", first, re.MULTILINE)
    assert targets == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_the_answers_shown_are_those_that_the_demonstration_prints() -> None:
    shown = README.split("<!-- demo:")[1].split("```")[1]
    request = json.loads(re.findall(r'^ +(\{"requestId".*)$', shown, re.MULTILINE)[0])
    assert request == answer_document(Answer(request_id=request["requestId"], message="2 units of Group asked of ASG"))
    for heading in demo.HEADINGS:
        assert heading in shown


def test_what_the_readme_says_of_lsf_is_what_the_scripts_do() -> None:
    section = README.split("## Under LSF")[1].split("\n## ")[0]
    variables = set(re.findall(r"`(PRO\w+|SCRIPT_OPTIONS)`", section))
    folders = find_folders({name: f"/lsf/{name}" for name in variables} | {"PROVIDER_NAME": "awsinst"})
    assert set(map(str, folders[:3])) == {"/lsf/PRO_CONF_DIR", "/lsf/PRO_DATA_DIR/awsinst", "/lsf/PRO_LSF_LOGDIR"}
    assert folders.provider == "awsinst"

    at = datetime.now(UTC)
    machine = Machine(instance_id="i-1", request_id="req-1", status=MachineStatus.RUNNING, observed_at=at)
    request = Request(request_id="req-1", status=RequestStatus.COMPLETED, machine_ids=("i-1",), created_at=at)
    view = RequestView(request_id="req-1", request=request, machines=(machine,), message="")
    symphony, lsf = (set(status_document((view,), lsf=each)["requests"][0]["machines"][0]) for each in (False, True))
    line = next(line for line in section.splitlines() if line.startswith("- each machine is told with"))
    assert set(re.findall(r"`(\w+)`", line)) | {"rcAccount"} == lsf - symphony
    assert "comes back as `rcAccount`" in section

    asked = {"template": {"templateId": "T", "machineCount": 1}, "rc_account": "a", "userData": {"k": "v"}}
    assert machines_wanted(asked).tags == {"RC_ACCOUNT": "a"}
    assert machines_wanted(asked).user_data == {"k": "v"}
    assert all(f"`{word}`" in section for word in ("rc_account", "RC_ACCOUNT", "userData"))
    with pytest.raises(InputError):
        request_ids({"requests": []}, lsf=True)


def test_the_registration_files_are_what_init_prints(tmp_path: Path) -> None:
    shown = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", README, re.DOTALL)]
    plugins, providers, lsf = shown
    assert set(lsf["providers"][0]) == {"name", "type", "confPath", "scriptPath"}
    assert set(plugins["providerplugins"][0]) == {"name", "enabled", "scriptPath"}
    assert set(providers["providers"][0]) == {"name", "enabled", "plugin", "confPath", "workPath", "logPath"}
    assert plugins["version"] == providers["version"] == 2
