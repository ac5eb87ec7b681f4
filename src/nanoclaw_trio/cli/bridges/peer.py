"""Who connects to the socket: nobody from inside a container.

The main group's container sees the project, read-only, and with it the socket. A read-only mount
keeps nobody from connecting, and where the agent's user has the host's number, mode 0600 doesn't
either: the agent would speak for every chat. So whoever lives in another process namespace is
refused, which is every container's and every sandbox's.
"""

from __future__ import annotations

import socket
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nanoclaw_trio.files import read_if_present
from nanoclaw_trio.runtimes.proc import parse_namespace_pids

if TYPE_CHECKING:
    import trio

PROC: Final = Path("/proc")

_CREDENTIALS: Final = struct.Struct("3i")
"""struct ucred of unix(7): pid, uid, gid."""


def is_from_inside(peer: trio.socket.SocketType, proc: Path = PROC) -> bool:
    """Whether the other end of a connection is in a container, or may be. Blocking as /proc is.

    Only Linux tells, and only there do containers share the host's kernel.
    """
    if (
        sys.platform != "linux"
    ):  # pragma: no cover - elsewhere containers have a kernel of their own
        return False
    content = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, _, _ = _CREDENTIALS.unpack(content)
    try:
        status = read_if_present(proc / str(pid) / "status")
    except OSError:
        status = None
    # Who has gone already gets no answer anyway.
    return status is None or is_nested(status)


def is_nested(status: bytes) -> bool:
    """Whether /proc/PID/status is that of a process in a namespace below ours. Pure.

    Its NSpid has the process's number in each namespace from ours down (proc(5)). A kernel without
    the line tells nothing.
    """
    numbers = parse_namespace_pids(status)
    return numbers is not None and len(numbers) != 1
