"""Chat messages as the prompt that an agent reads.

The format is the original's, which agents' instructions speak of:

    <context timezone="Europe/Berlin" />
    <messages>
    <message sender="Ada" time="Jan 31, 2026, 2:30 PM">@Andy what's for lunch?</message>
    </messages>
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from nanoclaw_trio.store.models import ChatMessage

# strftime's %b and %p would follow the host's locale.
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})


def format_prompt(messages: Iterable[ChatMessage], *, timezone: str) -> str:
    """The messages in their order, with their senders' names and local times.

    Whatever is in a name or a text stays in its place: nobody can write a second message, in
    somebody else's name, inside of his own.

    Args:
        messages: What was said; its timestamps are aware.
        timezone: The IANA name of the zone whose time is shown, as the settings have it.
    """
    zone = ZoneInfo(timezone)
    lines = (_format_message(message, zone) for message in messages)
    return "\n".join(
        (f'<context timezone="{_escape(timezone)}" />', "<messages>", *lines, "</messages>")
    )


def _format_message(message: ChatMessage, zone: ZoneInfo) -> str:
    sender, time = _escape(message.sender_name), display_time(message.timestamp, zone)
    return f'<message sender="{sender}" time="{time}">{_escape(message.text)}</message>'


def display_time(moment: datetime, zone: ZoneInfo) -> str:
    """A moment as people write it in American English: `Jan 31, 2026, 2:30 PM`."""
    local = moment.astimezone(zone)
    hour = local.hour % 12 or 12
    half = ("AM", "PM")[local.hour // 12]
    month = MONTHS[local.month - 1]
    return f"{month} {local.day}, {local.year}, {hour}:{local.minute:02d} {half}"


def _escape(text: str) -> str:
    return text.translate(_ESCAPES)
