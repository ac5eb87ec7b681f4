"""The engine as a bridge holds it: messages in, groups, statistics."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.background import start_protected
from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.chat.incoming import check_message, mend_message
from nanoclaw_trio.engine.chat.reception import Reception, receive
from nanoclaw_trio.engine.picture import Survey, survey, take_picture
from nanoclaw_trio.engine.supervision import STORE_DELAY
from nanoclaw_trio.engine.tasks.engine_tasks import EngineTasks
from nanoclaw_trio.errors import (
    EngineClosed,
    GroupUnknown,
    InputError,
    InvalidContainerInput,
    NanoclawError,
)
from nanoclaw_trio.logs import log
from nanoclaw_trio.store import chats, groups, messages
from nanoclaw_trio.store.models import ChatMessage
from nanoclaw_trio.workspace.folders import validate_group_folder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nanoclaw_trio.engine.context import EngineContext
    from nanoclaw_trio.engine.dispatcher import Dispatcher
    from nanoclaw_trio.engine.gate import Gate
    from nanoclaw_trio.engine.statistics import EngineStatistics
    from nanoclaw_trio.protocol.models import ContainerInput, RegisteredGroup
    from nanoclaw_trio.store.database import Transaction
    from nanoclaw_trio.store.models import Chat, Registration
    from nanoclaw_trio.workspace.senders import SenderFile

SUBMISSION_LIMIT: Final = 1000
"""Prompts that :meth:`Engine.submit_nowait` keeps in memory, until the store has them."""

SUBMISSION_RETRIES: Final = 10
"""How often one of them is tried again that meets with an error that nobody expects."""


class Engine:
    """Many groups: made by :func:`~nanoclaw_trio.open_engine`, within whose block it works.

    What it has taken is on the disk before the call returns: a process that is killed then loses
    none of it. All methods raise :class:`~nanoclaw_trio.StoreFailed` where the disk refuses; then
    nothing was taken. Cancelled, a call is done whole or not at all.

    Attributes:
        tasks: The scheduled tasks.
    """

    def __init__(
        self,
        context: EngineContext,
        dispatcher: Dispatcher,
        gate: Gate,
        senders: SenderFile,
    ) -> None:
        self.tasks = EngineTasks(context)
        self._context = context
        self._dispatcher = dispatcher
        self._gate = gate
        self._senders = senders
        self._is_open = True
        self._submissions: trio.MemorySendChannel[tuple[RegisteredGroup, ContainerInput]]
        self._submitted: trio.MemoryReceiveChannel[tuple[RegisteredGroup, ContainerInput]]
        self._submissions, self._submitted = trio.open_memory_channel(SUBMISSION_LIMIT)
        self._to_submit = 0
        self._seen = Survey()

    async def send_message(self, message: ChatMessage) -> Reception:
        """Hand in what somebody said in a chat.

        It goes to the group that is registered for the chat: into its container, if one runs, or
        into its next run. What is said upon it comes by :meth:`Bridge.deliver`.

        Raises:
            InputError: the message can't be taken as it is; says why.
            EngineClosed: the engine is ending; keep it for the next one.
        """
        self._require_open()
        check_message(message)
        received = await self._context.store.transact(
            receive,
            mend_message(message),
            senders=self._senders,
            assistant_name=self._context.settings.assistant_name,
            now=utc_now(),
        )
        if received.reception in {Reception.ACCEPTED, Reception.CONTEXT} and received.folder:
            is_owed = received.reception is Reception.ACCEPTED
            self._note_accepted(received.folder, message.chat_jid, message.id, is_owed=is_owed)
        return received.reception

    async def submit(self, group: RegisteredGroup | str, container_input: ContainerInput) -> str:
        """Hand in a prompt of your own making for a registered group; its id.

        It is asked as it is, in its turn among the group's messages, and answered in the chat that
        `container_input` names; the answer's `in_reply_to` has the id. One with pictures, or with a
        session of its own, gets a run of its own.

        Raises:
            GroupUnknown: there is no such group.
            InvalidContainerInput: the input is another group's.
            EngineClosed: the engine is ending.
        """
        self._require_open()
        return await self._submit(group, container_input)

    async def _submit(self, group: RegisteredGroup | str, container_input: ContainerInput) -> str:
        folder = group if isinstance(group, str) else group.folder
        if container_input.group_folder != folder:
            raise InvalidContainerInput(f"not the group's folder {folder!r} @ $.groupFolder")
        message = ChatMessage(
            chat_jid=container_input.chat_jid,
            id=f"prompt-{secrets.token_hex(8)}",
            sender="",
            sender_name="",
            text=container_input.prompt,
            timestamp=utc_now(),
        )
        await self._context.store.transact(_accept_prompt, message, folder, container_input)
        self._note_accepted(folder, message.chat_jid, message.id, is_owed=True)
        return message.id

    def submit_nowait(self, group: RegisteredGroup, container_input: ContainerInput) -> None:
        """The same without waiting for the disk, for code that can't: kept in memory until then.

        What :meth:`submit` would refuse is logged; a disk that refuses is tried again.

        Raises:
            trio.WouldBlock: too many wait for the disk already.
            EngineClosed: the engine is ending.
        """
        self._require_open()
        self._submissions.send_nowait((group, container_input))
        self._to_submit += 1

    async def take_submissions(self) -> None:
        """Write down what :meth:`submit_nowait` took, until cancelled. The engine's own."""
        async for group, container_input in self._submitted:
            try:
                await self._submit_surely(group, container_input)
            finally:
                self._to_submit -= 1
            self._dispatcher.wake()

    async def _submit_surely(self, group: RegisteredGroup, container_input: ContainerInput) -> None:
        unexpected = 0
        while True:  # noqa: ASYNC913 - writing down is a cancel point
            try:
                await self._submit(group, container_input)
            except InputError as error:
                log.error("submission refused", group=group.folder, why=str(error))
            except Exception as error:  # noqa: BLE001 - out of memory, say: it isn't lost for that
                # One that meets with a bug each time must not hold up all that come after it.
                unexpected += not isinstance(error, NanoclawError)
                if unexpected <= SUBMISSION_RETRIES:
                    why = str(error) or type(error).__name__
                    log.warning("submission waits for the store", group=group.folder, why=why)
                    await trio.sleep(STORE_DELAY)
                    continue
                log.error("submission given up", group=group.folder, exc_info=error)
            return

    async def register_group(self, registration: Registration) -> None:
        """Have a group answer in a chat; one that is registered for this chat already is changed.

        Raises:
            InvalidGroupFolder: the folder's name isn't allowed.
            InvalidChatAddress: the chat's address can't be one.
            GroupConflict: the chat or the folder is another's, or there is another main group.
        """
        validate_group_folder(registration.folder)
        # Not looked around for it: with many groups that takes longer the more there are.
        has_work = await self._context.store.transact(_register, registration)
        self._seen = self._seen.with_group(registration)
        self._context.intake.look_again()
        self._dispatcher.reconsider(registration.folder)
        if has_work:
            self._dispatcher.messages_came(registration.folder)

    async def unregister_group(self, folder: str) -> bool:
        """Have a group answer no more; whether there was one. Its files and tasks stay.

        A run under way ends after its query.
        """
        known = await self._context.store.transact(groups.unregister, folder)
        self._dispatcher.reconsider(folder)
        await self.close_group(folder)
        return known

    async def groups(self) -> tuple[Registration, ...]:
        """All registered groups, by folder."""
        return await self._context.store.transact(groups.registrations)

    async def note_chat(self, chat: Chat) -> None:
        """Tell of a chat that could be registered, so that the main group's agent can see it."""
        await self._context.store.transact(chats.note_chat, chat)

    async def close_group(self, folder: str) -> None:
        """Let a group's agent end once it has answered what it has; nothing happens without one.

        Messages that come after that begin the next run.
        """
        run = self._dispatcher.live.get(folder)
        if run is not None:
            run.yield_place()

    def hurry(self) -> None:
        """Kill what is being stopped, without the graces: for a person who asked a second time."""
        for live in self._dispatcher.live.values():
            if live.run is not None:  # pragma: no branch - one that is just starting
                live.run.hurry()

    def set_limit(self, limit: int) -> None:
        """Change how many containers run at a time. InputError if it is below 1."""
        self._dispatcher.queue.limit = limit
        self._dispatcher.wake()

    async def look_around(self) -> None:
        """Look at the store anew: for the statistics, and for what commands have changed."""
        self._seen = await self._context.store.transact(survey)
        self._dispatcher.reconsider_all(self._seen.registrations)
        for folder in self._seen.waiting:
            self._dispatcher.messages_came(folder)

    async def refresh_statistics(self) -> EngineStatistics:
        """As :meth:`statistics`, with the store as it is now."""
        await self.look_around()
        return self.statistics()

    def statistics(self) -> EngineStatistics:
        """A frozen picture of the engine.

        What is in the store is as it was at the last look, of some seconds ago.
        """
        return take_picture(
            self._context, self._dispatcher, self._gate, self._seen, is_accepting=self._is_open
        )

    async def drain(self) -> None:
        """Take nothing more, and wait until all is answered and said that can be.

        What waits for a runtime that is down, for a retry or for a bridge that fails isn't waited
        for: it is in the store. Cancelled, it may be called again.
        """
        self._is_open = False
        self._dispatcher.drain()
        while not self._is_quiet:
            async with trio.open_nursery() as nursery:
                for part in (self._dispatcher, self._context.outbox):
                    # The event of now: in the first step of its task it may be another already.
                    start_protected(nursery, _cancel_after, part.changed.wait, nursery.cancel_scope)

    @property
    def _is_quiet(self) -> bool:
        context = self._context
        return not self._to_submit and self._dispatcher.is_quiet and context.outbox.is_quiet

    def close(self) -> None:
        """Take nothing more: the block is left. The engine's own."""
        self._is_open = False

    def _require_open(self) -> None:
        if not self._is_open:
            raise EngineClosed

    def _note_accepted(self, folder: str, chat_jid: str, id_: str, *, is_owed: bool) -> None:
        self._context.journal.note(
            "message_accepted", chat=chat_jid, id=id_, folder=folder, owed=is_owed
        )
        self._context.tally.count("messages_accepted")
        if is_owed:
            self._dispatcher.messages_came(folder)


def _register(tx: Transaction, registration: Registration) -> bool:
    """Whether messages of the group wait already."""
    groups.register(tx, registration)
    return messages.has_work(tx, registration.folder)


def _accept_prompt(
    tx: Transaction, message: ChatMessage, folder: str, container_input: ContainerInput
) -> None:
    if groups.by_folder(tx, folder) is None:
        raise GroupUnknown(folder)
    messages.accept(
        tx, message, folder, is_owed=True, received_at=message.timestamp, prompt=container_input
    )


async def _cancel_after(wait: Callable[[], Awaitable[object]], scope: trio.CancelScope) -> None:
    await wait()
    scope.cancel()
