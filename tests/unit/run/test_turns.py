"""Visits one after the other, and nobody behind one that hangs."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from nanoclaw_trio.run.turns import PATIENCE, open_turn


@pytest.fixture
def visit():
    """A visit that takes some time, and the order of the visits' beginnings and ends."""
    order = []

    async def make(name, seconds, **bounds):
        async with open_turn(**bounds):
            order.append((name, "begins", trio.current_time()))
            await trio.sleep(seconds)
        order.append((name, "has ended", trio.current_time()))

    make.order = order
    return make


async def test_the_first_waits_for_nobody(virtual_clock):
    """A turn that nobody has is no checkpoint."""
    with trio.testing.assert_no_checkpoints():
        async with open_turn():
            pass
        async with open_turn():
            pass


async def test_one_after_the_other_in_the_order_they_came(virtual_clock, visit, nursery):
    """Each begins when the one before has ended, first come first served."""
    for name in range(5):
        nursery.start_soon(visit, name, PATIENCE / 2)
        await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(1)
    assert visit.order == [
        event
        for name in range(5)
        for event in (
            (name, "begins", name * PATIENCE / 2),
            (name, "has ended", (name + 1) * PATIENCE / 2),
        )
    ]


async def test_nobody_gets_ahead_of_the_line(virtual_clock, visit, nursery):
    """Who passes a turn on and wants the next one at once comes behind those that wait."""

    async def visit_twice():
        await visit("greedy", PATIENCE / 2)
        await visit("greedy again", PATIENCE / 2)

    nursery.start_soon(visit_twice)
    await trio.testing.wait_all_tasks_blocked()
    for name in ("patient", "patient too"):
        nursery.start_soon(visit, name, PATIENCE / 2)
        await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(1)
    begun = [name for name, what, _ in visit.order if what == "begins"]
    assert begun == ["greedy", "patient", "patient too", "greedy again"]


async def test_nobody_waits_long_behind_one_that_hangs(virtual_clock, visit, nursery):
    """A visit that hangs holds the next one up for PATIENCE, and those behind it no longer."""
    for name, seconds in (("hangs", 1000), ("next", 0.01), ("last", 0.01)):
        nursery.start_soon(visit, name, seconds)
        await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(1)
    begun = {name: at for name, what, at in visit.order if what == "begins"}
    assert begun == {"hangs": 0, "next": PATIENCE, "last": pytest.approx(PATIENCE + 0.01)}
    nursery.cancel_scope.cancel()


async def test_its_end_changes_nothing_for_who_went_ahead(virtual_clock, visit, nursery):
    """One whose turn was taken away passes nothing on when it ends."""
    for name, seconds in (("slow", 1.5 * PATIENCE), ("next", 0.75 * PATIENCE), ("last", 0)):
        nursery.start_soon(visit, name, seconds)
        await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(1)
    begun = {name: at for name, what, at in visit.order if what == "begins"}
    assert begun["last"] == pytest.approx(1.75 * PATIENCE)


async def test_a_bound_of_ones_own(virtual_clock, visit, nursery):
    """Who may not wait goes ahead, however many are in line."""
    for name in range(3):
        nursery.start_soon(visit, name, PATIENCE)
        await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(PATIENCE / 2):
        await visit("hasty", 0, bound=PATIENCE / 4)
    assert ("hasty", "begins", PATIENCE / 4) in visit.order


async def test_one_that_gives_up_holds_nobody_up(virtual_clock, visit, nursery):
    """Cancelled in line or at work, a visit passes its turn on."""
    at_work, in_line = trio.CancelScope(), trio.CancelScope()

    async def give_up(scope, name):
        with scope:
            await visit(name, PATIENCE)

    nursery.start_soon(give_up, at_work, "first")
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(give_up, in_line, "second")
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(visit, "third", 0)
    await trio.testing.wait_all_tasks_blocked()
    in_line.cancel()
    at_work.cancel()
    await trio.sleep(PATIENCE / 2)
    assert [event[:2] for event in visit.order] == [
        ("first", "begins"),
        ("third", "begins"),
        ("third", "has ended"),
    ]
