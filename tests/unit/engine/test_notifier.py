"""Waiting for a change, of which there are many."""

from __future__ import annotations

import trio
import trio.testing

from nanoclaw_trio.engine.notifier import Notifier


async def test_each_change_wakes_all_that_wait_for_it():
    """All that wait are woken by the next change, and who waits after it by the one after that."""
    notifier, woken = Notifier(), []

    async def wait(name):
        await notifier.wait()
        woken.append(name)

    async with trio.open_nursery() as nursery:
        for change in (["a", "b"], ["c"]):
            for name in change:
                nursery.start_soon(wait, name)
            await trio.testing.wait_all_tasks_blocked()
            assert not set(change) & set(woken)
            notifier.notify()
            await trio.testing.wait_all_tasks_blocked()
            assert set(change) <= set(woken)


async def test_a_change_while_one_looks_is_not_missed():
    """The event that was taken before looking is set by a change that comes before the waiting."""
    notifier = Notifier()
    event = notifier.event
    notifier.notify()
    assert event.is_set()
    assert not notifier.event.is_set()
