"""What a run writes down, each in one transaction: what it takes, what it answers, what it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.engine.chat.batches import next_prompt
from nanoclaw_trio.engine.queue.retry import MAX_RETRIES
from nanoclaw_trio.engine.tasks.changes import next_run_after
from nanoclaw_trio.engine.tasks.schedule import InvalidSchedule
from nanoclaw_trio.logs import log
from nanoclaw_trio.protocol.models import ContainerInput
from nanoclaw_trio.store import deliveries, messages, sessions, task_runs, tasks
from nanoclaw_trio.store.models import (
    ChatMessage,
    Delivery,
    DeliveryKind,
    TaskRunStatus,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from nanoclaw_trio.settings import Settings
    from nanoclaw_trio.store.database import Transaction
    from nanoclaw_trio.store.models import Registration, StoredMessage, Task

CONTEXT_KEPT: Final = 100
"""Messages without a trigger word that go along with the next one that has it; the newest. A chat
that talks for weeks before it calls the assistant must not fill its whole context."""

DETAIL: Final = 200
"""Characters of an answer or an error that a task's history keeps."""


@frozen(kw_only=True)
class Work:
    """What a run is about.

    Attributes:
        container_input: What the agent is asked.
        seqs: The messages in it, by their numbers.
        ids: Those of them that ask for an answer, by their ids.
        task: The task that it is, if it is one.
    """

    container_input: ContainerInput
    seqs: tuple[int, ...] = ()
    ids: tuple[str, ...] = ()
    task: Task | None = None


def take_messages(
    tx: Transaction,
    registration: Registration,
    container: str,
    *,
    settings: Settings,
    with_session: bool,
) -> Work | None:
    """What waits for a group, as one prompt of this container; None if nothing waits any more."""
    folder = registration.folder
    messages.skip_context(tx, folder, CONTEXT_KEPT)
    if not messages.has_work(tx, folder):
        return None
    batch = next_prompt(messages.waiting(tx, folder), timezone=settings.timezone)
    messages.mark_asked(tx, batch.seqs, container)
    given = batch.container_input
    session = sessions.session_of(tx, folder) if with_session else None
    container_input = ContainerInput(
        prompt=batch.text,
        group_folder=folder,
        chat_jid=batch.chat_jid,
        is_main=registration.is_main,
        session_id=given.session_id if given and given.session_id else session,
        is_scheduled_task=given.is_scheduled_task if given else None,
        assistant_name=settings.assistant_name,
        image_attachments=given.image_attachments if given else None,
    )
    return Work(container_input=container_input, seqs=batch.seqs, ids=batch.owed_ids)


def take_task(
    tx: Transaction,
    registration: Registration,
    container: str,
    task_id: str,
    *,
    settings: Settings,
    owner: str,
    now: datetime,
    lease: float,
    with_session: bool,
) -> Work | None:
    """A task that is due, as the prompt of this container; None if it isn't due any more.

    Or if it is another group's: one that was cancelled while it waited, and made anew for another,
    has the id that it had. The answer goes to the chat that is the group's now.
    """
    known = tasks.get(tx, task_id)
    if known is None or known.folder != registration.folder:
        return None
    task = tasks.claim(tx, task_id, owner=owner, now=now, lease=lease, container=container)
    if task is None:
        return None
    in_conversation = task.context_mode == "group" and with_session
    container_input = ContainerInput(
        prompt=task.prompt,
        group_folder=registration.folder,
        chat_jid=registration.jid,
        is_main=registration.is_main,
        session_id=sessions.session_of(tx, registration.folder) if in_conversation else None,
        is_scheduled_task=True,
        assistant_name=settings.assistant_name,
    )
    return Work(container_input=container_input, task=task)


@frozen(kw_only=True)
class Heard:
    """One output of a run, as it is to be written down.

    Attributes:
        container: Whose.
        number: Its place among the run's outputs, from 1.
        folder: The group's.
        chat_jid: Where answers go.
        text: What is to be said; "" for nothing.
        settled: The messages that it settles.
        session_id: The session to go on with; None: it stays as it is.
        task: The task whose turn this is.
        owner: This process, as leases name it.
        zone: The time zone of schedules.
        now: The moment.
    """

    container: str
    number: int
    folder: str
    chat_jid: str
    text: str
    settled: tuple[int, ...]
    session_id: str | None
    task: Task | None
    owner: str
    zone: str
    now: datetime


@frozen(kw_only=True)
class Recorded:
    """What came of writing an output down.

    Attributes:
        settled: The ids of the messages that it settled.
        delivery: What is to be said, if anything is.
    """

    settled: tuple[str, ...]
    delivery: Delivery | None


def record_output(tx: Transaction, heard: Heard) -> Recorded:
    """An output: the answer, what it settles and where it leaves the session, all or nothing.

    The answer of a task that another host has taken over isn't said: that host's is.
    """
    if heard.task is not None and not _complete(tx, heard, heard.task):
        return Recorded(settled=(), delivery=None)
    answered = _owed_ids(tx, heard.container, heard.settled)
    settled = messages.settle(tx, heard.settled)
    if heard.session_id is not None:
        sessions.keep_session(tx, heard.folder, heard.session_id)
    delivery = _answer(heard, answered) if heard.text else None
    if delivery is not None:
        deliveries.record(tx, delivery)
    return Recorded(settled=settled, delivery=delivery)


def _complete(tx: Transaction, heard: Heard, task: Task) -> bool:
    """Note that a task's turn is over; False if another host has taken it over.

    One that was cancelled meanwhile has no turn any more, nor has one that was then made anew under
    its id: what this run says is said all the same.
    """
    if not task_runs.is_running(tx, task.id, heard.container):
        return False
    after = _next_run(tx, task, zone=heard.zone, now=heard.now)
    tasks.complete(tx, task.id, heard.owner, next_run=after)
    return True


def _next_run(tx: Transaction, task: Task, *, zone: str, now: datetime) -> datetime | None:
    try:
        return next_run_after(tx, task, zone=zone, now=now)
    except InvalidSchedule as error:
        # It was one when the task was made. Its run must be settled all the same.
        log.error("task has no next run", task=task.id, why=str(error))
        return None


def _owed_ids(tx: Transaction, run: str, seqs: Collection[int]) -> tuple[str, ...]:
    """Of the messages that a run has, those that asked for an answer: context wasn't a question."""
    return tuple(
        stored.message.id
        for stored in messages.asked(tx, run)
        if stored.is_owed and stored.seq in seqs
    )


def _answer(heard: Heard, answered: tuple[str, ...]) -> Delivery:
    return Delivery(
        id=f"{heard.container}:{heard.number}",
        kind=DeliveryKind.ANSWER,
        chat_jid=heard.chat_jid,
        group_folder=heard.folder,
        text=heard.text,
        in_reply_to=answered,
        task_id=None if heard.task is None else heard.task.id,
        created_at=heard.now,
    )


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
    """

    has_work: bool
    returned: tuple[str, ...]
    failure: Delivery | None


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
        failure = _give_up(leftover, given_up)
        deliveries.record(tx, failure)
    for number, text in enumerate(leftover.strangers):
        _adopt(tx, leftover, number, text)
    return PutBack(has_work=messages.has_work(tx, folder), returned=returned, failure=failure)


def _give_up(leftover: Leftover, given_up: Iterable[StoredMessage]) -> Delivery:
    said = tuple(stored.message for stored in given_up)
    return Delivery(
        id=f"{leftover.container}:gave-up",
        kind=DeliveryKind.FAILURE,
        chat_jid=said[0].chat_jid,
        group_folder=leftover.registration.folder,
        text=gave_up_text(len(said), leftover.why),
        in_reply_to=tuple(message.id for message in said),
        messages=said,
        created_at=leftover.now,
    )


def abandon(tx: Transaction, folder: str, now: datetime) -> tuple[Delivery, ...]:
    """What waits for a group that is registered no more is given up; its chats are told."""
    given_up = messages.give_up(tx, folder, -1)
    by_chat: dict[str, list[StoredMessage]] = {}
    for stored in given_up:
        by_chat.setdefault(stored.message.chat_jid, []).append(stored)
    failures = tuple(
        Delivery(
            id=f"abandoned:{folder}:{said[0].seq}",
            kind=DeliveryKind.FAILURE,
            chat_jid=chat_jid,
            group_folder=folder,
            text="I don't answer in this chat any more.",
            in_reply_to=tuple(stored.message.id for stored in said),
            messages=tuple(stored.message for stored in said),
            created_at=now,
        )
        for chat_jid, said in by_chat.items()
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


def _adopt(tx: Transaction, leftover: Leftover, number: int, text: str) -> None:
    registration = leftover.registration
    message = ChatMessage(
        chat_jid=registration.jid,
        id=f"{leftover.container}:left-{number}",
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
        after = _next_run(tx, end.task, zone=end.zone, now=end.now)
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
