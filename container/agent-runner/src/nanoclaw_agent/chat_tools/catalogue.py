"""The tools as the model reads of them: names, descriptions, and JSON schemas of their arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from nanoclaw_agent.chat_tools.requests import CONTEXT_MODES
from nanoclaw_agent.chat_tools.schedule import SCHEDULE_TYPES

Schema: TypeAlias = "dict[str, Any]"


@dataclass(frozen=True, kw_only=True)
class ToolEntry:
    """One tool.

    Attributes:
        name: As the original's, so that prompts and skills written for it hold.
        description: When to use it, and what its answer means.
        properties: The arguments' schemas by their names.
        required: The arguments that may not be left out.
        read_only: It asks for no change, so that it may be called beside others.
    """

    name: str
    description: str
    properties: dict[str, Schema] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    read_only: bool = False

    @property
    def schema(self) -> Schema:
        """The JSON schema of all arguments; others than these are refused."""
        return {
            "type": "object",
            "properties": self.properties,
            "required": list(self.required),
            "additionalProperties": False,
        }


def _text(description: str) -> Schema:
    return {"type": "string", "description": description}


def _choice(values: tuple[str, ...], description: str) -> Schema:
    return {"type": "string", "enum": list(values), "description": description}


_ASKED: Final = (
    "The answer says that the request lies in the host's mailbox; the host carries it out a "
    "moment later, or refuses it."
)

_TASK_ID: Final = _text("The task's id, as schedule_task answered it or list_tasks shows it.")

_SCHEDULE_TYPE: Final = _choice(
    SCHEDULE_TYPES,
    "cron: again and again at times of the calendar. interval: again and again after a fixed time. "
    "once: one time only.",
)

_SCHEDULE_VALUE: Final = _text(
    "Its form depends on schedule_type. cron: exactly five fields (minute hour day-of-month month "
    'day-of-week) in the host\'s local time, "0 9 * * 1-5" for 9:00 on weekdays. interval: '
    'milliseconds as a string of digits, "3600000" for every hour. once: local date and time '
    'without a zone (no Z, no offset), in the future, "2026-02-01T15:30:00".'
)

_PROMPT: Final = _text(
    "What the agent is told when the task runs. With context_mode isolated it must hold all that "
    "is needed, since that agent knows nothing of this conversation."
)

SEND_MESSAGE: Final = ToolEntry(
    name="send_message",
    description=(
        "Say something in this chat at once, while you are still working: progress in a long task, "
        "or one of several messages. Don't repeat it in your final answer. The answer says that "
        "the message lies in the host's mailbox, from where it is sent a moment later."
    ),
    properties={
        "text": _text("The message."),
        "sender": _text(
            "A name to speak under, such as the role of a subagent; chats that can't show it leave "
            "it out. Leave it out to speak as the assistant."
        ),
    },
    required=("text",),
)

SCHEDULE_TASK: Final = ToolEntry(
    name="schedule_task",
    description=(
        "Have an agent run a prompt later, once or regularly. "
        f"{_ASKED} It holds the new task's id, for pause_task, update_task and cancel_task."
    ),
    properties={
        "prompt": _PROMPT,
        "schedule_type": _SCHEDULE_TYPE,
        "schedule_value": _SCHEDULE_VALUE,
        "context_mode": _choice(
            CONTEXT_MODES,
            "group: runs in the chat's own conversation, for tasks that build on what was said. "
            "isolated (the default): runs in a new conversation, for tasks whose prompt says it "
            "all.",
        ),
        "target_group_jid": _text(
            "The address of the registered chat that the task is for; this one if left out. Only "
            "the main group may name another."
        ),
    },
    required=("prompt", "schedule_type", "schedule_value"),
)

LIST_TASKS: Final = ToolEntry(
    name="list_tasks",
    description=(
        "Show the scheduled tasks: ids, states, schedules, next runs and prompts. The main group "
        "sees those of all groups, any other its own. It is the list that the host wrote last: "
        "what was asked for since may not be in it."
    ),
    read_only=True,
)

_ONE_TASK: Final = {"task_id": _TASK_ID}

PAUSE_TASK: Final = ToolEntry(
    name="pause_task",
    description=f"Keep a task from running until resume_task is called for it. {_ASKED}",
    properties=_ONE_TASK,
    required=("task_id",),
)

RESUME_TASK: Final = ToolEntry(
    name="resume_task",
    description=f"Let a paused task run again by its schedule. {_ASKED}",
    properties=_ONE_TASK,
    required=("task_id",),
)

CANCEL_TASK: Final = ToolEntry(
    name="cancel_task",
    description=f"Delete a task for good; pause_task only stops it for a while. {_ASKED}",
    properties=_ONE_TASK,
    required=("task_id",),
)

UPDATE_TASK: Final = ToolEntry(
    name="update_task",
    description=(
        "Change a task's prompt, or its schedule, or both; what is left out stays as it is. A new "
        f"schedule_type needs a new schedule_value with it. {_ASKED}"
    ),
    properties={
        "task_id": _TASK_ID,
        "prompt": _PROMPT,
        "schedule_type": _SCHEDULE_TYPE,
        "schedule_value": _SCHEDULE_VALUE,
    },
    required=("task_id",),
)

REGISTER_GROUP: Final = ToolEntry(
    name="register_group",
    description=(
        "Let the assistant take part in another chat, as a group with a folder of its own. Only "
        "the main group may do this. The chats that can be registered are in "
        f"/workspace/ipc/available_groups.json. {_ASKED}"
    ),
    properties={
        "jid": _text("The chat's address, exactly as available_groups.json has it."),
        "name": _text("What to call the group."),
        "folder": _text(
            "The folder for its files: 1 to 64 letters, digits, - or _, beginning with a letter or "
            'digit, such as "family-chat"; not "global".'
        ),
        "trigger": _text('The word that messages to the assistant begin with, such as "@Andy".'),
        "requires_trigger": {
            "type": "boolean",
            "description": (
                "true: only messages with the trigger are answered. false: every message is. The "
                "host decides if left out."
            ),
        },
    },
    required=("jid", "name", "folder", "trigger"),
)

REFRESH_GROUPS: Final = ToolEntry(
    name="refresh_groups",
    description=(
        "Have the host look for chats anew and write /workspace/ipc/available_groups.json again, "
        f"when a chat isn't in it. Only the main group may do this. {_ASKED}"
    ),
)

TOOLS: Final = (
    SEND_MESSAGE,
    SCHEDULE_TASK,
    LIST_TASKS,
    PAUSE_TASK,
    RESUME_TASK,
    CANCEL_TASK,
    UPDATE_TASK,
    REGISTER_GROUP,
    REFRESH_GROUPS,
)
