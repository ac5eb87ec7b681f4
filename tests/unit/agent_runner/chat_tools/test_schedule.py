"""The three kinds of schedule."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_agent.chat_tools.errors import InvalidRequest
from nanoclaw_agent.chat_tools.schedule import LONGEST_VALUE, check_schedule

reproducible = settings(derandomize=True, deadline=None)

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 2, 1, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("cron", "0 9 * * 1-5"),
        ("cron", "*/5 * * * *"),
        ("cron", "  0  9 1,15 jan-mar *  "),
        ("cron", "0 0 * * 7"),
        ("cron", "0 0 29 2 *"),
        ("interval", "1000"),
        ("interval", "3600000"),
        ("interval", "0060000"),
        ("interval", "999999999999"),
        ("once", "2026-02-01T15:30:01"),
        ("once", "2028-02-29T00:00:00"),
        ("once", "9999-12-31T23:59:59"),
    ],
)
def test_valid_schedule(kind, value):
    """What the format permits and has a run to come passes."""
    check_schedule(kind, value, now=NOW, zone=BERLIN)


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        ("daily", "9", "'daily' must be one of: cron, interval, once"),
        ("", "9", "'' must be one of"),
        ("cron", "", "has 0 fields; it needs exactly five"),
        ("cron", "* * * *", "has 4 fields"),
        ("cron", "0 0 9 * * 1", "has 6 fields"),
        ("cron", "@daily", "has 1 field; it"),
        ("cron", "60 * * * *", "bad minute"),
        ("cron", "* 24 * * *", "bad hour"),
        ("cron", "* * 0 * *", "bad day-of-month"),
        ("cron", "* * * 13 *", "bad month"),
        ("cron", "* * * * mom", "bad day-of-week"),
        ("cron", "*/0 * * * *", "bad minute"),
        ("cron", "5-1 * * * *", "bad minute"),
        ("cron", "0 0 30 2 *", "bad day-of-month"),
        ("cron", "0 0 */31 2 mon#5", "names a day that never comes"),
        ("cron", "*" * (LONGEST_VALUE + 1), "has 257 characters"),
        ("interval", "999", "from 1000 to"),
        ("interval", "0", "must be a number of milliseconds"),
        ("interval", "-5", "must be a number of milliseconds"),
        ("interval", "1.5", "must be a number of milliseconds"),
        ("interval", "1e3", "must be a number of milliseconds"),
        ("interval", "1h", "must be a number of milliseconds"),
        ("interval", " 5", "must be a number of milliseconds"),
        ("interval", "٣", "must be a number of milliseconds"),
        ("interval", "1000000000000", "from 1000 to 999999999999"),
        ("once", "2026-02-01T15:30:00Z", "names a zone"),
        ("once", "2026-02-01T15:30:00z", "names a zone"),
        ("once", "2026-02-01T15:30:00+01:00", "names a zone"),
        ("once", "2026-02-01T15:30:00-0100", "names a zone"),
        ("once", "2026-02-01T15:30:00.000Z", "names a zone"),
        ("once", "2026-02-01", "must be a local date and time"),
        ("once", "2026-02-01T16:30", "must be a local date and time"),
        ("once", "2026-W05-7T16:30:00", "must be a local date and time"),
        ("once", "2026-02-01 16:30:00", "must be a local date and time"),
        ("once", "tomorrow", "must be a local date and time"),
        ("once", "2026-02-30T10:00:00", "there is no time '2026-02-30T10:00:00': day"),
        ("once", "2026-02-01T25:00:00", "there is no time '2026-02-01T25:00:00': hour"),
        ("once", "2026-02-01T15:30:00", "it is 2026-02-01T15:30:00 in Europe/Berlin now"),
        ("once", "0001-01-01T00:00:00", "has passed"),
    ],
)
def test_invalid_schedule(kind, value, problem):
    """The model is told what is wrong with a schedule, and how it would be right."""
    with pytest.raises(InvalidRequest) as caught:
        check_schedule(kind, value, now=NOW, zone=BERLIN)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("zone", "passed"), [("Asia/Tokyo", True), ("America/New_York", False), (None, False)]
)
def test_the_hosts_zone_decides_what_has_passed(zone, passed):
    """Half past eight in the evening has passed in Tokyo; without a zone the host decides."""
    expected = pytest.raises(InvalidRequest) if passed else contextlib.nullcontext()
    with expected:
        zone_info = ZoneInfo(zone) if zone else None
        check_schedule("once", "2026-02-01T20:30:00", now=NOW, zone=zone_info)


def test_time_that_the_clock_skips_is_accepted():
    """Half past two doesn't exist on the last Sunday of March, and hosts know what to do."""
    now = datetime(2026, 3, 29, 0, 59, tzinfo=UTC)
    check_schedule("once", "2026-03-29T02:30:00", now=now, zone=BERLIN)


@pytest.mark.parametrize(("minute", "passed"), [(29, False), (31, True)])
def test_time_that_comes_twice_has_passed_with_its_second_coming(minute, passed):
    """On the last Sunday of October, 2:30 summer time has passed and 2:30 winter time hasn't."""
    now = datetime(2026, 10, 25, 1, minute, tzinfo=UTC)
    expected = pytest.raises(InvalidRequest) if passed else contextlib.nullcontext()
    with expected:
        check_schedule("once", "2026-10-25T02:30:00", now=now, zone=BERLIN)


@reproducible
@given(kind=st.sampled_from(["cron", "interval", "once"]), value=st.text(max_size=300))
def test_no_value_makes_another_error(kind, value):
    """Whatever the value is, it is a schedule or an InvalidRequest."""
    with contextlib.suppress(InvalidRequest):
        check_schedule(kind, value, now=NOW, zone=BERLIN)


CRON_FIELD = st.text("0123456789*,-/#LWsunja", min_size=1, max_size=8)


@settings(reproducible, max_examples=500)
@given(st.lists(CRON_FIELD, min_size=5, max_size=5))
def test_no_cron_expression_makes_another_error(fields):
    """Five fields of cron's own characters are an expression or an InvalidRequest."""
    with contextlib.suppress(InvalidRequest):
        check_schedule("cron", " ".join(fields), now=NOW, zone=BERLIN)


@reproducible
@given(
    moment=st.datetimes(),
    zone=st.sampled_from(["Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Berlin", "UTC"]),
)
def test_any_moment_is_judged(moment, zone):
    """A time is accepted if it lies more than a day ahead, and refused if a day behind."""
    value = moment.replace(microsecond=0).isoformat()
    distance = moment - NOW.replace(tzinfo=None)
    try:
        check_schedule("once", value, now=NOW, zone=ZoneInfo(zone))
    except InvalidRequest:
        assert distance < timedelta(days=1)
    else:
        assert distance > -timedelta(days=1)


def test_cron_library_is_imported_on_first_use():
    """A session that schedules nothing doesn't load the cron library, nor the SDK."""
    modules = "catalogue, context, ipc, listing, requests, tasks, tools"
    program = (
        f"import sys; from nanoclaw_agent.chat_tools import {modules}; "
        "print(sorted({'cronsim', 'claude_agent_sdk', 'mcp', 'pydantic'} & sys.modules.keys()))"
    )
    path = next(x for x in sys.path if x.endswith("agent-runner/src"))
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "[]\n"
