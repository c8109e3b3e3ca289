"""Input in every form that Host Factory or a person gives it, and input that is refused."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.cli import hostfactory
from hfcore.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scripts.conftest import Site

INPUTS = Path(__file__).parents[1] / "samples" / "inputs"


@pytest.fixture(scope="module")
def shared(
    make_site: Callable[..., Site], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Site, str, dict[str, Any]]:
    """Give an instance with one complete request, to be asked only; the request's id, and its answer."""
    site = make_site(tmp_path_factory.mktemp("shared") / "site")
    site.write_templates(Closed={"maxNumber": 0})
    request_id, _ = site.complete("OnDemand-Small")
    return site, request_id, site.status(request_id)


def wanted(template_id: object, count: object) -> dict[str, Any]:
    return {"template": {"templateId": template_id, "machineCount": count}}


BAD_REQUESTS = {
    "unknown template": (wanted("Nowhere", 1), "Nowhere"),
    "no template": ({}, "template"),
    "no template id": ({"template": {"machineCount": 1}}, "templateId"),
    "a number as template id": (wanted(7, 1), "templateId"),
    "no count": ({"template": {"templateId": "Group"}}, "machineCount"),
    "count 0": (wanted("OnDemand-Small", 0), "machineCount"),
    "a negative count": (wanted("OnDemand-Small", -1), "machineCount"),
    "a negative count as text": (wanted("OnDemand-Small", "-3"), "machineCount"),
    "text as count": (wanted("OnDemand-Small", "two"), "machineCount"),
    "half a machine": (wanted("OnDemand-Small", 1.5), "machineCount"),
    "true as count": (wanted("OnDemand-Small", True), "machineCount"),  # noqa: FBT003 - a count that is none
    "over maxNumber": (wanted("OnDemand-Small", 21), "maxNumber"),
    "over what is left": (wanted("OnDemand-Small", 19), "2 live"),
    "a template with maxNumber 0": (wanted("Closed", 1), "maxNumber"),
    "a count beyond measure": (wanted("OnDemand-Small", 10**30), "machineCount"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_request_that_makes_no_sense_is_exit_1_and_makes_and_stores_nothing(
    shared: tuple[Site, str, dict[str, Any]], name: str
) -> None:
    site, *_ = shared
    document, word = BAD_REQUESTS[name]
    before, calls = site.records(), len(site.aws.calls)
    ran = site.run("requestMachines", document)
    assert ran.code == 1
    assert word in ran.message
    assert (site.records(), len(site.aws.calls)) == (before, calls)


BAD_TEXTS = {
    "text": "two machines, please",
    "half a document": '{"template": {"templateId": "OnDemand-Small"',
    "two documents": '{"template": {}} {"template": {}}',
    "an empty file": "",
    "white space": " \n",
    "a list": "[]",
    "null": "null",
    "bytes that are no text": b"\xff\xfe\x00{",
    "deep nesting": "[" * 100_000,
}


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_an_input_that_is_no_json_object_is_exit_1(shared: tuple[Site, str, dict[str, Any]], name: str) -> None:
    site, *_ = shared
    before, calls = site.records(), len(site.aws.calls)
    assert site.run("requestMachines", text=BAD_TEXTS[name]).code == 1
    assert (site.records(), len(site.aws.calls)) == (before, calls)


@pytest.mark.parametrize("verb", ["requestMachines", "getRequestStatus", "requestReturnMachines"])
def test_a_missing_file_an_empty_document_and_no_input_at_all_are_exit_1(
    shared: tuple[Site, str, dict[str, Any]], verb: str
) -> None:
    site, *_ = shared
    before, calls = site.records(), len(site.aws.calls)
    missing = site.run(verb, words=("-f", "/nowhere/input.json"))
    assert missing.code == 1
    assert "/nowhere/input.json" in missing.message
    assert site.run(verb, {}).code == 1
    assert site.run(verb).code == 1
    assert (site.records(), len(site.aws.calls)) == (before, calls)


def test_status_is_asked_by_file_by_standard_input_by_data_and_by_hand(
    shared: tuple[Site, str, dict[str, Any]],
) -> None:
    site, request_id, answer = shared
    text = json.dumps({"requests": {"requestId": request_id}})
    for ran in (
        site.run("getRequestStatus", text=text),
        site.run("getRequestStatus", stdin=text),
        site.run("getRequestStatus", words=("-f", "-"), stdin=text),
        site.run("getRequestStatus", words=("--data", text)),
        site.run("getRequestStatus", words=(request_id,)),
    ):
        assert (ran.code, ran.answer) == (0, {"requests": [answer]})


def test_input_in_two_ways_is_refused(shared: tuple[Site, str, dict[str, Any]]) -> None:
    site, request_id, _ = shared
    ran = site.run("getRequestStatus", {"requests": []}, words=(request_id,))
    assert ran.code == 1
    assert "more than one way" in ran.message


def test_machines_are_asked_for_and_returned_by_hand(site: Site) -> None:
    asked = site.run("requestMachines", words=("OnDemand-Small", "2"))
    request_id = asked.answer["requestId"]
    site.wait_for_running(2)
    first, second = site.poll_until(request_id)["machines"]
    by_id = site.run("requestReturnMachines", words=(first["machineId"],))
    assert by_id.code == 0
    assert site.live() == {second["machineId"]}
    by_name = site.run("requestReturnMachines", words=(second["name"],))
    assert by_name.code == 0
    assert site.live() == set()


@pytest.mark.parametrize("path", sorted(INPUTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_input_that_host_factory_has_been_seen_to_give_is_taken(
    shared: tuple[Site, str, dict[str, Any]], path: Path
) -> None:
    site, *_ = shared
    live = site.live()
    verb = path.name.partition(".")[0]
    ran = site.run(verb, text=path.read_bytes(), env={"HF_PROVIDER_WORKDIR": str(site.folder / f"work-{path.stem}")})
    assert ran.code == 0
    assert live <= site.live(), "what another store has launched is left alone"


def test_templates_are_printed_with_pairs_and_their_own_max_number(shared: tuple[Site, str, dict[str, Any]]) -> None:
    site, *_ = shared
    for ran in (
        site.run("getAvailableTemplates"),
        site.run("getAvailableTemplates", {}),
        site.run("getAvailableTemplates", {"templates": []}),
        site.run("getAvailableTemplates", text=""),
    ):
        listed = {one["templateId"]: one for one in ran.answer["templates"]}
        small = listed["OnDemand-Small"]
        assert (small["maxNumber"], small["availableNumber"]) == (20, 18)
        assert small["attributes"]["type"] == ["String", "X86_64"]
        assert small["attributes"]["ncpus"] == ["Numeric", "1"]
        assert small["attributes"]["nram"] == ["Numeric", "4096"]
        assert listed["Spot-Mixed"]["attributes"]["ncores"] == ["Numeric", "2"]
        assert listed["Closed"]["maxNumber"] == 0
        assert "Group" in listed
        assert "Fleet-Maintain" in listed


@pytest.mark.parametrize(
    ("templates", "why"),
    [
        ([{"templateId": "Odd", "imageId": "ami-12c6146b", "vmTypes": {"m5.large": 0}}], "vmTypes"),
        ([], "the files have none"),
    ],
    ids=["wrong", "none"],
)
def test_a_list_in_which_no_template_can_be_used_is_exit_1_so_that_host_factory_keeps_what_it_has(
    site: Site, templates: list[dict[str, Any]], why: str
) -> None:
    (site.conf / "awsinstprov_templates.json").write_text(json.dumps({"templates": templates}))
    ran = site.run("getAvailableTemplates")
    assert ran.code == 1
    assert "no template can be used" in ran.message
    assert why in ran.message


def test_the_scripts_name_their_instance_where_host_factory_names_none(
    scripts: Path,
) -> None:
    bare = {"PATH": "/usr/bin:/bin"}
    ended = subprocess.run([scripts / "getAvailableTemplates.sh"], env=bare, capture_output=True, check=False, cwd="/")
    assert ended.returncode == 0
    assert [one["templateId"] for one in json.loads(ended.stdout)["templates"]] == ["OnDemand-Sample"]
    assert (scripts.parent / "work" / "data" / "storage.json").is_file()


def test_folders_with_spaces_and_other_characters_are_served(make_site: Callable[..., Site], tmp_path: Path) -> None:
    site = make_site(tmp_path / "a b" / "größe's $HOME")
    request_id, machines = site.complete("OnDemand-Small", 1)
    assert site.status(request_id)["machines"] == machines


@pytest.mark.parametrize("closed", ["2>&-", "<&-", "<&- 2>&-"])
def test_a_caller_that_closes_a_stream_gets_the_document_all_the_same(site: Site, closed: str) -> None:
    path = site.conf.parent / "input.json"
    path.write_text('{"template": {"templateId": "OnDemand-Small", "machineCount": 1}}')
    script = site.scripts / "requestMachines.sh"
    ended = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -f "$1" {closed}', script, path],
        env=site.environment(),
        stdout=subprocess.PIPE,
        check=False,
    )
    assert json.loads(ended.stdout)["requestId"].startswith("req-")
    assert ended.returncode == 0


def test_a_text_of_the_caller_s_can_t_move_the_cursor_of_who_reads_stderr(
    shared: tuple[Site, str, dict[str, Any]],
) -> None:
    ran = shared[0].run("requestMachines", wanted("../x\0\x1b[31m\nHF0000: all is well", 1))
    assert (ran.code, ran.stderr.count("\n")) == (1, 1)
    assert "x??[31m?HF0000" in ran.stderr


def test_input_may_be_a_pipe_but_not_one_that_nobody_writes_to(
    shared: tuple[Site, str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, request_id, _ = shared
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = json.dumps({"requests": {"requestId": request_id}})
    with subprocess.Popen(["/bin/sh", "-c", 'printf %s "$0" > "$1"', text, pipe]):
        ran = site.run("getRequestStatus", words=("-f", str(pipe)))
    assert ran.answer["requests"][0]["requestId"] == request_id
    monkeypatch.setattr("hfcore.cli.hostfactory.SILENCE", 0.1)
    with pytest.raises(InputError, match=r"nothing has come for 0.1 s"):
        hostfactory._input_text(hostfactory.VerbOptions(verb="getRequestStatus", file=str(pipe)))
