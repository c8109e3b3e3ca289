"""The process that forks: warm with all that verbs need, it becomes a call whenever it is asked to.

`hfcore.testing.forks` starts it and asks it. It is single-threaded, as who forks must be, and nothing that a call does
happens in it.
"""

from __future__ import annotations

import codecs
import copy
import functools
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, NoReturn

from hfcore.testing import faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

READY = b"ready\n"
"""What it writes to stdout once it is warm."""

SERVICES = ("ec2", "autoscaling", "ssm", "sts")
_NOT_WARMED = ("hfcore.__main__", "hfcore.testing")  # the one runs when it is imported, the other is no product


def warm() -> None:
    """Import all that verbs need, and parse the service models; what each process makes for itself is not made."""
    for name in _modules("hfcore"):
        import_module(name)
    from hfcore import environment, hookspecs
    from hfcore.plugins import installed

    for codec in ("idna", "utf-8-sig"):
        codecs.lookup(codec)
    environment.scan = functools.cache(environment.scan)  # what is installed stays
    environment.SETTLED = 0.0  # type: ignore[misc]  # the same
    for group in (hookspecs.OBSERVERS, hookspecs.CLOUDS):
        environment.scan(group)
    for candidate in installed(hookspecs.PROVIDERS):
        with suppress(Exception):  # the call that needs a broken plug-in is to find out
            import_module(candidate.module)
    _share_models()


def _modules(package: str) -> Iterator[str]:
    """Name a package's modules, those of its packages too, without running or importing what no verb does."""
    for module in iter_modules(import_module(package).__path__, f"{package}."):
        if module.name in _NOT_WARMED:
            continue
        yield module.name
        if module.ispkg:
            yield from _modules(module.name)


def _share_models() -> None:
    """Let every botocore session find the service models parsed, and the methods of client classes made.

    All that is kept follows from botocore's own files alone; slim models would only have to be read again.
    """
    import botocore.hooks
    import botocore.session
    from botocore.client import ClientCreator
    from botocore.loaders import Loader

    from hfcore.aws import slim

    slim.use = lambda *_: frozenset()
    loader, create_loader = Loader(), botocore.session.create_loader
    botocore.session.create_loader = lambda search_path_string=None: (
        create_loader(search_path_string) if search_path_string else loader
    )
    botocore.hooks.accepts_kwargs = functools.cache(botocore.hooks.accepts_kwargs)
    _keep(botocore.hooks.EventAliaser, "_alias_event_name", lambda _, event_name: event_name)
    _keep(ClientCreator, "_create_methods", lambda _, model: model.service_name)
    for service in SERVICES:
        session = botocore.session.Session()
        session.set_credentials("nobody", "nothing")
        session.create_client(service, region_name="us-east-1", endpoint_url="http://127.0.0.1:9").close()


def _keep(holder: type, name: str, key_of: Callable[..., str]) -> None:
    """Let a method work out its result once for each key."""
    method, kept = getattr(holder, name), dict[str, Any]()

    def keeping(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - any method's
        key = key_of(*arguments, **named)
        if key not in kept:
            kept[key] = method(*arguments, **named)
        return copy.copy(kept[key])

    setattr(holder, name, keeping)


class Zygote:
    """One command on each connection, answered by the pid of its process, and in the end by its exit status."""

    def __init__(self, path: str) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(256)
        self._woken, wakes = socket.socketpair()
        wakes.settimeout(0)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._wakes = wakes
        self._children: dict[int, socket.socket] = {}
        self._asked: dict[socket.socket, bytes] = {}

    def serve(self) -> None:
        """Fork whenever asked, until stdin ends; then end the children that live."""
        for source in (self._listener, self._woken, sys.stdin):
            self._selector.register(source, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is sys.stdin:
                    self._end()
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._woken:
                    self._woken.recv(4096)
                    self._reap()
                else:
                    self._read(key.fileobj)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        self._asked[connection] = b""
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: Any) -> None:  # noqa: ANN401 - a socket
        data = connection.recv(1 << 20)
        self._asked[connection] += data
        if data and not self._asked[connection].endswith(b"\n"):
            return
        self._selector.unregister(connection)
        asked = self._asked.pop(connection)
        if not data:
            connection.close()
            return
        pid = os.fork()
        if pid == 0:
            self._become(json.loads(asked))
        self._children[pid] = connection
        self._tell(connection, pid)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with self._children.pop(pid) as connection:
                self._tell(connection, status)

    @staticmethod
    def _tell(connection: socket.socket, number: int) -> None:
        with suppress(OSError):  # who asked may be gone
            connection.sendall(f"{number}\n".encode())

    def _end(self) -> None:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _become(self, command: Mapping[str, Any]) -> NoReturn:
        """Be the call, from here to its end."""
        code = 70
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            for one in (self._listener, self._woken, self._wakes, *self._children.values(), *self._asked):
                one.close()
            code = _run(command)
        except BaseException:  # noqa: BLE001 - a child must never go on as the process that forks
            traceback.print_exc()
        finally:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)


def _run(command: Mapping[str, Any]) -> int:
    """Carry out a call in this process, which was forked for it; give the exit code."""
    folder = Path(command["folder"])
    for name, descriptor, flags in (
        (os.devnull, 0, os.O_RDONLY),
        (folder / "stdout", 1, os.O_WRONLY | os.O_CREAT),
        (folder / "stderr", 2, os.O_WRONLY | os.O_CREAT),
    ):
        opened = os.open(name, flags, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(command["env"])
    os.chdir("/")
    sys.argv = ["hfcore", *command["argv"]]
    _go_ahead(command["ahead"])
    if command["kill"]:
        faults.die_at(faults.fault_point(command["kill"]), command["nth"])
    met = faults.count() if command["count"] else None
    from hfcore.cli import main

    try:
        return main()
    finally:
        if met is not None:
            (folder / "met").write_text(json.dumps(met))


def _go_ahead(seconds: float) -> None:
    """Let this process's clock be ahead of the system's."""
    from hfcore.cli.running import SystemClock

    now, monotonic = SystemClock.now, SystemClock.monotonic
    SystemClock.now = lambda self: now(self) + timedelta(seconds=seconds)  # type: ignore[method-assign]
    SystemClock.monotonic = lambda self: monotonic(self) + seconds  # type: ignore[method-assign]


def main() -> int:
    """Be that process, for whoever knows the socket that the command line names."""
    import gc

    warm()
    zygote = Zygote(sys.argv[1])
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    gc.collect()
    gc.freeze()  # else the first collection of each child would copy everything
    zygote.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
