"""Tasks, as a bridge makes and changes them."""

from __future__ import annotations

import pytest
import trio

from nanoclaw_trio.engine.tasks.changes import UnknownTask
from nanoclaw_trio.errors import GroupUnknown
from nanoclaw_trio.store.models import TaskRunStatus, TaskStatus

MINUTE = {"schedule_type": "interval", "schedule_value": "60000"}


async def test_a_task_of_a_bridge_runs_at_its_times(virtual_clock, home):
    """A bridge schedules a task; it runs by its schedule, and its runs can be looked up."""
    task = await home.engine.tasks.schedule("home", "tidy up", **MINUTE)
    assert await home.engine.tasks.list("home") == (task,)
    await trio.sleep(145)
    assert [said.delivery.task_id for said in home.answers("home")] == [task.id, task.id]
    runs = await home.engine.tasks.runs(task.id)
    assert [run.status for run in runs] == [TaskRunStatus.SUCCESS, TaskRunStatus.SUCCESS]


async def test_a_paused_task_rests(virtual_clock, home):
    """Paused, a task doesn't run; resumed, it goes on with the next of its times."""
    task = await home.engine.tasks.schedule("home", "tidy up", **MINUTE)
    assert (await home.engine.tasks.pause(task.id)).status is TaskStatus.PAUSED
    await trio.sleep(300)
    assert not home.answers("home")
    assert (await home.engine.tasks.resume(task.id)).status is TaskStatus.ACTIVE
    await trio.sleep(70)
    assert len(home.answers("home")) == 1


async def test_a_cancelled_task_is_gone(virtual_clock, home):
    """Cancelled, a task is deleted, and is no task any more."""
    task = await home.engine.tasks.schedule("home", "tidy up", **MINUTE)
    assert (await home.engine.tasks.cancel(task.id)).id == task.id
    assert await home.engine.tasks.list() == ()
    with pytest.raises(UnknownTask):
        await home.engine.tasks.cancel(task.id)


async def test_a_task_needs_a_group(virtual_clock, home):
    """A task of a group that isn't registered is refused, by its folder."""
    with pytest.raises(GroupUnknown, match="nobody"):
        await home.engine.tasks.schedule("nobody", "tidy up", **MINUTE)
