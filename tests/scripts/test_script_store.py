"""A store that can't be trusted: every verb stops, nothing is ended, nothing is reported as taken back."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.scripts.conftest import Site

MANY = 20


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.fixture(scope="module")
def twenty(make_site: Callable[..., Site], tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, str]:
    """Give an instance with twenty machines running, and their request."""
    site = make_site(tmp_path_factory.mktemp("twenty") / "site")
    request_id, machines = site.complete("OnDemand-Small", MANY)
    assert len(machines) == MANY
    return site, request_id


@pytest.fixture
def whole(twenty: tuple[Site, str], tmp_path: Path) -> tuple[Site, str]:
    """Give the same, and put the files back afterwards."""
    site, request_id = twenty
    kept = shutil.copytree(site.data, tmp_path / "kept")
    yield site, request_id
    shutil.rmtree(site.data)
    shutil.copytree(kept, site.data)


@pytest.mark.parametrize("harm", [delete, truncate, empty])
def test_every_verb_stops_at_a_damaged_storage_file_and_twenty_machines_go_on_running(
    whole: tuple[Site, str], harm: Callable[[Path], None]
) -> None:
    site, request_id = whole
    live, calls = site.live(), len(site.aws.calls)
    assert len(live) == MANY
    machine = {"machineId": min(live)}
    harm(site.data / "storage.json")
    before = site.records()
    for verb, document in (
        ("getAvailableTemplates", {}),
        ("requestMachines", {"template": {"templateId": "Group", "machineCount": 1}}),
        ("getRequestStatus", {"requests": [{"requestId": request_id}]}),
        ("requestReturnMachines", {"machines": [machine]}),
        ("getReturnRequests", {"machines": [machine]}),
        ("getReturnRequests", {}),
    ):
        ran = site.run(verb, document)
        assert ran.code == 1
        assert ran.message.startswith("HF4002")
        assert "storage.json" in ran.message
    assert site.records() == before, "the bad file is kept, nothing is overwritten"
    assert site.live() == live
    assert len(site.aws.calls) == calls, "AWS is not even asked"


@pytest.mark.parametrize("name", ["machines.json", "meta.json"])
@pytest.mark.parametrize("harm", [delete, truncate])
def test_the_other_files_are_needed_as_much(whole: tuple[Site, str], harm: Callable[[Path], None], name: str) -> None:
    site, request_id = whole
    live, calls = site.live(), len(site.aws.calls)
    harm(site.data / name)
    before = site.records()
    for verb, document in (
        ("getRequestStatus", {"requests": [{"requestId": request_id}]}),
        ("getReturnRequests", {}),
    ):
        ran = site.run(verb, document)
        assert (ran.code, ran.message[:6]) == (1, "HF4002")
        assert name in ran.message
    assert site.records() == before
    assert (site.live(), len(site.aws.calls)) == (live, calls)


@pytest.mark.parametrize(
    ("name", "harm"), [("storage.json", truncate), ("machines.json", delete), ("meta.json", empty)]
)
def test_a_damaged_file_is_repaired_from_its_copy_and_no_machine_is_lost(
    whole: tuple[Site, str], harm: Callable[[Path], None], name: str
) -> None:
    site, request_id = whole
    live = site.live()
    shutil.copy(site.data / name, site.data / f"{name}.last")  # as after a write that changed only the other file
    harm(site.data / name)
    command = [sys.executable, "-m", "hfcore", "store", "repair"]
    ended = subprocess.run(command, env=site.environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    answer = site.status(request_id)
    assert answer["status"] == "complete"
    assert {machine["machineId"] for machine in answer["machines"]} == live
    assert {machine["result"] for machine in answer["machines"]} == {"succeed"}
    assert site.live() == live
    assert site.run("getReturnRequests", {}).answer["requests"] == []


def test_a_first_run_makes_the_store_with_private_files(site: Site) -> None:
    assert not site.data.exists()
    assert site.run("getAvailableTemplates").code == 0
    assert site.stored() == {}
    modes = {each.name: each.stat().st_mode & 0o777 for each in (site.data, *site.data.glob("*.json"))}
    assert modes == {"data": 0o700, "storage.json": 0o600, "machines.json": 0o600, "meta.json": 0o600}


def test_a_store_that_can_not_be_written_refuses_a_request_before_aws_is_asked(site: Site) -> None:
    site.run("getAvailableTemplates")
    if os.geteuid() == 0:  # root may write everywhere, and is refused in another user's folder
        os.chown(site.data, 65534, 65534)
        word = "sudo -u"
    else:
        site.data.chmod(0o500)
        word = str(site.data)
    ran = site.run("requestMachines", {"template": {"templateId": "OnDemand-Small", "machineCount": 1}})
    site.data.chmod(0o700)
    assert (ran.code, ran.message[:6]) == (1, "HF4003")
    assert word in ran.message
    assert site.aws.calls == []


def test_a_disk_without_room_for_the_outcome_refuses_a_request_before_aws_is_asked(site: Site) -> None:
    site.run("getAvailableTemplates")
    before = site.records()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # which the script's process has from this one
    try:
        ran = site.run("requestMachines", {"template": {"templateId": "OnDemand-Small", "machineCount": 1}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (ran.code, ran.message[:6]) == (1, "HF4003")
    assert "File too large" in ran.message
    assert site.aws.calls == []
    assert site.records() == before
