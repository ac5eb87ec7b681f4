"""The session's zone and its time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from nanoclaw_agent.chat_tools.context import iso_timestamp, milliseconds


def test_zone_is_the_named_one(make_context):
    """The zone of TZ is found by its name."""
    assert make_context().zone() == ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "name", ["", "Nowhere/City", "/etc/localtime", "../UTC", "Europe", "\ud800"]
)
def test_unknown_zone_is_none(make_context, name):
    """A name that is none, a path or a directory of zones, is no zone and no error."""
    assert make_context(timezone=name).zone() is None


def test_clock_is_utc_unless_told_otherwise(make_context):
    """The default clock shows the time now, with its zone."""
    before = datetime.now(UTC)
    context = make_context()
    default = type(context)(ipc=context.ipc, chat_jid="", group_folder="", is_main=False)
    assert before <= default.clock() <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 2, 1, 14, 30, tzinfo=UTC), "2026-02-01T14:30:00.000Z"),
        (
            datetime(2026, 2, 1, 1, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=2))),
            "2026-01-31T23:00:00.999Z",
        ),
    ],
)
def test_timestamp_is_utc_with_milliseconds(moment, text):
    """A timestamp has the form of JavaScript's toISOString, whatever the clock's zone."""
    assert iso_timestamp(moment) == text


def test_milliseconds_since_the_epoch():
    """A moment is a whole number of milliseconds."""
    assert milliseconds(datetime(1970, 1, 1, 0, 1, 0, 5_000, tzinfo=UTC)) == 60_005
