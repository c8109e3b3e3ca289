"""Own how files of the store are read, replaced, appended to, locked and kept private; not what is in them."""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import ExitStack, contextmanager
from json import JSONDecodeError, dumps, loads
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar
from zlib import crc32

from hfcore.errors import StoreLocked, StoreNotWritable, StoreUntrusted

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

T = TypeVar("T")

Identity = tuple[int, int, int]

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
TEMPORARY: Final = ".tmp"
"""End of the name of every temporary file and folder; such a name starts with a dot."""

LAST: Final = ".last"
"""End of the name under which the version of a file before this one is kept."""

RESTORE_HINT: Final = "nothing was changed; `hfcore store check` names all that is wrong, and what to do about it"

_HINTS: Final = {
    errno.ENOSPC: "make space on the file system, then try again; what was stored before is whole",
    errno.EDQUOT: "raise the user's disk quota or make space, then try again; what was stored before is whole",
    errno.EROFS: "mount the file system for writing, then try again",
    errno.EACCES: "give the user that runs Host Factory the right to write there",
    errno.EPERM: "give the user that runs Host Factory the right to write there",
}
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL})
_NO_FOLDER_SYNC: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF})  # file systems that can't sync a folder
_NO_WAIT: Final = getattr(os, "O_NONBLOCK", 0)  # a pipe is opened at once, whoever is at its other end
_AS_BYTES: Final = getattr(os, "O_BINARY", 0)
_SECOND_PATIENCE: Final = 0.05  # part of a lock's time limit that is waited once it has passed
_PAUSE: Final = 0.01  # the same however long one waits: who has waited longest must not look least often
_LOCKED_BYTE: Final = 1 << 20  # Windows locks bytes, and a locked byte can't be read: the pid stands before it


def not_writable(path: Path, error: OSError) -> StoreNotWritable:
    """Give the error that says why a file or folder can't be written."""
    reason = error.strerror or str(error)
    hint = _HINTS.get(error.errno or 0, "see the reason that the operating system gives, then try again")
    return StoreNotWritable(f"{path} can't be written: {reason}", hint=hint)


def untrusted(path: Path, what: str, *, hint: str = "") -> StoreUntrusted:
    """Give the error that says what is wrong with a file; its hint names the version before, if one is kept."""
    if not hint and _is_file(last_of(path)):
        hint = (
            f"nothing was changed; the version before it is {last_of(path).name}: `hfcore store repair` takes it back"
        )
    return StoreUntrusted(f"{path} {what}", hint=hint or RESTORE_HINT)


def _is_file(path: Path) -> bool:
    """Tell whether a file is there; one that may not be looked at is not, as far as its reader is concerned."""
    try:
        return path.is_file()
    except OSError:
        return False


def read_json(path: Path, parse: Callable[[str], T]) -> T:
    """Read a file by a function that raises ValueError where it does not understand.

    Raises:
        StoreUntrusted: The file is missing or unreadable, or `parse` does not understand it.
    """
    try:
        with open_file(path) as file:
            return parse(file.read().decode())
    except FileNotFoundError as error:
        raise untrusted(path, "is missing") from error
    except OSError as error:
        raise untrusted(path, f"can't be read: {error.strerror}") from error
    except JSONDecodeError as error:
        what = "is not JSON, or is cut short" if error.doc.strip() else "is empty"
        raise untrusted(path, f"{what}: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        raise untrusted(path, f"can't be understood: {error}") from error


def open_file(path: Path) -> BinaryIO:
    """Open a file to be read; a pipe in its place, which would be waited for, is refused.

    Raises:
        OSError: It can't be opened, or is no file.
    """
    descriptor = os.open(path, os.O_RDONLY | _AS_BYTES | _NO_WAIT)
    mode = os.fstat(descriptor).st_mode
    if S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "Not a regular file", str(path))


def identity_of(path: Path) -> Identity:
    """Tell one version of a file from any other: inode, time of the last change in ns, size.

    Raises:
        OSError: It can't be looked at.
    """
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


class NewFile:
    """What is to take a file's place, written and synced beside it, so that a full disk is met before anything changes.

    It has mode 0600, and the owner and group of the file that it replaces where the system allows that.

    Args:
        path: The file; it need not exist.
        data: Its new content.

    Raises:
        StoreNotWritable: The old file is untouched, and nothing is left beside it.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        self._temporary = temporary_path(path)
        try:
            _write_new(self._temporary, data, like=path)
        except OSError as error:
            self.drop()
            raise not_writable(path, error) from error
        except BaseException:
            self.drop()
            raise

    def put(self, *, keep_last: bool = False) -> None:
        """Take the file's place: others see the old content or the new, whole, even after a crash.

        Args:
            keep_last: Keep the old version under its name and `LAST`, in the place of the one that was kept there.

        Raises:
            StoreNotWritable: The old file is untouched, and nothing is left beside it.
        """
        try:
            if keep_last and self.path.exists():
                keep_version(self.path, last_of(self.path))
            os.replace(self._temporary, self.path)  # noqa: PTH105 - the one call that tests let fail
            sync_folder(self.path.parent)
        except OSError as error:
            raise not_writable(self.path, error) from error
        finally:
            self.drop()

    @property
    def identity(self) -> Identity:
        """What `identity_of` tells of the file once it is put."""
        return identity_of(self._temporary)

    def drop(self) -> None:
        """Remove what was written, unless it has taken the file's place."""
        remove_quietly(self._temporary)


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` in the place of a file, whole and synced; see `NewFile`.

    Raises:
        StoreNotWritable: The old file is untouched, and nothing is left beside it.
    """
    NewFile(path, data).put()


def replace_checked(path: Path, value: object) -> None:
    """Put a JSON value in the place of a file, with a checksum before it: one that may be lost, and never be wrong.

    Raises:
        StoreNotWritable: The old file is untouched, and nothing is left beside it.
    """
    data = dumps(value, separators=(",", ":")).encode()
    replace_file(path, b"%d\n%b" % (crc32(data), data))


def read_checked(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """Give the value of a file of `replace_checked`; `None` where it is missing, damaged, or not this user's."""
    try:
        with open_file(path) as file:
            if sys.platform != "win32" and os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            checksum, data = file.read().split(b"\n", 1)
        return loads(data) if int(checksum) == crc32(data) else None
    except (OSError, ValueError, RecursionError):
        return None


def write_new(path: Path, data: bytes, *, mode: int = FILE_MODE) -> bool:
    """Write a file that is not there yet; tell whether it was written, as one that is there is left alone.

    Raises:
        StoreNotWritable: It could not be written, and is not there.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    except OSError as error:
        raise not_writable(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            path.chmod(mode)  # whatever the umask took away
            file.write(data)
    except OSError as error:
        remove_quietly(path)  # half a file would be left alone the next time
        raise not_writable(path, error) from error
    return True


def last_of(path: Path) -> Path:
    """Give the name under which the version of a file before this one is kept."""
    return path.with_name(path.name + LAST)


def keep_version(path: Path, copy: Path) -> None:
    """Let `copy` be what `path` is now, at once for others, by a link where the file system has such.

    Raises:
        OSError: It can't be done; `copy` is as before.
    """
    temporary = temporary_path(copy)
    try:
        try:
            os.link(path, temporary)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            _write_new(temporary, path.read_bytes(), like=path)
        os.replace(temporary, copy)  # noqa: PTH105 - as above
    finally:
        remove_quietly(temporary)  # still there if both were links of one file: then replacing does nothing


def prove_room(folder: Path, size: int) -> None:
    """Make sure that so many bytes can be stored in a folder, by claiming them for a moment; nothing is written.

    Raises:
        StoreNotWritable: They can't.
    """
    probe = temporary_path(folder / "probe")
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        try:
            _claim(descriptor, size)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise not_writable(folder, error) from error
    finally:
        remove_quietly(probe)


def open_private(path: Path, flags: int) -> int:
    """Open a file, made if it is missing, with mode 0600 whatever the umask takes away.

    Raises:
        OSError: It can't be opened or made.
    """
    descriptor = os.open(path, flags | os.O_CREAT | _NO_WAIT, FILE_MODE)
    if sys.platform != "win32" and os.fstat(descriptor).st_mode & FILE_MODE != FILE_MODE:
        os.fchmod(descriptor, FILE_MODE)
    return descriptor


def append_lines(path: Path, data: bytes) -> None:
    """Add lines to a file, synced; a last line that a crash has cut is ended first.

    Raises:
        StoreNotWritable: The file is as long as before.
    """
    try:
        descriptor = open_private(path, os.O_RDWR)
        try:
            _append(descriptor, data)
        finally:
            os.close(descriptor)
        sync_folder(path.parent)
    except OSError as error:
        raise not_writable(path, error) from error


def find_lines(path: Path, part: bytes) -> list[bytes]:
    """Give the lines of a file that hold `part`.

    Raises:
        StoreUntrusted: The file can't be read.
    """
    try:
        with open_file(path) as file:
            return [line for line in file if part in line]
    except OSError as error:
        raise untrusted(path, f"can't be read: {error.strerror}") from error


def temporary_path(path: Path) -> Path:
    """Give a name beside `path` that nobody else uses."""
    return path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(6).hex()}{TEMPORARY}")


def remove_quietly(path: Path) -> None:
    """Remove a file of ours if it is there and can be removed."""
    try:
        path.unlink()
    except OSError:
        return


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last over a power cut.

    Raises:
        OSError: The disk failed.
    """
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, however little the system takes at a time.

    Raises:
        OSError: The file can't take it.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def make_private_folder(path: Path) -> None:
    """Make a folder of mode 0700, whatever the umask, and the folders above it; one that is there stays as it is.

    Root makes none in another user's folder: that user could not use it.

    Raises:
        StoreNotWritable: The folder can't be made.
    """
    if path.is_dir():
        return
    make_private_folder(path.parent)
    if os.name != "nt" and os.geteuid() == 0:
        refuse_foreign_owner(path.parent)
    try:
        path.mkdir(mode=FOLDER_MODE, exist_ok=True)
        path.chmod(FOLDER_MODE)
    except OSError as error:
        raise not_writable(path, error) from error


def refuse_foreign_owner(folder: Path) -> None:
    """Refuse to write in a folder of another user: what root writes there, Host Factory's user can't read any more.

    Raises:
        StoreNotWritable: The folder belongs to another user, or can't be looked at.
    """
    if sys.platform == "win32":
        return
    try:
        owner = folder.stat().st_uid
    except OSError as error:
        raise not_writable(folder, error) from error
    if owner != os.geteuid():
        name = _user_name(owner)
        raise StoreNotWritable(
            f"{folder} belongs to user {name}, and this is user {_user_name(os.geteuid())}: nothing is written",
            hint=f"run the same command as that user: sudo -u {name} …",
        )


class Patience:
    """Locks that a verb takes again and again: who has once waited in vain does not wait as long from then on.

    Args:
        timeout: Seconds to wait at most for each, the first time.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = self._left = timeout

    @contextmanager
    def lock(self, path: Path) -> Iterator[None]:
        """Hold the lock on a file.

        Raises:
            StoreLocked: Another holder kept it for too long.
            StoreNotWritable: The file can't be made, opened or locked.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(FileLock(path, self._left))
            except StoreLocked:
                self._left = self._timeout * _SECOND_PATIENCE
                raise
            self._left = self._timeout
            yield


class FileLock:
    """A lock between processes, and between threads, on a file that stays: `with FileLock(path, timeout): …`.

    The system lets go of the lock when its holder ends, however it ends. It can't be taken twice by one holder.
    Our own, because the `filelock` library takes about 70 ms to import, in every call.

    Args:
        path: The file; made if it is missing, with mode 0600, and never removed.
        timeout: Seconds to wait at most; 0 tries once.
        named: Whether the holder writes its pid into the file, for those who wait in vain.
    """

    def __init__(self, path: Path, timeout: float, *, named: bool = True) -> None:
        self._path = path
        self._timeout = timeout
        self._named = named
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Wait for the lock.

        Raises:
            StoreLocked: Another holder kept it for longer than the timeout.
            StoreNotWritable: The file can't be made, opened or locked.
        """
        descriptor = self._locked()
        while not _stands(descriptor, self._path):  # somebody has removed the file: others lock another one by now
            _unlock(descriptor)
            os.close(descriptor)
            descriptor = self._locked()
        self._descriptor = descriptor  # only the one who holds the lock gets here, so threads may share a FileLock
        return self

    def _locked(self) -> int:
        try:
            descriptor = open_private(self._path, os.O_RDWR)
        except OSError as error:
            raise not_writable(self._path, error) from error
        try:
            self._wait(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        _unlock(descriptor)  # explicitly: a forked child may hold a copy of the descriptor
        os.close(descriptor)

    def _wait(self, descriptor: int) -> None:
        end = time.monotonic() + self._timeout
        while not self._try(descriptor):
            left = end - time.monotonic()
            if left <= 0:
                raise StoreLocked(
                    f"{self._path} has been locked for more than {self._timeout:g} s by {_holder(descriptor)}",
                    hint="try again; if it stays so, see what that process waits for",
                )
            time.sleep(min(_PAUSE, left))
        if self._named:
            _name_holder(descriptor)

    def _try(self, descriptor: int) -> bool:
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.EACCES, errno.EDEADLK}:
                return False
            raise not_writable(self._path, error) from error
        return True


def _append(descriptor: int, data: bytes) -> None:
    end = os.lseek(descriptor, 0, os.SEEK_END)
    if end:
        os.lseek(descriptor, end - 1, os.SEEK_SET)
        if os.read(descriptor, 1) != b"\n":
            data = b"\n" + data
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, end)
        raise


def _write_new(path: Path, data: bytes, *, like: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        _keep_owner(descriptor, like)
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keep_owner(descriptor: int, like: Path) -> None:
    if sys.platform == "win32":
        return
    os.fchmod(descriptor, FILE_MODE)  # whatever the umask took away
    try:
        old, new = like.stat(), os.fstat(descriptor)
        if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
            os.fchown(descriptor, old.st_uid, old.st_gid)
    except (FileNotFoundError, PermissionError):
        return


def _user_name(uid: int) -> str:
    if sys.platform == "win32":
        return str(uid)
    from pwd import getpwuid

    try:
        return getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"  # as sudo spells a user without a name


def _name_holder(descriptor: int) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    except OSError:  # a full disk: the lock holds all the same, a waiter only learns less
        return


def _holder(descriptor: int) -> str:
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        pid = os.read(descriptor, 32).decode("ascii", "replace").strip()
    except OSError:
        pid = ""
    return f"process {pid}" if pid.isdigit() else "another process"


if sys.platform == "linux":

    def _claim(descriptor: int, size: int) -> None:
        os.posix_fallocate(descriptor, 0, size)

else:

    def _claim(descriptor: int, size: int) -> None:
        write_all(descriptor, bytes(size))


def _stands(descriptor: int, path: Path) -> bool:
    """Tell whether an open file is still the one at its path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
