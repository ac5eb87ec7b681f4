"""The movable deadline: when it passes, what moves it, and which limit it names."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.run.limits import (
    FiredLimit,
    Limit,
    Limits,
    MovableDeadline,
    Silence,
    first_limit,
    next_deadline,
)

reproducible = settings(derandomize=True, deadline=None)

DEADLINES = [
    # activity, startup, lifetime | started, since, heard | when, which
    ((30, None, None), (0, 0, False), (30, Limit.ACTIVITY)),
    ((30, None, None), (0, 0, True), (30, Limit.ACTIVITY)),
    ((30, None, None), (0, 12, True), (42, Limit.ACTIVITY)),
    ((30, None, None), (0, None, True), (math.inf, None)),
    ((30, 10, None), (0, 0, False), (10, Limit.STARTUP)),
    ((30, 10, None), (5, 5, False), (15, Limit.STARTUP)),
    ((30, 10, None), (0, 9, True), (39, Limit.ACTIVITY)),
    ((30, 40, None), (0, 0, False), (30, Limit.ACTIVITY)),
    ((30, 40, None), (0, 20, False), (40, Limit.STARTUP)),
    ((30, 10, None), (0, None, False), (10, Limit.STARTUP)),
    ((30, 10, None), (0, None, True), (math.inf, None)),
    ((30, None, 50), (0, 0, False), (30, Limit.ACTIVITY)),
    ((30, None, 50), (0, 25, True), (50, Limit.LIFETIME)),
    ((30, None, 50), (7, 30, True), (57, Limit.LIFETIME)),
    ((30, None, 50), (0, None, True), (50, Limit.LIFETIME)),
    ((30, 10, 50), (0, 0, False), (10, Limit.STARTUP)),
    ((30, 10, 5), (0, 0, False), (5, Limit.LIFETIME)),
    ((30, 30, 30), (0, 0, False), (30, Limit.ACTIVITY)),
    ((60, 30, 30), (0, 0, False), (30, Limit.STARTUP)),
]


@pytest.mark.parametrize(("limits", "silence", "expected"), DEADLINES)
def test_next_deadline(limits, silence, expected):
    """The first limit to pass counts, each from what it is counted from."""
    activity, startup, lifetime = limits
    started, since, heard = silence
    limits = Limits(activity=activity, startup=startup, lifetime=lifetime)
    silence = Silence(started=started, since=since, heard=heard)
    when, limit = expected
    assert next_deadline(limits, silence) == when
    if limit is None:
        return
    fired = first_limit(limits, silence)
    assert fired.limit == limit
    seconds = {Limit.ACTIVITY: activity, Limit.STARTUP: startup, Limit.LIFETIME: lifetime}
    assert fired.seconds == seconds[fired.limit]


@pytest.mark.parametrize(
    ("limit", "seconds", "text"),
    [
        (Limit.ACTIVITY, 1830, "1830000 ms (activity limit)"),
        (Limit.STARTUP, 60.0, "60000 ms (start-up limit)"),
        (Limit.LIFETIME, 0.25, "250 ms (lifetime limit)"),
        (Limit.ACTIVITY, 0.0004, "0 ms (activity limit)"),
    ],
)
def test_a_limit_is_named_with_its_number(limit, seconds, text):
    """Trap A9. What fired is named by its name and the number that was in force."""
    assert str(FiredLimit(limit=limit, seconds=seconds)) == text


async def wait_under(deadline):
    """Wait for ever, until it passes; when that was."""
    assert await deadline.wait(trio.sleep_forever) is None
    return trio.current_time()


async def test_nothing_has_fired_before_it_passes(virtual_clock):
    """Before its time, and after an end in time, no limit has fired."""
    deadline = MovableDeadline(Limits(activity=30))
    assert deadline.fired is None

    async def end():
        await trio.sleep(29)
        assert deadline.fired is None
        return 7

    assert await deadline.wait(end) == 7
    assert deadline.fired is None


async def test_time_runs_from_the_start(virtual_clock):
    """Trap T5. What passed before the container was started is not counted."""
    deadline = MovableDeadline(Limits(activity=30, startup=20, lifetime=100))
    await trio.sleep(1000)
    deadline.begin()
    assert await wait_under(deadline) == 1020
    assert deadline.fired == FiredLimit(limit=Limit.STARTUP, seconds=20)


async def test_a_start_that_took_too_long_has_fired(virtual_clock):
    """A limit that passes before anybody waits has passed all the same."""
    deadline = MovableDeadline(Limits(activity=30))
    deadline.begin()
    await trio.sleep(40)
    assert await wait_under(deadline) == 40
    assert deadline.fired == FiredLimit(limit=Limit.ACTIVITY, seconds=30)


async def test_each_marker_moves_it(virtual_clock, nursery):
    """A marker gives the agent the whole activity limit again, and ends its start-up."""
    deadline = MovableDeadline(Limits(activity=30, startup=20))
    deadline.begin()

    async def agent():
        for _ in range(3):
            await trio.sleep(19)
            deadline.marker()

    nursery.start_soon(agent)
    assert await wait_under(deadline) == 3 * 19 + 30
    assert deadline.fired == FiredLimit(limit=Limit.ACTIVITY, seconds=30)


async def test_no_marker_moves_the_lifetime(virtual_clock, nursery):
    """The lifetime limit passes however much the agent says."""
    deadline = MovableDeadline(Limits(activity=30, lifetime=100))
    deadline.begin()

    async def agent():
        while True:
            await trio.sleep(10)
            deadline.marker()

    nursery.start_soon(agent)
    assert await wait_under(deadline) == 100
    assert deadline.fired == FiredLimit(limit=Limit.LIFETIME, seconds=100)
    nursery.cancel_scope.cancel()


async def test_the_consumers_work_is_not_silence(virtual_clock, nursery):
    """The activity limit runs while the consumer waits, from when it began to wait."""
    deadline = MovableDeadline(Limits(activity=30))
    deadline.begin()

    async def consumer():
        await trio.sleep(10)
        deadline.consumer_works()
        assert deadline.when == math.inf
        await trio.sleep(500)
        deadline.consumer_waits()
        await trio.sleep(20)
        deadline.consumer_waits()

    nursery.start_soon(consumer)
    assert await wait_under(deadline) == 10 + 500 + 30


async def test_a_marker_during_the_consumers_work(virtual_clock):
    """A marker that is parsed while the consumer is at work doesn't start the clock."""
    deadline = MovableDeadline(Limits(activity=30, startup=20))
    deadline.begin()
    deadline.consumer_works()
    assert deadline.when == 20
    deadline.marker()
    assert deadline.when == math.inf
    deadline.consumer_waits()
    assert deadline.when == 30


async def test_a_consumer_that_works_from_before_the_start(virtual_clock):
    """Begun while the consumer is at work, the activity limit waits for it."""
    deadline = MovableDeadline(Limits(activity=30, lifetime=100))
    deadline.consumer_works()
    await trio.sleep(5)
    deadline.begin()
    assert deadline.when == 105


async def test_what_is_waited_for_is_waited_for_again(virtual_clock, nursery):
    """The waiting is begun anew where the deadline moved, and as late as can be: not at each move."""
    deadline = MovableDeadline(Limits(activity=30))
    deadline.begin()
    begun = []

    async def end():
        begun.append(trio.current_time())
        await trio.sleep_forever()

    async def agent():
        await trio.sleep(0.5)
        for _ in range(40):
            deadline.marker()
            await trio.sleep(1)

    nursery.start_soon(agent)
    assert await deadline.wait(end) is None
    assert trio.current_time() == 39.5 + 30
    assert begun == [0, 30, 59.5]


async def test_waiting_can_be_cut_short(virtual_clock, nursery):
    """Given up without a limit having passed, the waiting ends at once and names none."""
    deadline = MovableDeadline(Limits(activity=30))
    deadline.begin()
    assert not deadline.was_cut_short
    nursery.start_soon(wait_under, deadline)
    await trio.testing.wait_all_tasks_blocked()
    deadline.cut_short()
    await trio.testing.wait_all_tasks_blocked()
    assert trio.current_time() == 0
    assert (deadline.fired, deadline.was_cut_short) == (None, True)


async def test_what_has_passed_cannot_be_cut_short(virtual_clock):
    """Trap A8. The limit that fired stays named."""
    deadline = MovableDeadline(Limits(activity=30))
    deadline.begin()
    await wait_under(deadline)
    deadline.cut_short()
    assert (str(deadline.fired), deadline.was_cut_short) == ("30000 ms (activity limit)", False)


async def test_nothing_is_cut_short_that_has_ended(virtual_clock):
    """Who didn't wait any more wasn't disturbed."""
    deadline = MovableDeadline(Limits(activity=30))
    await deadline.wait(trio.lowlevel.checkpoint)
    deadline.cut_short()
    assert (deadline.fired, deadline.was_cut_short) == (None, False)


@pytest.mark.parametrize("event", ["begin", "marker", "consumer_works", "consumer_waits"])
@pytest.mark.parametrize("left", [False, True], ids=["while it is waited", "after it"])
async def test_nothing_moves_once_it_has_passed(virtual_clock, event, left):
    """Trap A8. Once it has passed nothing moves it back, and the limit that fired stays named."""
    deadline = MovableDeadline(Limits(activity=30, startup=10, lifetime=1000))
    deadline.begin()

    async def end():
        try:
            await trio.sleep_forever()
        finally:
            if not left:
                getattr(deadline, event)()

    assert await deadline.wait(end) is None
    if left:
        await trio.sleep(5)
        getattr(deadline, event)()
    assert deadline.when == 10
    assert deadline.fired == FiredLimit(limit=Limit.STARTUP, seconds=10)


async def test_a_marker_at_the_very_moment(virtual_clock):
    """Trap A8. A marker after the deadline's moment is too late, even if nobody woke by then."""
    deadline = MovableDeadline(Limits(activity=30))
    deadline.begin()

    async def end():
        virtual_clock.jump(30)
        deadline.marker()
        await trio.sleep_forever()

    assert await deadline.wait(end) is None
    assert deadline.fired is not None
    assert trio.current_time() == 30


seconds = st.integers(0, 50)


@reproducible
@given(
    activity=st.integers(1, 100),
    startup=st.none() | st.integers(1, 100),
    lifetime=st.none() | st.integers(1, 100),
    started=seconds,
    since=st.none() | seconds,
    heard=st.booleans(),
)
def test_the_named_limit_is_the_one_that_passes(activity, startup, lifetime, started, since, heard):
    """The deadline is the earliest of the limits in force, and names one that passes then."""
    limits = Limits(activity=activity, startup=startup, lifetime=lifetime)
    silence = Silence(started=started, since=since, heard=heard)
    when = next_deadline(limits, silence)
    in_force = {
        Limit.ACTIVITY: math.inf if since is None else since + activity,
        Limit.STARTUP: math.inf if startup is None or heard else started + startup,
        Limit.LIFETIME: math.inf if lifetime is None else started + lifetime,
    }
    assert when == min(in_force.values())
    assert when == math.inf or when == in_force[first_limit(limits, silence).limit]
