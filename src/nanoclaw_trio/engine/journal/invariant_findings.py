"""What the examination of a journal comes to, and what its parts have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from attrs import Factory, define, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from nanoclaw_trio.engine.journal.events import JournalEntry

    Handler: TypeAlias = Callable[[JournalEntry], None]

K = TypeVar("K")
V = TypeVar("V")


class Rule(StrEnum):
    """What is promised, and what a journal can show to be broken."""

    JOURNAL_COMPLETE = "journal-complete"
    """No entry is missing: no line was lost, and each session has its start."""
    RUN_ENDS_ONCE = "run-ends-once"
    """A run that started has exactly one end, or its session was killed; then it is decided what
    became of its container."""
    CONTAINER_GONE = "container-gone"
    """A container that wasn't seen gone at its run's end was later, and its group waited for it."""
    OUTPUTS_NUMBERED = "outputs-numbered"
    """A container's outputs are numbered from 1 without a gap, up to what its run's end says."""
    ANSWER_RECORDED_ONCE = "answer-recorded-once"
    """Each answer that has something to say was recorded for delivery, once."""
    DELIVERED_ONCE = "delivered-once"
    """What was delivered was recorded before, and was delivered once."""
    MESSAGE_SETTLED_ONCE = "message-settled-once"
    """A message that is owed an answer is settled or given up, once, and not asked after that."""
    ONE_RUN_PER_GROUP = "one-run-per-group"
    """In one session no two runs of a group overlap."""
    TASK_COMPLETED_ONCE = "task-completed-once"
    """A task's occurrence is completed once."""


@frozen(kw_only=True)
class Violation:
    """A rule that was broken.

    Attributes:
        rule: Which.
        what: How, for people: ids and names, no text of anybody's.
        at: The time of the entry that shows it.
        place: That entry's place in the journal, `FILE:LINE`.
    """

    rule: Rule
    what: str
    at: str
    place: str


@frozen(kw_only=True)
class OpenItem:
    """Something that the journal doesn't see the end of, which is nobody's fault yet.

    Attributes:
        rule: The rule that its end will be about.
        what: What it is, for people.
        at: The time of the entry that began it.
        place: That entry's place in the journal, `FILE:LINE`.
    """

    rule: Rule
    what: str
    at: str
    place: str


@define
class Record:
    """What the parts of an examination share.

    Attributes:
        violations: Those found so far.
        lacks_lines: Whether lines may be missing anywhere before: the journal was rotated away,
            a session was killed with lines unwritten, or lines were lost. What is unknown may
            then be in them.
        session_lacks_lines: The same for the lines of the present session.
        memory: How many of the things that are over are remembered, of each sort.
    """

    memory: int
    violations: list[Violation] = Factory(list)
    lacks_lines: bool = False
    session_lacks_lines: bool = False

    def report(self, rule: Rule, entry: JournalEntry, what: str) -> None:
        """A rule was broken, as this entry shows."""
        violation = Violation(rule=rule, what=what, at=entry.at, place=entry.place)
        self.violations.append(violation)

    def lose_lines(self) -> None:
        """Lines of this session are missing."""
        self.lacks_lines = self.session_lacks_lines = True


class Tracker(ABC):
    """A part of the examination: it follows one sort of thing from its beginning to its end."""

    def __init__(self, record: Record) -> None:
        self.record = record

    @abstractmethod
    def handlers(self) -> Mapping[str, Handler]:
        """Which events it wants to see, and what takes them."""

    def session_ended(self, entry: JournalEntry, *, killed: bool) -> None:  # noqa: B027 - not all need it
        """The session ended: with this entry, or, if it was killed, somewhere before it."""

    def lines_lost(self) -> None:  # noqa: B027 - the same
        """What is under way may have ended in lines that are missing."""

    def open_items(self) -> Iterable[OpenItem]:
        """What is under way at the journal's end."""
        return ()


class Recent(Generic[K, V]):
    """The last things of a sort, with what is known of each; the oldest is forgotten.

    Attributes:
        forgot: Whether any was forgotten.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._things: OrderedDict[K, V] = OrderedDict()
        self.forgot = False

    def add(self, key: K, value: V) -> None:
        """Remember one, as the latest."""
        self._things[key] = value
        self._things.move_to_end(key)
        if len(self._things) > self._size:
            self._things.popitem(last=False)
            self.forgot = True

    def get(self, key: K) -> V | None:
        """What is known of it; None if it is not remembered."""
        return self._things.get(key)

    def discard(self, key: K) -> None:
        """Know nothing of it any more."""
        self._things.pop(key, None)


def open_item(rule: Rule, entry: JournalEntry, what: str) -> OpenItem:
    """Something that this entry began."""
    return OpenItem(rule=rule, what=what, at=entry.at, place=entry.place)
