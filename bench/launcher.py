"""Start the processes that are measured, and measure them; itself so small that what they inherit tells nothing.

Linux counts to a process's peak memory what its parent had when it was started: so a small process starts them, and
the harness may be as large as it likes. One JSON line on standard input is one go, all of its commands at once:
`{"commands": [[word, …], …], "environment": {…}, "output": folder, "limit": seconds}`. One JSON line answers it, for
each command `[exit code, CPU seconds, wall seconds, peak KiB, bytes written]`; its outputs are `<n>.out` and `<n>.err`
in the folder. A command that is not over within the limit is ended, with exit code -9.
"""

import json
import os
import signal
import sys
import time

MODE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def written(pid: int) -> int:
    """Give the bytes that an ended process has written to files and pipes, what it printed included."""
    with open(f"/proc/{pid}/io") as counters:  # noqa: PTH123 - pathlib would make this process larger
        return int(counters.read().split("wchar: ")[1].split()[0])


def go(asked: dict) -> list:
    """Run commands at once, to their ends."""
    started = {}
    for number, words in enumerate(asked["commands"]):
        files = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
        for descriptor, end in ((1, "out"), (2, "err")):
            files.append((os.POSIX_SPAWN_OPEN, descriptor, f"{asked['output']}/{number}.{end}", MODE, 0o600))
        begun = time.monotonic()
        started[os.posix_spawn(words[0], words, asked["environment"], file_actions=files)] = (number, begun)

    def end_all(*_: object) -> None:
        for pid in started:
            os.kill(pid, signal.SIGKILL)

    signal.signal(signal.SIGALRM, end_all)
    signal.setitimer(signal.ITIMER_REAL, asked["limit"])
    costs: list = [None] * len(started)
    while started:
        pid = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT).si_pid
        over, size = time.monotonic(), written(pid)
        number, begun = started.pop(pid)
        _, status, used = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        costs[number] = [code, used.ru_utime + used.ru_stime, over - begun, used.ru_maxrss, size]
    signal.setitimer(signal.ITIMER_REAL, 0)
    return costs


for line in sys.stdin:
    print(json.dumps(go(json.loads(line))), flush=True)
