"""What a run takes: the messages that wait for its group, or a task that is due, as one prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.engine.chat.backlog import require_room_for_run
from nanoclaw_trio.engine.chat.batches import MOST_MESSAGES, PROMPT_LIMIT, next_prompt
from nanoclaw_trio.protocol.models import ContainerInput
from nanoclaw_trio.store import messages, sessions, tasks

if TYPE_CHECKING:
    from datetime import datetime

    from nanoclaw_trio.settings import Settings
    from nanoclaw_trio.store.database import Transaction
    from nanoclaw_trio.store.models import Registration, StoredMessage, Task

CONTEXT_KEPT: Final = 100
"""Messages without a trigger word that go along with the next one that has it; the newest. A chat
that talks for weeks before it calls the assistant must not fill its whole context."""


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
    """What waits for a group, as one prompt of this container; None if nothing waits any more.

    What waits for another chat than the group's, which was registered for it before, is asked whether
    its answer finds room or not: that chat may be full for ever.

    Raises:
        ChatFull: too much waits in the group's chat, which is also that of what waits first.
    """
    folder = registration.folder
    waiting = take_stock(tx, folder)
    if not waiting:
        return None
    batch = next_prompt(waiting, timezone=settings.timezone)
    if batch.chat_jid == registration.jid:
        require_room_for_run(tx, batch.chat_jid)
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


def take_stock(tx: Transaction, folder: str) -> tuple[StoredMessage, ...]:
    """What waits in a group, as far as one prompt or follow-up reaches; nothing if none is owed.

    After a week in which no agent could be started all of it may be more than fits in memory. Context
    beyond CONTEXT_KEPT is settled.
    """
    messages.skip_context(tx, folder, CONTEXT_KEPT)
    if not messages.has_work(tx, folder):
        return ()
    return messages.waiting_first(tx, folder, number=MOST_MESSAGES, size=PROMPT_LIMIT)


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

    Raises:
        ChatFull: too much waits there.
    """
    known = tasks.get(tx, task_id)
    if known is None or known.folder != registration.folder:
        return None
    require_room_for_run(tx, registration.jid)
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
