"""Local times and the moments they stand for, where clocks are set forward and back. Pure.

A local time is a naive datetime: what a clock on the wall shows. When clocks are set forward, the
times between are skipped: no moment shows them. When they are set back, times are repeated: two
moments show each. By how much differs: an hour in most places, half of one on Lord Howe Island.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import tzinfo

_MINUTE: Final = timedelta(minutes=1)


def local_time(moment: datetime, zone: tzinfo) -> datetime:
    """What a zone's clocks show at a moment, to the second."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0, microsecond=0)


def is_skipped(local: datetime, zone: tzinfo) -> bool:
    """Whether a zone's clocks never show this time, since they are set forward over it."""
    return (
        local.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0)
        != local
    )


def first_moment(local: datetime, zone: tzinfo) -> datetime:
    """When a local time comes, in UTC.

    Of a repeated time it is the first of the two. A skipped one comes when the clocks go on behind
    the gap: 2:30 at 3:00, where they are set from 2:00 to 3:00.
    """
    while is_skipped(local, zone):
        local = local.replace(second=0, microsecond=0) + _MINUTE
    return local.replace(tzinfo=zone, fold=0).astimezone(UTC)


def exact_moment(local: datetime, zone: tzinfo, *, fold: int) -> datetime | None:
    """When a local time comes, in UTC; None for a skipped one.

    `fold`: 0 for the first of the moments that show a repeated time, 1 for the second.
    """
    if is_skipped(local, zone):
        return None
    return local.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def set_back(moment: datetime, zone: tzinfo) -> timedelta:
    """By how much clocks are set back between the two moments that show the present time.

    Nothing, if the time of this moment isn't a repeated one.
    """
    first, second = (
        local_time(moment, zone).replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)
    )
    return second - first
