"""What a run leaves: messages that wait again or are given up, and a task's history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.engine.queue.retry import MAX_RETRIES
from nanoclaw_trio.engine.runs.hearing import following_run
from nanoclaw_trio.protocol.models import ContainerInput
from nanoclaw_trio.store import deliveries, messages, tasks
from nanoclaw_trio.store.models import (
    ChatMessage,
    Delivery,
    DeliveryKind,
    TaskRunStatus,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from nanoclaw_trio.store.database import Transaction
    from nanoclaw_trio.store.models import Registration, StoredMessage, Task

DETAIL: Final = 200
"""Characters of an answer or an error that a task's history keeps."""

ADOPTED_LIMIT: Final = 32
"""Follow-ups of nobody that wait in a group, each of 1 MiB at most; the others are dropped. As many as
a run may have in flight: a program that crashed leaves no more, and an agent any number, each time."""

_ADOPTED: Final = ":left-"
"""In the ids of messages that were taken over from a mailbox: behind the run's name."""

ABANDONED: Final = "I don't answer in this chat any more."


@frozen(kw_only=True)
class Leftover:
    """What a run leaves, as it is to be written down.

    Attributes:
        container: Whose.
        registration: The group and its chat.
        is_counted: Whether what it didn't answer has one attempt less.
        untouched: Messages that no agent took, by their numbers: they have lost no attempt.
        strangers: Follow-ups in the mailbox that the engine doesn't know, from before a crash of
            another program: they are messages of this chat now.
        why: What went wrong, for people.
        now: The moment.
    """

    container: str
    registration: Registration
    is_counted: bool
    untouched: Collection[int]
    strangers: tuple[str, ...]
    why: str | None
    now: datetime


@frozen(kw_only=True)
class PutBack:
    """What came of it.

    Attributes:
        has_work: Whether messages of the group wait.
        returned: The ids of those that went back to waiting.
        failure: What is to be said of those that were given up, if any were.
        adopted: The ids of messages that were taken over from the mailbox.
        dropped: How many there were beyond ADOPTED_LIMIT.
        chat_jid: Their chat.
    """

    has_work: bool
    returned: tuple[str, ...]
    failure: Delivery | None
    adopted: tuple[str, ...]
    dropped: int
    chat_jid: str


def put_back(tx: Transaction, leftover: Leftover) -> PutBack:
    """At a run's end: what it didn't answer waits again, or is given up and reported."""
    folder = leftover.registration.folder
    returned = tuple(stored.message.id for stored in messages.asked(tx, leftover.container))
    messages.put_back(
        tx, leftover.container, failed=leftover.is_counted, except_seqs=leftover.untouched
    )
    failure = None
    given_up = messages.give_up(tx, folder, MAX_RETRIES) if leftover.is_counted else ()
    if given_up:
        text = gave_up_text(len(given_up), leftover.why)
        failure = _failure(f"{leftover.container}:gave-up", folder, given_up, text, leftover.now)
        deliveries.record(tx, failure)
    room = max(0, ADOPTED_LIMIT - messages.count_waiting(tx, folder, f"*{_ADOPTED}*"))
    adopted = tuple(
        _adopt(tx, leftover, number, text) for number, text in enumerate(leftover.strangers[:room])
    )
    return PutBack(
        has_work=messages.has_work(tx, folder),
        returned=returned,
        failure=failure,
        adopted=adopted,
        dropped=len(leftover.strangers) - len(adopted),
        chat_jid=leftover.registration.jid,
    )


def _failure(
    id_: str, folder: str, given_up: Sequence[StoredMessage], text: str, now: datetime
) -> Delivery:
    """What is to be said of messages of one chat that were given up."""
    said = tuple(stored.message for stored in given_up)
    return Delivery(
        id=id_,
        kind=DeliveryKind.FAILURE,
        chat_jid=said[0].chat_jid,
        group_folder=folder,
        text=text,
        in_reply_to=tuple(message.id for message in said),
        messages=said,
        created_at=now,
    )


def abandon(tx: Transaction, folder: str, now: datetime) -> tuple[Delivery, ...]:
    """What waits for a group that is registered no more is given up; its chats are told."""
    given_up = messages.give_up(tx, folder, messages.ANY_ATTEMPTS)
    by_chat: dict[str, list[StoredMessage]] = {}
    for stored in given_up:
        by_chat.setdefault(stored.message.chat_jid, []).append(stored)
    failures = tuple(
        _failure(f"abandoned:{folder}:{waited[0].seq}", folder, waited, ABANDONED, now)
        for waited in by_chat.values()
    )
    for failure in failures:
        deliveries.record(tx, failure)
    return failures


def gave_up_text(count: int, why: str | None) -> str:
    """What a chat is told of messages that were given up."""
    what = "this message" if count == 1 else f"these {count} messages"
    return (
        f"I could not answer {what}, after {MAX_RETRIES + 1} attempts: {why}. "
        "Please send it again later."
    )


def _adopt(tx: Transaction, leftover: Leftover, number: int, text: str) -> str:
    registration = leftover.registration
    message = ChatMessage(
        chat_jid=registration.jid,
        id=f"{leftover.container}{_ADOPTED}{number}",
        sender="",
        sender_name="",
        text=text,
        timestamp=leftover.now,
    )
    as_it_is = ContainerInput(
        prompt=text,
        group_folder=registration.folder,
        chat_jid=registration.jid,
        is_main=registration.is_main,
    )
    messages.accept(
        tx, message, registration.folder, is_owed=True, received_at=leftover.now, prompt=as_it_is
    )
    return message.id


@frozen(kw_only=True)
class TaskEnd:
    """How the run of a task ended, as it is to be written down.

    Attributes:
        container: Whose.
        task: The task as it was claimed.
        registration: The group and its chat.
        is_done: Whether its turn was completed by an output.
        is_counted: Whether a failure is the task's own.
        detail: The answer's beginning, or what went wrong.
        owner: This process, as leases name it.
        zone: The time zone of schedules.
        now: The moment.
    """

    container: str
    task: Task
    registration: Registration
    is_done: bool
    is_counted: bool
    detail: str
    owner: str
    zone: str
    now: datetime

    @property
    def gave_up(self) -> bool:
        """Whether this was the last attempt for the time that it was due."""
        return not self.is_done and self.is_counted and self.task.attempts >= MAX_RETRIES


def end_task(tx: Transaction, end: TaskEnd) -> Delivery | None:
    """At the end of a task's run: its history; a failure makes it due again, or is reported."""
    status = TaskRunStatus.SUCCESS if end.is_done else TaskRunStatus.ERROR
    detail = end.detail[:DETAIL]
    failure = None
    if end.gave_up:
        after = following_run(tx, end.task, zone=end.zone, now=end.now)
        tasks.complete(tx, end.task.id, end.owner, next_run=after)
        failure = _task_failure(end)
        deliveries.record(tx, failure)
    elif not end.is_done:
        tasks.release(
            tx, end.task.id, end.owner, failed=end.is_counted, ended_at=end.now, detail=detail
        )
    tasks.close_run(tx, end.task.id, end.container, status=status, ended_at=end.now, detail=detail)
    return failure


def _task_failure(end: TaskEnd) -> Delivery:
    return Delivery(
        id=f"{end.container}:gave-up",
        kind=DeliveryKind.FAILURE,
        chat_jid=end.registration.jid,
        group_folder=end.registration.folder,
        text=(
            f"The scheduled task {end.task.id} failed {MAX_RETRIES + 1} times and is left out this "
            f"time: {end.detail}"
        ),
        task_id=end.task.id,
        created_at=end.now,
    )
