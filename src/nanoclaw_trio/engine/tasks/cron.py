"""When a cron expression comes round: the calendar is cronsim's, the time zone ours. Pure.

The expression is one of Debian's cron: five fields, in local time; with a day of the month and a
day of the week it is either of them, unless one begins with `*`.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Final

from nanoclaw_trio.engine.tasks.local_time import exact_moment, first_moment, local_time, set_back

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, tzinfo

FIELDS: Final = 5
"""Minute, hour, day of month, month, day of week. Seconds are no part of the format."""

HORIZON_YEARS: Final = 50
"""How far ahead a time is looked for; cronsim's own bound between one time and the next."""


def next_time(expression: str, *, zone: tzinfo, after: datetime) -> datetime | None:
    """The first time after a moment, in UTC; None if there is none within HORIZON_YEARS.

    Where clocks change, it is as in Debian's cron. An expression of fixed times (neither its minute
    nor its hour begins with `*`) comes once each day that it names: at the first of a repeated
    time's two moments, and, for a skipped time, when the clocks go on behind the gap. All skipped
    times of one gap are one. Any other expression goes by what the clocks show: it comes at both
    moments of a repeated time, and never at a skipped one.

    ValueError for what isn't such an expression, with words for it.
    """
    if _has_fixed_times(expression):
        moments = (first_moment(local, zone) for local in _times(expression, after, zone))
        return next((moment for moment in moments if moment > after), None)
    folds = (0, 1) if set_back(after, zone) else (0,)
    found = (_next_shown(expression, zone, after, fold) for fold in folds)
    return min((moment for moment in found if moment is not None), default=None)


def _next_shown(expression: str, zone: tzinfo, after: datetime, fold: int) -> datetime | None:
    """The first time after a moment, if repeated times were shown only once: first or second."""
    # The second showing of a time that has passed is still to come.
    start = after - set_back(after, zone) if fold else after
    moments = (exact_moment(local, zone, fold=fold) for local in _times(expression, start, zone))
    return next((moment for moment in moments if moment is not None and moment > after), None)


def _times(expression: str, after: datetime, zone: tzinfo) -> Iterator[datetime]:
    """The local times that an expression names, as if no clock were ever changed."""
    # Late: most programs schedule nothing.
    from cronsim import CronSim, CronSimError

    start = local_time(after, zone)
    last_year = start.year + HORIZON_YEARS
    try:
        # Without its zone. With it, cronsim steps by whole hours over a change of half an hour, and
        # misses times behind it.
        times = CronSim(expression, start)
    except CronSimError as error:
        raise ValueError(f"has a {str(error).lower()}") from None
    # Bounded, since a time may be skipped in every year.
    return takewhile(lambda local: local.year <= last_year, times)


def _has_fixed_times(expression: str) -> bool:
    fields = expression.split()
    # Six would be taken by cronsim, the first as seconds.
    if len(fields) != FIELDS:
        raise ValueError(f"has not {FIELDS} fields but {len(fields)}")
    return not any(field.startswith("*") for field in fields[:2])
