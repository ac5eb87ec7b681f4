"""The parts of an engine, and how they hang together.

Each part knows the ones that it needs by their methods, and none that uses it: what goes the other
way goes by the callbacks that are tied here.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.background import open_background_nursery, start_protected
from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.chat.outbox import Outbox
from nanoclaw_trio.engine.context import EngineContext
from nanoclaw_trio.engine.dispatcher import Dispatcher
from nanoclaw_trio.engine.engine import Engine
from nanoclaw_trio.engine.gate import Gate
from nanoclaw_trio.engine.keeper import Keeper
from nanoclaw_trio.engine.queue.state import Hold
from nanoclaw_trio.engine.recovery import forget_old
from nanoclaw_trio.engine.requests.intake import Intake
from nanoclaw_trio.engine.runs.run_journal import note_delivery
from nanoclaw_trio.engine.statistics import Tally
from nanoclaw_trio.engine.supervision import supervise
from nanoclaw_trio.engine.tasks.scheduler import Scheduler
from nanoclaw_trio.engine.tasks.snapshots import write_snapshots
from nanoclaw_trio.logs import log
from nanoclaw_trio.run.host import this_process
from nanoclaw_trio.store import chats, groups
from nanoclaw_trio.workspace.senders import SenderFile, sender_allowlist_path

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from nanoclaw_trio.engine.chat.bridge import Bridge
    from nanoclaw_trio.engine.journal.journal import Journal
    from nanoclaw_trio.engine.requests.taken_in import TakenIn
    from nanoclaw_trio.proxy.service import CredentialProxy
    from nanoclaw_trio.runtimes.abc import ContainerRuntime
    from nanoclaw_trio.settings import Settings
    from nanoclaw_trio.store.database import Store, Transaction
    from nanoclaw_trio.store.models import Chat, Delivery

ERRANDS_LIMIT: Final = 100
"""Errands of agents that wait for a slow bridge, at most; those that come then are left out."""

FORGET_INTERVAL: Final = 86_400.0
"""Seconds between two times that what is long done is deleted from the store."""

STOP_BOUND: Final = 10.0
"""Seconds, on top of the stop ladder's own, for containers of runs that were cut off at the end."""


class EngineParts:
    """All that makes one engine.

    Attributes:
        context: What the parts share.
        engine: What the bridge holds.
    """

    def __init__(
        self,
        settings: Settings,
        runtime: ContainerRuntime,
        bridge: Bridge,
        *,
        store: Store,
        journal: Journal,
        sweep_interval: float,
        reap_interval: float,
        proxy: CredentialProxy | None = None,
    ) -> None:
        """`sweep_interval` and `reap_interval` in seconds."""
        tally = Tally()
        self._sweep_interval = sweep_interval
        self.context = context = EngineContext(
            settings=settings,
            runtime=runtime,
            bridge=bridge,
            store=store,
            journal=journal,
            tally=tally,
            intake=Intake(
                store,
                settings,
                tell=self._took_in,
                on_said=self._note_said,
                sweep_interval=sweep_interval,
            ),
            outbox=Outbox(store, bridge, journal, tally, on_room=self._room_came),
            scheduler=Scheduler(store, sweep=sweep_interval),
            proxy=proxy,
            owner=this_process(),
        )
        self._keeper = Keeper(
            settings,
            runtime,
            journal,
            tally,
            interval=reap_interval,
            on_hold=self._hold,
            on_release=self._release,
        )
        self._gate = Gate(
            settings, runtime, bridge, journal, prepare=self._keeper.reap, on_change=self._wake
        )
        self._dispatcher = Dispatcher(context, self._gate, self._keeper)
        senders = SenderFile(sender_allowlist_path(settings.allowlist_path))
        self.engine = Engine(context, self._dispatcher, self._gate, senders)
        self._errands: trio.MemorySendChannel[TakenIn]
        self._errands_to_run: trio.MemoryReceiveChannel[TakenIn]
        self._errands, self._errands_to_run = trio.open_memory_channel(ERRANDS_LIMIT)

    # Protected, since what is left is stopped in the task of whoever opened the engine.
    @asynccontextmanager
    @trio.lowlevel.enable_ki_protection
    async def serving(self) -> AsyncGenerator[Engine]:
        """Within, everything goes on by itself; afterwards no container is left."""
        scheduler, dispatcher = self.context.scheduler, self._dispatcher
        try:
            async with open_background_nursery() as nursery:
                for name, body in (
                    ("gate", self._gate.run),
                    ("dispatcher", dispatcher.run),
                    ("outbox", self.context.outbox.run),
                    ("intake", self.context.intake.run),
                    ("scheduler", partial(scheduler.run, dispatcher.task_due)),
                    ("reaper", self._keeper.reap_periodically),
                    ("quarantine", self._keeper.settle_held),
                    ("sweep", self._sweep),
                    ("forgetting", self._forget),
                    ("errands", self._run_errands),
                    ("submissions", self.engine.take_submissions),
                ):
                    start_protected(nursery, supervise, name, body)
                yield self.engine
        finally:
            self.engine.close()
            await self._stop_what_is_left()  # noqa: ASYNC102 - it shields itself, within a bound

    async def _stop_what_is_left(self) -> None:
        """Of runs that were cut off, see the containers gone; the ladder was down once already."""
        doubts = {*self._dispatcher.doubts, *self._keeper.held}
        if not doubts:
            return
        bound = trio.current_time() + self._keeper.bound + STOP_BOUND
        with trio.CancelScope(shield=True, deadline=bound):
            await self._stop_all(doubts)

    async def _stop_all(self, containers: Iterable[str]) -> None:
        async with trio.open_nursery() as nursery:
            for container in containers:
                start_protected(nursery, self._keeper.stop, container)

    async def _forget(self) -> None:
        while True:
            await trio.sleep(FORGET_INTERVAL)
            await self.context.store.transact(forget_old, utc_now())

    async def _sweep(self) -> None:
        """Notice what other processes have written into the store: commands, for the most part."""
        while True:
            await self.engine.look_around()
            await trio.sleep(self._sweep_interval)

    # Who tells whom

    def _wake(self) -> None:
        self._dispatcher.wake()

    def _hold(self, folder: str) -> None:
        self._dispatcher.queue.hold(folder, Hold.CONTAINER)

    def _release(self, folder: str) -> None:
        self._dispatcher.queue.release(folder, Hold.CONTAINER)
        self._dispatcher.wake()

    def _room_came(self, chat_jid: str) -> None:
        self._dispatcher.room_came(chat_jid)
        self.context.intake.room_came()

    def _note_said(self, delivery: Delivery) -> None:
        self.context.tally.count("agent_messages")
        note_delivery(self.context.journal, delivery)

    def _took_in(self, taken: TakenIn) -> None:
        tally = self.context.tally
        tally.count("requests_handled", taken.done)
        tally.count("requests_refused", taken.refused)
        tally.count("requests_broken", taken.broken)
        for chat_jid in taken.chats:
            self.context.outbox.nudge(chat_jid)
        for chat_jid in taken.full_chats:
            self.context.outbox.tell_of_room(chat_jid)
        for registration in taken.registered:
            self._dispatcher.reconsider(registration.folder)
        if taken.tasks_changed:
            self.context.scheduler.nudge()
        if taken.registered or taken.list_chats:
            try:
                self._errands.send_nowait(taken)
            except trio.WouldBlock:
                log.warning("bridge not asked: it is slow", group=taken.folder)

    async def _run_errands(self) -> None:
        """What agents want of the bridge, one after the other, apart from their runs."""
        async for taken in self._errands_to_run:
            try:
                for registration in taken.registered:
                    await self.context.bridge.group_registered(registration)
                if taken.list_chats:
                    await self._list_chats(taken.folder)
            except Exception as error:  # noqa: BLE001 - a bridge's failure is no failure of ours
                log.warning("bridge failed", group=taken.folder, why=str(error))

    async def _list_chats(self, folder: str) -> None:
        """Ask the bridge for its chats, and show them to the group's agent."""
        listed = await self.context.bridge.list_chats()
        await self.context.store.transact(_note_chats, listed)
        registration = await self.context.store.transact(groups.by_folder, folder)
        if registration is not None:
            await write_snapshots(
                self.context.store,
                registration,
                settings=self.context.settings,
                owner=self.context.runtime.workspace_owner(),
            )


def _note_chats(tx: Transaction, listed: Sequence[Chat]) -> None:
    for chat in listed:
        chats.note_chat(tx, chat)
