from __future__ import annotations

import time

import pytest
import trio
import trio.testing

from nanoclaw_trio.files import in_thread
from nanoclaw_trio.testing.clock import VirtualClock


async def test_a_day_passes_at_once(virtual_clock):
    """With everybody asleep, the clock jumps to the next deadline, exactly."""
    await trio.sleep(86_400)
    assert trio.current_time() == 86_400


async def test_it_waits_for_threads(virtual_clock):
    """Trap T11. A worker thread's real milliseconds don't make a timeout of half an hour fire."""
    for _ in range(20):
        with trio.move_on_after(1800) as scope:
            await in_thread(time.sleep, 0.005)
        assert not scope.cancelled_caught
    assert trio.current_time() == 0


async def test_it_lets_others_who_wait_for_idleness_go_first(virtual_clock):
    """wait_all_tasks_blocked() returns at the moment it was called, not after a jump."""

    async def sleeper():
        await trio.sleep(100)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleeper)
        for _ in range(20):
            await trio.testing.wait_all_tasks_blocked()
            await trio.lowlevel.checkpoint()
            assert trio.current_time() == 0


async def test_it_jumps_from_deadline_to_deadline(virtual_clock):
    """No deadline is jumped over: sleepers wake in order, each at its time."""
    woken = []

    async def sleeper(seconds):
        await trio.sleep(seconds)
        woken.append((seconds, trio.current_time()))

    async with trio.open_nursery() as nursery:
        for seconds in (5, 1, 3, 2, 4):
            nursery.start_soon(sleeper, seconds)
    assert woken == [(n, n) for n in (1, 2, 3, 4, 5)]


async def test_it_does_not_spin_while_the_outside_is_waited_for(virtual_clock):
    """With nothing but the outside world to wait for, it stands, and goes on when that answers."""
    ours, theirs = trio.socket.socketpair()
    with ours, theirs:

        async def answer():
            await trio.testing.wait_all_tasks_blocked(0.05)
            await theirs.send(b"x")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            assert await ours.recv(1) == b"x"
    assert trio.current_time() == 0


def test_it_serves_a_run_of_its_own():
    """It needs no fixture: trio.run takes it."""

    async def main():
        await trio.sleep(10)
        return trio.current_time()

    assert trio.run(main, clock=VirtualClock()) == 10


def test_time_does_not_go_back():
    """A negative jump is refused."""
    with pytest.raises(ValueError, match="back"):
        VirtualClock().jump(-1)
