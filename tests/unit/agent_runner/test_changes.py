"""When a directory is looked into: on the kernel's word, and without it."""

from __future__ import annotations

import sys

import pytest
import trio

from nanoclaw_agent.changes import (
    POLL_INTERVAL,
    SWEEP_INTERVAL,
    Changes,
    _tell_of_changes,
    open_changes,
)

GUARD = 60

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs inotify")


async def wait_until_told(changes):
    with trio.fail_after(GUARD):
        while not await changes.wait():
            pass


async def test_wait_ends_after_an_interval(autojump_clock):
    """Where nothing is told, it is time to look again after the short interval."""
    started = trio.current_time()
    assert not await Changes().wait()
    assert trio.current_time() - started == pytest.approx(POLL_INTERVAL)


async def test_begin_is_a_change_and_makes_intervals_long(autojump_clock):
    """What changed before the watch was there is looked for at once, and then seldom."""
    changes = Changes()
    changes.begin()
    assert await changes.wait()
    started = trio.current_time()
    assert not await changes.wait()
    assert trio.current_time() - started == pytest.approx(SWEEP_INTERVAL)


async def test_missed_change_makes_intervals_short(autojump_clock):
    """Once a change wasn't told of, no other is counted on."""
    changes = Changes()
    changes.begin()
    await changes.wait()
    changes.missed()
    started = trio.current_time()
    assert not await changes.wait()
    assert trio.current_time() - started == pytest.approx(POLL_INTERVAL)


async def test_change_between_two_waits_is_not_lost(autojump_clock):
    """A change that comes while nobody waits ends the next wait at once, and only that one."""
    changes = Changes()
    changes.tell()
    changes.tell()
    started = trio.current_time()
    assert await changes.wait()
    assert trio.current_time() == started
    assert not await changes.wait()


@linux
async def test_change_in_the_directory_is_told(tmp_path):
    """The kernel's word of a new file ends a wait."""
    async with open_changes(tmp_path) as changes:
        await wait_until_told(changes)
        assert changes._interval == SWEEP_INTERVAL
        (tmp_path / "new").touch()
        await wait_until_told(changes)


@linux
async def test_quiet_directory_tells_nothing(tmp_path):
    """The end of the watch's own interval isn't taken for a change."""
    async with open_changes(tmp_path) as changes:
        await wait_until_told(changes)
        assert not await changes.wait()
        assert not await changes.wait()


async def test_directory_that_is_not_there_is_polled(tmp_path, caplog):
    """Without a directory to watch, the intervals stay short."""
    caplog.set_level("INFO")
    async with open_changes(tmp_path / "missing") as changes:
        with trio.fail_after(GUARD):
            while "is polled" not in caplog.text:
                await changes.wait()
        assert not await changes.wait()
        assert changes._interval == POLL_INTERVAL


@linux
async def test_watch_ends_when_it_is_told_to(tmp_path):
    """The thread in which watchfiles waits looks at the event that stops it."""
    stop = trio.Event()
    changes = Changes()
    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_tell_of_changes, tmp_path, changes, stop)
            await wait_until_told(changes)
            stop.set()
    assert changes._interval == SWEEP_INTERVAL


async def test_own_exception_comes_out_as_it_is(tmp_path):
    """What is raised in the block isn't wrapped in a group."""
    with pytest.raises(KeyError, match="mine"), trio.fail_after(GUARD):
        async with open_changes(tmp_path):
            raise KeyError("mine")


async def test_cancelled_block_leaves_no_thread(tmp_path):
    """Cancelled, the block ends although the watch waits in a thread, which can't be cancelled."""
    with trio.fail_after(GUARD), trio.CancelScope() as scope:
        async with open_changes(tmp_path) as changes:
            await wait_until_told(changes)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
