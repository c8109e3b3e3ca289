"""What `hfcore doctor` finds on this host: each row once right and once wrong."""

from __future__ import annotations

import compileall
import errno
import json
import os
import shutil
import stat
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from hfcore import doctor, files, registration
from hfcore.cli.running import SystemClock
from hfcore.config import Settings
from hfcore.files import FileLock
from hfcore.journal import IntentFolder
from hfcore.models import Problem, Request, RequestStatus, Severity
from hfcore.plugins import Candidate, PluginRecord, PluginStatus
from hfcore.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CLOCK = SystemClock()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ME = os.geteuid()
MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:30 / /share rw - nfs4 filer:/share rw
31 22 0:31 / /with\\040space rw - lustre mds:/ rw
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A store without a record."""
    folder = tmp_path / "work" / "data"
    open_store(folder, now=datetime.now(UTC))
    return folder


class TestPython:
    def test_a_python_that_hfcore_knows_is_right(self) -> None:
        assert doctor.python((3, 11, 4), "/opt/python").status == "ok"

    def test_an_older_one_is_an_error_that_says_what_is_needed(self) -> None:
        found = doctor.python((3, 9, 2), "/opt/python")
        assert (found.status, "3.11" in found.hint) == ("error", True)

    @pytest.mark.parametrize(("plugins", "named"), [((), False), (("hfcore-aws-asg",), True)], ids=["none", "aws"])
    def test_versions_are_named_with_those_of_the_clouds_that_plug_ins_are_of(
        self,
        plugins: tuple[str, ...],
        named: bool,  # noqa: FBT001
    ) -> None:
        found = doctor.versions(plugins)
        assert (found.status, "boto3 " in found.message) == ("ok", named)

    def test_a_distribution_that_is_missing_is_a_warning(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor, "DISTRIBUTIONS", ("pluggy", "no-such-thing"))
        found = doctor.versions(())
        assert (found.status, found.message.startswith("not installed: no-such-thing;")) == ("warning", True)


class TestByteCode:
    @pytest.fixture
    def module(self, tmp_path: Path) -> Path:
        path = tmp_path / "module.py"
        path.write_text("a = 1\n")
        return path

    def test_a_compiled_module_is_right(self, module: Path) -> None:
        compileall.compile_file(module, quiet=1)
        assert doctor.byte_code([module]).status == "ok"

    def test_one_that_is_not_is_a_warning_with_the_command(self, module: Path) -> None:
        found = doctor.byte_code([module])
        assert (found.status, f"-m compileall -q {module.parent}" in found.hint) == ("warning", True)

    def test_one_that_has_changed_since_is_too(self, module: Path) -> None:
        compileall.compile_file(module, quiet=1)
        module.write_text("a = 12\n")
        assert doctor.byte_code([module]).status == "warning"


class TestPlugins:
    @pytest.mark.parametrize(
        ("status", "judged"),
        [
            (PluginStatus.ACTIVE, "ok"),
            (PluginStatus.DISABLED, "not checked"),
            (PluginStatus.FAILED, "error"),
            (PluginStatus.INCOMPATIBLE, "error"),
            (PluginStatus.CONFLICT, "error"),
        ],
    )
    def test_each_has_a_row_with_its_reason(self, status: PluginStatus, judged: str) -> None:
        candidate = Candidate(name="Fake", module="fake", distribution="hfcore-fake", version="1.0")
        reason = "" if status is PluginStatus.ACTIVE else "why not"
        (found,) = doctor.plugins([PluginRecord(candidate=candidate, status=status, reason=reason)])
        assert (found.name, found.status, reason in found.message) == ("plug-in Fake", judged, True)

    def test_that_there_is_none_is_an_error(self) -> None:
        assert [one.status for one in doctor.plugins([])] == ["error"]


class TestFolder:
    def judge(self, path: Path, *, writes: bool = True, user: int = ME) -> tuple[str, str]:
        found = doctor.folder("work", path, "--provider", writes=writes, user=user)
        assert (found.name, bool(found.hint)) == ("folder work", found.status != "ok")
        return found.status, found.message

    def test_one_of_ours_is_right(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o700)
        assert self.judge(tmp_path)[0] == "ok"

    def test_one_that_is_missing_is_an_error(self, tmp_path: Path) -> None:
        assert self.judge(tmp_path / "none")[0] == "error"

    def test_a_file_in_its_place_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert self.judge(tmp_path / "file")[0] == "error"

    def test_one_of_another_user_is_an_error_where_calls_write(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o700)
        assert self.judge(tmp_path, user=ME + 1)[0] == "error"
        assert self.judge(tmp_path, user=ME + 1, writes=False)[0] == "ok"

    @pytest.mark.skipif(ME == 0, reason="root may write everywhere")
    def test_one_that_can_t_be_written_is_an_error(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        status, message = self.judge(tmp_path)
        tmp_path.chmod(0o700)
        assert (status, "can't be written" in message) == ("error", True)

    def test_what_others_may_write_is_a_warning(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o777)
        assert self.judge(tmp_path)[0] == "warning"


class TestCredentialFile:
    def test_one_for_its_owner_alone_is_right(self, tmp_path: Path) -> None:
        path = tmp_path / "credentials"
        path.write_text("[default]\naws_secret_access_key = hush\n")
        path.chmod(0o600)
        found = doctor.credential_file(path)
        assert (found.status, "hush" in str(found)) == ("ok", False)

    def test_one_that_others_may_read_is_a_warning(self, tmp_path: Path) -> None:
        path = tmp_path / "credentials"
        path.touch()
        path.chmod(0o644)
        assert doctor.credential_file(path).status == "warning"

    def test_one_that_is_not_there_is_an_error(self, tmp_path: Path) -> None:
        assert doctor.credential_file(tmp_path / "none").status == "error"


class TestFileSystem:
    @pytest.mark.parametrize(
        ("path", "status", "kind"),
        [
            ("/var/work", "ok", "ext4"),
            ("/share/work", "warning", "nfs4"),
            ("/sharework", "ok", "ext4"),
            ("/with space/work", "warning", "lustre"),
        ],
    )
    def test_the_kind_is_that_of_the_nearest_mount(self, path: str, status: str, kind: str, tmp_path: Path) -> None:
        found = doctor.file_system(type(tmp_path)(path), MOUNTS)
        assert (found.status, kind in found.message) == (status, True)

    def test_where_the_system_does_not_say_it_is_not_checked(self, tmp_path: Path) -> None:
        assert doctor.file_system(tmp_path, "").status == "not checked"


class TestLocking:
    def test_another_process_is_kept_out_and_nothing_is_left(self, tmp_path: Path) -> None:
        assert doctor.locking(tmp_path).status == "ok"
        assert not list(tmp_path.iterdir())

    def test_a_lock_that_keeps_nobody_out_is_an_error(self, tmp_path: Path) -> None:
        found = doctor.locking(tmp_path, lambda _: True)
        assert (found.status, "keeps nobody out" in found.message) == ("error", True)

    def test_a_lock_that_nobody_gets_is_an_error(self, tmp_path: Path) -> None:
        found = doctor.locking(tmp_path, lambda _: False)
        assert (found.status, "can't be taken" in found.message) == ("error", True)

    def test_a_folder_where_no_lock_can_be_made_is_an_error(self, tmp_path: Path) -> None:
        assert doctor.locking(tmp_path / "none").status == "error"


class TestStore:
    def test_a_sound_one_is_right(self, data: Path) -> None:
        assert doctor.store(data, CLOCK).status == "ok"
        assert doctor.store_lock(data).status in {"ok", "not checked"}

    def test_none_yet_is_not_checked_and_none_is_made(self, tmp_path: Path) -> None:
        found = (doctor.store(tmp_path / "data", CLOCK), doctor.store_lock(tmp_path / "data"))
        assert [one.status for one in found] == ["not checked"] * 2
        assert doctor.journal(tmp_path / "data", CLOCK, 60).status == "ok"
        assert not list(tmp_path.iterdir())

    def test_a_plug_in_that_stored_requests_need_and_that_is_gone_is_an_error(self, data: Path) -> None:
        its = {"provider_api": "Local", "distribution": "hfcore-local", "created_at": datetime.now(UTC)}
        made = Request(request_id="req-1", status=RequestStatus.IN_PROGRESS, **its)
        over = Request(request_id="req-2", status=RequestStatus.FAILED, **its)
        with open_store(data, now=datetime.now(UTC)).transaction() as state:
            state.save_request(made)
            state.save_request(over)
        (found,) = doctor.lacking_plugins(data, CLOCK, [])
        assert (found.name, found.status, found.hint) == ("plug-in Local", "error", "pip install hfcore-local")
        assert found.message.startswith("1 stored request needs it")
        there = PluginRecord(
            candidate=Candidate(name="local", module="m", distribution="d", version="1"), status=PluginStatus.DISABLED
        )
        assert not [*doctor.lacking_plugins(data, CLOCK, [there])]

    def test_a_damaged_one_is_an_error_with_what_to_do(self, data: Path) -> None:
        (data / "storage.json").write_text("{")
        found = doctor.store(data, CLOCK)
        assert (found.status, found.hint) == ("error", "hfcore store check")

    def test_one_on_a_full_disk_is_an_error(self, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(files, "_claim", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
        found = doctor.store(data, CLOCK)
        assert (found.status, found.hint[:10]) == ("error", "make space")

    def test_a_copy_of_one_is_a_warning(self, data: Path) -> None:
        copy = shutil.copytree(data, data.with_name("copy"))
        assert doctor.store(copy, CLOCK).status == "warning"

    def test_a_folder_that_is_a_file_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "data").touch()
        assert doctor.store(tmp_path / "data", CLOCK).status == "error"

    def test_a_free_lock_is_right_and_a_held_one_a_warning(self, data: Path) -> None:
        lock = data / "store.lock"
        with FileLock(lock, 0):
            found = doctor.store_lock(data, patience=0)
        assert (found.status, f"process {os.getpid()}" in found.message) == ("warning", True)
        assert doctor.store_lock(data).status == "ok"


class TestJournal:
    def test_a_step_of_a_process_that_lives_is_right(self, data: Path) -> None:
        journal = IntentFolder(data / "journal", owner="o", clock=CLOCK)
        journal.begin("req-1", "launch-0", "ec2:RunInstances", {})
        assert doctor.journal(data, CLOCK, 60).message == "1 steps, none left by a dead process"

    def test_one_of_a_process_that_died_is_a_warning_that_names_it(self, data: Path) -> None:
        journal = IntentFolder(data / "journal", owner="o", clock=CLOCK)
        journal.begin("req-1", "launch-0", "ec2:RunInstances", {})
        (file,) = (data / "journal").glob("*.json")
        record = json.loads(file.read_text())
        record["process"] = "other/boot/1/2"
        record["begun_at"] = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        file.write_text(json.dumps(record))
        found = doctor.journal(data, CLOCK, 60)
        assert found.status == "warning", found
        assert "ec2:RunInstances of req-1" in found.message

    def test_one_that_can_t_be_read_is_an_error(self, data: Path) -> None:
        journal = IntentFolder(data / "journal", owner="o", clock=CLOCK)
        journal.begin("req-1", "launch-0", "ec2:RunInstances", {})
        next((data / "journal").glob("*.json")).write_text("{")
        assert doctor.journal(data, CLOCK, 60).status == "error"


def test_a_log_that_can_be_written_is_right_and_one_that_can_t_a_warning() -> None:
    assert (doctor.log("").status, doctor.log("there is no log").status) == ("ok", "warning")


def test_odd_settings_are_warnings_and_none_is_right() -> None:
    assert [one.status for one in doctor.settings(())] == ["ok"]
    assert [(one.status, one.message) for one in doctor.settings(("odd",))] == [("warning", "odd")]


def test_problems_of_templates_are_rows_and_none_usable_an_error() -> None:
    wrong = Problem(field="vmType", message="is missing", template_id="a", source="f.json")
    odd = Problem(field="x", message="is unknown", severity=Severity.WARNING, template_id="b")
    assert [one.status for one in doctor.templates((wrong, odd), 1)] == ["error", "warning", "ok"]
    assert [one.status for one in doctor.templates((), 2)] == ["ok"]
    assert [one.status for one in doctor.templates((), 0)] == ["error"]


class TestRegistration:
    """Host Factory's two files and the scripts."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        base = tmp_path / "my inst"
        for part in ("conf", "work", "log", "scripts"):
            (base / part).mkdir(parents=True)
        return Settings(conf_dir=base / "conf", work_dir=base / "work", log_dir=base / "log", provider="awsinst")

    @pytest.fixture
    def scripts(self, settings: Settings) -> Path:
        folder = settings.conf_dir.with_name("scripts")
        for name in registration.SCRIPTS:
            script = folder / f"{name}.sh"
            script.write_text(f"#!/bin/sh\nPYTHON={sys.executable}\n[ x ] || HFCORE_CONF_DIR='{settings.conf_dir}'\n")
            script.chmod(0o700)
        return folder

    @pytest.fixture
    def register(self, settings: Settings, scripts: Path, tmp_path: Path) -> Callable[..., dict[str, str]]:
        """Write Host Factory's files, with changes to the provider and the plug-in; give what is found, by row."""

        def write(provider: dict[str, Any] | None = None, plugin: dict[str, Any] | None = None) -> dict[str, str]:
            conf = tmp_path / "hf" / "conf"
            own = {"name": "awsinst", "enabled": 1, "plugin": "aws", "confPath": f"{settings.conf_dir}/"}
            own |= {"workPath": f"{settings.work_dir}/", "logPath": str(settings.log_dir), **(provider or {})}
            its = {"name": "aws", "enabled": 1, "scriptPath": f"{scripts}/", **(plugin or {})}
            for place, document in (
                (registration.PROVIDERS_FILE, {"version": 2, "providers": [own]}),
                (registration.PLUGINS_FILE, {"version": 2, "providerplugins": [its]}),
            ):
                (conf / place).parent.mkdir(parents=True, exist_ok=True)
                (conf / place).write_text(json.dumps(document))
            return {one.name: one.status for one in registration.checks(settings, {"HF_TOP": str(tmp_path / "hf")})}

        return write

    def test_an_instance_that_is_registered_is_right(self, register: Callable[..., dict[str, str]]) -> None:
        rows = ("Host Factory's provider", "Host Factory's plug-in", "scripts")
        assert register() == dict.fromkeys(rows, "ok")

    @pytest.mark.parametrize(
        "change",
        [{"name": "other"}, {"enabled": 0}, {"confPath": "/other"}, {"workPath": "/other"}, {"logPath": "/other"}],
        ids=str,
    )
    def test_a_provider_that_is_not_this_one_is_an_error(
        self, register: Callable[..., dict[str, str]], change: dict[str, Any]
    ) -> None:
        assert register(provider=change)["Host Factory's provider"] == "error"

    @pytest.mark.parametrize("change", [{"name": "other"}, {"enabled": 0}, {"scriptPath": "/none"}], ids=str)
    def test_a_plugin_that_leads_to_no_scripts_is_an_error(
        self, register: Callable[..., dict[str, str]], change: dict[str, Any]
    ) -> None:
        assert register(plugin=change)["Host Factory's plug-in"] == "error"

    def test_files_that_are_not_json_or_not_there_are_an_error(self, settings: Settings, tmp_path: Path) -> None:
        found = [one.status for one in registration.checks(settings, {"HF_CONFDIR": str(tmp_path)})]
        assert found[0] == "error"
        place = tmp_path / registration.PROVIDERS_FILE
        place.parent.mkdir()
        place.write_text("[]")
        assert next(registration.checks(settings, {"HF_CONFDIR": str(tmp_path)})).status == "error"

    def test_where_nothing_says_where_they_are_they_are_not_checked_but_the_scripts_are(
        self, settings: Settings, scripts: Path
    ) -> None:
        assert scripts.is_dir()
        found = {one.name: one.status for one in registration.checks(settings, {})}
        assert found == {"Host Factory's files": "not checked", "scripts": "ok"}

    def spoil_missing(self, script: Path, _: Settings) -> None:
        script.unlink()

    def spoil_mode(self, script: Path, _: Settings) -> None:
        script.chmod(stat.S_IRUSR)

    def spoil_interpreter(self, script: Path, _: Settings) -> None:
        script.write_text(script.read_text().replace(sys.executable, "/none/python"))

    def spoil_instance(self, script: Path, settings: Settings) -> None:
        script.write_text(script.read_text().replace(str(settings.conf_dir), "/other/conf"))

    def spoil_maker(self, script: Path, _: Settings) -> None:
        script.write_text("#!/bin/sh\nexec java -jar provider.jar\n")

    def spoil_quotes(self, script: Path, _: Settings) -> None:
        script.write_text("#!/bin/sh\nPYTHON='unended\n")

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (spoil_missing, "is missing"),
            (spoil_mode, "is not readable and executable"),
            (spoil_interpreter, "is no interpreter"),
            (spoil_instance, "of another instance"),
            (spoil_maker, "not made by"),
            (spoil_quotes, "not made by"),
        ],
    )
    def test_a_script_that_can_t_work_is_an_error(
        self, settings: Settings, scripts: Path, spoil: Callable[..., None], said: str
    ) -> None:
        spoil(self, scripts / "requestMachines.sh", settings)
        found = registration.scripts(scripts, settings)
        assert (found.status, said in found.message, bool(found.hint)) == ("error", True, True), found
