"""What a journal holds: events with fixed fields, one JSON object on a line.

No line has a message's text, a secret or a sender: only ids, names and counts, and where something
failed a few words on why.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeGuard

from attrs import frozen

from nanoclaw_trio.protocol.json_text import dump_json, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Value: TypeAlias = "str | int | float | bool | Sequence[str] | None"
"""What a field may be."""

_HEAD: Final = ("at", "event", "engine")

WORDS_LIMIT: Final = 500
"""Characters of a reason that go into a line: it is for people, and lines are to be short."""


Event: TypeAlias = Literal[
    "engine_started",  # a session's first; a journal's first file begins with it
    "engine_stopped",  # a session's last, unless the process was killed
    "orphans_reaped",  # after each look for orphans, the first before a session's first run
    "message_accepted",  # a message is in the store
    "run_asked",  # a run is about to be started, for these messages or for a task
    "run_started",  # its container runs
    "follow_up_sent",  # these messages are in a run's mailbox, as that file
    "output",  # a container's n-th, counted from 1; silent: nothing of it is to be said
    "message_settled",  # a query took these messages in, and ended
    "message_put_back",  # a run ended without having settled them; they wait again
    "message_given_up",  # they were tried often enough
    "delivery_recorded",  # something is to be said; an answer names the output it comes from
    "delivered",  # it was said, and the store knows that
    "undeliverable",  # it will never be said
    "run_ended",  # a run has its result; gone: its container was seen gone
    "run_cut_off",  # a run was cancelled, and has no result
    "container_gone",  # a container that had not been seen gone now was
    "group_held",  # a group has no runs until that container is gone
    "group_released",  # it may have runs again; after the container's container_gone
    "task_claimed",  # an occurrence of a task is in the hands of a run
    "task_completed",  # it is done
    "task_failed",  # it failed, and is tried again or given up
    "runtime_down",  # no container can be started
    "runtime_back",  # they can again
    "lines_lost",  # the journal's own: so many entries are missing here
]
"""What may be noted."""


class Kind(StrEnum):
    """What kind of value a field has."""

    TEXT = "a string"
    TEXT_OR_NONE = "a string or None"
    WORDS = "a short text"
    WORDS_OR_NONE = "a short text or None"
    COUNT = "a whole number"
    COUNT_OR_NONE = "a whole number or None"
    SECONDS = "a number"
    FLAG = "true or false"
    NAMES = "a list of strings"


def _is_count(value: object) -> bool:
    # True is an int.
    return isinstance(value, int) and not isinstance(value, bool)


def _is_names(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


_FITS: Final[Mapping[Kind, Callable[[object], bool]]] = {
    Kind.TEXT: lambda value: isinstance(value, str),
    Kind.TEXT_OR_NONE: lambda value: value is None or isinstance(value, str),
    Kind.WORDS: lambda value: isinstance(value, str),
    Kind.WORDS_OR_NONE: lambda value: value is None or isinstance(value, str),
    Kind.COUNT: _is_count,
    Kind.COUNT_OR_NONE: lambda value: value is None or _is_count(value),
    Kind.SECONDS: lambda value: isinstance(value, float) or _is_count(value),
    Kind.FLAG: lambda value: isinstance(value, bool),
    Kind.NAMES: _is_names,
}

_MESSAGES: Final = {"folder": Kind.TEXT, "ids": Kind.NAMES}
_RUN: Final = {"container": Kind.TEXT, "folder": Kind.TEXT}
_END: Final = {**_RUN, "gone": Kind.FLAG, "detail": Kind.WORDS_OR_NONE, "outputs": Kind.COUNT}
_OCCURRENCE: Final = {"task": Kind.TEXT, "due": Kind.TEXT}

FIELDS: Final[Mapping[str, Mapping[str, Kind]]] = {
    "engine_started": {"install": Kind.TEXT, "pid": Kind.COUNT, "runtime": Kind.TEXT},
    "engine_stopped": {},
    "orphans_reaped": {"containers": Kind.NAMES},
    "message_accepted": {
        "chat": Kind.TEXT,
        "id": Kind.TEXT,
        "folder": Kind.TEXT,
        "owed": Kind.FLAG,
    },
    "run_asked": {**_RUN, "messages": Kind.NAMES, "task": Kind.TEXT_OR_NONE},
    "run_started": _RUN,
    "follow_up_sent": {"container": Kind.TEXT, "file": Kind.TEXT, "messages": Kind.NAMES},
    "output": {
        "container": Kind.TEXT,
        "n": Kind.COUNT,
        "kind": Kind.TEXT,
        "silent": Kind.FLAG,
    },
    "message_settled": {**_MESSAGES, "container": Kind.TEXT},
    "message_put_back": {**_MESSAGES, "container": Kind.TEXT},
    "message_given_up": _MESSAGES,
    "delivery_recorded": {
        "id": Kind.TEXT,
        "kind": Kind.TEXT,
        "chat": Kind.TEXT,
        "container": Kind.TEXT_OR_NONE,
        "n": Kind.COUNT_OR_NONE,
        "in_reply_to": Kind.NAMES,
    },
    "delivered": {"id": Kind.TEXT},
    "undeliverable": {"id": Kind.TEXT, "why": Kind.WORDS},
    "run_ended": {
        **_END,
        "cause": Kind.TEXT,
        "rejected_frames": Kind.COUNT,
        "duration": Kind.SECONDS,
    },
    "run_cut_off": _END,
    "container_gone": {"container": Kind.TEXT},
    "group_held": _RUN,
    "group_released": {"folder": Kind.TEXT},
    "task_claimed": {**_OCCURRENCE, **_RUN},
    "task_completed": _OCCURRENCE,
    "task_failed": {**_OCCURRENCE, "gave_up": Kind.FLAG},
    "runtime_down": {"why": Kind.WORDS},
    "runtime_back": {},
    "lines_lost": {"count": Kind.COUNT},
}
"""The fields of each event, and what they are.

orphans_reaped names the containers of earlier sessions that were still there, and are gone now. Of
those that it doesn't name the runtime said that they were gone already; one that could not be seen
gone is named by a group_held after it.
"""


@frozen(kw_only=True)
class JournalEntry:
    """One line of a journal.

    Attributes:
        at: When, as ISO time in UTC with milliseconds.
        event: What; a newer version's journal may have others than :data:`Event`.
        engine: The random id of the engine's session.
        fields: What FIELDS says for this event, as JSON's types.
        place: Where it was read: `FILE:LINE`; for people.
    """

    at: str
    event: str
    engine: str
    fields: Mapping[str, Any]
    place: str = ""


def misfit(event: str, fields: Mapping[str, object], *, strict: bool = True) -> str | None:
    """What is wrong with an event's fields, without a value of theirs; None if they fit.

    A field too many is let be unless strict: a newer version may have written it.
    """
    kinds = FIELDS.get(event)
    if kinds is None:
        return "there is no such event" if strict else None
    for name, kind in kinds.items():
        if name not in fields:
            return f"{name} is missing"
        if not _FITS[kind](fields[name]):
            return f"{name} isn't {kind}"
    too_many = sorted(fields.keys() - kinds.keys()) if strict else []
    return f"{', '.join(too_many)}: no such field" if too_many else None


def encode_line(entry: JournalEntry) -> bytes:
    """An entry as one line, its newline included. Its fields fit its event."""
    kinds = FIELDS[entry.event]
    fields = {name: _shortened(value, kinds[name]) for name, value in entry.fields.items()}
    head = {"at": entry.at, "event": entry.event, "engine": entry.engine}
    return dump_json(head | fields) + b"\n"


def _shortened(value: Any, kind: Kind) -> Any:
    if value is not None and kind in {Kind.WORDS, Kind.WORDS_OR_NONE}:
        return value[:WORDS_LIMIT]
    return value


def decode_line(line: bytes, place: str) -> JournalEntry | None:
    """The entry on a line; None for a torn one, which a process that was killed may leave.

    ValueError for JSON that is no entry: then it isn't a journal.
    """
    try:
        document = parse_json(line)
    except ValueError:
        return None
    if not _has_head(document):
        raise ValueError("at, event or engine is missing or no string")
    at, event, engine = (document.pop(name) for name in _HEAD)
    problem = misfit(event, document, strict=False)
    if problem is not None:
        raise ValueError(f"{event}: {problem}")
    return JournalEntry(at=at, event=event, engine=engine, fields=document, place=place)


def _has_head(document: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(document, dict) and all(isinstance(document.get(name), str) for name in _HEAD)


def begins_session(line: bytes) -> bool:
    """Whether a line from :func:`encode_line` is of an engine's start, without parsing it."""
    # In a value the quotes would be escaped.
    return b'"event":"engine_started"' in line
