"""Cancel a run, and raise in it, at each of its checkpoints: nothing may be left."""

from __future__ import annotations

import gc
import types
from pathlib import Path

import pytest
import trio
import trio.testing

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.run.open_run import open_run
from nanoclaw_trio.testing.fake import echo_agent, open_fake_runtime
from nanoclaw_trio.workspace.claim import GroupClaim


class Injected(Exception):
    """Raised into the run by a test."""


class AtStep(trio.abc.Instrument):
    """Does something when tasks have been given the nth turn since it was armed."""

    def __init__(self, step, action):
        self.left = step
        self.action = action
        self.armed = False

    def before_task_step(self, task):
        """Called by Trio before each turn of each task."""
        if not self.armed:
            return
        self.left -= 1
        if self.left == 0:
            self.action()


def can_raise(trap):
    """Whether an exception can come out of what a task waits for.

    Not out of a mere yield, and not out of the wait for a nursery's children.
    """
    abort = getattr(trap, "abort_func", None)
    return abort is not None and "_nested_child_finished" not in abort.__qualname__


@types.coroutine
def raising_at(checkpoint, coroutine):
    """Drive a coroutine; in place of its nth return from a checkpoint, raise in it."""
    trap = coroutine.send(None)
    while True:
        raisable = can_raise(trap)
        value = yield trap
        checkpoint -= raisable
        try:
            if raisable and checkpoint == 0:
                trap = coroutine.throw(Injected())
            else:
                trap = coroutine.send(value)
        except StopIteration as stop:
            return stop.value


def files_of(project):
    """All temporary files below a project; what is written is written whole and renamed."""
    return [path for path in project.rglob("*") if path.name.endswith(".tmp")]


@pytest.fixture
def leftovers(settings, wait_for_threads):
    """Compares descriptors, tasks, threads and temporary files with those before the test, and sees
    that the group is free."""
    project = settings.project_root

    class Leftovers:
        def __init__(self):
            gc.collect()
            self.before = self.count()

        def count(self):
            descriptors = len(list(Path("/dev/fd").iterdir()))
            return descriptors, len(files_of(project))

        async def check(self, runtime):
            assert not runtime.containers
            # A close that was cancelled goes on in its thread.
            await wait_for_threads()
            assert trio.testing.active_thread_count() == 0
            assert self.count() == self.before
            claim = GroupClaim(project, "family", container="next", moment=utc_now())
            claim.take()
            claim.release()

    return Leftovers


async def one_run(group, container_input, settings, runtime):
    """A run with an answer, a follow-up, its answer, and a close."""
    heard = []
    async with open_run(group, container_input, settings=settings, runtime=runtime) as run:
        async for output in run:
            heard.append(output.result)
            if heard == ["echo: Hello", None]:
                await run.send_message("more")
            if heard.count(None) == 2:
                await run.close()
    return run.result


async def count_tasks():
    """How many tasks there are, once all who were cancelled have ended."""
    return trio.lowlevel.current_statistics().tasks_living


@pytest.mark.parametrize("again", [False, True], ids=["once", "and again during clean-up"])
async def test_cancelled_at_every_step(
    virtual_clock, group, container_input, settings, leftovers, again
):
    """Cancelled at any turn of any of its tasks, a run leaves nothing: no container, task,
    thread, descriptor or temporary file; the same when cancelled again during its clean-up."""
    step, reached = 0, True
    while reached:
        step += 1
        async with open_fake_runtime(echo_agent) as runtime:
            outer, inner = trio.CancelScope(), trio.CancelScope()
            tasks, left = await count_tasks(), leftovers()
            instruments = [AtStep(step, inner.cancel)]
            if again:
                instruments.append(AtStep(step + 3, outer.cancel))
            for instrument in instruments:
                trio.lowlevel.add_instrument(instrument)
                instrument.armed = True
            finished = False
            try:
                with outer, inner:
                    result = await one_run(group, container_input, settings, runtime)
                    finished = True
            finally:
                for instrument in instruments:
                    trio.lowlevel.remove_instrument(instrument)
            reached = instruments[0].left <= 0
            assert not finished or result.gone
            await left.check(runtime)
            assert await count_tasks() == tasks
    # About a hundred turns; how many exactly is the scheduler's throw of dice.
    assert step > 50


async def test_raised_at_every_checkpoint(
    virtual_clock, group, container_input, settings, leftovers
):
    """An exception out of any checkpoint of the caller's task ends the run, leaves nothing, and
    arrives as it is, not inside of a group."""
    checkpoint, finished = 0, False
    while not finished:
        checkpoint += 1
        async with open_fake_runtime(echo_agent) as runtime:
            tasks, left = await count_tasks(), leftovers()
            coroutine = one_run(group, container_input, settings, runtime)
            try:
                result = await raising_at(checkpoint, coroutine)
            except Injected:
                pass
            else:
                finished = True
                assert result.gone
            await left.check(runtime)
            assert await count_tasks() == tasks
    assert checkpoint > 5
