"""The agent's side of the mailbox's files: requests written whole, the host's list read.

Synchronous: the directory is local and the files are small, so that a call takes less time than a
thread takes to start, and no cancellation can come between a request's two halves.
"""

from __future__ import annotations

import os
import stat
from secrets import token_hex
from typing import TYPE_CHECKING, Final

from nanoclaw_agent.chat_tools.context import milliseconds
from nanoclaw_agent.chat_tools.tasks import InvalidSnapshot, parse_snapshot
from nanoclaw_agent.opener import open_without_following

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from nanoclaw_agent.chat_tools.tasks import Task

SNAPSHOT: Final = "current_tasks.json"

LARGEST_SNAPSHOT: Final = 16 * 1024 * 1024
"""Bytes of the list of tasks; anything larger is no list but a mistake, and would fill the memory."""


class RequestWriter:
    """Writes requests whose names sort in the order in which they were written."""

    def __init__(self, ipc: Path, clock: Callable[[], datetime]) -> None:
        self._ipc = ipc
        self._clock = clock
        self._last = 0
        self._sequence = 0

    def write(self, folder: str, data: bytes) -> Path:
        """Put one request into `messages` or `tasks`, which is made if it is missing; its path.

        A reader sees the whole file or none (Trap A20). OSError if the disk refuses; nothing is
        left behind then.
        """
        directory = self._ipc / folder
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / self._next_name()
        # Readers take names that end in .json.
        temporary = path.with_suffix(".tmp")
        try:
            _write_new(temporary, data)
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return path

    def _next_name(self) -> str:
        # A clock that is set back must not put a later request before an earlier one.
        self._last = max(self._last, milliseconds(self._clock()))
        self._sequence += 1
        return f"{self._last:013}-{self._sequence:06}-{token_hex(4)}.json"


def _write_new(path: Path, data: bytes) -> None:
    # Made anew, and so no link that somebody put there is followed.
    with path.open("xb") as file:
        file.write(data)


def read_snapshot(ipc: Path) -> list[Task]:
    """The tasks that the host wrote down before this run. Raises InvalidSnapshot."""
    path = ipc / SNAPSHOT
    try:
        return parse_snapshot(_read_regular_file(path))
    except FileNotFoundError:
        raise InvalidSnapshot("the host has written none") from None
    except OSError as error:
        raise InvalidSnapshot(f"it can't be read: {error.strerror}") from None


def _read_regular_file(path: Path) -> bytes:
    with open(path, "rb", opener=open_without_following) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise InvalidSnapshot("it is no regular file")
        data = file.read(LARGEST_SNAPSHOT + 1)
    if len(data) > LARGEST_SNAPSHOT:
        raise InvalidSnapshot(f"it has more than {LARGEST_SNAPSHOT} bytes")
    return data
