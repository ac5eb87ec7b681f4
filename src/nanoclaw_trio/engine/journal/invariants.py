"""What the engine promises, checked against what its journal says that happened. Pure.

    examination = examine_journal(read_journal(path))

A journal is seldom whole: its oldest files were rotated away, a process that was killed took its
last lines with it, a full disk cost others. What could be in the lines that are missing is never
counted as a violation. What is still under way at the end isn't either: it is an open item.

The memory it takes grows with what is open at a time, not with the journal. Of what is over only
the latest is remembered, so as to know what happens to it a second time: something that is doubled
long after is found only in a journal that lacks nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.engine.journal.invariant_containers import Containers
from nanoclaw_trio.engine.journal.invariant_deliveries import Answers, Deliveries
from nanoclaw_trio.engine.journal.invariant_findings import OpenItem, Record, Rule, Violation
from nanoclaw_trio.engine.journal.invariant_messages import Messages
from nanoclaw_trio.engine.journal.invariant_runs import Runs, Tasks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nanoclaw_trio.engine.journal.events import JournalEntry
    from nanoclaw_trio.engine.journal.invariant_findings import Handler, Tracker

__all__ = [
    "Examination",
    "OpenItem",
    "Rule",
    "Violation",
    "check_journal",
    "describe",
    "examine_journal",
    "open_items",
]

MEMORY: Final = 10_000
"""How many messages, deliveries, runs and occurrences that are over are remembered, of each."""


@frozen(kw_only=True)
class Examination:
    """What a journal shows.

    Attributes:
        entries: How many entries it has.
        violations: The promises that were broken, in the order in which it shows.
        open_items: What is under way at its end.
    """

    entries: int
    violations: tuple[Violation, ...]
    open_items: tuple[OpenItem, ...]


def check_journal(
    entries: Iterable[JournalEntry], *, memory: int = MEMORY
) -> tuple[Violation, ...]:
    """The promises that were broken; see :func:`examine_journal`."""
    return examine_journal(entries, memory=memory).violations


def open_items(entries: Iterable[JournalEntry], *, memory: int = MEMORY) -> tuple[OpenItem, ...]:
    """What is under way at the end; see :func:`examine_journal`."""
    return examine_journal(entries, memory=memory).open_items


def examine_journal(entries: Iterable[JournalEntry], *, memory: int = MEMORY) -> Examination:
    """Check a journal, of which the entries come in their order, the oldest first.

    `memory` is how many of the things that are over are remembered, of each sort. Events that it
    doesn't know are passed over.
    """
    checker = _Checker(memory)
    count = 0
    for entry in entries:
        count += 1
        checker.see(entry)
    return checker.examination(count)


class _Checker:
    """Tells the sessions apart, and shows each entry to those that want it."""

    def __init__(self, memory: int) -> None:
        record = Record(memory)
        self._record = record
        self._trackers: tuple[Tracker, ...] = (
            Runs(record),
            Containers(record),
            Answers(record),
            Messages(record),
            Deliveries(record),
            Tasks(record),
        )
        self._handlers: dict[str, list[Handler]] = {}
        for tracker in self._trackers:
            for event, handler in tracker.handlers().items():
                self._handlers.setdefault(event, []).append(handler)
        self._engine: str | None = None
        self._is_running = False

    def see(self, entry: JournalEntry) -> None:
        """The next entry."""
        if entry.event == "engine_started" or entry.engine != self._engine:
            self._begin_session(entry)
        if entry.event == "lines_lost":
            self._lose_lines(entry)
        for handler in self._handlers.get(entry.event, ()):
            handler(entry)
        if entry.event == "engine_stopped":
            self._end_session(entry, killed=False)

    def _begin_session(self, entry: JournalEntry) -> None:
        is_first = self._engine is None
        has_start = entry.event == "engine_started"
        if not is_first and (not has_start or entry.engine == self._engine):
            what = f"session {entry.engine} begins without its start, or twice"
            self._record.report(Rule.JOURNAL_COMPLETE, entry, what)
        if self._is_running:
            self._end_session(entry, killed=True)
            # It was killed with lines that were noted and not written yet.
            self._record.lacks_lines = True
        self._engine, self._is_running = entry.engine, True
        self._record.session_lacks_lines = not has_start
        self._record.lacks_lines |= not has_start

    def _end_session(self, entry: JournalEntry, *, killed: bool) -> None:
        self._is_running = False
        for tracker in self._trackers:
            tracker.session_ended(entry, killed=killed)

    def _lose_lines(self, entry: JournalEntry) -> None:
        what = f"{entry.fields['count']} entries are missing here; they may hold what is missed"
        self._record.report(Rule.JOURNAL_COMPLETE, entry, what)
        self._record.lose_lines()
        for tracker in self._trackers:
            tracker.lines_lost()

    def examination(self, entries: int) -> Examination:
        """What it comes to."""
        return Examination(
            entries=entries,
            violations=tuple(self._record.violations),
            open_items=tuple(item for tracker in self._trackers for item in tracker.open_items()),
        )


def describe(violations: Iterable[Violation]) -> str:
    """A line for each violation: where, when, which rule, and what; "" for none."""
    return "".join(f"{v.place} {v.at} [{v.rule}] {v.what}\n" for v in violations)
