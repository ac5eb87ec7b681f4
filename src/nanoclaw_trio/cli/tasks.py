"""`nanoclaw-trio tasks`: what agents do at times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from attrs import frozen

from nanoclaw_trio.cli.conduct import conduct, write_lines, write_records
from nanoclaw_trio.cli.exit_status import SUCCESS
from nanoclaw_trio.cli.moments import local_text
from nanoclaw_trio.cli.records import task_record, task_run_record
from nanoclaw_trio.cli.request import check_prompt
from nanoclaw_trio.cli.task_texts import run_lines, task_lines
from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.tasks.changes import (
    UnknownTask,
    cancel_task,
    pause_task,
    resume_task,
    schedule_task,
)
from nanoclaw_trio.errors import GroupUnknown
from nanoclaw_trio.settings import load_settings
from nanoclaw_trio.store import groups, tasks
from nanoclaw_trio.store.database import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from nanoclaw_trio.cli.program import World
    from nanoclaw_trio.settings import Settings
    from nanoclaw_trio.store.database import Transaction
    from nanoclaw_trio.store.models import ContextMode, ScheduleType, Task, TaskRun


@frozen(kw_only=True)
class ListOptions:
    """The options of `tasks list`; no `group` for all of them."""

    group: str | None
    project: Path
    as_json: bool


@frozen(kw_only=True)
class AddOptions:
    """The options of `tasks add`: one of `cron`, `every` (seconds) and `at` is given."""

    group: str
    prompt: str
    cron: str | None
    every: float | None
    at: str | None
    context: Literal["group", "isolated"]
    project: Path
    as_json: bool


@frozen(kw_only=True)
class ChangeOptions:
    """The options of `tasks pause`, `resume` and `cancel`."""

    task_id: str
    project: Path


@frozen(kw_only=True)
class RunsOptions:
    """The options of `tasks runs`."""

    task_id: str
    limit: int
    project: Path
    as_json: bool


async def list_command(options: ListOptions, world: World) -> int:
    """List tasks; the exit status."""

    async def list_tasks() -> int:
        settings = await load_settings(options.project)
        async with open_store(settings.project_root) as store:
            found = await store.transact(_find, options.group)
        if options.as_json:
            await write_records(world, [{"type": "task", **task_record(task)} for task in found])
        else:
            await write_lines(world, task_lines(found, settings.timezone))
        return SUCCESS

    return await conduct(world, list_tasks)


async def add_command(options: AddOptions, world: World) -> int:
    """Schedule a task, and write its id; the exit status."""

    async def add() -> int:
        settings = await load_settings(options.project)
        check_prompt(options.prompt)
        async with open_store(settings.project_root) as store:
            task = await store.transact(_add, options, settings.timezone, utc_now())
        if options.as_json:
            await write_records(world, [{"type": "task", **task_record(task)}])
        else:
            await write_lines(world, [task.id])
            world.streams.say(f"it runs next at {local_text(task.next_run, settings.timezone)}")
        return SUCCESS

    return await conduct(world, add)


async def pause_command(options: ChangeOptions, world: World) -> int:
    """Pause a task; the exit status."""

    def pause(tx: Transaction, _settings: Settings, _now: datetime) -> str:
        return f"{pause_task(tx, options.task_id).id} waits until it is resumed"

    return await _change(options, world, pause)


async def resume_command(options: ChangeOptions, world: World) -> int:
    """Resume a task; the exit status."""

    def resume(tx: Transaction, settings: Settings, now: datetime) -> str:
        task = resume_task(tx, options.task_id, zone=settings.timezone, now=now)
        return f"{task.id} runs next at {local_text(task.next_run, settings.timezone)}"

    return await _change(options, world, resume)


async def cancel_command(options: ChangeOptions, world: World) -> int:
    """Remove a task; the exit status."""

    def cancel(tx: Transaction, _settings: Settings, _now: datetime) -> str:
        return f"{cancel_task(tx, options.task_id).id} is removed"

    return await _change(options, world, cancel)


async def runs_command(options: RunsOptions, world: World) -> int:
    """List the runs of a task; the exit status."""

    async def list_runs() -> int:
        settings = await load_settings(options.project)
        async with open_store(settings.project_root) as store:
            found = await store.transact(_find_runs, options.task_id, options.limit)
        if options.as_json:
            records = [{"type": "task_run", **task_run_record(run)} for run in found]
            await write_records(world, records)
        else:
            await write_lines(world, run_lines(found, settings.timezone))
        return SUCCESS

    return await conduct(world, list_runs)


async def _change(
    options: ChangeOptions, world: World, change: Callable[[Transaction, Settings, datetime], str]
) -> int:
    """Do something to a task in one transaction, and write what became of it."""

    async def do() -> int:
        settings = await load_settings(options.project)
        async with open_store(settings.project_root) as store:
            line = await store.transact(change, settings, utc_now())
        await write_lines(world, [line])
        return SUCCESS

    return await conduct(world, do)


def _find(tx: Transaction, folder: str | None) -> tuple[Task, ...]:
    found = tasks.tasks(tx, folder)
    # Of a group that was removed the tasks are shown; a name that was misspelt has none.
    if folder is not None and not found and groups.by_folder(tx, folder) is None:
        raise GroupUnknown(folder)
    return found


def _find_runs(tx: Transaction, task_id: str, limit: int) -> tuple[TaskRun, ...]:
    found = tasks.runs(tx, task_id, limit)
    if not found and tasks.get(tx, task_id) is None:
        raise UnknownTask(task_id)
    return found


def _add(tx: Transaction, options: AddOptions, zone: str, now: datetime) -> Task:
    registration = groups.by_folder(tx, options.group)
    if registration is None:
        raise GroupUnknown(options.group)
    schedule_type, schedule_value = schedule_of(options)
    context_mode: ContextMode = options.context
    return schedule_task(
        tx,
        id=None,
        registration=registration,
        prompt=options.prompt,
        schedule_type=schedule_type,
        schedule_value=schedule_value,
        context_mode=context_mode,
        zone=zone,
        now=now,
    )


def schedule_of(options: AddOptions) -> tuple[ScheduleType, str]:
    """The schedule that was asked for, as wire-formats 6 writes it."""
    if options.cron is not None:
        return "cron", options.cron
    if options.every is not None:
        return "interval", str(round(options.every * 1000))
    return "once", options.at or ""
