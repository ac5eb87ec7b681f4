"""What is promised of messages: each that is owed an answer is settled or given up, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from attrs import define, frozen

from nanoclaw_trio.engine.journal.invariant_findings import Recent, Rule, Tracker, open_item

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nanoclaw_trio.engine.journal.events import JournalEntry
    from nanoclaw_trio.engine.journal.invariant_findings import Handler, OpenItem, Record

Key: TypeAlias = tuple[str, str]
"""A group's folder, and a message's id."""


@define
class _Message:
    entry: JournalEntry
    asked_by: str | None = None
    is_answered: bool = False


@frozen
class _Closed:
    how: str
    container: str | None = None
    chat: str | None = None


class Messages(Tracker):
    """Each message that is owed an answer, from being accepted to being settled or given up.

    One that isn't owed any is context: it may be settled with another, or never; of the latest the
    ids are known, so that they aren't taken for unknown ones.
    """

    def __init__(self, record: Record) -> None:
        super().__init__(record)
        self._open: dict[Key, _Message] = {}
        self._closed: Recent[Key, _Closed] = Recent(record.memory)
        self._context: Recent[Key, bool] = Recent(record.memory)
        self._asked: dict[str, list[Key]] = {}
        self._folders: dict[str, str] = {}
        self._containers: dict[str, str] = {}

    def handlers(self) -> Mapping[str, Handler]:
        """Those of a message, and the answers."""
        return {
            "message_accepted": self._accepted,
            "run_asked": self._run_asked,
            "follow_up_sent": self._follow_up_sent,
            "delivery_recorded": self._recorded,
            "message_settled": self._settled,
            "message_given_up": self._given_up,
            "message_put_back": self._put_back,
            "run_ended": self._run_ended,
            "run_cut_off": self._run_ended,
        }

    def _report(self, entry: JournalEntry, key: Key, what: str) -> None:
        folder, message_id = key
        whose = f"message {message_id} of {folder}"
        self.record.report(Rule.MESSAGE_SETTLED_ONCE, entry, f"{whose} {what}")

    def _accepted(self, entry: JournalEntry) -> None:
        key = entry.fields["folder"], entry.fields["id"]
        if not entry.fields["owed"]:
            self._context.add(key, value=True)
            return
        chats = self._chats_of(key)
        if entry.fields["chat"] in chats:
            self._report(entry, key, "was accepted twice")
            return
        if key in self._open:
            # Two chats of one group have used the same id, and later entries can't tell them apart.
            del self._open[key]
            self._context.add(key, value=True)
            return
        self._closed.discard(key)
        self._open[key] = _Message(entry)

    def _chats_of(self, key: Key) -> set[str | None]:
        """The chats in which a message of that id is known."""
        message, closed = self._open.get(key), self._closed.get(key)
        known = message.entry.fields["chat"] if message else closed.chat if closed else None
        return {known} - {None}

    def _run_asked(self, entry: JournalEntry) -> None:
        container, folder = entry.fields["container"], entry.fields["folder"]
        self._close_previous(entry, folder)
        self._folders[container], self._containers[folder] = folder, container
        self._ask(entry, folder)

    def _close_previous(self, entry: JournalEntry, folder: str) -> None:
        """The group's run before this is over: nothing may be left in its hands."""
        container = self._containers.pop(folder, None)
        if container is None:
            return
        for key in self._asked.pop(container, ()):
            message = self._open.get(key)
            if message is not None and message.asked_by == container:
                what = f"was left with {container}: not settled, put back or given up"
                self._report(entry, key, what)
                message.asked_by = None
        del self._folders[container]

    def _follow_up_sent(self, entry: JournalEntry) -> None:
        folder = self._folders.get(entry.fields["container"])
        if folder is not None:
            self._ask(entry, folder)

    def _ask(self, entry: JournalEntry, folder: str) -> None:
        container = entry.fields["container"]
        for key in _keys(folder, entry.fields["messages"]):
            message = self._open.get(key)
            if message is None:
                self._ask_again(entry, key)
                continue
            message.asked_by = container
            self._asked.setdefault(container, []).append(key)

    def _ask_again(self, entry: JournalEntry, key: Key) -> None:
        closed = self._closed.get(key)
        settled_by = closed.container if closed is not None else None
        # An agent may answer a follow-up before it is noted that it was sent.
        if entry.event != "follow_up_sent" or settled_by != entry.fields["container"]:
            self._not_open(entry, key, "asked")

    def _not_open(self, entry: JournalEntry, key: Key, what: str) -> None:
        closed = self._closed.get(key)
        if closed is not None:
            self._report(entry, key, f"was {what} after it was {closed.how}")
        elif not (self.record.lacks_lines or self._context.forgot or self._context.get(key)):
            self._report(entry, key, f"was {what}, and never accepted")

    def _settled(self, entry: JournalEntry) -> None:
        self._close(entry, "settled", entry.fields["container"])

    def _given_up(self, entry: JournalEntry) -> None:
        self._close(entry, "given up", None)

    def _close(self, entry: JournalEntry, how: str, container: str | None) -> None:
        for key in _keys(entry.fields["folder"], entry.fields["ids"]):
            message = self._open.pop(key, None)
            if message is None:
                self._not_open(entry, key, how)
                if not self._context.get(key):
                    self._closed.add(key, _Closed(how, container))
            else:
                self._closed.add(key, _Closed(how, container, message.entry.fields["chat"]))

    def _put_back(self, entry: JournalEntry) -> None:
        for key in _keys(entry.fields["folder"], entry.fields["ids"]):
            message = self._open.get(key)
            if message is None:
                self._not_open(entry, key, "put back")
                continue
            if message.is_answered:
                self._report(entry, key, "was put back after it was answered")
            message.asked_by, message.is_answered = None, False

    def _recorded(self, entry: JournalEntry) -> None:
        folder = self._folders.get(entry.fields["container"])
        if entry.fields["kind"] != "answer" or folder is None:
            return
        for key in _keys(folder, entry.fields["in_reply_to"]):
            message = self._open.get(key)
            if message is not None:
                message.is_answered = True

    def _run_ended(self, entry: JournalEntry) -> None:
        for key in self._asked.get(entry.fields["container"], ()):
            message = self._open.get(key)
            if message is not None and message.is_answered:
                self._report(entry, key, "was answered, and not settled")
                message.is_answered = False

    def session_ended(self, entry: JournalEntry, *, killed: bool) -> None:
        """What runs had, waits again by the next start."""
        del entry, killed
        self.lines_lost()

    def lines_lost(self) -> None:
        """Who has which message isn't known any more."""
        for message in self._open.values():
            message.asked_by, message.is_answered = None, False
        self._asked.clear()
        self._folders.clear()
        self._containers.clear()

    def open_items(self) -> Iterator[OpenItem]:
        """The messages that are still owed an answer."""
        for (folder, message_id), message in self._open.items():
            what = f"message {message_id} of {folder} is neither settled nor given up"
            yield open_item(Rule.MESSAGE_SETTLED_ONCE, message.entry, what)


def _keys(folder: str, ids: Iterable[str]) -> list[Key]:
    return [(folder, message_id) for message_id in ids]
