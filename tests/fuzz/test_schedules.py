"""What agents and people write into a schedule: cron expressions, intervals, local times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from documents import check_said
from hypothesis import example, given
from hypothesis import strategies as st

from nanoclaw_trio.engine.tasks.cron import FIELDS, HORIZON_YEARS, next_time
from nanoclaw_trio.engine.tasks.schedule import InvalidSchedule, first_run

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]

MOMENTS = st.integers(631_152_000, 3_786_912_000).map(partial(datetime.fromtimestamp, tz=UTC))
"""From 1990 to 2090."""

NUMBERS = st.integers(-1, 70).map(str) | st.sampled_from(["L", "7", "SUN", "JAN", "5#2", "0x1"])

PARTS = st.sampled_from(["*", "*/2", "*/0", "-", "", "1-", "60-1", "²", "\u0661"]) | st.one_of(
    NUMBERS,
    st.builds("{}-{}".format, NUMBERS, NUMBERS),
    st.builds("{}-{}/{}".format, NUMBERS, NUMBERS, NUMBERS),
)

EXPRESSIONS = st.lists(
    st.lists(PARTS, min_size=1, max_size=3).map(",".join), min_size=4, max_size=6
).map(" ".join)

ANY_EXPRESSION = EXPRESSIONS | st.text(max_size=20)


@given(ANY_EXPRESSION, st.sampled_from(ZONES), MOMENTS)
@example("0 0 30 2 *", "UTC", datetime(2026, 1, 1, tzinfo=UTC))
@example("59 23 29 2 1", "Europe/Berlin", datetime(2026, 1, 1, tzinfo=UTC))
def test_an_expression_comes_later_or_never_or_is_none(expression, zone, after):
    """Any text is an expression whose next time lies ahead, within the horizon, or that never
    comes; or it is a ValueError with words for it."""
    try:
        found = next_time(expression, zone=ZoneInfo(zone), after=after)
    except ValueError as error:
        check_said(error)
        return
    assert len(expression.split()) == FIELDS
    if found is not None:
        assert found.tzinfo is UTC
        assert after < found < after + timedelta(days=366 * (HORIZON_YEARS + 1))
        assert found.second == found.microsecond == 0


FIELD = st.lists(st.integers(0, 23), min_size=1, max_size=4, unique=True)


@given(FIELD, FIELD, MOMENTS)
def test_a_time_of_day_is_the_first_that_fits(minutes, hours, after):
    """The next time of an expression of minutes and hours is the one that is found by looking at
    one minute after the other."""
    expression = f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * *"
    moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    while moment.minute not in minutes or moment.hour not in hours:
        moment += timedelta(minutes=1)
    assert next_time(expression, zone=ZoneInfo("UTC"), after=after) == moment


VALUES = (
    ANY_EXPRESSION
    | st.integers(-1, 10**14).map(str)
    | st.datetimes().map(datetime.isoformat)
    | st.sampled_from(["2026-02-30T10:00:00", "2026-03-29T02:30:00", "2026-01-01T10:00Z", "1e9"])
    | st.text(max_size=8).map(lambda text: "1" * 300 + text)
)


@given(
    st.sampled_from(["cron", "interval", "once", "never"]),
    VALUES,
    st.sampled_from(ZONES),
    MOMENTS,
)
def test_a_schedule_is_due_or_refused(kind, value, zone, now):
    """Any schedule of any type is due at a moment in UTC, or InvalidSchedule, which is short."""
    try:
        due = first_run(kind, value, zone=zone, now=now)
    except InvalidSchedule as error:
        check_said(error)
    else:
        assert due.tzinfo is UTC
        assert due >= now or kind == "once"
