"""From a tool's arguments to the request that the host reads (docs/protocol 6). Pure.

Every function raises InvalidRequest, with a text for the model. What a group may not ask for is
refused here so that the model is told; the host refuses it all the same.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from nanoclaw_agent.chat_tools.arguments import optional, optional_boolean, required
from nanoclaw_agent.chat_tools.context import iso_timestamp
from nanoclaw_agent.chat_tools.errors import InvalidRequest
from nanoclaw_agent.chat_tools.schedule import check_schedule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from nanoclaw_agent.chat_tools.context import ChatContext
    from nanoclaw_agent.chat_tools.tasks import KnownTasks

Request: TypeAlias = "dict[str, Any]"

LARGEST_REQUEST: Final = 1024 * 1024
"""Bytes of a file; a host reads no more of one (Trap A28)."""

CONTEXT_MODES: Final = ("group", "isolated")

MOST_IDS: Final = 20
"""Ids named in an answer; list_tasks has the others."""

_FOLDER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def send_message(
    arguments: Mapping[str, object], *, context: ChatContext, now: datetime
) -> Request:
    """Say something in the session's own chat."""
    request = {
        "type": "message",
        "chatJid": context.chat_jid,
        "text": required(arguments, "text"),
    }
    sender = optional(arguments, "sender")
    if sender is not None:
        request["sender"] = sender
    return request | _origin(context, now)


def schedule_task(
    arguments: Mapping[str, object], *, context: ChatContext, now: datetime, task_id: str
) -> Request:
    """Run a prompt later, under the id given."""
    request = {
        "type": "schedule_task",
        "taskId": task_id,
        "prompt": required(arguments, "prompt"),
        "schedule_type": required(arguments, "schedule_type"),
        "schedule_value": required(arguments, "schedule_value"),
        "context_mode": _context_mode(arguments),
        "targetJid": _target(arguments, context),
        "createdBy": context.group_folder,
    }
    _check_schedule(request, context, now)
    return request | _origin(context, now)


def _check_schedule(request: Request, context: ChatContext, now: datetime) -> None:
    kind, value = request["schedule_type"], request["schedule_value"]
    check_schedule(kind, value, now=now, zone=context.zone())


def _context_mode(arguments: Mapping[str, object]) -> str:
    mode = optional(arguments, "context_mode")
    if mode is None:
        return "isolated"
    if mode not in CONTEXT_MODES:
        raise InvalidRequest(f"context_mode {mode!r} must be one of: {', '.join(CONTEXT_MODES)}")
    return mode


def _target(arguments: Mapping[str, object], context: ChatContext) -> str:
    target = optional(arguments, "target_group_jid")
    if target is None:
        return context.chat_jid
    if not context.is_main and target != context.chat_jid:
        raise InvalidRequest(
            "only the main group may schedule for another chat; leave target_group_jid out to "
            "schedule for this one"
        )
    return target


def name_task(
    kind: str,
    arguments: Mapping[str, object],
    *,
    context: ChatContext,
    now: datetime,
    known: KnownTasks,
) -> Request:
    """Do to a task what its id is enough for: pause_task, resume_task or cancel_task."""
    task_id = _known_id(arguments, known)
    return {"type": kind, "taskId": task_id} | _origin(context, now)


def update_task(
    arguments: Mapping[str, object], *, context: ChatContext, now: datetime, known: KnownTasks
) -> Request:
    """Change what is given of a task, and leave the rest of it."""
    task_id = _known_id(arguments, known)
    keys = ("prompt", "schedule_type", "schedule_value")
    values = {key: optional(arguments, key) for key in keys}
    changes = {key: value for key, value in values.items() if value is not None}
    if not changes:
        raise InvalidRequest("nothing to change: give prompt, or schedule_type and schedule_value")
    if changes.keys() & {"schedule_type", "schedule_value"}:
        schedule = {"schedule_type": known.schedule_types.get(task_id), **changes}
        _check_schedule(_whole_schedule(schedule), context, now)
    return {"type": "update_task", "taskId": task_id} | changes | _origin(context, now)


def _whole_schedule(schedule: Request) -> Request:
    if schedule.get("schedule_type") is None:
        raise InvalidRequest("give schedule_type beside schedule_value: this task's isn't known")
    if "schedule_value" not in schedule:
        raise InvalidRequest("give schedule_value beside schedule_type: each type has its own form")
    return schedule


def _known_id(arguments: Mapping[str, object], known: KnownTasks) -> str:
    task_id = required(arguments, "task_id")
    if known.complete and task_id not in known.schedule_types:
        raise InvalidRequest(f"there is no task {task_id!r}; {_ids_text(known.schedule_types)}")
    return task_id


def _ids_text(ids: Iterable[str]) -> str:
    names = list(ids)
    if not names:
        return "no tasks are scheduled"
    rest = len(names) - MOST_IDS
    more = f", and {rest} more, which list_tasks shows" if rest > 0 else ""
    return f"the tasks are: {', '.join(names[:MOST_IDS])}{more}"


def register_group(
    arguments: Mapping[str, object], *, context: ChatContext, now: datetime
) -> Request:
    """Make a chat a group of its own. For the main group alone."""
    _main_only(context, "register groups")
    request: Request = {
        "type": "register_group",
        "jid": required(arguments, "jid"),
        "name": required(arguments, "name"),
        "folder": _folder(arguments),
        "trigger": required(arguments, "trigger"),
    }
    requires_trigger = optional_boolean(arguments, "requires_trigger")
    if requires_trigger is not None:
        request["requiresTrigger"] = requires_trigger
    return request | _origin(context, now)


def _folder(arguments: Mapping[str, object]) -> str:
    folder = required(arguments, "folder")
    if not _FOLDER.fullmatch(folder):
        raise InvalidRequest(
            f"folder {folder!r} must be 1 to 64 letters, digits, - or _ of ASCII, and begin with a "
            'letter or digit; for example "family-chat"'
        )
    if folder.lower() == "global":
        raise InvalidRequest(f"folder {folder!r} is what all groups share; choose another name")
    return folder


def refresh_groups(*, context: ChatContext, now: datetime) -> Request:
    """Have the host look for chats anew. For the main group alone."""
    _main_only(context, "refresh the list of groups")
    return {"type": "refresh_groups"} | _origin(context, now)


def _main_only(context: ChatContext, action: str) -> None:
    if not context.is_main:
        raise InvalidRequest(
            f"only the main group may {action}, and this is not it; the user can ask there"
        )


def encode_request(request: Request) -> bytes:
    """The request as its file holds it. InvalidRequest if no host would read one so large."""
    # A lone surrogate, which JSON allows in a tool's arguments, can't be written in UTF-8.
    data = json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
    if len(data) > LARGEST_REQUEST:
        raise InvalidRequest(
            f"the request has {len(data)} bytes, and the host reads at most {LARGEST_REQUEST}; "
            "shorten it, split it into several, or put it into a file and name the file"
        )
    return data


def _origin(context: ChatContext, now: datetime) -> Request:
    return {"groupFolder": context.group_folder, "timestamp": iso_timestamp(now)}
