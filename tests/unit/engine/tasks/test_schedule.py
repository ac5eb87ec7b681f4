"""Schedules: what is one, when it is due first, and when after that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.engine.tasks.schedule import InvalidSchedule, first_run, next_run, resume_run
from nanoclaw_trio.errors import InputError
from nanoclaw_trio.store.models import Task

NOW = datetime(2026, 1, 15, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]

TASK = Task(
    id="t1",
    folder="family",
    chat_jid="1@chat",
    prompt="Water the plants",
    schedule_type="cron",
    schedule_value="0 9 * * *",
    next_run=datetime(2026, 1, 15, 8, tzinfo=UTC),
    created_at=NOW,
)
HOURLY = evolve(TASK, schedule_type="interval", schedule_value="3600000", next_run=NOW)
ONCE = evolve(TASK, schedule_type="once", schedule_value="2026-01-15T13:00:00", next_run=NOW)


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule_type", "value", "zone", "moment"),
    [
        ("cron", "0 9 * * *", "Europe/Berlin", "2026-01-16T08:00"),
        ("cron", "0 9 * * *", "America/New_York", "2026-01-15T14:00"),
        ("cron", "0 9 * * *", "UTC", "2026-01-16T09:00"),
        ("interval", "3600000", "Europe/Berlin", "2026-01-15T13:00"),
        ("interval", "1000", "UTC", "2026-01-15T12:00:01"),
        ("interval", "0001500", "UTC", "2026-01-15T12:00:01.500"),
        ("once", "2026-02-01T15:30:00", "Europe/Berlin", "2026-02-01T14:30"),
        ("once", "2026-02-01T15:30", "America/New_York", "2026-02-01T20:30"),
        ("once", "2026-02-01 15:30:10.250", "UTC", "2026-02-01T15:30:10.250"),
        ("once", "2026-07-01T15:30:00", "Europe/Berlin", "2026-07-01T13:30"),
    ],
)
def test_the_first_run_is_in_the_hosts_zone(schedule_type, value, zone, moment):
    """Cron and local times are meant in the zone given; an interval is over after one interval."""
    assert first_run(schedule_type, value, zone=zone, now=NOW) == utc(moment)


@pytest.mark.parametrize(
    ("zone", "value", "moment"),
    [
        ("Europe/Berlin", "2026-03-29T02:30:00", "2026-03-29T01:00"),
        ("Europe/Berlin", "2026-10-25T02:30:00", "2026-10-25T00:30"),
        ("America/New_York", "2026-03-08T02:00:00", "2026-03-08T07:00"),
        ("America/New_York", "2026-11-01T01:59:59", "2026-11-01T05:59:59"),
        ("Australia/Lord_Howe", "2026-10-04T02:15:00", "2026-10-03T15:30"),
        ("Australia/Lord_Howe", "2026-04-05T01:45:00", "2026-04-04T14:45"),
    ],
)
def test_a_single_time_where_clocks_change(zone, value, moment):
    """Skipped, it comes behind the gap; repeated, it comes the first time."""
    assert first_run("once", value, zone=zone, now=NOW) == utc(moment)


def test_a_single_time_that_has_passed_is_due_at_once():
    """What was to run once in the past keeps its time, which makes it due."""
    assert first_run("once", "2026-01-15T11:59:59", zone="UTC", now=NOW) < NOW


@pytest.mark.parametrize(
    ("schedule_type", "value", "problem"),
    [
        ("daily", "9:00", "is of no known type: write cron, interval or once"),
        ("cron", "0 9 * *", "has not 5 fields but 4; write minute 0-59"),
        ("cron", "0 9 * * * *", "has not 5 fields but 6; write minute 0-59"),
        ("cron", "61 9 * * *", "has a bad minute; write minute 0-59"),
        ("cron", "0 0 30 2 *", "has a bad day-of-month; write minute 0-59"),
        ("cron", "0 0 */31 2 MON#5", "names a day or an hour that never comes"),
        ("cron", "0," * 200, "is too long: no schedule needs more than 256 characters"),
        ("interval", "", "isn't a number of milliseconds from 1000"),
        ("interval", "0", "isn't a number of milliseconds from 1000"),
        ("interval", "999", "isn't a number of milliseconds from 1000"),
        ("interval", "-5000", "isn't a number of milliseconds from 1000"),
        ("interval", "5000.0", "isn't a number of milliseconds from 1000"),
        ("interval", "1e6", "isn't a number of milliseconds from 1000"),
        ("interval", "٣٦٠٠٠٠٠", "isn't a number of milliseconds from 1000"),
        ("interval", "1000000000000", "isn't a number of milliseconds from 1000"),
        ("interval", "1 hour", "isn't a number of milliseconds from 1000"),
        ("once", "2026-02-01T15:30:00Z", "names a zone; write the local time in Europe/Berlin"),
        ("once", "2026-02-01T15:30:00+01:00", "names a zone; write the local time in"),
        ("once", "2026-02-01T15:30-05", "names a zone; write the local time in"),
        ("once", "2026-02-01", "isn't a local date and time"),
        ("once", "tomorrow", "isn't a local date and time"),
        ("once", "2026-W05-7T15:30:00", "isn't a local date and time"),
        ("once", "20260201T153000", "isn't a local date and time"),
        ("once", "2026-02-30T15:30:00", "isn't in the calendar: day is out of range"),
        ("once", "2026-02-01T24:30:00", "isn't in the calendar: hour must be in"),
        ("once", "0001-01-01T00:00:00", "is more than 50 years away; mend the year"),
        ("once", "1926-02-01T15:30:00", "is more than 50 years away; mend the year"),
        ("once", "2226-02-01T15:30:00", "is more than 50 years away; mend the year"),
        ("once", "9999-12-31T23:59:59", "is more than 50 years away; mend the year"),
    ],
)
def test_what_is_no_schedule_is_refused_in_words(schedule_type, value, problem):
    """A wrong form, an absurd time, and one that never comes are the caller's fault, by name."""
    with pytest.raises(InvalidSchedule) as caught:
        first_run(schedule_type, value, zone="Europe/Berlin", now=NOW)
    assert isinstance(caught.value, InputError)
    assert caught.value.problem.startswith(problem)
    assert (caught.value.schedule_type, caught.value.schedule_value) == (schedule_type, value)
    assert len(str(caught.value)) < 600


@given(st.sampled_from(["cron", "interval", "once", "never"]), st.text(max_size=300))
def test_any_text_is_a_schedule_or_refused(schedule_type, value):
    """Whatever an agent writes, there is a time, or an InvalidSchedule: nothing else is raised."""
    try:
        moment = first_run(schedule_type, value, zone="Europe/Berlin", now=NOW)
    except InvalidSchedule:
        return
    assert moment.tzinfo is UTC


CRON_CHARACTERS = st.text(alphabet="0123456789*,-/#LW MON\t", max_size=40)


@given(CRON_CHARACTERS)
def test_any_fields_are_an_expression_or_refused(value):
    """So it is with what looks like an expression; and what is one comes within 50 years."""
    try:
        moment = first_run("cron", value, zone="Australia/Lord_Howe", now=NOW)
    except InvalidSchedule:
        return
    assert NOW < moment < NOW + 51 * 366 * DAY


@pytest.mark.parametrize(
    ("task", "now", "moment"),
    [
        # In time, late, and long after: on the grid of the first time, and never a burst.
        (HOURLY, NOW, NOW + HOUR),
        (HOURLY, NOW + HOUR / 6, NOW + HOUR),
        (HOURLY, NOW + HOUR, NOW + 2 * HOUR),
        (HOURLY, NOW + 3 * DAY + HOUR / 2, NOW + 3 * DAY + HOUR),
        # The host's clock was set back while it ran.
        (HOURLY, NOW - DAY, NOW + HOUR),
        (evolve(HOURLY, next_run=None), NOW, NOW + HOUR),
        (TASK, utc("2026-01-15T08:00"), utc("2026-01-16T08:00")),
        (TASK, utc("2026-01-15T08:10"), utc("2026-01-16T08:00")),
        (TASK, utc("2026-01-18T12:00"), utc("2026-01-19T08:00")),
        (TASK, utc("2026-01-15T07:59:59"), utc("2026-01-16T08:00")),
        (evolve(TASK, next_run=None), NOW, utc("2026-01-16T08:00")),
        (ONCE, NOW + HOUR, None),
    ],
)
def test_the_next_run_is_anchored_to_the_schedule(task, now, moment):
    """Lateness moves nothing, missed times are not made up for, and no time comes twice."""
    assert next_run(task, zone="Europe/Berlin", now=now) == moment


@pytest.mark.parametrize(
    ("task", "now", "moment"),
    [
        (HOURLY, NOW - HOUR / 2, NOW),
        (HOURLY, NOW, NOW + HOUR),
        (HOURLY, NOW + 10 * DAY + HOUR / 2, NOW + 10 * DAY + HOUR),
        (TASK, utc("2026-01-15T07:00"), utc("2026-01-15T08:00")),
        (TASK, utc("2026-01-20T07:00"), utc("2026-01-20T08:00")),
        (ONCE, NOW - HOUR, NOW),
        (ONCE, NOW + DAY, NOW),
    ],
)
def test_a_resumed_task_goes_on_with_what_is_to_come(task, now, moment):
    """What it missed is left out; but a single time that has passed is due at once."""
    assert resume_run(task, zone="Europe/Berlin", now=now) == moment


@pytest.mark.parametrize(
    ("schedule_type", "value"), [("cron", "not five"), ("interval", "soon"), ("interval", "1")]
)
def test_a_stored_schedule_that_is_none_is_named(schedule_type, value):
    """What the store should never hold is an InvalidSchedule, not an endless task."""
    task = evolve(TASK, schedule_type=schedule_type, schedule_value=value)
    for run in (next_run, resume_run):
        with pytest.raises(InvalidSchedule):
            run(task, zone="UTC", now=NOW)


def test_a_cron_that_never_comes_any_more_has_no_next_run():
    """A zone that was changed may leave an expression without times: the task is over."""
    task = evolve(TASK, schedule_value="*/15 2 * 3 SUN#2")
    assert next_run(task, zone="UTC", now=NOW) is not None
    assert next_run(task, zone="America/New_York", now=NOW) is None


@given(
    st.one_of(
        st.integers(1000, 10**9).map(lambda ms: ("interval", str(ms))),
        st.tuples(st.integers(0, 59), st.integers(0, 23)).map(
            lambda time: ("cron", f"{time[0]} {time[1]} * * *")
        ),
        st.integers(1, 59).map(lambda step: ("cron", f"*/{step} * * * *")),
    ),
    st.lists(st.timedeltas(timedelta(0), timedelta(days=40)), min_size=1, max_size=12),
    st.sampled_from(ZONES),
)
def test_runs_go_forward_on_the_grid_of_their_anchor(schedule, delays, zone):
    """However late each run ends, the next is later than that, and than the one before; an
    interval's runs stay whole intervals apart from its first."""
    schedule_type, value = schedule
    first = first_run(schedule_type, value, zone=zone, now=NOW)
    task = evolve(TASK, schedule_type=schedule_type, schedule_value=value, next_run=first)
    for delay in delays:
        now = task.next_run + delay
        following = next_run(task, zone=zone, now=now)
        assert following > now
        assert following > task.next_run
        if schedule_type == "interval":
            interval = timedelta(milliseconds=int(value))
            assert (following - first) % interval == timedelta()
            assert following - now <= interval
        task = evolve(task, next_run=following)
