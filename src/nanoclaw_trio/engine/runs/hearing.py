"""An output of a run, as it is written down: what it settles and what is said, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.engine.chat.backlog import require_room
from nanoclaw_trio.engine.tasks.changes import next_run_after
from nanoclaw_trio.engine.tasks.schedule import InvalidSchedule
from nanoclaw_trio.logs import log
from nanoclaw_trio.store import deliveries, messages, sessions, task_runs, tasks
from nanoclaw_trio.store.models import Delivery, DeliveryKind

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from nanoclaw_trio.store.database import Transaction
    from nanoclaw_trio.store.models import Task

SESSION_ID_LIMIT: Final = 1_024
"""Characters of the longest id of a session that is kept: Claude's have 36, and an agent may say
anything."""


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

    Raises:
        ChatFull: there is something to be said, and no more may wait in its chat.
    """
    if heard.text:
        require_room(tx, heard.chat_jid)
    if heard.task is not None and not _complete(tx, heard, heard.task):
        return Recorded(settled=(), delivery=None)
    answered = _owed_ids(tx, heard.container, heard.settled) if heard.settled else ()
    settled = messages.settle(tx, heard.settled)
    if heard.session_id is not None and len(heard.session_id) <= SESSION_ID_LIMIT:
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
    after = following_run(tx, task, zone=heard.zone, now=heard.now)
    tasks.complete(tx, task.id, heard.owner, next_run=after)
    return True


def following_run(tx: Transaction, task: Task, *, zone: str, now: datetime) -> datetime | None:
    """When a task is due after a run of it; None for never, as when its schedule isn't one any more."""
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
