"""The processes below this one: found in /proc, and ended.

A signal's handler calls this, at any moment: nothing here may import, or wait for a lock, and
pathlib imports as it goes.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

PROC: Final = "/proc"

MOST_ROUNDS: Final = 25
KILL_INTERVAL: Final = 0.002
"""Seconds for the signals to arrive before it is looked again; a tenth of one in all."""


def terminate_descendants() -> None:
    """SIGTERM for every process below this one."""
    _send(signal.SIGTERM, _find())


def kill_descendants() -> None:
    """SIGKILL for every process below this one; when it returns, they have ended.

    Not those that another user runs, nor those whose parents ended before: they are nobody's.
    """
    _stop_all()
    for _ in range(MOST_ROUNDS):  # pragma: no branch - what is killed ends, but for a hung disk
        found = _find()
        if not found:
            return
        _send(signal.SIGKILL, found)
        time.sleep(KILL_INTERVAL)


def _stop_all() -> None:
    # A child started just before its parent is killed would be an orphan, and not be found.
    stopped: set[int] = set()
    for _ in range(MOST_ROUNDS):  # pragma: no branch - only another user's could go on and on
        found = set(_find()) - stopped
        if not found:
            return
        _send(signal.SIGSTOP, found)
        stopped |= found
        time.sleep(KILL_INTERVAL)


def _find() -> list[int]:
    return descendants(os.getpid(), read_parents())


def _send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        # It has ended, or is another user's.
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def descendants(pid: int, parents: Mapping[int, int]) -> list[int]:
    """All processes below `pid`, given each one's parent. Pure."""
    found: list[int] = []
    generation = {pid}
    while generation:
        children = {child for child, parent in parents.items() if parent in generation}
        # A number may have been given away again while the others were read.
        generation = children - {pid, *found}
        found += sorted(generation)
    return found


def read_parents(proc: str | Path = PROC) -> dict[int, int]:
    """Each living process and its parent; none where there is no /proc. Zombies have ended."""
    try:
        names = os.listdir(proc)  # noqa: PTH208
    except FileNotFoundError:
        return {}
    return dict(_parents(proc, filter(str.isdecimal, names)))


def _parents(proc: str | Path, pids: Iterable[str]) -> Iterable[tuple[int, int]]:
    for pid in pids:
        # It has ended meanwhile.
        with suppress(OSError), open(f"{proc}/{pid}/stat", errors="replace") as file:  # noqa: PTH123
            # The name, in parentheses, may hold anything, parentheses too: proc(5).
            state, parent = file.read().rpartition(")")[2].split()[:2]
            if state not in {"Z", "X"}:
                yield int(pid), int(parent)
