"""What the store holds, as JSON's types: for `--json`, and for the clients of the socket.

All keys are always there. Moments are ISO times in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from nanoclaw_trio.clock import iso_timestamp
from nanoclaw_trio.protocol.converters import camel_case, wire

if TYPE_CHECKING:
    from datetime import datetime

    from nanoclaw_trio.store.models import ChatMessage, Delivery, Registration, Task, TaskRun


def iso_or_none(moment: datetime | None) -> str | None:
    """A moment that may be missing."""
    return None if moment is None else iso_timestamp(moment)


def group_record(registration: Registration) -> dict[str, Any]:
    """A registered group."""
    group = registration.group
    config = group.container_config
    return {
        "jid": registration.jid,
        "folder": group.folder,
        "name": group.name,
        "trigger": group.trigger,
        "requiresTrigger": group.requires_trigger,
        "isMain": registration.is_main,
        "addedAt": group.added_at,
        "containerConfig": None if config is None else wire.unstructure(config),
    }


def message_record(message: ChatMessage) -> dict[str, Any]:
    """What somebody said in a chat."""
    return {
        "chatJid": message.chat_jid,
        "id": message.id,
        "sender": message.sender,
        "senderName": message.sender_name,
        "text": message.text,
        "timestamp": iso_timestamp(message.timestamp),
    }


def delivery_record(delivery: Delivery) -> dict[str, Any]:
    """Something to be said in a chat."""
    return {
        "id": delivery.id,
        "kind": delivery.kind.value,
        "chatJid": delivery.chat_jid,
        "groupFolder": delivery.group_folder,
        "text": delivery.text,
        "sender": delivery.sender,
        "inReplyTo": list(delivery.in_reply_to),
        "taskId": delivery.task_id,
        "messages": [message_record(message) for message in delivery.messages],
        "createdAt": iso_timestamp(delivery.created_at),
    }


def task_record(task: Task) -> dict[str, Any]:
    """A task."""
    return {
        "id": task.id,
        "groupFolder": task.folder,
        "chatJid": task.chat_jid,
        "prompt": task.prompt,
        "scheduleType": task.schedule_type,
        "scheduleValue": task.schedule_value,
        "contextMode": task.context_mode,
        "status": task.status.value,
        "nextRun": iso_or_none(task.next_run),
        "createdAt": iso_timestamp(task.created_at),
        "attempts": task.attempts,
    }


def task_run_record(run: TaskRun) -> dict[str, Any]:
    """One run of a task."""
    return {
        "taskId": run.task_id,
        "scheduledFor": iso_timestamp(run.scheduled_for),
        "startedAt": iso_timestamp(run.started_at),
        "endedAt": iso_or_none(run.ended_at),
        "status": run.status.value,
        "container": run.container,
        "detail": run.detail,
    }


def plain(value: Any) -> Any:
    """A frozen picture, such as the engine's statistics, with camelCase keys.

    Not by the converter, which asks for annotations that hold at run time. An infinite number
    becomes null, which is all that JSON has for it.
    """
    if attrs.has(type(value)):
        fields = attrs.fields(type(value))
        return {camel_case(each.name): plain(getattr(value, each.name)) for each in fields}
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    return value
