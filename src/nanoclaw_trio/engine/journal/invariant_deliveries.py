"""What is promised of what is said: each answer is recorded once, and delivered once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoclaw_trio.engine.journal.invariant_findings import Recent, Rule, Tracker, open_item

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nanoclaw_trio.engine.journal.events import JournalEntry
    from nanoclaw_trio.engine.journal.invariant_findings import Handler, OpenItem, Record


class Answers(Tracker):
    """Each output that answers, from being heard to being recorded for delivery."""

    def __init__(self, record: Record) -> None:
        super().__init__(record)
        self._unrecorded: dict[str, dict[int, JournalEntry]] = {}

    def handlers(self) -> Mapping[str, Handler]:
        """An output, its record, and the end by which that has to be there."""
        return {
            "output": self._output,
            "delivery_recorded": self._recorded,
            "run_ended": self._run_ended,
            "run_cut_off": self._run_ended,
        }

    def _output(self, entry: JournalEntry) -> None:
        fields = entry.fields
        if fields["kind"] == "answer" and not fields["silent"]:
            self._unrecorded.setdefault(fields["container"], {})[fields["n"]] = entry

    def _recorded(self, entry: JournalEntry) -> None:
        fields = entry.fields
        if fields["kind"] != "answer":
            return
        answers = self._unrecorded.get(fields["container"], {})
        if answers.pop(fields["n"], None) is None and not self.record.session_lacks_lines:
            output = f"output {fields['n']} of {fields['container']}"
            what = f"{fields['id']} was recorded for {output}, which says nothing or was recorded"
            self.record.report(Rule.ANSWER_RECORDED_ONCE, entry, what)

    def _run_ended(self, entry: JournalEntry) -> None:
        container = entry.fields["container"]
        for number in self._unrecorded.pop(container, ()):
            what = f"output {number} of {container} answers, and was not recorded for delivery"
            self.record.report(Rule.ANSWER_RECORDED_ONCE, entry, what)

    def session_ended(self, entry: JournalEntry, *, killed: bool) -> None:
        """An answer that wasn't recorded is asked for again."""
        del entry, killed
        self._unrecorded.clear()

    def lines_lost(self) -> None:
        """The records may be missing."""
        self._unrecorded.clear()

    def open_items(self) -> Iterator[OpenItem]:
        """The answers that aren't recorded."""
        for container, answers in self._unrecorded.items():
            for number, entry in answers.items():
                what = f"output {number} of {container} is not recorded for delivery"
                yield open_item(Rule.ANSWER_RECORDED_ONCE, entry, what)


class Deliveries(Tracker):
    """Each thing to be said, from being recorded to being delivered, or found undeliverable."""

    def __init__(self, record: Record) -> None:
        super().__init__(record)
        self._pending: dict[str, JournalEntry] = {}
        self._over: Recent[str, str] = Recent(record.memory)

    def handlers(self) -> Mapping[str, Handler]:
        """Those of a delivery."""
        return {
            "delivery_recorded": self._recorded,
            "delivered": self._closed,
            "undeliverable": self._closed,
        }

    def _recorded(self, entry: JournalEntry) -> None:
        delivery_id = entry.fields["id"]
        if delivery_id in self._pending or self._over.get(delivery_id):
            self._report(entry, "was recorded twice")
            return
        self._pending[delivery_id] = entry

    def _closed(self, entry: JournalEntry) -> None:
        delivery_id, what = entry.fields["id"], entry.event
        before = self._over.get(delivery_id)
        if before is not None:
            self._report(entry, f"was noted as {what}, and as {before} before")
        elif delivery_id not in self._pending and not self.record.lacks_lines:
            self._report(entry, f"was noted as {what}, and never recorded")
        self._pending.pop(delivery_id, None)
        self._over.add(delivery_id, what)

    def _report(self, entry: JournalEntry, what: str) -> None:
        self.record.report(Rule.DELIVERED_ONCE, entry, f"delivery {entry.fields['id']} {what}")

    def open_items(self) -> Iterator[OpenItem]:
        """What has not been said yet."""
        for delivery_id, entry in self._pending.items():
            what = f"delivery {delivery_id} is not delivered"
            yield open_item(Rule.DELIVERED_ONCE, entry, what)
