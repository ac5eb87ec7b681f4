"""Who speaks: the group, its chat, its mailbox, and the time there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def utc_now() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class ChatContext:
    """What the chat tools know of the session they serve.

    Attributes:
        ipc: The mailbox, /workspace/ipc in a container.
        chat_jid: The address of the session's chat.
        group_folder: The group's folder name.
        is_main: Whether it is the main group, which may administer the others.
        timezone: The name of the host's zone, as in TZ; empty where it isn't known.
        clock: The time now, aware of its zone.
    """

    ipc: Path
    chat_jid: str
    group_folder: str
    is_main: bool
    timezone: str = ""
    clock: Callable[[], datetime] = utc_now

    def zone(self) -> ZoneInfo | None:
        """The host's zone; None if it isn't known here, and then only the host knows local time."""
        try:
            return ZoneInfo(self.timezone)
        # OSError: the name is that of a directory of zones, "Europe".
        except (KeyError, ValueError, OSError):
            return None


def iso_timestamp(moment: datetime) -> str:
    """UTC with milliseconds, ``2026-02-01T14:30:00.000Z``, as the host's own files have it."""
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='milliseconds')}Z"


def milliseconds(moment: datetime) -> int:
    """Milliseconds since the epoch."""
    return round(moment.timestamp() * 1000)
