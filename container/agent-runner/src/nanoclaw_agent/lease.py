"""The lease: standard input that the host holds open for as long as it lives (docs/protocol 1).

The kernel closes it with the host, however that ended. Then nobody is there any more to end this
agent: it ends by itself, as by SIGTERM, whatever it is doing.

That this file is there tells the host that a group's copy of the agent-runner takes a lease.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_agent.container_input import STDIN, close_stdin
from nanoclaw_agent.errors import HostGone
from nanoclaw_agent.signals import STOP_GRACE_PERIOD, exit_now

if TYPE_CHECKING:
    from typing import NoReturn

LEASE: Final = "lease"
"""What NANOCLAW_STDIN holds where standard input is one."""

FORCE_AFTER: Final = 3 * STOP_GRACE_PERIOD
"""Seconds after the lease's end at which the process ends, handled signals or not."""


async def read_leased_stdin() -> bytes:
    """The input: one line. From then on the end of standard input ends this process.

    Descriptor 0 is the null device afterwards, as without a lease (Trap A17).

    Raises:
        HostGone: standard input ended before the line did.
    """
    line = await _read_line()
    # Not inherited by child processes, unlike descriptor 0.
    lease = os.dup(STDIN)
    close_stdin()
    watch(lease)
    return line


async def _read_line() -> bytes:
    data = b""
    async with trio.lowlevel.FdStream(os.dup(STDIN)) as stream:
        async for chunk in stream:
            data += chunk
            if b"\n" in chunk:
                return data.partition(b"\n")[0]
    raise HostGone


def watch(lease: int) -> None:
    """End this process at the end of the stream behind a descriptor.

    Why not a task: it wouldn't run while the main thread is blocked.
    """
    threading.Thread(target=_wait_and_end, args=(lease,), name="lease", daemon=True).start()


def _wait_and_end(lease: int) -> NoReturn:
    with suppress(OSError):
        while os.read(lease, 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
    # Its handler runs in the main thread, which may be in the midst of C code for long.
    time.sleep(FORCE_AFTER)
    exit_now(signal.SIGTERM)
