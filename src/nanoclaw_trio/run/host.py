"""Which process of which host started a container, as a label's value."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from nanoclaw_trio.files import read_if_present


def this_process() -> str:
    """HOST:PID:START. The start's time tells a process from a later one with its number."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start_time(os.getpid())}"


def is_alive(owner: str) -> bool:
    """Whether the process that a label names lives, as far as this host can tell.

    A process of another host counts as alive: nobody here can say that it isn't.
    """
    host, _, rest = owner.rpartition(":")[0].rpartition(":")
    if host != socket.gethostname() or not rest.isdigit():
        return True
    return owner == f"{host}:{rest}:{_start_time(int(rest))}"


def _start_time(pid: int) -> str:
    # /proc/PID/stat: the fields after the command's closing parenthesis; the 22nd is the start.
    content = read_if_present(Path(f"/proc/{pid}/stat"))
    if content is None:
        return _without_proc(pid)
    return content.rpartition(b")")[2].split()[19].decode()


def _without_proc(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "ended"
    except PermissionError:
        return "0"
    return "0"
