"""Local times where clocks are set forward and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.engine.tasks.local_time import (
    exact_moment,
    first_moment,
    is_skipped,
    local_time,
    set_back,
)

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
APIA = ZoneInfo("Pacific/Apia")
ZONES = [BERLIN, NEW_YORK, LORD_HOWE, ZoneInfo("Asia/Kathmandu"), ZoneInfo("UTC")]

AN_HOUR = timedelta(hours=1)
HALF_AN_HOUR = timedelta(minutes=30)
NONE = timedelta()


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local(text):
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("zone", "shown", "moment"),
    [
        (BERLIN, "2026-03-29T02:00", "2026-03-29T01:00"),
        (BERLIN, "2026-03-29T02:30:15", "2026-03-29T01:00"),
        (BERLIN, "2026-03-29T02:59:59", "2026-03-29T01:00"),
        (NEW_YORK, "2026-03-08T02:30", "2026-03-08T07:00"),
        (LORD_HOWE, "2026-10-04T02:15", "2026-10-03T15:30"),
        (APIA, "2011-12-30T12:00", "2011-12-30T10:00"),
    ],
)
def test_a_skipped_time_comes_behind_the_gap(zone, shown, moment):
    """A time that clocks are set forward over comes at the first moment that they show again."""
    assert is_skipped(local(shown), zone)
    assert first_moment(local(shown), zone) == utc(moment)
    assert exact_moment(local(shown), zone, fold=0) is None


@pytest.mark.parametrize(
    ("zone", "shown", "first", "second"),
    [
        (BERLIN, "2026-10-25T02:30", "2026-10-25T00:30", "2026-10-25T01:30"),
        (NEW_YORK, "2026-11-01T01:30", "2026-11-01T05:30", "2026-11-01T06:30"),
        (LORD_HOWE, "2026-04-05T01:45", "2026-04-04T14:45", "2026-04-04T15:15"),
    ],
)
def test_a_repeated_time_comes_first_and_again(zone, shown, first, second):
    """Of the two moments that show a repeated time the first is meant, unless it is asked for both."""
    assert not is_skipped(local(shown), zone)
    assert first_moment(local(shown), zone) == utc(first)
    assert exact_moment(local(shown), zone, fold=0) == utc(first)
    assert exact_moment(local(shown), zone, fold=1) == utc(second)


@pytest.mark.parametrize(
    ("zone", "moment", "by"),
    [
        (BERLIN, "2026-10-24T23:59:59", NONE),
        (BERLIN, "2026-10-25T00:00:00", AN_HOUR),
        (BERLIN, "2026-10-25T01:59:59", AN_HOUR),
        (BERLIN, "2026-10-25T02:00:00", NONE),
        (BERLIN, "2026-03-29T01:00:00", NONE),
        (LORD_HOWE, "2026-04-04T14:29:59", NONE),
        (LORD_HOWE, "2026-04-04T14:30:00", HALF_AN_HOUR),
        (LORD_HOWE, "2026-04-04T15:29:59", HALF_AN_HOUR),
        (LORD_HOWE, "2026-04-04T15:30:00", NONE),
    ],
)
def test_clocks_are_set_back_only_where_times_are_repeated(zone, moment, by):
    """The setting back counts at the moments whose time is shown twice, and at no other."""
    assert set_back(utc(moment), zone) == by


@given(
    st.datetimes(local("2020-01-01"), local("2040-01-01"), timezones=st.just(UTC)),
    st.sampled_from(ZONES),
)
def test_what_clocks_show_leads_back_to_the_moment(moment, zone):
    """A moment is one of those at which the time that it shows comes, to the second."""
    second = moment.replace(microsecond=0)
    shown = local_time(moment, zone)
    assert second in {exact_moment(shown, zone, fold=fold) for fold in (0, 1)}
