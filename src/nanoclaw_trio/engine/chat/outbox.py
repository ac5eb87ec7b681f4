"""What is to be said in chats: from the store to the bridge, each chat's in order."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.background import start_protected
from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.chat import backlog
from nanoclaw_trio.engine.chat.bridge import Undeliverable
from nanoclaw_trio.engine.notifier import Notifier
from nanoclaw_trio.engine.supervision import supervise
from nanoclaw_trio.logs import log
from nanoclaw_trio.store import deliveries

if TYPE_CHECKING:
    from collections.abc import Callable

    from nanoclaw_trio.engine.chat.bridge import Bridge
    from nanoclaw_trio.engine.journal.journal import Journal
    from nanoclaw_trio.engine.statistics import Tally
    from nanoclaw_trio.store.database import Store
    from nanoclaw_trio.store.models import Delivery

FIRST_DELAY: Final = 5.0
LONGEST_DELAY: Final = 300.0
"""Seconds before what a bridge could not deliver is tried again: the first doubles up to the last."""

NOTE_BOUND: Final = 10.0
"""Seconds for the store to be told that something was delivered."""


class Outbox:
    """Delivers what the store holds, a task for each chat that has something waiting.

    A bridge that fails holds up its own chat and no other, and neither a run nor the engine: what
    is to be said stays in the store until the bridge has taken it.
    """

    def __init__(
        self,
        store: Store,
        bridge: Bridge,
        journal: Journal,
        tally: Tally,
        *,
        on_room: Callable[[str], None],
    ) -> None:
        """Nothing is delivered yet. `on_room` is told of a chat: see :meth:`tell_of_room`."""
        self._on_room = on_room
        self._full: set[str] = set()
        self._store = store
        self._bridge = bridge
        self._journal = journal
        self._tally = tally
        self._nudged: set[str] = set()
        self._active: set[str] = set()
        self._failing: set[str] = set()
        self._taken: set[str] = set()
        self._sender, self._receiver = trio.open_memory_channel[str](math.inf)
        self._changed = Notifier()
        self._has_begun = False

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is under way but what the bridge doesn't take."""
        return self._has_begun and (self._active | self._nudged) <= self._failing

    @property
    def changed(self) -> trio.Event:
        """Set when :attr:`is_quiet` may have become another than it is now."""
        return self._changed.event

    def nudge(self, chat_jid: str) -> None:
        """There is something new for a chat."""
        if chat_jid not in self._nudged and chat_jid not in self._active:
            self._sender.send_nowait(chat_jid)
        self._nudged.add(chat_jid)

    def tell_of_room(self, chat_jid: str) -> None:
        """A chat was full: say when there is room in it again, once."""
        self._full.add(chat_jid)
        # The room may have come just before this.
        self.nudge(chat_jid)

    async def run(self) -> None:
        """Deliver until cancelled; first what an earlier engine left."""
        for chat_jid in await self._store.transact(deliveries.chats_with_pending):
            self.nudge(chat_jid)
        self._has_begun = True
        self._changed.notify()
        async with trio.open_nursery() as nursery:
            async for chat_jid in self._receiver:
                if chat_jid not in self._active:  # pragma: no branch - told of twice, by a restart
                    self._active.add(chat_jid)
                    start_protected(nursery, self._serve, chat_jid)

    async def _serve(self, chat_jid: str) -> None:
        try:
            await supervise(f"outbox of {chat_jid}", lambda: self._deliver_all(chat_jid))
        finally:
            self._active.discard(chat_jid)
            self._failing.discard(chat_jid)
            self._changed.notify()

    async def _deliver_all(self, chat_jid: str) -> None:
        while chat_jid in self._nudged:
            self._nudged.discard(chat_jid)
            try:
                if await self._deliver_next(chat_jid):
                    self._nudged.add(chat_jid)
            except Exception:
                # What is left is there still, for when this is begun again.
                self._nudged.add(chat_jid)
                raise

    async def _deliver_next(self, chat_jid: str) -> bool:
        """Whether there was something, and so may be more."""
        # One at a time: each may take 60 MB, and a bridge that fails lets any number of them wait.
        waiting = await self._store.transact(deliveries.pending, chat_jid, limit=1)
        for delivery in waiting:
            await self._deliver(delivery)
        await self._look_for_room(chat_jid)
        return bool(waiting)

    async def _look_for_room(self, chat_jid: str) -> None:
        if chat_jid in self._full and await self._store.transact(
            backlog.has_room_for_run, chat_jid
        ):
            self._full.discard(chat_jid)
            self._on_room(chat_jid)

    async def _deliver(self, delivery: Delivery) -> None:
        delay = FIRST_DELAY
        while not await self._attempt(delivery):
            self._failing.add(delivery.chat_jid)
            self._changed.notify()
            await trio.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY)
        self._failing.discard(delivery.chat_jid)

    async def _attempt(self, delivery: Delivery) -> bool:
        """Whether this delivery is done with."""
        try:
            # Taken, and the store could not be told so: it isn't said twice for that.
            if delivery.id not in self._taken:
                await self._bridge.deliver(delivery)
        except Undeliverable as error:
            await self._give_up(delivery, str(error))
        except Exception as error:  # noqa: BLE001 - a bridge's failure is no failure of the engine
            self._tally.count("delivery_failures")
            log.warning("delivery failed", id=delivery.id, chat=delivery.chat_jid, why=str(error))
            return False
        else:
            return await self._note_delivered(delivery)
        return True

    async def _note_delivered(self, delivery: Delivery) -> bool:
        """Whether the store knows it now. Until it does, nothing says it again in this process."""
        self._taken.add(delivery.id)
        # A cancellation that comes just now must not have it said again after the next start.
        bound = trio.current_time() + NOTE_BOUND
        with trio.CancelScope(shield=True, deadline=bound):
            await self._store.transact(deliveries.mark_delivered, delivery.id, utc_now())
            self._taken.discard(delivery.id)
            self._tally.count("delivered")
            self._journal.note("delivered", id=delivery.id)
            return True
        log.warning("store not told of a delivery", id=delivery.id, chat=delivery.chat_jid)
        return False

    async def _give_up(self, delivery: Delivery, why: str) -> None:
        log.error("undeliverable", id=delivery.id, chat=delivery.chat_jid, why=why)
        await self._store.transact(deliveries.mark_undeliverable, delivery.id, utc_now(), why)
        self._journal.note("undeliverable", id=delivery.id, why=why)
