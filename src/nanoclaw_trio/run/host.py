"""Which process of which host started a container, as a label's value."""

from __future__ import annotations

import errno
import os
import re
import socket
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final

from nanoclaw_trio.files import read_if_present

PROC: Final = Path("/proc")
"""Where Linux shows its processes; elsewhere it isn't there."""

UNKNOWN: Final = "0"
"""Stands for a start that can't be told. No process but the kernel's own started at 0."""

_OWNER: Final = re.compile(r"(?P<host>.*):(?P<pid>[0-9]{1,9}):(?P<start>[0-9]+)")


def this_process(proc: Path = PROC) -> str:
    """HOST:PID:START. The start's time tells a process from a later one with its number."""
    try:
        start = _own_start(os.getpid(), proc)
    except LookupError:
        start = UNKNOWN
    return f"{socket.gethostname()}:{os.getpid()}:{start}"


# It doesn't change, and each run asks for it. By the number, for who forks.
@lru_cache(maxsize=1)
def _own_start(pid: int, proc: Path) -> str:
    start = _start_time(pid, proc)
    if start is None or start == UNKNOWN:
        # Raised and not remembered: the next time there may be a descriptor free to read it with.
        raise LookupError(pid)
    return start


def is_alive(owner: str, proc: Path = PROC) -> bool:
    """Whether the process that a label names lives, as far as this host can tell.

    A process of another host counts as alive, and so does one that the label doesn't name clearly:
    nobody here can say that it isn't.
    """
    label = _OWNER.fullmatch(owner)
    if label is None or label["host"] != socket.gethostname():
        return True
    start = _start_time(int(label["pid"]), proc)
    return start is not None and (start == label["start"] or UNKNOWN in {start, label["start"]})


def _start_time(pid: int, proc: Path) -> str | None:
    """When a process started, in the kernel's ticks; None if it has ended."""
    try:
        content = read_if_present(proc / str(pid) / "stat")
    except OSError as error:
        # ESRCH: it ended between the opening and the reading.
        return None if error.errno == errno.ESRCH else UNKNOWN
    if content is None:
        return UNKNOWN if _exists(pid) else None
    # The fields behind the command's closing parenthesis: the state first, the start 19 after it.
    fields = content.rpartition(b")")[2].split()
    has_ended = fields[0] in {b"Z", b"X"}
    return None if has_ended else fields[19].decode()


def _exists(pid: int) -> bool:
    # Not permitted: it is there, and somebody else's.
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
