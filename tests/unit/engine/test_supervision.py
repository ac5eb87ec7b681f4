"""Background tasks that go on after a failure."""

from __future__ import annotations

import pytest
import trio

from nanoclaw_trio.engine.supervision import HEALTHY, RESTART_DELAYS, supervise


class Body:
    """A task that lasts so long each time, and then raises; when it was begun, each time."""

    def __init__(self, *durations, error=None):
        self.durations = list(durations)
        self.error = error or OSError("no space left on device")
        self.begun = []

    async def __call__(self):
        self.begun.append(trio.current_time())
        if len(self.begun) > len(self.durations):
            return
        await trio.sleep(self.durations[len(self.begun) - 1])
        raise self.error


async def test_a_task_that_returns_is_over(virtual_clock):
    """What ends by itself isn't begun again."""
    body = Body()
    await supervise("task", body)
    assert body.begun == [0]


async def test_each_failure_is_waited_for_longer(virtual_clock):
    """After failures it is begun again after 1, 5, 30 and 60 seconds, and each minute after that."""
    body = Body(*[0] * 6)
    await supervise("task", body)
    assert body.begun == [0, 1, 6, 36, 96, 156, 216]


async def test_a_healthy_stretch_begins_the_delays_anew(virtual_clock):
    """One that has worked for HEALTHY seconds before it fails is begun again at once nearly; one
    that has worked for less waits on."""
    short = Body(0, 0, HEALTHY - 1, 0)
    await supervise("task", short)
    assert gaps(short, 0, 0, HEALTHY - 1, 0) == [1, 5, 30, 60]
    long = Body(0, 0, HEALTHY, 0)
    await supervise("task", long)
    assert gaps(long, 0, 0, HEALTHY, 0) == [1, 5, RESTART_DELAYS[0], RESTART_DELAYS[1]]


def gaps(body, *durations):
    """Seconds between each failure and the next beginning."""
    begun = body.begun
    return [
        after - before - duration
        for before, after, duration in zip(begun[:-1], begun[1:], durations, strict=True)
    ]


async def test_a_failure_is_in_the_log_with_its_origin(virtual_clock, capsys):
    """The log has the task, the reason, the delay and the traceback."""
    await supervise("outbox", Body(0))
    logged = capsys.readouterr().err
    assert 'event="background task failed"' in logged
    assert "task=outbox" in logged
    assert "no space left on device" in logged
    assert "again_in=1" in logged
    assert "Traceback" in logged


async def test_cancellation_goes_through(virtual_clock):
    """Cancelled, it ends, at work or between two attempts, and begins nothing again."""
    for duration in (10, 0):
        body = Body(duration, error=OSError("full"))
        with trio.move_on_after(0.5) as scope:
            await supervise("task", body)
        assert scope.cancelled_caught
        assert len(body.begun) == 1


async def test_what_ends_a_process_goes_through(virtual_clock):
    """Ctrl-C is no failure to be survived."""
    with pytest.raises(KeyboardInterrupt):
        await supervise("task", Body(0, error=KeyboardInterrupt()))
