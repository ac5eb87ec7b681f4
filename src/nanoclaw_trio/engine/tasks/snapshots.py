"""What an agent is told of tasks and chats before its run, out of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoclaw_trio.clock import iso_timestamp
from nanoclaw_trio.errors import HostError
from nanoclaw_trio.logs import log
from nanoclaw_trio.mailbox.snapshots import write_groups_snapshot, write_tasks_snapshot
from nanoclaw_trio.protocol.models import AvailableGroup, TaskSnapshot
from nanoclaw_trio.store.chats import chats
from nanoclaw_trio.store.groups import registrations
from nanoclaw_trio.store.tasks import tasks

if TYPE_CHECKING:
    from nanoclaw_trio.files import Owner
    from nanoclaw_trio.settings import Settings
    from nanoclaw_trio.store.database import Store, Transaction
    from nanoclaw_trio.store.models import Chat, Registration, Task


async def write_snapshots(
    store: Store, registration: Registration, *, settings: Settings, owner: Owner | None = None
) -> None:
    """Write current_tasks.json and available_groups.json for a group's agent (wire-formats 6).

    The main group's sees all tasks and chats, another's its own tasks and no chats. What is made
    belongs to `owner`, where there is one. A disk or a mailbox that refuses is logged, and keeps no
    run from starting: the agent has what it was told before, or nothing.
    """
    folder, is_main = registration.folder, registration.is_main
    try:
        tasks_now, groups_now = await store.transact(_read, registration)
        await write_tasks_snapshot(folder, is_main, tasks_now, settings=settings, owner=owner)
        await write_groups_snapshot(folder, is_main, groups_now, settings=settings, owner=owner)
    except (HostError, OSError) as error:
        log.warning("snapshots not written", group=folder, why=str(error))


def _read(
    tx: Transaction, registration: Registration
) -> tuple[tuple[TaskSnapshot, ...], tuple[AvailableGroup, ...]]:
    own = None if registration.is_main else registration.folder
    shown = tuple(map(task_snapshot, tasks(tx, own)))
    return shown, available_groups(chats(tx), registrations(tx)) if registration.is_main else ()


def task_snapshot(task: Task) -> TaskSnapshot:
    """A task as an agent sees it."""
    return TaskSnapshot(
        id=task.id,
        group_folder=task.folder,
        prompt=task.prompt,
        schedule_type=task.schedule_type,
        schedule_value=task.schedule_value,
        status=task.status.value,
        next_run=None if task.next_run is None else iso_timestamp(task.next_run),
    )


def available_groups(
    known: tuple[Chat, ...], registered: tuple[Registration, ...]
) -> tuple[AvailableGroup, ...]:
    """The chats that could be registered, and those that are; in the order of their activity.

    A registered chat that was never heard from comes last, under its group's name.
    """
    names = {registration.jid: registration.group.name for registration in registered}
    heard = tuple(
        AvailableGroup(
            jid=chat.jid,
            name=chat.name,
            last_activity="" if chat.last_activity is None else iso_timestamp(chat.last_activity),
            is_registered=chat.jid in names,
        )
        for chat in known
    )
    unheard = names.keys() - {chat.jid for chat in known}
    return heard + tuple(
        AvailableGroup(jid=jid, name=name, last_activity="", is_registered=True)
        for jid, name in names.items()
        if jid in unheard
    )
