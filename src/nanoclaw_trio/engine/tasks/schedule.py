"""When a task is due: the three kinds of schedule (wire-formats 6), read and gone on with. Pure.

All moments are aware, in UTC. `zone` is the host's time zone by its IANA name; a cron expression
and a local time are meant in it, and the moment that a task is due next is fixed when its schedule
is read or gone on with.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from nanoclaw_trio.engine.tasks.cron import HORIZON_YEARS, next_time
from nanoclaw_trio.engine.tasks.local_time import first_moment
from nanoclaw_trio.errors import InputError

if TYPE_CHECKING:
    from nanoclaw_trio.store.models import Task

LONGEST_VALUE: Final = 256
"""Characters of a schedule's value; a cron expression that names each minute of an hour has 177."""

SHORTEST_INTERVAL: Final = timedelta(seconds=1)
"""A container doesn't start faster: below that a task would be due always. Who asks for less has
taken the milliseconds for seconds or minutes."""

_HORIZON: Final = timedelta(days=HORIZON_YEARS * 365)
"""A time further away than this, ahead or back, is a slip of the pen."""

_CRON_FORM: Final = (
    "write minute 0-59, hour 0-23, day-of-month 1-31, month 1-12 and day-of-week 0-7 (0 and 7 are "
    'Sunday), with * , - and /, such as "0 9 * * 1-5"'
)

_MILLISECONDS: Final = re.compile(r"0*[1-9][0-9]{0,11}")
_LOCAL_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
)
_ZONE_SUFFIX: Final = re.compile(r"[T ].*([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)$")


class InvalidSchedule(InputError):
    """A schedule isn't of its type's form, or never comes; the message says what to write."""

    def __init__(self, schedule_type: str, schedule_value: str, problem: str) -> None:
        super().__init__(f"{schedule_type} schedule {schedule_value[:LONGEST_VALUE]!r} {problem}")
        self.schedule_type = schedule_type
        self.schedule_value = schedule_value
        self.problem = problem


def first_run(schedule_type: str, schedule_value: str, *, zone: str, now: datetime) -> datetime:
    """When a task with a new schedule is due.

    cron: the first time after now; :func:`~nanoclaw_trio.engine.tasks.cron.next_time` says what happens
    where clocks change. interval: after one interval. once: at that time, the first of the two
    moments if clocks are set back over it, and behind the gap if they are set forward over it; a
    time that has passed is due at once.

    Raises:
        InvalidSchedule: the caller's fault; says what is wrong and what to write.
    """
    try:
        return _first_run(schedule_type, schedule_value, zone, now)
    except ValueError as error:
        raise InvalidSchedule(schedule_type, schedule_value, str(error)) from None


def next_run(task: Task, *, zone: str, now: datetime) -> datetime | None:
    """When a task is due after the time that it was due now; None if it isn't any more.

    Reckoned from that time, so that neither a late start nor a long run moves what follows. Always
    later than now: of the times that were missed none is made up for. And always later than that
    time, even if the host's clock was set back meanwhile: no time comes twice.

    Raises:
        InvalidSchedule: the store holds a schedule that :func:`first_run` refuses.
    """
    due = task.next_run or now
    if task.schedule_type == "once":
        return None
    if task.schedule_type == "interval":
        return _next_on_grid(due, _interval(task), now)
    return _next_cron(task, zone, max(due, now))


def resume_run(task: Task, *, zone: str, now: datetime) -> datetime | None:
    """When a task that was paused is due.

    What it missed is left out: a cron or interval goes on with its first time that is still to
    come. What was to run once keeps its time, and is due at once if that has passed.

    Raises:
        InvalidSchedule: as :func:`next_run`.
    """
    if task.schedule_type == "once":
        return task.next_run
    if task.schedule_type == "interval":
        is_to_come = task.next_run is not None and task.next_run > now
        return task.next_run if is_to_come else next_run(task, zone=zone, now=now)
    # From now, whatever was reckoned before: the zone may be another.
    return _next_cron(task, zone, now)


def _first_run(schedule_type: str, value: str, zone: str, now: datetime) -> datetime:
    if len(value) > LONGEST_VALUE:
        raise ValueError(f"is too long: no schedule needs more than {LONGEST_VALUE} characters")
    match schedule_type:
        case "cron":
            return _first_cron(value, zone, now)
        case "interval":
            return now + _parse_interval(value)
        case "once":
            return first_moment(_parse_local_time(value, zone, now), ZoneInfo(zone))
        case _:
            raise ValueError("is of no known type: write cron, interval or once")


def _first_cron(expression: str, zone: str, now: datetime) -> datetime:
    try:
        first = next_time(expression, zone=ZoneInfo(zone), after=now)
    except ValueError as error:
        raise ValueError(f"{error}; {_CRON_FORM}") from None
    if first is None:
        raise ValueError("names a day or an hour that never comes; write one that does")
    return first


def _next_cron(task: Task, zone: str, after: datetime) -> datetime | None:
    try:
        return next_time(task.schedule_value, zone=ZoneInfo(zone), after=after)
    except ValueError as error:
        raise InvalidSchedule("cron", task.schedule_value, str(error)) from None


def _interval(task: Task) -> timedelta:
    try:
        return _parse_interval(task.schedule_value)
    except ValueError as error:
        raise InvalidSchedule("interval", task.schedule_value, str(error)) from None


def _next_on_grid(due: datetime, interval: timedelta, now: datetime) -> datetime:
    missed = max(now - due, timedelta()) // interval
    return due + (missed + 1) * interval


def _parse_interval(text: str) -> timedelta:
    if _MILLISECONDS.fullmatch(text):
        interval = timedelta(milliseconds=int(text))
        if interval >= SHORTEST_INTERVAL:
            return interval
    raise ValueError(
        "isn't a number of milliseconds from 1000 to 999999999999; "
        'write digits only, "3600000" for every hour'
    )


def _parse_local_time(text: str, zone: str, now: datetime) -> datetime:
    if _ZONE_SUFFIX.search(text):
        raise ValueError(f"names a zone; write the local time in {zone}, without Z or offset")
    if not _LOCAL_TIME.fullmatch(text):
        raise ValueError('isn\'t a local date and time; write one such as "2026-02-01T15:30:00"')
    try:
        local = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"isn't in the calendar: {error}") from None
    if abs(local - now.astimezone(UTC).replace(tzinfo=None)) > _HORIZON:
        raise ValueError(f"is more than {HORIZON_YEARS} years away; mend the year")
    return local
