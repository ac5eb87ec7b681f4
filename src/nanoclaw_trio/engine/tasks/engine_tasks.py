"""Scheduled tasks, as a bridge makes and changes them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.tasks import changes as task_changes
from nanoclaw_trio.errors import GroupUnknown
from nanoclaw_trio.store import groups, tasks

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from nanoclaw_trio.engine.context import EngineContext
    from nanoclaw_trio.store.database import Transaction
    from nanoclaw_trio.store.models import ContextMode, ScheduleType, Task, TaskRun

T = TypeVar("T")


class EngineTasks:
    """The tasks of an engine's groups: `engine.tasks`.

    What agents ask for and what commands do changes the same tasks. Each method is done whole or
    not at all, and raises :class:`~nanoclaw_trio.StoreFailed` where the disk refuses.
    """

    def __init__(self, context: EngineContext) -> None:
        self._context = context
        self._zone = context.settings.timezone

    async def schedule(
        self,
        folder: str,
        prompt: str,
        *,
        schedule_type: ScheduleType,
        schedule_value: str,
        context_mode: ContextMode = "isolated",
    ) -> Task:
        """Have a group do something later, once or regularly; its answers go to the group's chat.

        Args:
            folder: The group's.
            prompt: What its agent is told.
            schedule_type: How `schedule_value` is to be read: `cron`, five fields in the zone of
                the settings; `interval`, milliseconds; `once`, a local time.
            schedule_value: When.
            context_mode: `group`, in the group's own conversation; `isolated`, in a new one.

        Raises:
            GroupUnknown: no such group is registered.
            InvalidSchedule, InvalidTask: says what is wrong with it.
        """
        return await self._change(
            partial(
                _schedule,
                folder=folder,
                prompt=prompt,
                schedule_type=schedule_type,
                schedule_value=schedule_value,
                context_mode=context_mode,
                zone=self._zone,
                now=utc_now(),
            )
        )

    async def list(self, folder: str | None = None) -> tuple[Task, ...]:
        """All tasks, or one group's; the next one due first."""
        return await self._context.store.transact(tasks.tasks, folder)

    async def runs(self, task_id: str, limit: int = 20) -> tuple[TaskRun, ...]:
        """How the last runs of a task went, the newest first."""
        return await self._context.store.transact(tasks.runs, task_id, limit)

    async def pause(self, task_id: str) -> Task:
        """Let a task rest until it is resumed. UnknownTask, TaskCompleted: the caller's fault."""
        return await self._change(partial(task_changes.pause_task, task_id=task_id))

    async def resume(self, task_id: str) -> Task:
        """Let a paused task go on. UnknownTask, TaskCompleted: the caller's fault."""
        return await self._change(
            partial(task_changes.resume_task, task_id=task_id, zone=self._zone, now=utc_now())
        )

    async def cancel(self, task_id: str) -> Task:
        """Delete a task; what it was. A run of it that is under way goes on. UnknownTask."""
        return await self._change(partial(task_changes.cancel_task, task_id=task_id))

    async def _change(self, change: Callable[[Transaction], T]) -> T:
        changed = await self._context.store.transact(change)
        self._context.scheduler.nudge()
        return changed


def _schedule(
    tx: Transaction,
    *,
    folder: str,
    prompt: str,
    schedule_type: ScheduleType,
    schedule_value: str,
    context_mode: ContextMode,
    zone: str,
    now: datetime,
) -> Task:
    registration = groups.by_folder(tx, folder)
    if registration is None:
        raise GroupUnknown(folder)
    return task_changes.schedule_task(
        tx,
        id=None,
        registration=registration,
        prompt=prompt,
        schedule_type=schedule_type,
        schedule_value=schedule_value,
        context_mode=context_mode,
        zone=zone,
        now=now,
    )
