"""How the runs of tasks went. They stay known when the task is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoclaw_trio.store.rows import to_task_run

if TYPE_CHECKING:
    from datetime import datetime

    from nanoclaw_trio.store.connection import Transaction
    from nanoclaw_trio.store.models import Task, TaskRun, TaskRunStatus


def open_run(
    tx: Transaction, task: Task, owner: str, *, started_at: datetime, container: str
) -> None:
    """Note that a run begins for the time that a task is due."""
    tx.change(
        "INSERT INTO task_runs (task_id, owner, scheduled_for, started_at, status, container) "
        "VALUES (?, ?, ?, ?, 'running', ?)",
        task.id,
        owner,
        task.next_run,
        started_at,
        container,
    )


def close_run(
    tx: Transaction,
    task_id: str,
    container: str,
    *,
    status: TaskRunStatus,
    ended_at: datetime,
    detail: str | None,
) -> None:
    """Note how a task's run ended, unless that is noted already."""
    tx.change(
        "UPDATE task_runs SET status = ?, ended_at = ?, detail = ? "
        "WHERE task_id = ? AND container = ? AND status = 'running'",
        status,
        ended_at,
        detail,
        task_id,
        container,
    )


def is_running(tx: Transaction, task_id: str, container: str) -> bool:
    """Whether a run is still noted as under way: else somebody has taken its task over."""
    row = tx.row(
        "SELECT 1 FROM task_runs WHERE task_id = ? AND container = ? AND status = 'running'",
        task_id,
        container,
    )
    return row is not None


def close_runs_of(
    tx: Transaction,
    task_id: str,
    owner: str,
    *,
    status: TaskRunStatus,
    ended_at: datetime,
    detail: str | None = None,
) -> None:
    """Note how those of a task's runs ended that an owner has open: there is one at most."""
    tx.change(
        "UPDATE task_runs SET status = ?, ended_at = ?, detail = ? "
        "WHERE task_id = ? AND owner = ? AND status = 'running'",
        status,
        ended_at,
        detail,
        task_id,
        owner,
    )


def interrupt_runs_of(tx: Transaction, owner: str, *, ended_at: datetime) -> None:
    """Note that all runs that an owner has open were interrupted."""
    tx.change(
        "UPDATE task_runs SET status = 'interrupted', ended_at = ? "
        "WHERE owner = ? AND status = 'running'",
        ended_at,
        owner,
    )


def owners_of_open_runs(tx: Transaction) -> set[str]:
    """Whose runs are open."""
    rows = tx.rows("SELECT DISTINCT owner FROM task_runs WHERE status = 'running'")
    return {row["owner"] for row in rows}


def runs(tx: Transaction, task_id: str, limit: int) -> tuple[TaskRun, ...]:
    """How the last runs of a task went, at most `limit`, the newest first."""
    rows = tx.rows(
        "SELECT * FROM task_runs WHERE task_id = ? ORDER BY seq DESC LIMIT ?", task_id, limit
    )
    return tuple(map(to_task_run, rows))


def forget_old(tx: Transaction, before: datetime) -> int:
    """Delete the notes of runs that ended before a moment; how many that is.

    With its last note goes a task that was to run once, and has.
    """
    forgotten = tx.change("DELETE FROM task_runs WHERE ended_at < ?", before)
    tx.change(
        "DELETE FROM tasks WHERE status = 'completed' "
        "AND NOT EXISTS (SELECT 1 FROM task_runs WHERE task_id = tasks.id)"
    )
    return forgotten
