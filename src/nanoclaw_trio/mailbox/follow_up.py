"""A follow-up's file: its content and its name (wire-formats 6)."""

from __future__ import annotations

import re
import secrets
from threading import Lock
from typing import TYPE_CHECKING, Final, Literal

from attrs import frozen

from nanoclaw_trio.errors import InputError
from nanoclaw_trio.files import MAILBOX_FILE_LIMIT
from nanoclaw_trio.protocol.convert import dump_json, parse_at_once, structure, wire

if TYPE_CHECKING:
    from datetime import datetime

SUFFIX: Final = ".json"
"""By which a follow-up is told from what else lies in the directory."""

_NAME: Final = re.compile(r"\d{13,}-\d{9,}-[0-9a-f]{8}\.json", re.ASCII)


@frozen(kw_only=True)
class FollowUp:
    """A message for an agent that runs already."""

    type: Literal["message"]
    text: str


def encode_follow_up(text: str) -> bytes:
    """The content of a follow-up's file.

    NUL goes through as JSON's escape, and so does half a surrogate pair, which an agent takes with
    U+FFFD in its place: a message isn't lost over one broken emoji.

    Raises:
        InputError: the text is empty, which no agent takes, or its file would be larger than
            MAILBOX_FILE_LIMIT.
    """
    if not text:
        raise InputError("a follow-up has no text: agents drop an empty one; leave it out")
    content = dump_json(wire.unstructure(FollowUp(type="message", text=text)))
    if len(content) > MAILBOX_FILE_LIMIT:
        raise InputError(
            f"a follow-up is too long: its file would have {len(content)} bytes, and "
            f"{MAILBOX_FILE_LIMIT} are allowed; send it in parts, or put it into a file in the "
            "group's folder"
        )
    return content


def decode_follow_up(content: bytes) -> str:
    """The text in a follow-up's file. ValueError, without a word of it, if there is none."""
    text = structure(wire, parse_at_once(content), FollowUp).text
    if not text:
        raise ValueError("empty @ $.text")
    return text


def check_name(name: str) -> str:
    """The name itself. InputError unless it is one of a :class:`NameSource`'s."""
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} is no follow-up's name: get one from new_name()")
    return name


class NameSource:
    """Gives follow-ups names that sort in the order in which they were asked for (Trap A21).

    Milliseconds come first, as in the original's names, so that both sort together. The sequence
    number behind them goes on where the clock stands still or steps back. The random part is
    against another process that writes in the same millisecond.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._milliseconds = 0
        self._sequence = 0

    def next_name(self, moment: datetime) -> str:
        """The name for a follow-up of this moment. From any thread."""
        milliseconds = int(moment.timestamp() * 1000)
        with self._lock:
            if milliseconds > self._milliseconds:
                self._milliseconds, self._sequence = milliseconds, 0
            else:
                self._sequence += 1
            order = f"{self._milliseconds:013d}-{self._sequence:09d}"
        return f"{order}-{secrets.token_hex(4)}{SUFFIX}"
