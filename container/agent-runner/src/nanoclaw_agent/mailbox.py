"""The mailbox: follow-ups for this session, and the request to close it (docs/protocol 6).

The host writes files into the directory, each whole, and this agent deletes what it takes. What it
can't use it deletes as well, with a word on standard error, so that it doesn't meet it again.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from nanoclaw_agent.changes import open_changes
from nanoclaw_agent.opener import open_without_following

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from nanoclaw_agent.changes import Changes

CLOSE: Final = "_close"

LARGEST_FOLLOW_UP: Final = 16 * 1024 * 1024
"""Bytes of a file; anything larger is no message but a mistake, and would fill the memory."""

log: Final = logging.getLogger(__name__)


class InvalidFollowUp(Exception):
    """A file in the mailbox that is no follow-up."""


@dataclass(frozen=True, kw_only=True)
class FollowUp:
    """A message for this session, and the name of the file that it came in."""

    name: str
    text: str


@asynccontextmanager
async def open_mailbox(directory: Path) -> AsyncIterator[Mailbox]:
    """The mailbox in this directory, which is watched meanwhile."""
    async with open_changes(directory) as changes:
        yield Mailbox(directory, changes)


class Mailbox:
    """The agent's side of one group's mailbox directory, which may not be there yet."""

    def __init__(self, directory: Path, changes: Changes) -> None:
        self._directory = directory
        self._changes = changes
        self._undeletable: set[str] = set()

    async def next_follow_up(self) -> FollowUp | None:
        """Wait for the next follow-up, in the order of the files' names; None: close the session.

        A request to close goes before the follow-ups that lie beside it: they stay for the host,
        which hands them to the group's next run (Trap A22).
        """
        told = True
        while True:
            await trio.lowlevel.checkpoint()
            names = self._names()
            # Looked for behind them: what was written after it isn't among the names unless it is
            # there by now.
            closed = self._take_close()
            follow_up = None if closed else next(self._take_each(names), None)
            if closed or follow_up is not None:
                break
            told = await self._changes.wait()
        if not told:
            self._changes.missed()
        return follow_up

    def take_follow_ups(self) -> Iterator[FollowUp]:
        """Those that are there now, in the order of their names, each deleted as it is taken.

        Synchronous: the directory is local, and a file in it is read in less time than a thread
        takes to start.
        """
        yield from self._take_each(self._names())

    def _take_each(self, names: list[str]) -> Iterator[FollowUp]:
        for name in names:
            text = self._take(name)
            if text is not None:
                yield FollowUp(name=name, text=text)

    def _names(self) -> list[str]:
        try:
            names = [path.name for path in self._directory.iterdir()]
        except FileNotFoundError:
            return []
        return sorted(name for name in names if name.endswith(".json") and self._deletable(name))

    def _take(self, name: str) -> str | None:
        text = None
        try:
            text = parse_follow_up(_read_regular_file(self._directory / name))
        except FileNotFoundError:
            return None
        except (InvalidFollowUp, OSError) as problem:
            log.warning("follow-up %r was dropped: %s", name, problem)
        self._delete(name)
        return text

    def _take_close(self) -> bool:
        there = os.path.lexists(self._directory / CLOSE)
        if there:
            self._delete(CLOSE)
        return there

    def _delete(self, name: str) -> None:
        try:
            (self._directory / name).unlink(missing_ok=True)
        except OSError as problem:
            log.warning("%r in the mailbox can't be deleted: %s", name, problem)
            self._undeletable.add(name)

    def _deletable(self, name: str) -> bool:
        return name not in self._undeletable


def _read_regular_file(path: Path) -> bytes:
    with open(path, "rb", opener=open_without_following) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise InvalidFollowUp("not a regular file")
        if status.st_size > LARGEST_FOLLOW_UP:
            raise InvalidFollowUp(f"{status.st_size} bytes; at most {LARGEST_FOLLOW_UP} are read")
        return file.read(LARGEST_FOLLOW_UP)


def parse_follow_up(data: bytes) -> str:
    """The text of `{"type":"message","text":…}`. Raises InvalidFollowUp."""
    document = _decode(data)
    if not isinstance(document, dict) or document.get("type") != "message":
        raise InvalidFollowUp('not an object with "type": "message"')
    text = document.get("text")
    if not isinstance(text, str) or not text:
        raise InvalidFollowUp("its text is missing, empty or not a string")
    return text


def _decode(data: bytes) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(data.decode())
    # Not in a handler: those errors carry what a person has said.
    raise InvalidFollowUp("not JSON in UTF-8")
