"""From rows to models, and from models to the JSON that some columns hold."""

from __future__ import annotations

from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import asdict, frozen

from nanoclaw_trio.clock import iso_timestamp
from nanoclaw_trio.protocol.converters import own, structure
from nanoclaw_trio.protocol.json_text import dump_json, parse_json
from nanoclaw_trio.protocol.models import ContainerInput, RegisteredGroup
from nanoclaw_trio.store.connection import UnreadableRow
from nanoclaw_trio.store.models import (
    Chat,
    ChatMessage,
    Delivery,
    DeliveryKind,
    MessageState,
    Registration,
    StoredMessage,
    Task,
    TaskRun,
    TaskRunStatus,
    TaskStatus,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nanoclaw_trio.store.connection import Row

T = TypeVar("T")


@frozen(kw_only=True)
class _MessageRecord:
    """A chat message in JSON, which has no moments."""

    chat_jid: str
    id: str
    sender: str
    sender_name: str
    text: str
    timestamp: str


def to_json(document: Any) -> str:
    """A model, or a tuple of texts, as it stands in a column."""
    return dump_json(own.unstructure(document)).decode()


def messages_to_json(messages: Iterable[ChatMessage]) -> str:
    """What was said, as it stands in a delivery's column."""
    return to_json([_message_record(message) for message in messages])


def _message_record(message: ChatMessage) -> _MessageRecord:
    fields = asdict(message, recurse=False)
    return _MessageRecord(**{**fields, "timestamp": iso_timestamp(message.timestamp)})


def _reader(convert: Callable[[Row], T]) -> Callable[[Row], T]:
    @wraps(convert)
    def read(row: Row) -> T:
        try:
            return convert(row)
        except (TypeError, ValueError) as error:
            what = convert.__name__.removeprefix("to_").replace("_", " ")
            raise UnreadableRow(f"a {what} isn't as it was written: {error}") from error

    return read


@_reader
def to_registration(row: Row) -> Registration:
    """A row of `groups`."""
    return Registration(
        jid=row["jid"],
        group=_from_json(row["registered_group"], RegisteredGroup),
        is_main=bool(row["is_main"]),
    )


@_reader
def to_chat(row: Row) -> Chat:
    """A row of `chats`."""
    return Chat(
        jid=row["jid"], name=row["name"], last_activity=to_moment_or_none(row["last_activity"])
    )


@_reader
def to_stored_message(row: Row) -> StoredMessage:
    """A row of `messages`."""
    return StoredMessage(
        seq=row["seq"],
        folder=row["folder"],
        message=ChatMessage(
            chat_jid=row["chat_jid"],
            id=row["id"],
            sender=row["sender"],
            sender_name=row["sender_name"],
            text=row["text"],
            timestamp=to_moment(row["timestamp"]),
        ),
        is_owed=bool(row["is_owed"]),
        state=MessageState(row["state"]),
        attempts=row["attempts"],
        run=row["run"],
        follow_up=row["follow_up"],
        prompt=None if row["prompt"] is None else _from_json(row["prompt"], ContainerInput),
    )


@_reader
def to_delivery(row: Row) -> Delivery:
    """A row of `deliveries`."""
    return Delivery(
        id=row["id"],
        kind=DeliveryKind(row["kind"]),
        chat_jid=row["chat_jid"],
        group_folder=row["group_folder"],
        text=row["text"],
        sender=row["sender"],
        in_reply_to=_from_json(row["in_reply_to"], tuple[str, ...]),
        task_id=row["task_id"],
        messages=_messages_from_json(row["messages"]),
        created_at=to_moment(row["created_at"]),
    )


@_reader
def to_task(row: Row) -> Task:
    """A row of `tasks`."""
    return Task(
        id=row["id"],
        folder=row["folder"],
        chat_jid=row["chat_jid"],
        prompt=row["prompt"],
        schedule_type=row["schedule_type"],
        schedule_value=row["schedule_value"],
        context_mode=row["context_mode"],
        status=TaskStatus(row["status"]),
        next_run=to_moment_or_none(row["next_run"]),
        created_at=to_moment(row["created_at"]),
        attempts=row["attempts"],
    )


@_reader
def to_task_run(row: Row) -> TaskRun:
    """A row of `task_runs`."""
    return TaskRun(
        task_id=row["task_id"],
        scheduled_for=to_moment(row["scheduled_for"]),
        started_at=to_moment(row["started_at"]),
        ended_at=to_moment_or_none(row["ended_at"]),
        status=TaskRunStatus(row["status"]),
        container=row["container"],
        detail=row["detail"],
    )


def to_moment(text: str) -> datetime:
    """A moment from its text, aware and in UTC."""
    return datetime.fromisoformat(text)


def to_moment_or_none(text: str | None) -> datetime | None:
    """The same for a column that may be empty."""
    return None if text is None else to_moment(text)


def _messages_from_json(text: str) -> tuple[ChatMessage, ...]:
    records: tuple[_MessageRecord, ...] = _from_json(text, tuple[_MessageRecord, ...])
    return tuple(_to_message(record) for record in records)


def _to_message(record: _MessageRecord) -> ChatMessage:
    fields = asdict(record)
    return ChatMessage(**{**fields, "timestamp": to_moment(record.timestamp)})


def _from_json(text: str, kind: Any) -> Any:
    return structure(own, parse_json(text.encode()), kind)
