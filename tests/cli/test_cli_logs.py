"""The log: one private file for many short processes, that never stops a call and holds no secret."""

from __future__ import annotations

import logging
import os
import re
import stat
import subprocess
import sys
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from hfcore.config import Settings
from hfcore.logs import log_bug, log_trouble, open_log, redact

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

FEW_BYTES = 2000


def settings(folder: Path, **values: Any) -> Settings:  # noqa: ANN401 - any setting's value
    return Settings(conf_dir=folder, work_dir=folder, log_dir=folder / "log", provider="aws1", **values)


def log_of(folder: Path) -> str:
    return (folder / "log" / "hfcore.log").read_text()


def test_a_line_has_utc_time_level_pid_logger_and_message(tmp_path: Path) -> None:
    open_log(settings(tmp_path)).getChild("store").info("saved %s", "req-1")
    time, level, pid, name, message = log_of(tmp_path).rstrip().split(" ", 4)
    assert abs((datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds()) < 60
    assert time.endswith("Z")
    assert (level, name, message) == ("INFO", "hfcore.store", "saved req-1")
    assert pid.isdigit()


def test_file_and_folder_are_private(tmp_path: Path) -> None:
    open_log(settings(tmp_path)).warning("x")
    assert stat.S_IMODE((tmp_path / "log" / "hfcore.log").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o700


def test_a_call_that_logs_nothing_makes_no_file(tmp_path: Path) -> None:
    open_log(settings(tmp_path)).debug("below the level")
    assert not (tmp_path / "log").exists()


def test_the_level_is_the_settings(tmp_path: Path) -> None:
    logger = open_log(settings(tmp_path, log_level="warning"))
    logger.info("quiet")
    logger.warning("loud")
    assert "quiet" not in log_of(tmp_path)
    assert "loud" in log_of(tmp_path)


def test_warnings_of_libraries_and_plugins_are_logged_instead_of_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    open_log(settings(tmp_path))
    logging.getLogger("hfcore_aws_asg").warning("from a plug-in")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        open_log(settings(tmp_path))
        warnings.warn("out of date", stacklevel=1)
    logging.getLogger("botocore").debug("with headers and all")
    assert "from a plug-in" in log_of(tmp_path)
    assert "out of date" in log_of(tmp_path)
    assert "headers" not in log_of(tmp_path)
    assert capfd.readouterr().err == ""


def test_debug_logs_to_stderr_too_and_leaves_the_file_at_its_level(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_log(settings(tmp_path), debug=True).debug("fine detail")
    assert "fine detail" in capsys.readouterr().err
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("obstacle", ["file", "closed"])
def test_a_log_that_cannot_be_written_stops_nothing_and_prints_nothing(
    tmp_path: Path, obstacle: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if obstacle == "file":
        (tmp_path / "log").write_text("in the way")
    else:
        (tmp_path / "log" / "hfcore.log").mkdir(parents=True)
    logger = open_log(settings(tmp_path))
    logger.warning("lost")
    logger.warning("lost too")
    assert log_bug(ZeroDivisionError()) == ""
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can be a guest everywhere")
def test_root_leaves_no_log_that_shuts_the_folders_owner_out(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    os.chown(tmp_path / "log", 12345, 12345)
    open_log(settings(tmp_path)).warning("from root")
    assert list((tmp_path / "log").iterdir()) == []
    assert "another user" in log_trouble(settings(tmp_path))


def test_a_log_call_with_wrong_arguments_is_named_in_the_log(tmp_path: Path) -> None:
    code = WRITER.replace('"writer %s line %s %s"', '"too few %s"').replace("range(200)", "range(1)")
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path), "0"], capture_output=True, text=True, check=True)
    assert ended.stderr == ""
    assert "a line of hfcore can't be formatted: TypeError" in log_of(tmp_path)


def test_a_message_cannot_forge_a_line_or_move_the_cursor(tmp_path: Path) -> None:
    open_log(settings(tmp_path)).warning("template x\n2026-01-01T00:00:00.000Z INFO 1 hfcore forged \x1b[2J")
    _, second = log_of(tmp_path).splitlines()
    assert second.startswith("    2026")
    assert "\x1b" not in second


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("key AKIAIOSFODNN7EXAMPLE used", "IOSFODNN7EXAMPLE"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "wJalr"),
        ("{'SecretAccessKey': 'wJalr XUtn', 'x': 1}", "wJalr"),
        ('"AWS_SESSION_TOKEN": "FwoGZXIvYXdzE"', "FwoGZ"),
        ("X-Amz-Security-Token: FwoGZXIvYXdzE", "FwoGZ"),
        ("Action=RunInstances&UserData=IyEvYmluL3No&Version=1", "IyEv"),
        ("{'UserData': b'#!/bin/sh\\nPASS=x', 'ImageId': 'ami-1'}", "PASS"),
        ("userData: #!/bin/sh\nexport PASS=abc\n", "abc"),
    ],
)
def test_what_looks_like_a_secret_never_reaches_the_log(tmp_path: Path, text: str, secret: str) -> None:
    assert secret in text
    open_log(settings(tmp_path)).warning("%s", text)
    assert secret not in log_of(tmp_path)


def test_a_secret_in_a_traceback_never_reaches_the_log(tmp_path: Path) -> None:
    open_log(settings(tmp_path))
    path = log_bug(ValueError("aws_secret_access_key=wJalrXUtnFEMI"))
    assert path == str(tmp_path / "log" / "hfcore.log")
    assert "ValueError" in log_of(tmp_path)
    assert "wJalr" not in log_of(tmp_path)


def test_words_near_a_secret_are_left_alone() -> None:
    for text in ("userDataScript=/opt/start.sh", "UserData is too long", "token of step launch-0", "imageId=ami-1"):
        assert redact(text) == text


def fill(folder: Path, text: str, **values: Any) -> None:  # noqa: ANN401 - any setting's value
    """Be one process after another: each logs a line and ends."""
    open_log(settings(folder, **values)).warning(text)


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hfcore.logs._MEBIBYTE", FEW_BYTES)


@pytest.mark.usefixtures("small_files")
def test_a_full_file_is_renamed_and_the_oldest_goes(tmp_path: Path) -> None:
    for number in range(5):
        fill(tmp_path, f"{number}" * FEW_BYTES, log_max_file_size_mb=1, log_max_rotate=2)
    folder = tmp_path / "log"
    kept = {path.name: path.read_text() for path in folder.glob("hfcore.log*")}
    assert kept.keys() == {"hfcore.log", "hfcore.log.1", "hfcore.log.2"}
    assert ["44" in kept["hfcore.log"], "33" in kept["hfcore.log.1"], "22" in kept["hfcore.log.2"]] == [True] * 3


@pytest.mark.usefixtures("small_files")
def test_with_no_full_files_kept_the_log_starts_anew(tmp_path: Path) -> None:
    for number in range(3):
        fill(tmp_path, f"{number}" * FEW_BYTES, log_max_file_size_mb=1, log_max_rotate=0)
    assert [path.name for path in (tmp_path / "log").glob("hfcore.log*")] == ["hfcore.log"]
    assert "22" in log_of(tmp_path)


WRITER = """
import sys
from pathlib import Path
import hfcore.logs
from hfcore.config import Settings
hfcore.logs._MEBIBYTE = 4000
folder = Path(sys.argv[1])
for number in range(200):
    settings = Settings(conf_dir=folder, work_dir=folder, log_dir=folder / "log", provider="p", log_max_file_size_mb=1,
                        log_max_rotate=100)
    hfcore.logs.open_log(settings).info("writer %s line %s %s", sys.argv[2], number, "x" * 100)
"""


def test_no_line_is_lost_or_mixed_while_many_processes_write_and_rotate(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(each)]) for each in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    files = sorted((tmp_path / "log").glob("hfcore.log*"))
    lines = [line for file in files for line in file.read_text().splitlines()]
    found = [re.fullmatch(r"\S+Z INFO \d+ hfcore writer (\d) line (\d+) x{100}", line) for line in lines]
    assert None not in found
    assert {(match[1], match[2]) for match in found if match} == {
        (str(w), str(n)) for w in range(4) for n in range(200)
    }
    full, newest = files[1:], files[0]
    assert newest.name == "hfcore.log"
    assert len(full) > 10
    assert min(file.stat().st_size for file in full) >= 4000
