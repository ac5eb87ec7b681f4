"""What is promised of runs and of tasks: one at a time, one end each, every output counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define

from nanoclaw_trio.engine.journal.invariant_findings import Recent, Rule, Tracker, open_item
from nanoclaw_trio.run.outcome import Cause

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nanoclaw_trio.engine.journal.events import JournalEntry
    from nanoclaw_trio.engine.journal.invariant_findings import Handler, OpenItem, Record

WITHOUT_CONTAINER: Final = frozenset(
    {Cause.IMAGE_MISSING, Cause.RUNTIME_UNAVAILABLE, Cause.SPAWN_FAILED, Cause.TIMED_OUT}
)
"""The causes of a run's end that leave open whether a container had been started."""


@define
class _Run:
    container: str
    folder: str
    entry: JournalEntry
    is_started: bool = False
    outputs: int = 0
    lacks_lines: bool = False


class Runs(Tracker):
    """Each run from being asked to its end."""

    def __init__(self, record: Record) -> None:
        super().__init__(record)
        self._runs: dict[str, _Run] = {}
        self._by_folder: dict[str, _Run] = {}
        self._ended: Recent[str, bool] = Recent(record.memory)

    def handlers(self) -> Mapping[str, Handler]:
        """Those of a run."""
        return {
            "run_asked": self._asked,
            "run_started": self._started,
            "output": self._output,
            "run_ended": self._run_ended,
            "run_cut_off": self._run_cut_off,
        }

    def _asked(self, entry: JournalEntry) -> None:
        container, folder = entry.fields["container"], entry.fields["folder"]
        if container in self._runs or self._ended.get(container):
            self.record.report(Rule.RUN_ENDS_ONCE, entry, f"run {container} was asked for twice")
            return
        self._make_way(entry, folder)
        run = _Run(container, folder, entry)
        self._runs[container] = self._by_folder[folder] = run

    def _make_way(self, entry: JournalEntry, folder: str) -> None:
        """A run of the group begins: no other may be there, but one that never got a container."""
        other = self._by_folder.get(folder)
        if other is None:
            return
        self._forget(other)
        if other.is_started and not other.lacks_lines:
            what = f"{entry.fields['container']} and {other.container}, both of {folder}, overlap"
            self.record.report(Rule.ONE_RUN_PER_GROUP, entry, what)

    def _started(self, entry: JournalEntry) -> None:
        container, folder = entry.fields["container"], entry.fields["folder"]
        run = self._runs.get(container)
        if run is None:
            self._unknown(Rule.RUN_ENDS_ONCE, entry, "started, and was not asked for or is over")
            self._make_way(entry, folder)
            run = _Run(container, folder, entry, lacks_lines=True)
            self._runs[container] = self._by_folder[folder] = run
        elif run.is_started:
            self.record.report(Rule.RUN_ENDS_ONCE, entry, f"run {container} started twice")
        run.is_started = True

    def _unknown(self, rule: Rule, entry: JournalEntry, what: str) -> None:
        container = entry.fields["container"]
        if self._ended.get(container) or not self.record.session_lacks_lines:
            self.record.report(rule, entry, f"run {container} {what}")

    def _output(self, entry: JournalEntry) -> None:
        number, run = entry.fields["n"], self._runs.get(entry.fields["container"])
        if run is None:
            self._unknown(Rule.OUTPUTS_NUMBERED, entry, "has an output, and isn't under way")
            return
        if number != run.outputs + 1 and not run.lacks_lines:
            what = f"output {number} of {run.container} follows {run.outputs}"
            self.record.report(Rule.OUTPUTS_NUMBERED, entry, what)
        if not run.is_started and not run.lacks_lines:
            what = f"run {run.container} has an output, and wasn't started"
            self.record.report(Rule.RUN_ENDS_ONCE, entry, what)
        run.outputs = number

    def _run_ended(self, entry: JournalEntry) -> None:
        run = self._end(entry)
        if run is None or run.lacks_lines:
            return
        if not run.is_started and entry.fields["cause"] not in WITHOUT_CONTAINER:
            what = f"run {run.container} ended ({entry.fields['cause']}), and wasn't started"
            self.record.report(Rule.RUN_ENDS_ONCE, entry, what)
        self._count(entry, run)

    def _run_cut_off(self, entry: JournalEntry) -> None:
        run = self._end(entry)
        if run is not None and not run.lacks_lines:
            self._count(entry, run)

    def _end(self, entry: JournalEntry) -> _Run | None:
        container = entry.fields["container"]
        run = self._runs.get(container)
        if run is None:
            self._unknown(Rule.RUN_ENDS_ONCE, entry, "ended, and wasn't under way")
            self._ended.add(container, value=True)
        else:
            self._forget(run)
        return run

    def _forget(self, run: _Run) -> None:
        del self._runs[run.container], self._by_folder[run.folder]
        self._ended.add(run.container, value=True)

    def _count(self, entry: JournalEntry, run: _Run) -> None:
        said = entry.fields["outputs"]
        if said != run.outputs:
            what = f"{run.container} had {said} outputs by its end, and {run.outputs} are noted"
            self.record.report(Rule.OUTPUTS_NUMBERED, entry, what)

    def session_ended(self, entry: JournalEntry, *, killed: bool) -> None:
        """A run that is under way was killed too, or should have ended before."""
        for run in [*self._runs.values()]:
            if run.is_started and not run.lacks_lines and not killed:
                what = f"run {run.container} has no end, and its engine stopped"
                self.record.report(Rule.RUN_ENDS_ONCE, entry, what)
            self._forget(run)

    def lines_lost(self) -> None:
        """Its end or an output of each run may be missing."""
        for run in self._runs.values():
            run.lacks_lines = True

    def open_items(self) -> Iterator[OpenItem]:
        """The runs that are under way."""
        for run in self._runs.values():
            if run.is_started:
                what = f"run {run.container} of {run.folder} hasn't ended"
                yield open_item(Rule.RUN_ENDS_ONCE, run.entry, what)


class Tasks(Tracker):
    """Each occurrence of a task that was completed."""

    def __init__(self, record: Record) -> None:
        super().__init__(record)
        self._completed: Recent[tuple[str, str], bool] = Recent(record.memory)

    def handlers(self) -> Mapping[str, Handler]:
        """The one."""
        return {"task_completed": self._task_completed}

    def _task_completed(self, entry: JournalEntry) -> None:
        task, due = entry.fields["task"], entry.fields["due"]
        if self._completed.get((task, due)):
            what = f"task {task}, due at {due}, was completed twice"
            self.record.report(Rule.TASK_COMPLETED_ONCE, entry, what)
        self._completed.add((task, due), value=True)
