"""The scheduled tasks that this group may see: what the host wrote before the run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nanoclaw_agent.chat_tools.context import ChatContext


class InvalidSnapshot(Exception):
    """The host's fault, or that of something in this container: no list of tasks."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One entry of current_tasks.json."""

    id: str
    group_folder: str
    prompt: str
    schedule_type: str
    schedule_value: str
    status: str
    next_run: str | None


@dataclass(frozen=True, kw_only=True)
class KnownTasks:
    """The tasks that a request may name.

    Attributes:
        schedule_types: By the tasks' ids.
        complete: False if the host's list can't be read: there may be others then.
    """

    schedule_types: Mapping[str, str] = field(default_factory=dict)
    complete: bool = True


def parse_snapshot(data: bytes) -> list[Task]:
    """The tasks in current_tasks.json, in its order; unknown keys are ignored.

    Raises InvalidSnapshot.
    """
    try:
        entries = json.loads(data.decode())
    except (ValueError, RecursionError):
        raise InvalidSnapshot("it isn't JSON in UTF-8") from None
    if not isinstance(entries, list):
        raise InvalidSnapshot("it isn't an array")
    return [_parse_task(entry, index) for index, entry in enumerate(entries)]


def _parse_task(entry: object, index: int) -> Task:
    if not isinstance(entry, dict):
        raise InvalidSnapshot(f"expected an object @ $[{index}]")
    next_run = entry.get("next_run")
    return Task(
        id=_text(entry, "id", index),
        group_folder=_text(entry, "groupFolder", index),
        prompt=_text(entry, "prompt", index),
        schedule_type=_text(entry, "schedule_type", index),
        schedule_value=_text(entry, "schedule_value", index),
        status=_text(entry, "status", index),
        next_run=next_run if isinstance(next_run, str) else None,
    )


def _text(entry: Mapping[str, Any], key: str, index: int) -> str:
    value = entry.get(key)
    if not isinstance(value, str):
        raise InvalidSnapshot(f"expected a string @ $[{index}].{key}")
    return value


def visible_tasks(tasks: list[Task], context: ChatContext) -> list[Task]:
    """All tasks for the main group, its own ones for another."""
    return [x for x in tasks if context.is_main or x.group_folder == context.group_folder]
