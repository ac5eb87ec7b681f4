"""What an agent asked of the host, carried out: one request in one transaction."""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from nanoclaw_trio.engine.chat.backlog import require_room
from nanoclaw_trio.engine.requests.authorization import RequestRefused, authorize
from nanoclaw_trio.engine.requests.registrations import GroupWish, make_registration
from nanoclaw_trio.engine.requests.taken_in import TakenIn
from nanoclaw_trio.engine.tasks import changes as task_changes
from nanoclaw_trio.engine.tasks.changes import UnknownTask
from nanoclaw_trio.errors import GroupUnknown, InputError
from nanoclaw_trio.mailbox.requests import (
    CancelTask,
    PauseTask,
    RefreshGroups,
    RegisterGroup,
    ResumeTask,
    ScheduleTask,
    SendMessage,
    UpdateTask,
)
from nanoclaw_trio.store import deliveries, groups, requests, tasks
from nanoclaw_trio.store.models import Delivery, DeliveryKind
from nanoclaw_trio.store.rows import to_json
from nanoclaw_trio.workspace.confinement import find_widening, with_confinement
from nanoclaw_trio.workspace.folders import validate_group_folder

if TYPE_CHECKING:
    from datetime import datetime

    from nanoclaw_trio.mailbox.requests import Request
    from nanoclaw_trio.protocol.models import ContainerConfig
    from nanoclaw_trio.store.database import Transaction
    from nanoclaw_trio.store.models import Registration


SENDER_LIMIT: Final = 200
"""Characters of the name under which an agent says something; the rest is cut off."""

GROUPS_LIMIT: Final = 250
"""Groups up to which agents register new ones. Each look at the mailboxes goes over all of them; the
command line adds any number."""

REGISTRATION_LIMIT: Final = 64 * 1024
"""Bytes of what an agent registers for a group, in JSON: its name, its trigger, its mounts."""


class UnknownChat(InputError):
    """A task was to be scheduled for a chat that no group is registered for."""

    def __init__(self) -> None:
        super().__init__("no group is registered for the chat @ $.targetJid; register one first")


class InvalidRegistration(InputError):
    """An agent's request can't be what a group is registered as; the text says why not."""


@frozen(kw_only=True)
class ReceivedRequest:
    """A request, and how it came.

    Attributes:
        request: What is asked.
        folder: The group in whose mailbox it lay, whatever it says itself.
        name: Its file's, with the directory before it: `messages/x.json`.
        zone: The time zone of schedules, an IANA name.
        now: The moment.
    """

    request: Request
    folder: str
    name: str
    zone: str
    now: datetime


@frozen(kw_only=True)
class Applied:
    """What came of one request, and what an agent said by it, if it did."""

    taken: TakenIn
    said: Delivery | None = None


def apply_request(tx: Transaction, received: ReceivedRequest) -> Applied:
    """Carry a request out, unless that was done before; what came of it.

    Raises:
        GroupUnknown: the group in whose mailbox it lay isn't registered.
        RequestRefused: the group may not ask for this.
        InputError: nobody could have success with it.
        ChatFull: it is something to be said, in a chat where no more may wait.
    """
    sender = groups.by_folder(tx, received.folder)
    if sender is None:
        raise GroupUnknown(received.folder)
    if requests.was_handled(tx, received.folder, received.name):
        return Applied(taken=TakenIn(folder=received.folder))
    requests.note_handled(tx, received.folder, received.name)
    return _apply(tx, received, sender)


def _apply(tx: Transaction, received: ReceivedRequest, sender: Registration) -> Applied:
    said, done = None, TakenIn(folder=received.folder, done=1)
    match received.request:
        case SendMessage() as request:
            said = _send_message(tx, request, received, sender)
            done = evolve(done, chats=frozenset({said.chat_jid}))
        case RefreshGroups() as request:
            authorize(request, sender, owner=None)
            done = evolve(done, list_chats=True)
        case RegisterGroup() as request:
            done = evolve(done, registered=(_register(tx, request, received, sender),))
        case ScheduleTask() as request:
            _schedule(tx, request, received, sender)
            done = evolve(done, tasks_changed=True)
        case request:
            authorize(request, sender, owner=_owner_of(tx, request.task_id))
            _change_task(tx, request, received)
            done = evolve(done, tasks_changed=True)
    return Applied(taken=done, said=said)


def _send_message(
    tx: Transaction, request: SendMessage, received: ReceivedRequest, sender: Registration
) -> Delivery:
    target = groups.by_jid(tx, request.chat_jid)
    authorize(request, sender, owner=None if target is None else target.folder)
    groups.check_chat_address(request.chat_jid)
    require_room(tx, request.chat_jid)
    delivery = Delivery(
        # An agent may give a later file the name of one that was taken and deleted.
        id=f"{received.folder}/{received.name}~{token_hex(8)}",
        kind=DeliveryKind.MESSAGE,
        chat_jid=request.chat_jid,
        group_folder=received.folder,
        text=request.text,
        sender=(request.sender or "")[:SENDER_LIMIT] or None,
        created_at=received.now,
    )
    deliveries.record(tx, delivery)
    return delivery


def _schedule(
    tx: Transaction, request: ScheduleTask, received: ReceivedRequest, sender: Registration
) -> None:
    target = groups.by_jid(tx, request.target_jid)
    authorize(request, sender, owner=None if target is None else target.folder)
    if target is None:
        raise UnknownChat
    task_changes.schedule_task(
        tx,
        id=request.task_id,
        registration=target,
        prompt=request.prompt,
        schedule_type=request.schedule_type,
        schedule_value=request.schedule_value,
        context_mode=request.context_mode,
        zone=received.zone,
        now=received.now,
    )


def _owner_of(tx: Transaction, task_id: str) -> str:
    task = tasks.get(tx, task_id)
    if task is None:
        raise UnknownTask(task_id)
    return task.folder


def _change_task(
    tx: Transaction,
    request: PauseTask | ResumeTask | CancelTask | UpdateTask,
    received: ReceivedRequest,
) -> None:
    zone, now = received.zone, received.now
    match request:
        case PauseTask():
            task_changes.pause_task(tx, request.task_id)
        case ResumeTask():
            task_changes.resume_task(tx, request.task_id, zone=zone, now=now)
        case CancelTask():
            task_changes.cancel_task(tx, request.task_id)
        case update:
            task_changes.update_task(
                tx,
                update.task_id,
                prompt=update.prompt,
                schedule_type=update.schedule_type,
                schedule_value=update.schedule_value,
                zone=zone,
                now=now,
            )


def _register(
    tx: Transaction, request: RegisterGroup, received: ReceivedRequest, sender: Registration
) -> Registration:
    authorize(request, sender, owner=None)
    validate_group_folder(request.folder)
    known = groups.by_jid(tx, request.jid)
    held = _config_of(known)
    widening = find_widening(request.container_config, held)
    if widening is not None:
        raise RequestRefused(widening)
    wish = GroupWish(
        jid=request.jid,
        folder=request.folder,
        name=request.name,
        trigger=request.trigger,
        requires_trigger=request.requires_trigger,
        # A file makes no group the main one, and no group cease to be it.
        is_main=None,
        container_config=with_confinement(request.container_config, held),
    )
    registration = make_registration(wish, known, trigger=request.trigger, now=received.now)
    if known is None and groups.count(tx) >= GROUPS_LIMIT:
        raise InvalidRegistration(f"there are {GROUPS_LIMIT} groups already; unregister one first")
    size = len(to_json(registration.group).encode())
    if size > REGISTRATION_LIMIT:
        raise InvalidRegistration(
            f"a group's registration is too long: it has {size} bytes in JSON, and "
            f"{REGISTRATION_LIMIT} are allowed"
        )
    groups.register(tx, registration)
    return registration


def _config_of(known: Registration | None) -> ContainerConfig | None:
    return None if known is None else known.group.container_config
