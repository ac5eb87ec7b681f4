"""The tasks as text, for the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nanoclaw_agent.chat_tools.tasks import Task

LONGEST_PROMPT: Final = 300
"""Characters of a prompt that are shown: enough to know a task by, and room for many tasks."""


def list_text(tasks: list[Task], *, asked_for: Iterable[str], show_groups: bool) -> str:
    """The tasks, one paragraph each, then the ids asked for in this session that aren't there yet.

    `show_groups` says of each task whose it is.
    """
    lines = [_task_text(task, show_group=show_groups) for task in tasks]
    listed = {task.id for task in tasks}
    pending = [task_id for task_id in asked_for if task_id not in listed]
    if lines:
        lines.insert(0, "Scheduled tasks, as the host last wrote them down:")
    elif not pending:
        return "No tasks are scheduled."
    if pending:
        lines.append(f"Asked for in this session, not in the list yet: {', '.join(pending)}")
    return "\n".join(lines)


def _task_text(task: Task, *, show_group: bool) -> str:
    parts = [
        f"- {task.id}",
        task.status,
        f"{task.schedule_type} {task.schedule_value}",
        f"next run {task.next_run or 'none'}",
    ]
    if show_group:
        parts.append(f"group {task.group_folder}")
    return f"{' | '.join(parts)}\n  {_excerpt(task.prompt)}"


def _excerpt(prompt: str) -> str:
    # On one line, so that a prompt can't pass for the list's next entry.
    line = " ".join(prompt.split())
    if len(line) <= LONGEST_PROMPT:
        return line
    return f"{line[:LONGEST_PROMPT]}… ({len(line)} characters)"
