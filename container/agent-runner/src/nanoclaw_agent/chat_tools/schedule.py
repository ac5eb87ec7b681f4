"""When a task runs: the three kinds of schedule, checked before the host is asked."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Final

from nanoclaw_agent.chat_tools.errors import InvalidRequest

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

SCHEDULE_TYPES: Final = ("cron", "interval", "once")

CRON_FIELDS: Final = 5
"""Minute, hour, day of month, month, day of week. Seconds are no part of the format."""

LONGEST_VALUE: Final = 256
"""Characters of a value; a cron expression that names each minute of an hour has 177."""

_INTERVAL: Final = re.compile(r"0*[1-9][0-9]{3,11}")
_LOCAL_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")
_ZONE_SUFFIX: Final = re.compile(r"T.*([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)$")


def check_schedule(kind: str, value: str, *, now: datetime, zone: ZoneInfo | None) -> None:
    """Raise InvalidRequest unless the value is a schedule of its kind with a run to come.

    `now` is aware of its zone. Without the host's zone a local time is checked for its form alone.
    """
    if len(value) > LONGEST_VALUE:
        raise InvalidRequest(
            f"schedule_value has {len(value)} characters; no schedule needs more than "
            f"{LONGEST_VALUE}"
        )
    if kind == "cron":
        _check_cron(value, now.astimezone(zone).replace(tzinfo=None))
    elif kind == "interval":
        _check_interval(value)
    elif kind == "once":
        _check_once(value, now, zone)
    else:
        raise InvalidRequest(f"schedule_type {kind!r} must be one of: {', '.join(SCHEDULE_TYPES)}")


def _check_cron(value: str, now: datetime) -> None:
    fields = len(value.split())
    if fields != CRON_FIELDS:
        raise InvalidRequest(
            f"cron expression {value!r} has {_count(fields, 'field')}; it needs exactly five: "
            'minute hour day-of-month month day-of-week, for example "0 9 * * 1-5"'
        )
    # Here, because most sessions schedule nothing.
    from cronsim import CronSim, CronSimError

    try:
        # A local time without its zone: which day comes next is the same, and found sooner.
        next_run = next(CronSim(value, now), None)
    except CronSimError as error:
        raise InvalidRequest(
            f"cron expression {value!r}: {str(error).lower()}; allowed are minute 0-59, hour 0-23, "
            "day-of-month 1-31, month 1-12, day-of-week 0-7 (0 and 7 are Sunday), with * , - and /"
        ) from None
    if next_run is None:
        raise InvalidRequest(f"cron expression {value!r} names a day that never comes")


def _check_interval(value: str) -> None:
    if not _INTERVAL.fullmatch(value):
        raise InvalidRequest(
            f"interval {value!r} must be a number of milliseconds, digits only, from 1000 to "
            '999999999999; for example "3600000" for every hour'
        )


def _check_once(value: str, now: datetime, zone: ZoneInfo | None) -> None:
    moment = _parse_local_time(value)
    if zone is not None and _latest_timestamp(moment, zone) <= now.timestamp():
        local = now.astimezone(zone).replace(tzinfo=None)
        raise InvalidRequest(
            f"{value} has passed: it is {local.isoformat(timespec='seconds')} in {zone.key} now; "
            "give a later time"
        )


def _parse_local_time(value: str) -> datetime:
    if _ZONE_SUFFIX.search(value):
        raise InvalidRequest(
            f"time {value!r} names a zone; give the local time without Z or offset, for example "
            '"2026-02-01T15:30:00", since the host runs tasks in its own zone'
        )
    if not _LOCAL_TIME.fullmatch(value):
        raise InvalidRequest(
            f'time {value!r} must be a local date and time like "2026-02-01T15:30:00"'
        )
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        raise InvalidRequest(f"there is no time {value!r}: {error}") from None


def _latest_timestamp(moment: datetime, zone: ZoneInfo) -> float:
    # A time that the clock shows twice has passed when its second showing has. One that it skips
    # is accepted: hosts run it an hour earlier or later.
    return max(moment.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
