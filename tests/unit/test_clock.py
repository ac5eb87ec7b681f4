"""Wall time: the system's on the real clock, Trio's on a virtual one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
import trio
import trio.testing

from nanoclaw_trio.clock import VIRTUAL_EPOCH, iso_timestamp, utc_now


async def test_real_clock_gives_the_systems_time() -> None:
    """On Trio's own clock the time is the system's, in UTC."""
    before = datetime.now(UTC)
    moment = utc_now()
    assert before <= moment <= datetime.now(UTC)
    assert moment.tzinfo is UTC


async def test_virtual_clock_starts_at_the_epoch(mock_clock: trio.testing.MockClock) -> None:
    """A virtual clock's zero is always the same moment, so that tests can read timestamps."""
    del mock_clock
    assert utc_now() == VIRTUAL_EPOCH


async def test_virtual_day_passes_in_wall_time(mock_clock: trio.testing.MockClock) -> None:
    """Wall time follows a clock that jumps: a day slept is a day in the timestamps."""
    before = utc_now()
    mock_clock.jump(86_400)
    assert utc_now() - before == timedelta(days=1)


async def test_autojump_and_timestamps_agree(autojump_clock: trio.testing.MockClock) -> None:
    """What a task slept, its timestamps say to the microsecond."""
    del autojump_clock
    before = utc_now()
    await trio.sleep(1234.5)
    assert utc_now() - before == timedelta(seconds=1234.5)


def test_outside_of_trio_there_is_no_time() -> None:
    """Without a Trio run there is no clock to be tied to, which is an error at once."""
    with pytest.raises(RuntimeError):
        utc_now()


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 2, 1, 15, 30, tzinfo=UTC), "2026-02-01T15:30:00.000Z"),
        (datetime(2026, 2, 1, 15, 30, 0, 123_999, tzinfo=UTC), "2026-02-01T15:30:00.123Z"),
        (datetime(2026, 2, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2026-01-31T23:00:00.000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
    ],
)
def test_iso_timestamp_is_javascripts(moment: datetime, text: str) -> None:
    """A moment is written as toISOString does: UTC, three digits of milliseconds, Z."""
    assert iso_timestamp(moment) == text
