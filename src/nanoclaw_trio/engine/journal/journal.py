"""The journal: what happened to each message, run, container and delivery, for whoever asks later.

data/journal.jsonl has one JSON object on a line:

    {"at": "2026-02-01T15:30:00.123Z", "event": "run_started", "engine": "3f…", "container": …}

:mod:`nanoclaw_trio.engine.journal.invariants` reads it, and says whether all that was promised was kept.
The store is the truth; the journal is how one can check it. So it never holds anything up: a disk
that refuses costs lines, which are counted, and no message.

A process that is killed takes its last lines with it, those that were noted and not written yet.
They are not forced onto the disk either: what survives the process may not survive the machine.
"""

from __future__ import annotations

import secrets
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.clock import iso_timestamp, utc_now
from nanoclaw_trio.engine.journal.events import Event, JournalEntry, encode_line, misfit
from nanoclaw_trio.engine.journal.file import MAX_BYTES, JournalFile, read_journal
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.logs import log

if TYPE_CHECKING:
    from pathlib import Path

    from nanoclaw_trio.engine.journal.events import Value

__all__ = ["Event", "Journal", "JournalEntry", "read_journal"]

WAITING_LIMIT: Final = 10_000
"""Lines that wait in memory for a disk that refuses; some megabytes."""

RETRY_INTERVAL: Final = 5.0
"""Seconds after which a disk that refused is tried again."""

FLUSH_GRACE: Final = 5.0
"""Seconds that the last lines may take at the end: long for a disk that works."""


class Journal:
    """Notes events from Trio's tasks, and writes them in the background.

        journal = Journal(project_root / "data" / "journal.jsonl")
        nursery.start_soon(journal.run)
        journal.note("run_started", container=name, folder=folder)

    Attributes:
        engine: The random id of this engine's session, in each of its lines.
    """

    def __init__(
        self, path: Path, *, max_bytes: int = MAX_BYTES, waiting_limit: int = WAITING_LIMIT
    ) -> None:
        """`max_bytes` is a file's size before it is rotated, `waiting_limit` a number of lines."""
        self.engine = secrets.token_hex(8)
        self._path = path
        self._file = JournalFile(path, max_bytes=max_bytes)
        self._waiting_limit = waiting_limit
        self._waiting: deque[bytes] = deque()
        self._noted = trio.Event()
        self._lost = 0
        self._lost_here = 0
        self._refused = False

    @property
    def lines_lost(self) -> int:
        """How many entries of this session are in no journal."""
        return self._lost

    def note(self, event: Event, **fields: Value) -> None:
        """Note an event, with the fields that FIELDS says for it.

        From within Trio. It doesn't block and it doesn't raise: an entry that doesn't fit, or has
        no room, is lost and counted. Note what the store did right after the transaction, with no
        checkpoint between them: two entries are then in the order of what they stand for.
        """
        problem = misfit(event, fields)
        if problem is not None:
            log.error("journal entry refused", name=event, problem=problem)
        if problem is not None or len(self._waiting) >= self._waiting_limit:
            self._lose(1)
            return
        self._say_what_was_lost()
        self._add(event, **fields)

    def _lose(self, count: int) -> None:
        self._lost += count
        self._lost_here += count

    def _say_what_was_lost(self) -> None:
        if self._lost_here:
            self._add("lines_lost", count=self._lost_here)
            self._lost_here = 0

    def _add(self, event: Event, **fields: Value) -> None:
        at = iso_timestamp(utc_now())
        line = encode_line(JournalEntry(at=at, event=event, engine=self.engine, fields=fields))
        self._waiting.append(line)
        self._noted.set()

    async def run(self) -> None:
        """Write what is noted, until cancelled; then comes :meth:`close`.

        A disk that refuses is warned of once, and tried again until it doesn't.
        """
        while True:
            await self._noted.wait()
            self._noted = trio.Event()
            if not await self._write():
                await trio.sleep(RETRY_INTERVAL)
                self._noted.set()

    async def close(self) -> None:
        """Write what is left, cancelled or not, within FLUSH_GRACE; and nothing after that."""
        self._say_what_was_lost()
        bound = trio.current_time() + FLUSH_GRACE
        with trio.CancelScope(shield=True, deadline=bound):
            await self._write()
        self._close()

    async def _write(self) -> bool:
        # Abandoned when cancelled: a disk that hangs must not hang the end. The thread goes on with
        # the same lines, and the flush waits for it behind the file's lock.
        refusal = await in_thread(self._append, abandon_on_cancel=True)
        if refusal is not None and not self._refused:
            log.warning("journal can't be written", path=str(self._path), why=str(refusal))
        if refusal is None and self._refused:
            log.info("journal written again", path=str(self._path), lines_lost=self._lost)
        self._refused = refusal is not None
        return not self._refused

    def _append(self) -> OSError | None:
        try:
            self._file.append(self._waiting)
        except OSError as error:
            return error
        return None

    def _close(self) -> None:
        """Nobody writes any more: what is left is lost, and what is noted later."""
        self._waiting_limit = 0
        if self._waiting:
            self._lose(len(self._waiting))
            log.warning("journal is incomplete", path=str(self._path), lines_lost=self._lost)
