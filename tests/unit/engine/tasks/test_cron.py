"""Cron expressions in time zones: what happens where clocks change, and how far is looked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.engine.tasks.cron import next_time

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
MINUTE = timedelta(minutes=1)
ZONES = [BERLIN, NEW_YORK, LORD_HOWE, ZoneInfo("Asia/Kathmandu"), ZoneInfo("UTC")]


def shown(zone, start, expression, count):
    """The next times from a local start, as a zone's clocks show them, with their offsets."""
    moment = datetime.fromisoformat(start).replace(tzinfo=zone).astimezone(UTC)
    times = []
    for _ in range(count):
        moment = next_time(expression, zone=zone, after=moment)
        times.append(moment.astimezone(zone).strftime("%m-%d %H:%M %z"))
    return times


@pytest.mark.parametrize(
    ("zone", "start", "expression", "times"),
    [
        (
            BERLIN,
            "2026-03-28T12:00",
            "30 2 * * *",
            ["03-29 03:00 +0200", "03-30 02:30 +0200", "03-31 02:30 +0200"],
        ),
        (
            NEW_YORK,
            "2026-03-07T12:00",
            "30 2 * * *",
            ["03-08 03:00 -0400", "03-09 02:30 -0400", "03-10 02:30 -0400"],
        ),
        (
            LORD_HOWE,
            "2026-10-03T12:00",
            "15 2 * * *",
            ["10-04 02:30 +1100", "10-05 02:15 +1100", "10-06 02:15 +1100"],
        ),
    ],
)
def test_a_fixed_time_in_the_gap_comes_behind_it(zone, start, expression, times):
    """A daily time that clocks are set forward over comes that day when the clocks go on."""
    assert shown(zone, start, expression, 3) == times


def test_fixed_times_of_one_gap_are_one():
    """Of several times in one gap, and the one at its end, a single one comes."""
    assert shown(BERLIN, "2026-03-29T01:30", "0,20,40 2,3 * * *", 4) == [
        "03-29 03:00 +0200",
        "03-29 03:20 +0200",
        "03-29 03:40 +0200",
        "03-30 02:00 +0200",
    ]


@pytest.mark.parametrize(
    ("zone", "start", "expression", "times"),
    [
        (
            BERLIN,
            "2026-10-24T12:00",
            "30 2 * * *",
            ["10-25 02:30 +0200", "10-26 02:30 +0100", "10-27 02:30 +0100"],
        ),
        (
            NEW_YORK,
            "2026-10-31T12:00",
            "30 1 * * *",
            ["11-01 01:30 -0400", "11-02 01:30 -0500", "11-03 01:30 -0500"],
        ),
        (
            LORD_HOWE,
            "2026-04-04T12:00",
            "45 1 * * *",
            ["04-05 01:45 +1100", "04-06 01:45 +1030", "04-07 01:45 +1030"],
        ),
    ],
)
def test_a_fixed_time_that_is_repeated_comes_once(zone, start, expression, times):
    """A daily time that clocks show twice comes at the first of the two, and not at the second."""
    assert shown(zone, start, expression, 3) == times


def test_a_fixed_time_is_not_made_up_for_when_clocks_show_it_again():
    """Asked between the two moments, or in the repeated hour, the next one is the next day's."""
    between = datetime(2026, 10, 25, 0, 45, tzinfo=UTC)
    repeated = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)
    tomorrow = datetime(2026, 10, 26, 1, 30, tzinfo=UTC)
    for after in (between, repeated):
        assert next_time("30 2 * * *", zone=BERLIN, after=after) == tomorrow


@pytest.mark.parametrize(
    ("zone", "start", "expression", "times"),
    [
        (
            BERLIN,
            "2026-03-29T00:45",
            "30 * * * *",
            ["03-29 01:30 +0100", "03-29 03:30 +0200", "03-29 04:30 +0200"],
        ),
        (
            BERLIN,
            "2026-03-28T02:15",
            "*/30 2 * * *",
            ["03-28 02:30 +0100", "03-30 02:00 +0200", "03-30 02:30 +0200"],
        ),
        (
            NEW_YORK,
            "2026-03-08T01:15",
            "*/30 * * * *",
            ["03-08 01:30 -0500", "03-08 03:00 -0400", "03-08 03:30 -0400"],
        ),
        (
            LORD_HOWE,
            "2026-10-04T00:45",
            "30 * * * *",
            ["10-04 01:30 +1030", "10-04 02:30 +1100", "10-04 03:30 +1100"],
        ),
        (
            LORD_HOWE,
            "2026-10-04T01:45",
            "15 * * * *",
            ["10-04 03:15 +1100", "10-04 04:15 +1100", "10-04 05:15 +1100"],
        ),
        (
            LORD_HOWE,
            "2026-10-04T00:45",
            "*/20 3 * * *",
            ["10-04 03:00 +1100", "10-04 03:20 +1100", "10-04 03:40 +1100"],
        ),
    ],
)
def test_what_goes_by_the_clock_skips_the_gap(zone, start, expression, times):
    """Times of an expression with `*` that clocks are set forward over don't come."""
    assert shown(zone, start, expression, 3) == times


@pytest.mark.parametrize(
    ("zone", "start", "expression", "times"),
    [
        (
            BERLIN,
            "2026-10-25T01:45",
            "30 * * * *",
            ["10-25 02:30 +0200", "10-25 02:30 +0100", "10-25 03:30 +0100"],
        ),
        (
            BERLIN,
            "2026-10-25T01:45",
            "*/30 2 * * *",
            [
                "10-25 02:00 +0200",
                "10-25 02:30 +0200",
                "10-25 02:00 +0100",
                "10-25 02:30 +0100",
                "10-26 02:00 +0100",
            ],
        ),
        (
            NEW_YORK,
            "2026-11-01T00:45",
            "0 */1 * * *",
            ["11-01 01:00 -0400", "11-01 01:00 -0500", "11-01 02:00 -0500"],
        ),
        (
            LORD_HOWE,
            "2026-04-05T01:15",
            "*/15 * * * *",
            [
                "04-05 01:30 +1100",
                "04-05 01:45 +1100",
                "04-05 01:30 +1030",
                "04-05 01:45 +1030",
                "04-05 02:00 +1030",
            ],
        ),
        (
            BERLIN,
            "2026-10-25T01:45",
            "*/30 2 25 10 *",
            [
                "10-25 02:00 +0200",
                "10-25 02:30 +0200",
                "10-25 02:00 +0100",
                "10-25 02:30 +0100",
                "10-25 02:00 +0200",
            ],
        ),
    ],
)
def test_what_goes_by_the_clock_comes_again_when_it_is_set_back(zone, start, expression, times):
    """Times of an expression with `*` that clocks show twice come twice."""
    assert shown(zone, start, expression, len(times)) == times


@pytest.mark.parametrize(
    ("expression", "time"),
    [
        ("0 0 29 2 *", datetime(2028, 2, 29, tzinfo=UTC)),
        ("0 9 * * MON-FRI", datetime(2026, 1, 1, 9, tzinfo=UTC)),
        ("0 0 13 * 5", datetime(2026, 1, 2, tzinfo=UTC)),
        ("0 0 L * *", datetime(2026, 1, 31, tzinfo=UTC)),
        ("0 0 * * 1#2", datetime(2026, 1, 12, tzinfo=UTC)),
        ("  0   12 * *  7 ", datetime(2026, 1, 4, 12, tzinfo=UTC)),
        ("0 0 30 2 1", datetime(2026, 2, 2, tzinfo=UTC)),
    ],
)
def test_the_calendar_is_that_of_cron(expression, time):
    """Leap days, names, either of two days, the last day and the second Monday are known."""
    assert next_time(expression, zone=UTC, after=datetime(2026, 1, 1, tzinfo=UTC)) == time


def test_a_fraction_of_a_second_is_no_matter():
    """A time comes even if it is asked for a moment before, and not again a moment after."""
    nine = datetime(2026, 1, 1, 9, tzinfo=UTC)
    tick = timedelta(microseconds=1)
    assert next_time("0 9 * * *", zone=UTC, after=nine - tick) == nine
    assert next_time("0 9 * * *", zone=UTC, after=nine) == nine + timedelta(days=1)
    assert next_time("0 9 * * *", zone=UTC, after=nine + tick) == nine + timedelta(days=1)


def test_a_time_that_is_skipped_every_year_never_comes():
    """The hour that New York skips each March is looked for in 50 years, and not for ever."""
    after = datetime(2026, 1, 1, tzinfo=UTC)
    assert next_time("*/15 2 * 3 SUN#2", zone=NEW_YORK, after=after) is None
    behind_the_gap = datetime(2026, 3, 8, 7, tzinfo=UTC)
    assert next_time("15 2 * 3 SUN#2", zone=NEW_YORK, after=after) == behind_the_gap


def test_a_day_that_is_in_no_year_never_comes():
    """A day that the calendar's rules let pass, and no year has, ends the search."""
    after = datetime(2026, 1, 1, tzinfo=UTC)
    assert next_time("0 0 31 */2 FRI#5", zone=UTC, after=after) is not None
    assert next_time("0 0 */31 2 MON#5", zone=UTC, after=after) is None


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("", "has not 5 fields but 0"),
        ("* * * *", "has not 5 fields but 4"),
        ("* * * * * *", "has not 5 fields but 6"),
        ("@daily", "has not 5 fields but 1"),
        ("60 * * * *", "has a bad minute"),
        ("* 24 * * *", "has a bad hour"),
        ("* * 0 * *", "has a bad day-of-month"),
        ("0 0 30 2 *", "has a bad day-of-month"),
        ("* * * 13 *", "has a bad month"),
        ("* * * * 8", "has a bad day-of-week"),
        ("*/0 * * * *", "has a bad minute"),
        ("5-1 * * * *", "has a bad minute"),
        ("a * * * *", "has a bad minute"),
    ],
)
def test_what_is_no_expression_is_refused_in_words(expression, problem):
    """Too few fields, too many, and values out of range are ValueErrors that name the field."""
    with pytest.raises(ValueError) as caught:
        next_time(expression, zone=BERLIN, after=datetime(2026, 1, 1, tzinfo=UTC))
    assert str(caught.value) == problem


def fields(low, high):
    """A field of an expression: a star, steps, a value, a range or a list."""
    value = st.integers(low, high)
    return st.one_of(
        st.just("*"),
        st.integers(1, high).map(lambda step: f"*/{step}"),
        value.map(str),
        st.tuples(value, value).map(lambda ends: f"{min(ends)}-{max(ends)}"),
        st.lists(value, min_size=1, max_size=4).map(lambda them: ",".join(map(str, them))),
    )


EXPRESSIONS = st.tuples(fields(0, 59), fields(0, 23), st.just("*"), st.just("*"), fields(0, 7)).map(
    " ".join
)
AROUND_CHANGES = st.one_of(
    *(
        st.datetimes(day - timedelta(hours=20), day + timedelta(hours=20), timezones=st.just(UTC))
        for day in map(
            datetime.fromisoformat,
            ("2026-03-08", "2026-03-29", "2026-04-04", "2026-10-03", "2026-10-25", "2026-11-01"),
        )
    )
)


@given(EXPRESSIONS, AROUND_CHANGES, st.sampled_from(ZONES))
def test_the_next_time_is_later_and_none_is_left_out(expression, after, zone):
    """The next time is after the moment, and asked from anywhere between it stays the same."""
    following = next_time(expression, zone=zone, after=after)
    assert following > after
    assert following.second == following.microsecond == 0
    between = after + (following - after) / 3
    assert next_time(expression, zone=zone, after=between) == following


@given(
    st.integers(1, 59),
    st.sets(st.integers(0, 23), min_size=1),
    AROUND_CHANGES,
    st.sampled_from(ZONES),
)
def test_what_goes_by_the_clock_is_what_the_clock_shows(step, hours, after, zone):
    """An expression with `*` comes at the first minute whose shown time it names, and at no other."""
    expression = f"*/{step} {','.join(map(str, hours))} * * *"
    minute = after.replace(second=0, microsecond=0) + MINUTE
    while not is_named(minute.astimezone(zone), step, hours):
        minute += MINUTE
    assert next_time(expression, zone=zone, after=after) == minute


def is_named(local, step, hours):
    """Whether a local time is one of the hours, and a multiple of the step in it."""
    return local.hour in hours and local.minute % step == 0
