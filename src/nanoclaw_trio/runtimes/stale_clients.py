"""Clients of a container engine that have outlived their host.

A client that was started just before its host was killed goes on by itself: it may ask the engine
for its container only after the next host has looked for orphans. So it is ended before the look.
"""

from __future__ import annotations

import errno
import signal
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

from nanoclaw_trio.runtimes.proc import process_ids, read_command, read_process, send_signal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    IsStale: TypeAlias = Callable[[Mapping[str, str]], bool]


_NOT_TO_BE_ENDED: Final = frozenset({errno.EACCES, errno.EPERM, errno.ENOSYS})
"""Another user's, or on a kernel without pidfd_open(2)."""


def end_stale_clients(is_stale: IsStale) -> tuple[int, ...]:
    """Kill the clients whose container's labels say that they are stale; their process ids.

    A container that one of them has asked for already is there, or will be in a moment, and is the
    reaper's. Without /proc, as on macOS, and of another user's clients, nothing is done. Blocking.
    OSError if /proc is there and can't be read.
    """
    try:
        pids = process_ids()
    except FileNotFoundError:  # pragma: no cover - macOS has no /proc
        return ()
    return tuple(pid for pid in pids if _end(pid, is_stale))


def _end(pid: int, is_stale: IsStale) -> bool:
    try:
        # Before its command line: what that says is then true of this very process.
        process = read_process(pid)
        labels = labels_of(read_command(pid))
        if process is None or not labels or not is_stale(labels):
            return False
        return send_signal(process, signal.SIGKILL)
    except OSError as error:
        if error.errno in _NOT_TO_BE_ENDED:
            return False
        raise


def labels_of(command: Sequence[str]) -> dict[str, str]:
    """The labels that a client's command line has for its container. Pure."""
    given = (word.partition("=") for option, word in pairwise(command) if option == "--label")
    return {name: value for name, equals, value in given if equals}
