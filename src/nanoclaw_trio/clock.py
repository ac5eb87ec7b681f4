"""The one source of wall time, tied to Trio's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import trio

VIRTUAL_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""What a virtual clock's zero stands for. Any fixed moment would do; tests read timestamps."""


def utc_now() -> datetime:
    """The time of day, in UTC.

    Under a virtual clock it follows that clock, so that a day that passes in milliseconds leaves
    timestamps a day apart. Must be called from within Trio.
    """
    # On the real clock Trio's time can't stand in for the system's: it doesn't count the hours that
    # a laptop slept, nor the corrections of NTP.
    if is_virtual():
        return VIRTUAL_EPOCH + timedelta(seconds=trio.current_time())
    return datetime.now(UTC)


def is_virtual() -> bool:
    """Whether Trio runs on a virtual clock, which alone can jump.

    Such a clock waits for worker threads: under it nothing may wait in one for what the world
    outside does, such as a change to a directory. Must be called from within Trio.
    """
    return hasattr(trio.lowlevel.current_clock(), "jump")


def iso_timestamp(moment: datetime) -> str:
    """A moment as JavaScript's toISOString writes it: UTC, milliseconds, Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
