"""Tasks and their runs, for people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nanoclaw_trio.cli.moments import local_text
from nanoclaw_trio.cli.table import align

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nanoclaw_trio.store.models import Task, TaskRun

PROMPT_LIMIT: Final = 60
"""Characters of a prompt in a list."""


def task_lines(found: Sequence[Task], zone: str) -> tuple[str, ...]:
    """Tasks below each other, with their next runs in a time zone."""
    heading = ("ID", "GROUP", "STATUS", "NEXT RUN", "SCHEDULE", "CONTEXT", "PROMPT")
    return align(heading, [_task_row(task, zone) for task in found])


def _task_row(task: Task, zone: str) -> tuple[str, ...]:
    return (
        task.id,
        task.folder,
        task.status.value,
        local_text(task.next_run, zone),
        schedule_text(task),
        task.context_mode,
        shortened(task.prompt),
    )


def schedule_text(task: Task) -> str:
    """When a task runs, for people."""
    match task.schedule_type:
        case "cron":
            return task.schedule_value
        case "interval":
            # What an agent wrote was checked to be a number before it came into the store.
            return f"every {int(task.schedule_value) / 1000:g} s"
        case _:
            return "once"


def shortened(text: str) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= PROMPT_LIMIT else f"{line[: PROMPT_LIMIT - 1]}…"


def run_lines(found: Sequence[TaskRun], zone: str) -> tuple[str, ...]:
    """Runs of a task below each other, with their times in a zone."""
    heading = ("DUE", "STARTED", "ENDED", "STATUS", "CONTAINER", "DETAIL")
    return align(heading, [_run_row(run, zone) for run in found])


def _run_row(run: TaskRun, zone: str) -> tuple[str, ...]:
    return (
        local_text(run.scheduled_for, zone),
        local_text(run.started_at, zone),
        local_text(run.ended_at, zone),
        run.status.value,
        run.container or "-",
        shortened(run.detail or "-"),
    )
