"""What a bridge may hand in as a message."""

from __future__ import annotations

import re
from datetime import MAXYEAR, MINYEAR
from typing import TYPE_CHECKING, Final

from attrs import evolve

from nanoclaw_trio.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from nanoclaw_trio.store.models import ChatMessage

TEXT_LIMIT: Final = 512 * 1024
"""Bytes of the longest text, in UTF-8 and before it is escaped: half of what a follow-up's file
may have (:data:`~nanoclaw_trio.files.MAILBOX_FILE_LIMIT`)."""

NAME_LIMIT: Final = 1024
"""Bytes of the longest id, address or name, in UTF-8: platforms have a tenth of it."""

_NAMES: Final = ("id", "chat_jid", "sender", "sender_name")

_SHOWN: Final = 64
"""Characters of an id or an address that an error repeats."""

_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")


def check_message(message: ChatMessage) -> None:
    """Refuse a message that no prompt can be made of.

    Raises:
        InputError: its id, its chat or its text is empty, its text has more than TEXT_LIMIT bytes
            or a name more than NAME_LIMIT, or its timestamp says no moment. Nothing of the text is
            repeated.
    """
    problem = next(_problems(message), None)
    if problem is not None:
        id_, chat = message.id[:_SHOWN], message.chat_jid[:_SHOWN]
        raise InputError(f"message {id_!r} of chat {chat!r} {problem}")


def _problems(message: ChatMessage) -> Iterator[str]:
    if not message.id:
        yield "has no id: give it the platform's, or one that is unique in its chat"
    if not message.chat_jid:
        yield "has no chat_jid: say which chat it comes from"
    for name in _NAMES:
        size = _size(getattr(message, name))
        if size > NAME_LIMIT:
            yield f"has {size} bytes in its {name}, and {NAME_LIMIT} are allowed: shorten it"
    if not message.text.strip():
        yield "has no text: leave it out, or say in words what was sent"
    size = _size(message.text)
    if size > TEXT_LIMIT:
        yield (
            f"is too long: its text has {size} bytes of UTF-8, and {TEXT_LIMIT} are allowed before "
            "it is escaped; hand it in in parts, or put it into a file in the group's folder"
        )
    if message.timestamp.utcoffset() is None:
        yield "has a timestamp without a time zone: make it aware, such as datetime.now(UTC)"
    elif not can_be_shown(message.timestamp):
        yield f"has a timestamp in the year {message.timestamp.year}: check the platform's units"


def _size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def can_be_shown(moment: datetime) -> bool:
    """Whether a moment can be written as the time of every zone."""
    # The first year begins, and the last one ends, with hours that not every zone can write.
    return MINYEAR < moment.year < MAXYEAR


def mend_message(message: ChatMessage) -> ChatMessage:
    """The message with U+FFFD for each half of a surrogate pair, which no database takes.

    JavaScript cuts emoji in two, and so do platforms: a message isn't lost over a broken one.
    """
    return evolve(
        message,
        chat_jid=_mend(message.chat_jid),
        id=_mend(message.id),
        sender=_mend(message.sender),
        sender_name=_mend(message.sender_name),
        text=_mend(message.text),
    )


def _mend(text: str) -> str:
    return text if text.isascii() else _HALF_PAIR.sub("\ufffd", text)
