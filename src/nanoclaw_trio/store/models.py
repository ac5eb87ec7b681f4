"""What the store holds: groups and chats, messages and what is said upon them, tasks and their runs.

Moments are aware datetimes in UTC.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Literal, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    from datetime import datetime

    from nanoclaw_trio.protocol.models import ContainerInput, RegisteredGroup

ScheduleType: TypeAlias = Literal["cron", "interval", "once"]
ContextMode: TypeAlias = Literal["group", "isolated"]


@frozen(kw_only=True)
class Registration:
    """A chat whose messages a group answers: one chat, one group.

    Attributes:
        jid: The chat's address, opaque to the engine.
        group: The group that answers there.
        is_main: Whether it is the main group, which is trusted and administers. At most one is.
    """

    jid: str
    group: RegisteredGroup
    is_main: bool = False

    @property
    def folder(self) -> str:
        """The group's folder."""
        return self.group.folder


@frozen(kw_only=True)
class Chat:
    """A chat that the bridge knows, registered or not.

    Attributes:
        jid: Its address.
        name: For people.
        last_activity: When it was heard from last; None if that isn't known.
    """

    jid: str
    name: str
    last_activity: datetime | None = None


@frozen(kw_only=True)
class ChatMessage:
    """What somebody said in a chat.

    Attributes:
        chat_jid: In which chat.
        id: The bridge's own, unique in its chat: a message that is handed in twice is taken once.
        sender: Who said it: the platform's address of the person.
        sender_name: The same for people.
        text: What was said.
        timestamp: When.
    """

    chat_jid: str
    id: str
    sender: str
    sender_name: str
    text: str
    timestamp: datetime


class MessageState(StrEnum):
    """Where a message is on its way to an answer."""

    WAITING = "waiting"
    """No agent has it."""
    ASKED = "asked"
    """It is in the hands of a run."""
    SETTLED = "settled"
    """A query took it in and ended, with an answer or without one."""
    GIVEN_UP = "given_up"
    """It was tried often enough; its chat was told."""


@frozen(kw_only=True)
class StoredMessage:
    """A message in the store.

    Attributes:
        seq: Its place among all messages; unique, and growing.
        folder: The group that it is for.
        message: What was said.
        is_owed: Whether it asks for an answer; one that doesn't is context for the next that does.
        state: Where it is.
        attempts: How many runs that failed have had it.
        run: The container that has it, where it is asked.
        follow_up: The name of its file in the mailbox, where it went in as a follow-up.
        prompt: Where it came by `Engine.submit`: the input as it was given; its prompt is the
            message's text. None for what came from a chat.
    """

    seq: int
    folder: str
    message: ChatMessage
    is_owed: bool = True
    state: MessageState = MessageState.WAITING
    attempts: int = 0
    run: str | None = None
    follow_up: str | None = None
    prompt: ContainerInput | None = None


class DeliveryKind(StrEnum):
    """What is said in a chat."""

    ANSWER = "answer"
    """An agent's answer to messages or to a task."""
    MESSAGE = "message"
    """What an agent said by itself, in the middle of its work."""
    FAILURE = "failure"
    """The engine's own words, where messages or a task's run were given up."""


@frozen(kw_only=True)
class Delivery:
    """Something to be said in a chat, once.

    It is kept until the bridge has taken it. A bridge that is killed while it sends may be given it
    again after the next start, under the same id: one that remembers ids says nothing twice.

    Attributes:
        id: Its own, and the same each time.
        kind: What it is.
        chat_jid: Where to say it.
        group_folder: The group whose agent speaks.
        text: What to say.
        sender: A name to speak under, if the agent chose one.
        in_reply_to: The ids of the messages that it answers, or that were given up.
        task_id: The task that it comes from, if it does.
        messages: Of a failure: the messages themselves.
        created_at: When it was recorded.
    """

    id: str
    kind: DeliveryKind
    chat_jid: str
    group_folder: str
    text: str
    sender: str | None = None
    in_reply_to: tuple[str, ...] = ()
    task_id: str | None = None
    messages: tuple[ChatMessage, ...] = ()
    created_at: datetime


class TaskStatus(StrEnum):
    """Whether a task runs by its schedule."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    """It was to run once, and has."""


@frozen(kw_only=True)
class Task:
    """Something that an agent is to do at times.

    Attributes:
        id: Its own.
        folder: The group that does it.
        chat_jid: Where its answers go.
        prompt: What the agent is told.
        schedule_type: How schedule_value is to be read (wire-formats 6).
        schedule_value: A cron expression, milliseconds, or a local time without zone.
        context_mode: Whether it runs in the group's conversation, or in one of its own.
        status: Whether it runs.
        next_run: When it is due; None if it isn't any more.
        created_at: When it was made.
        attempts: How many runs for the time it is due have failed.
    """

    id: str
    folder: str
    chat_jid: str
    prompt: str
    schedule_type: ScheduleType
    schedule_value: str
    context_mode: ContextMode = "isolated"
    status: TaskStatus = TaskStatus.ACTIVE
    next_run: datetime | None = None
    created_at: datetime
    attempts: int = 0


class TaskRunStatus(StrEnum):
    """How far a run of a task came."""

    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"
    INTERRUPTED = "interrupted"
    """The host ended in the middle of it."""


@frozen(kw_only=True)
class TaskRun:
    """One run of a task.

    Attributes:
        task_id: Whose.
        scheduled_for: When it was due.
        started_at: When it began.
        ended_at: When it ended; None while it runs.
        status: How it ended.
        container: The container's name.
        detail: The answer's beginning, or what went wrong; for people.
    """

    task_id: str
    scheduled_for: datetime
    started_at: datetime
    ended_at: datetime | None = None
    status: TaskRunStatus = TaskRunStatus.RUNNING
    container: str | None = None
    detail: str | None = None
