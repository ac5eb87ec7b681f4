"""Tasks and when they are due; who runs one now, by a lease; and how its runs went.

A lease names its owner and ends at a moment, unless it is renewed: a host that dies keeps nobody
else from running a task for longer than that.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from nanoclaw_trio.store.models import TaskRunStatus
from nanoclaw_trio.store.rows import to_moment_or_none, to_task
from nanoclaw_trio.store.task_runs import (
    close_run,
    close_runs_of,
    forget_old,
    interrupt_runs_of,
    open_run,
    owners_of_open_runs,
    runs,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from nanoclaw_trio.store.connection import Row, Transaction
    from nanoclaw_trio.store.models import Task

__all__ = [
    "CHANGEABLE",
    "add",
    "cancel",
    "claim",
    "close_run",
    "complete",
    "count_unfinished",
    "due",
    "forget_old",
    "get",
    "interrupt_dead",
    "next_due",
    "release",
    "renew",
    "runs",
    "tasks",
    "update",
]

CHANGEABLE: Final = frozenset(
    {
        "attempts",
        "chat_jid",
        "context_mode",
        "next_run",
        "prompt",
        "schedule_type",
        "schedule_value",
        "status",
    }
)
"""What of a task may be updated."""

COMPLETED_KEPT: Final = 200
"""Tasks of a group that are done for good, besides the last one: each may have a prompt of 64 KiB, and an
agent that has itself woken a thousand times a day leaves as many."""

_OCCURRENCE: Final = frozenset({"schedule_type", "schedule_value", "next_run"})
"""With these, a task is due at another time, for which nothing was attempted."""

_DUE: Final = (
    "SELECT * FROM tasks WHERE status = 'active' AND next_run <= ?1 "
    "AND (lease_until IS NULL OR lease_until <= ?1)"
)


def add(tx: Transaction, task: Task) -> bool:
    """Add a task; False if its id is known, and then nothing is changed."""
    inserted = tx.change(
        "INSERT INTO tasks (id, folder, chat_jid, prompt, schedule_type, schedule_value, "
        "context_mode, status, next_run, created_at, attempts) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        task.id,
        task.folder,
        task.chat_jid,
        task.prompt,
        task.schedule_type,
        task.schedule_value,
        task.context_mode,
        task.status,
        task.next_run,
        task.created_at,
        task.attempts,
    )
    return inserted > 0


def get(tx: Transaction, task_id: str) -> Task | None:
    """A task, or None if there is none of that id."""
    return _one(tx.row("SELECT * FROM tasks WHERE id = ?", task_id))


def _one(row: Row | None) -> Task | None:
    return None if row is None else to_task(row)


def tasks(tx: Transaction, folder: str | None = None) -> tuple[Task, ...]:
    """All tasks, or a group's, those due first at the front and those never due at the end."""
    rows = tx.rows(
        "SELECT * FROM tasks WHERE ?1 IS NULL OR folder = ?1 "
        "ORDER BY next_run IS NULL, next_run, created_at, id",
        folder,
    )
    return tuple(map(to_task, rows))


def count_unfinished(tx: Transaction, folder: str) -> int:
    """How many tasks of a group are active or paused."""
    return tx.number(
        "SELECT count(*) FROM tasks WHERE folder = ? AND status != 'completed'", folder
    )


def update(tx: Transaction, task_id: str, **changes: str | int | datetime | None) -> bool:
    """Change some fields of a task, by name; False if there is none of that id.

    With another schedule or another next run its attempts count from 0. TypeError for a field that
    can't be changed.
    """
    if unknown := changes.keys() - CHANGEABLE:
        raise TypeError(f"a task's {', '.join(sorted(unknown))} can't be changed")
    if changes.keys() & _OCCURRENCE:
        changes = {"attempts": 0, **changes}
    columns = ", ".join(f"{name} = ?" for name in changes) or "id = id"
    sql = f"UPDATE tasks SET {columns} WHERE id = ?"  # noqa: S608 - names from CHANGEABLE only
    return tx.change(sql, *changes.values(), task_id) > 0


def cancel(tx: Transaction, task_id: str) -> bool:
    """Delete a task; whether there was one. How its runs went stays known."""
    return tx.change("DELETE FROM tasks WHERE id = ?", task_id) > 0


def due(tx: Transaction, now: datetime) -> tuple[Task, ...]:
    """The active tasks whose time has come and that nobody runs, the longest due first."""
    rows = tx.rows(f"{_DUE} ORDER BY next_run, created_at, id", now)
    return tuple(map(to_task, rows))


def next_due(tx: Transaction, now: datetime) -> datetime | None:
    """When the next active task will be due, after now; None if none will be.

    One that somebody runs is due once more when its lease ends, if that isn't renewed.
    """
    row = tx.row(
        "SELECT min(moment) AS moment FROM ("
        "SELECT min(next_run) AS moment FROM tasks WHERE status = 'active' AND next_run > ?1 "
        "UNION ALL "
        "SELECT min(lease_until) FROM tasks "
        "WHERE status = 'active' AND next_run <= ?1 AND lease_until > ?1)",
        now,
    )
    return None if row is None else to_moment_or_none(row["moment"])


def claim(
    tx: Transaction, task_id: str, *, owner: str, now: datetime, lease: float, container: str
) -> Task | None:
    """Take a task that is due, for `lease` seconds; a run of it is open from here on.

    None if it isn't due, isn't active, or is somebody's. A run that the last owner left open is
    noted as interrupted.
    """
    row = tx.row(f"{_DUE} AND id = ?2", now, task_id)
    if row is None:
        return None
    if row["lease_owner"] is not None:
        close_runs_of(
            tx, task_id, row["lease_owner"], status=TaskRunStatus.INTERRUPTED, ended_at=now
        )
    tx.change(
        "UPDATE tasks SET lease_owner = ?, lease_until = ? WHERE id = ?",
        owner,
        now + timedelta(seconds=lease),
        task_id,
    )
    task = to_task(row)
    open_run(tx, task, owner, started_at=now, container=container)
    return task


def renew(tx: Transaction, task_id: str, owner: str, now: datetime, lease: float) -> bool:
    """Keep a task for another `lease` seconds from now; False if it isn't the owner's any more."""
    changed = tx.change(
        "UPDATE tasks SET lease_until = ? WHERE id = ? AND lease_owner = ?",
        now + timedelta(seconds=lease),
        task_id,
        owner,
    )
    return changed > 0


def release(
    tx: Transaction,
    task_id: str,
    owner: str,
    *,
    failed: bool,
    ended_at: datetime,
    detail: str | None,
) -> bool:
    """Give a task back that is to be run again for the same time; False if it isn't the owner's.

    If the run failed, that is one more attempt, and the run is noted as an error; else it is noted
    as interrupted. A run whose task was cancelled meanwhile is noted too.
    """
    status = TaskRunStatus.ERROR if failed else TaskRunStatus.INTERRUPTED
    close_runs_of(tx, task_id, owner, status=status, ended_at=ended_at, detail=detail)
    changed = tx.change(
        "UPDATE tasks SET attempts = attempts + ?, lease_owner = NULL, lease_until = NULL "
        "WHERE id = ? AND lease_owner = ?",
        failed,
        task_id,
        owner,
    )
    return changed > 0


def complete(tx: Transaction, task_id: str, owner: str, *, next_run: datetime | None) -> bool:
    """Note that a task was done for the time it was due; False if it isn't the owner's any more.

    It is due next at `next_run`, and done for good if that is None. Its run stays open. Of the group's
    other tasks that are done for good the latest COMPLETED_KEPT are kept.
    """
    changed = tx.change(
        "UPDATE tasks SET next_run = ?1, attempts = 0, lease_owner = NULL, lease_until = NULL, "
        "status = CASE WHEN ?1 IS NULL THEN 'completed' ELSE status END "
        "WHERE id = ?2 AND lease_owner = ?3",
        next_run,
        task_id,
        owner,
    )
    if changed and next_run is None:
        tx.change(
            "DELETE FROM tasks WHERE id IN ("
            "SELECT id FROM tasks WHERE status = 'completed' AND id != ?1 "
            "AND folder = (SELECT folder FROM tasks WHERE id = ?1) "
            "ORDER BY created_at DESC, id DESC LIMIT -1 OFFSET ?2)",
            task_id,
            COMPLETED_KEPT,
        )
    return changed > 0


def interrupt_dead(
    tx: Transaction, is_alive: Callable[[str], bool], now: datetime
) -> tuple[str, ...]:
    """Take tasks from owners that are gone, and note their runs as interrupted.

    The tasks are due still, and no attempt is counted. Returns their ids.
    """
    held = tx.rows("SELECT id, lease_owner FROM tasks WHERE lease_owner IS NOT NULL ORDER BY id")
    owners = {row["lease_owner"] for row in held} | owners_of_open_runs(tx)
    dead = {owner for owner in owners if not is_alive(owner)}
    for owner in dead:
        tx.change(
            "UPDATE tasks SET lease_owner = NULL, lease_until = NULL WHERE lease_owner = ?", owner
        )
        interrupt_runs_of(tx, owner, ended_at=now)
    return tuple(row["id"] for row in held if row["lease_owner"] in dead)
