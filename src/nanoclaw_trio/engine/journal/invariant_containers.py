"""What is promised of containers: each is seen gone, however its run or its engine ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from nanoclaw_trio.engine.journal.invariant_findings import Rule, Tracker, open_item

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nanoclaw_trio.engine.journal.events import JournalEntry
    from nanoclaw_trio.engine.journal.invariant_findings import Handler, OpenItem, Record


@define
class _Undecided:
    """A container that nobody has seen gone."""

    rule: Rule
    entry: JournalEntry
    lacks_lines: bool = False


class Containers(Tracker):
    """Each container from its start until somebody said that it is gone.

    The reaper of a later session decides of all containers of earlier ones: those that it names it
    saw gone, and of the others the runtime said that they were.
    """

    def __init__(self, record: Record) -> None:
        super().__init__(record)
        self._running: dict[str, JournalEntry] = {}
        self._undecided: dict[str, _Undecided] = {}
        self._held: dict[str, str] = {}
        self._session_has_runs = False

    def handlers(self) -> Mapping[str, Handler]:
        """Those of a container."""
        return {
            "run_started": self._started,
            "run_ended": self._ended,
            "run_cut_off": self._ended,
            "container_gone": self._gone,
            "orphans_reaped": self._reaped,
            "group_held": self._group_held,
            "group_released": self._group_released,
        }

    def _started(self, entry: JournalEntry) -> None:
        self._running[entry.fields["container"]] = entry
        self._session_has_runs = True

    def _ended(self, entry: JournalEntry) -> None:
        container = entry.fields["container"]
        self._running.pop(container, None)
        if not entry.fields["gone"]:
            self._undecided[container] = _Undecided(Rule.CONTAINER_GONE, entry)

    def _gone(self, entry: JournalEntry) -> None:
        self._undecided.pop(entry.fields["container"], None)

    def _reaped(self, entry: JournalEntry) -> None:
        for container, undecided in [*self._undecided.items()]:
            if undecided.entry.engine != entry.engine:
                del self._undecided[container]

    def _group_held(self, entry: JournalEntry) -> None:
        container = entry.fields["container"]
        self._held[entry.fields["folder"]] = container
        self._undecided[container] = _Undecided(Rule.CONTAINER_GONE, entry)

    def _group_released(self, entry: JournalEntry) -> None:
        folder = entry.fields["folder"]
        container = self._held.pop(folder, "")
        undecided = self._undecided.get(container)
        if undecided is not None and not undecided.lacks_lines:
            what = f"group {folder} was released, and {container} was not seen gone"
            self.record.report(Rule.CONTAINER_GONE, entry, what)

    def session_ended(self, entry: JournalEntry, *, killed: bool) -> None:
        """A session that had runs, and ends in order, has decided what earlier ones left.

        One without runs may have found the runtime down, and have asked nobody.
        """
        if killed:
            for container, started in self._running.items():
                self._undecided[container] = _Undecided(Rule.RUN_ENDS_ONCE, started)
        elif self._session_has_runs:
            self._report_undecided(entry)
        self._session_has_runs = False
        self._running.clear()
        self._held.clear()

    def _report_undecided(self, entry: JournalEntry) -> None:
        for container, undecided in [*self._undecided.items()]:
            if undecided.entry.engine != entry.engine and not undecided.lacks_lines:
                what = f"{container} of an earlier session was not seen gone by this one either"
                self.record.report(undecided.rule, entry, what)
                del self._undecided[container]

    def lines_lost(self) -> None:
        """Each may have been seen gone, and what runs may have ended."""
        self._running.clear()
        for undecided in self._undecided.values():
            undecided.lacks_lines = True

    def open_items(self) -> Iterator[OpenItem]:
        """The containers that nobody has seen gone."""
        for container, undecided in self._undecided.items():
            what = f"container {container} has not been seen gone"
            yield open_item(undecided.rule, undecided.entry, what)
