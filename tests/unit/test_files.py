from __future__ import annotations

import errno
import os
import pwd
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import pytest

from hfcore import files
from hfcore.errors import StoreLocked, StoreNotWritable, StoreUntrusted
from hfcore.files import (
    FileLock,
    Patience,
    append_lines,
    make_private_folder,
    read_checked,
    refuse_foreign_owner,
    replace_checked,
    replace_file,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534

HOLD = """
import sys, time
from pathlib import Path
from hfcore.files import FileLock
with FileLock(Path(sys.argv[1]), 10):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def process_that_holds(lock: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-P", "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.fixture
def own_folder() -> Iterator[Path]:
    """Give a folder of an ordinary user, who the test is meanwhile: root may write everywhere."""
    folder = Path(mkdtemp(prefix="hfcore-test-"))
    root = os.geteuid() == 0
    if root:
        os.chown(folder, NOBODY, NOBODY)
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
            os.setegid(0)
        folder.chmod(0o700)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_a_replaced_file_has_the_new_content_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "storage.json"
    path.write_bytes(b"old")
    path.chmod(0o644)
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert mode(path) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["storage.json"]


def test_who_has_waited_for_a_lock_in_vain_does_not_wait_as_long_again(tmp_path: Path) -> None:
    patience = Patience(1.0)
    with FileLock(tmp_path / "lock", 0):
        waited = []
        for _ in range(3):
            begun = time.monotonic()
            with pytest.raises(StoreLocked), patience.lock(tmp_path / "lock"):
                pass
            waited.append(time.monotonic() - begun)
    assert waited[0] >= 1.0
    assert max(waited[1:]) < 0.9
    with patience.lock(tmp_path / "lock"):
        pass


def test_a_lock_whose_file_is_removed_meanwhile_is_taken_on_the_file_that_all_others_see(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with ExitStack() as first:
        first.enter_context(FileLock(path, 0))
        path.unlink()
        with FileLock(path, 0), pytest.raises(StoreLocked), FileLock(path, 0):
            pass
        waiting = FileLock(path, 5.0)
        blocked = first.enter_context(ExitStack())
        blocked.enter_context(FileLock(path, 0))
        thread = threading.Thread(target=lambda: (time.sleep(0.2), path.unlink(), blocked.close()))
        thread.start()
        with waiting, pytest.raises(StoreLocked), FileLock(path, 0):
            pass
        thread.join()


def test_what_may_not_be_looked_at_is_no_version_to_go_back_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", forbidden)
    assert "can't be read" in str(files.untrusted(tmp_path / "meta.json", "can't be read: Permission denied"))


def test_the_umask_does_not_change_the_mode_of_what_we_write(tmp_path: Path) -> None:
    before = os.umask(0o277)
    try:
        replace_file(tmp_path / "file", b"x")
        append_lines(tmp_path / "lines", b"x\n")
        with FileLock(tmp_path / "lock", 0):
            make_private_folder(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert [mode(tmp_path / name) for name in ("file", "lines", "lock")] == [0o600] * 3
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700


def test_a_reader_that_has_the_old_file_open_goes_on_reading_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "storage.json"
    replace_file(path, b"old and long")
    with path.open("rb") as reader:
        replace_file(path, b"new")
        assert reader.read() == b"old and long"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_owner_and_group_of_the_replaced_file_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "storage.json"
    path.write_bytes(b"old")
    os.chown(path, 12345, 23456)
    replace_file(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("call", ["replace", "write", "fsync", "open"])
def test_a_failure_leaves_the_old_file_whole_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, call: str
) -> None:
    path = tmp_path / "storage.json"
    path.write_bytes(b"old")

    def fail(*arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StoreNotWritable) as caught:
        replace_file(path, b"new")
    monkeypatch.undo()
    assert str(path) in caught.value.message
    assert os.strerror(code) in caught.value.message
    assert caught.value.hint
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["storage.json"]


def test_a_file_that_outgrows_what_the_system_allows_leaves_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "storage.json"
    path.write_bytes(b"old")
    code = (
        "import resource, signal, sys; from pathlib import Path; from hfcore.files import replace_file\n"
        "from hfcore.errors import StoreNotWritable\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: replace_file(Path(sys.argv[1]), bytes(5000))\n"
        "except StoreNotWritable as error: print(error.message)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert os.strerror(errno.EFBIG) in done.stdout
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["storage.json"]


def test_a_folder_without_the_right_to_write_is_named(own_folder: Path) -> None:
    replace_file(own_folder / "storage.json", b"old")
    own_folder.chmod(0o500)
    with pytest.raises(StoreNotWritable, match=r"storage\.json can't be written: Permission denied"):
        replace_file(own_folder / "storage.json", b"new")
    assert (own_folder / "storage.json").read_bytes() == b"old"
    with pytest.raises(StoreNotWritable, match="Permission denied"), FileLock(own_folder / "lock", 1):
        pass


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        replace_file(tmp_path / "storage.json", b"new")
    assert not list(tmp_path.iterdir())


def test_appended_lines_begin_on_a_new_line_after_a_cut_one(tmp_path: Path) -> None:
    path = tmp_path / "2026-01.jsonl"
    append_lines(path, b"one\n")
    append_lines(path, b"two\n")
    with path.open("ab") as file:
        file.write(b"cut")
    append_lines(path, b"three\n")
    assert path.read_bytes() == b"one\ntwo\ncut\nthree\n"
    assert mode(path) == 0o600


def test_lines_that_do_not_fit_are_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "2026-01.jsonl"
    append_lines(path, b"one\n")
    real = os.write
    taken: list[int] = []

    def half(descriptor: int, data: bytes) -> int:
        if taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken.append(real(descriptor, data[:2]))
        return taken[0]

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(StoreNotWritable, match="No space left"):
        append_lines(path, b"two\n")
    assert path.read_bytes() == b"one\n"


def test_a_missing_file_can_not_be_trusted(tmp_path: Path) -> None:
    with pytest.raises(StoreUntrusted, match="is missing"):
        files.read_json(tmp_path / "storage.json", str)


def test_another_users_folder_is_refused_with_the_command_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_foreign_owner(tmp_path)
    owner = pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.setattr(os, "geteuid", lambda: 424242)
    with pytest.raises(StoreNotWritable, match="#424242") as caught:
        refuse_foreign_owner(tmp_path)
    assert f"sudo -u {owner}" in caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make folders in another user's")
def test_root_makes_no_folder_that_its_user_could_not_use(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    os.chown(work, NOBODY, NOBODY)
    with pytest.raises(StoreNotWritable, match="belongs to user"):
        make_private_folder(work / "data")
    assert not list(work.iterdir())


def test_a_lock_that_another_process_holds_is_waited_for_no_longer_than_asked(tmp_path: Path) -> None:
    lock = tmp_path / "store.lock"
    with process_that_holds(lock) as holder:
        begun = time.monotonic()
        with pytest.raises(StoreLocked, match=f"store.lock .* by process {holder.pid}"), FileLock(lock, 0.2):
            pass
        assert time.monotonic() - begun >= 0.2
    assert mode(lock) == 0o600


def test_a_killed_holder_blocks_nobody(tmp_path: Path) -> None:
    lock = tmp_path / "store.lock"
    with process_that_holds(lock) as holder:
        os.kill(holder.pid, signal.SIGKILL)
        with FileLock(lock, 10):
            assert lock.read_text() == f"{os.getpid()}\n"


def test_a_waiter_gets_the_lock_when_it_is_let_go(tmp_path: Path) -> None:
    lock = tmp_path / "store.lock"
    with process_that_holds(lock) as holder:
        timer = threading.Timer(0.1, holder.terminate)
        timer.start()
        with FileLock(lock, 10):
            assert holder.wait(5) != 0
        timer.join()


def test_a_lock_is_let_go_when_its_block_raises_and_its_file_stays(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "store.lock", 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), lock:
            _ = 1 // 0
    assert (tmp_path / "store.lock").exists()


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    go_on, tell = os.pipe()
    with FileLock(tmp_path / "lock", 1):
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            os.read(go_on, 1)
            os._exit(0)
    try:
        with FileLock(tmp_path / "lock", 0):
            pass
    finally:
        os.write(tell, b"x")
        os.waitpid(child, 0)
        os.close(tell)
        os.close(go_on)


def test_threads_that_share_a_lock_take_turns(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "store.lock", 10)
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        for _ in range(5):
            with lock:
                inside.append(number)
                most.append(len(inside))
                time.sleep(0.001)
                inside.remove(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 20


def test_a_checked_file_of_another_user_is_as_good_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_checked(tmp_path / "kept", {"a": 1})
    assert read_checked(tmp_path / "kept") == {"a": 1}
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    assert read_checked(tmp_path / "kept") is None


def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "storage.json"
    os.mkfifo(pipe)
    with pytest.raises(StoreUntrusted, match="Not a regular file"):
        files.read_json(pipe, str)
    with pytest.raises(StoreUntrusted, match="Not a regular file"):
        files.find_lines(pipe, b"")
    with pytest.raises(OSError, match="No such device"):
        files.open_private(pipe, os.O_WRONLY | os.O_APPEND)
    assert files.read_checked(pipe) is None
    with pytest.raises(StoreUntrusted, match="Is a directory"):
        files.read_json(tmp_path, str)
