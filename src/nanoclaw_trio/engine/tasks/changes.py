"""What can be done to tasks, by agents' requests and on the command line.

Each is one function on a transaction: it changes the task whole, or raises and changes nothing. Who
may do it is for the caller to decide.
"""

from __future__ import annotations

import re
from secrets import token_hex
from typing import TYPE_CHECKING, Final

from attrs import evolve

from nanoclaw_trio.engine.tasks.schedule import first_run, next_run, resume_run
from nanoclaw_trio.errors import InputError
from nanoclaw_trio.store import tasks
from nanoclaw_trio.store.models import Task, TaskStatus

if TYPE_CHECKING:
    from datetime import datetime

    from nanoclaw_trio.store.database import Transaction
    from nanoclaw_trio.store.models import ContextMode, Registration, ScheduleType

_ID: Final = re.compile(r"[!-~]{1,128}")
"""Visible ASCII: an id stands in logs, in columns of a terminal and in command lines."""

TASK_LIMIT: Final = 200
"""Unfinished tasks of a group. Each look for what is due reads them all, and so does an agent that
lists them; nobody needs as many, and an agent that goes astray makes any number."""

PROMPT_LIMIT: Final = 64 * 1024
"""Bytes of the longest prompt of a task, in UTF-8: some twenty pages."""


class UnknownTask(InputError):
    """There is no such task."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"there is no task {task_id[:128]!r}; list the tasks to see their ids")
        self.task_id = task_id


class TaskExists(InputError):
    """A task was to be made under the id of another."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"there is a task {task_id!r} already; give another id, or none")
        self.task_id = task_id


class TaskCompleted(InputError):
    """A task that has run for the last time was to be paused or resumed."""

    def __init__(self, task_id: str) -> None:
        super().__init__(
            f"task {task_id!r} has run for the last time; give it a new schedule, or cancel it"
        )
        self.task_id = task_id


class InvalidTask(InputError):
    """A task can't be made or changed in this way; the message says why not."""


def schedule_task(
    tx: Transaction,
    *,
    id: str | None,  # noqa: A002 - the field's own name
    registration: Registration,
    prompt: str,
    schedule_type: ScheduleType,
    schedule_value: str,
    context_mode: ContextMode,
    zone: str,
    now: datetime,
) -> Task:
    """Make a task of a group, whose answers go to its chat; under an id of our own if none is given.

    Raises:
        TaskExists: the id is another task's.
        InvalidTask: the id can't be one, the prompt is blank or too long, or the group has
            TASK_LIMIT unfinished tasks already.
        InvalidSchedule: the schedule isn't one.
    """
    task = Task(
        id=new_id(now) if id is None else _checked_id(id),
        folder=registration.folder,
        chat_jid=registration.jid,
        prompt=_checked_prompt(prompt),
        schedule_type=schedule_type,
        schedule_value=schedule_value,
        context_mode=context_mode,
        next_run=first_run(schedule_type, schedule_value, zone=zone, now=now),
        created_at=now,
    )
    if tasks.get(tx, task.id) is not None:
        raise TaskExists(task.id)
    _require_room(tx, task.folder)
    tasks.add(tx, task)
    return task


def pause_task(tx: Transaction, task_id: str) -> Task:
    """Let a task rest until it is resumed. A run of it that is under way goes on.

    Raises:
        UnknownTask, TaskCompleted: the caller's fault.
    """
    task = _unfinished(tx, task_id)
    tasks.update(tx, task_id, status=TaskStatus.PAUSED)
    return evolve(task, status=TaskStatus.PAUSED)


def resume_task(tx: Transaction, task_id: str, *, zone: str, now: datetime) -> Task:
    """Let a paused task go on; :func:`~nanoclaw_trio.engine.tasks.schedule.resume_run` says when.

    Nothing happens to a task that isn't paused.

    Raises:
        UnknownTask, TaskCompleted: the caller's fault.
    """
    task = _unfinished(tx, task_id)
    if task.status is TaskStatus.ACTIVE:
        return task
    moment = resume_run(task, zone=zone, now=now)
    tasks.update(tx, task_id, status=TaskStatus.ACTIVE, next_run=moment)
    return evolve(task, status=TaskStatus.ACTIVE, next_run=moment)


def cancel_task(tx: Transaction, task_id: str) -> Task:
    """Delete a task; returns what it was. A run of it that is under way goes on.

    Raises:
        UnknownTask: the caller's fault.
    """
    task = _known(tx, task_id)
    tasks.cancel(tx, task_id)
    return task


def update_task(
    tx: Transaction,
    task_id: str,
    *,
    prompt: str | None = None,
    schedule_type: ScheduleType | None = None,
    schedule_value: str | None = None,
    zone: str,
    now: datetime,
) -> Task:
    """Change what is given of a task, and leave the rest of it.

    A new schedule begins now, as that of a new task does: a completed task is active again, and a
    paused one stays paused. A run that is under way goes on as it was begun.

    Raises:
        UnknownTask: there is no such task.
        InvalidTask: nothing is to be changed, the prompt is blank or too long, or a completed task
            would be one too many.
        InvalidSchedule: the schedule isn't one, with the part that stays as it is.
    """
    task = _known(tx, task_id)
    if prompt is schedule_type is schedule_value is None:
        raise InvalidTask(f"nothing to change in task {task_id!r}: give a prompt or a schedule")
    changed = evolve(
        task,
        prompt=task.prompt if prompt is None else _checked_prompt(prompt),
        schedule_type=schedule_type or task.schedule_type,
        schedule_value=task.schedule_value if schedule_value is None else schedule_value,
    )
    if _schedule_of(changed) != _schedule_of(task):
        changed = _begin_schedule(changed, zone, now)
        if task.status is TaskStatus.COMPLETED:
            _require_room(tx, task.folder)
    _write(tx, task, changed)
    return changed


def next_run_after(tx: Transaction, claimed: Task, *, zone: str, now: datetime) -> datetime | None:
    """When a task is due after a run of it, for :func:`~nanoclaw_trio.store.tasks.complete`.

    `claimed` is the task as it was when the run took it. Was it given a new schedule, or resumed,
    while it ran, then what was reckoned at that time stands. None if it isn't due any more, or was
    cancelled.
    """
    task = tasks.get(tx, claimed.id)
    if task is None:
        return None
    if task.next_run != claimed.next_run:
        return task.next_run
    return next_run(task, zone=zone, now=now)


def new_id(now: datetime) -> str:
    """An id that no other task has: `task-`, milliseconds since 1970, and eight random digits."""
    return f"task-{int(now.timestamp() * 1000)}-{token_hex(4)}"


def _begin_schedule(task: Task, zone: str, now: datetime) -> Task:
    is_paused = task.status is TaskStatus.PAUSED
    return evolve(
        task,
        status=TaskStatus.PAUSED if is_paused else TaskStatus.ACTIVE,
        next_run=first_run(task.schedule_type, task.schedule_value, zone=zone, now=now),
        attempts=0,
    )


def _write(tx: Transaction, task: Task, changed: Task) -> None:
    fields = ("prompt", "schedule_type", "schedule_value", "status", "next_run")
    changes = {
        name: getattr(changed, name)
        for name in fields
        if getattr(changed, name) != getattr(task, name)
    }
    if changes:
        tasks.update(tx, task.id, **changes)


def _schedule_of(task: Task) -> tuple[str, str]:
    return task.schedule_type, task.schedule_value


def _known(tx: Transaction, task_id: str) -> Task:
    task = tasks.get(tx, task_id)
    if task is None:
        raise UnknownTask(task_id)
    return task


def _unfinished(tx: Transaction, task_id: str) -> Task:
    task = _known(tx, task_id)
    if task.status is TaskStatus.COMPLETED:
        raise TaskCompleted(task_id)
    return task


def _require_room(tx: Transaction, folder: str) -> None:
    if tasks.count_unfinished(tx, folder) >= TASK_LIMIT:
        raise InvalidTask(
            f"group {folder!r} has {TASK_LIMIT} unfinished tasks already; cancel one of them first"
        )


def _checked_id(task_id: str) -> str:
    if not _ID.fullmatch(task_id):
        raise InvalidTask(
            f"{task_id[:128]!r} can't be a task's id: write 1 to 128 ASCII characters without spaces"
        )
    return task_id


def _checked_prompt(prompt: str) -> str:
    if not prompt.strip():
        raise InvalidTask("a task's prompt is blank; say what the agent is to do")
    size = len(prompt.encode(errors="surrogatepass"))
    if size > PROMPT_LIMIT:
        raise InvalidTask(
            f"a task's prompt is too long: it has {size} bytes of UTF-8, and {PROMPT_LIMIT} are "
            "allowed; put what the agent needs into a file in the group's folder"
        )
    return prompt
