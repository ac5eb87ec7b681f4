"""A group's session, and its mailbox on the disk."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from nanoclaw_agent.chat_tools.context import ChatContext

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = datetime(2026, 2, 1, 14, 30, 0, 123_456, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    """A Sunday's afternoon: in Berlin it is 15:30."""
    return NOW


@pytest.fixture
def ipc(tmp_path: Path) -> Path:
    """The mailbox, in which nothing has been made yet."""
    return tmp_path / "ipc"


@pytest.fixture
def make_context(ipc: Path) -> Callable[..., ChatContext]:
    """The context of a group in Berlin that isn't main, with these changes."""

    def make(**changes: Any) -> ChatContext:
        usual = {
            "ipc": ipc,
            "chat_jid": "1@chat",
            "group_folder": "family",
            "is_main": False,
            "timezone": "Europe/Berlin",
            "clock": lambda: NOW,
        }
        return ChatContext(**(usual | changes))

    return make


@pytest.fixture
def make_task() -> Callable[..., dict[str, Any]]:
    """An entry of the host's list of tasks, with these changes."""

    def make(**changes: Any) -> dict[str, Any]:
        usual = {
            "id": "task-1",
            "groupFolder": "family",
            "prompt": "Water the flowers",
            "schedule_type": "cron",
            "schedule_value": "0 9 * * *",
            "status": "active",
            "next_run": "2026-02-02T08:00:00.000Z",
        }
        return usual | changes

    return make


@pytest.fixture
def put_snapshot(ipc: Path) -> Callable[..., None]:
    """Write the host's list of tasks."""

    def put(*tasks: dict[str, Any]) -> None:
        ipc.mkdir(exist_ok=True)
        (ipc / "current_tasks.json").write_text(json.dumps(tasks))

    return put
