"""One client's connection: what is written to it, and the deliveries that are in its hands."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import trio
from attrs import define, field

from nanoclaw_trio.cli.records import delivery_record
from nanoclaw_trio.engine.chat.bridge import Undeliverable
from nanoclaw_trio.engine.notifier import Notifier
from nanoclaw_trio.protocol.json_text import dump_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from nanoclaw_trio.store.models import Delivery

BACKLOG: Final = 64
"""Lines that wait for a client to read them. Then whoever answers it waits, and what may be
dropped, is."""

WORD_BOUND: Final = 60.0
"""Seconds for a client's word on the delivery that it has had longest, if another could have it."""

UNREAD_BOUND: Final = 1.0
"""Seconds more, in which a word is read that came in time."""


@define
class Handover:
    """A delivery in a client's hands. Without a verdict when it is settled, it was lost."""

    settled: trio.Event = field(factory=trio.Event)
    delivered: bool = False
    refusal: str | None = None


class Connection:
    """A client, and what it was given.

    Run :meth:`write` and :meth:`silence` meanwhile; call :meth:`close` when nothing more comes from
    it.
    """

    def __init__(self, stream: trio.abc.SendStream) -> None:
        self._stream = stream
        self._sender, self._receiver = trio.open_memory_channel[bytes](BACKLOG)
        self._handovers: dict[str, Handover] = {}
        self._handed_over = Notifier()

    async def write(self) -> None:
        """Write what is to be said until the connection is closed; a client that is gone ends it."""
        with self._receiver:
            async for line in self._receiver:
                try:
                    await self._stream.send_all(line)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return

    async def say(self, record: dict[str, Any]) -> None:
        """Say something; wait while the client doesn't read. Nothing happens if it is gone."""
        try:
            await self._sender.send(_line(record))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.lowlevel.checkpoint()

    def mention(self, record: dict[str, Any]) -> None:
        """Say something that isn't worth waiting for: a client that doesn't read won't hear it."""
        try:
            self._sender.send_nowait(_line(record))
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            return

    def say_last(self, record: dict[str, Any]) -> None:
        """As :meth:`mention`, and nothing else any more: not what waits to be written.

        A delivery among that would be said by this client and by the one that is given it next.
        """
        with suppress(trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
            while True:
                self._receiver.receive_nowait()
        self.mention(record)

    async def hand_over(self, delivery: Delivery) -> bool:
        """Give a delivery to the client, and wait for its word; False if it is gone without one.

        Raises:
            Undeliverable: the client says that it will never go.
        """
        handover = self._handovers[delivery.id] = Handover()
        self._handed_over.notify()
        try:
            await self.say({"type": "delivery", **delivery_record(delivery)})
            await handover.settled.wait()
        finally:
            self._handovers.pop(delivery.id, None)
            handover.settled.set()
        if handover.refusal is not None:
            raise Undeliverable(handover.refusal)
        return handover.delivered

    def settle(self, delivery_id: str, refusal: str | None = None) -> bool:
        """The client's word on a delivery; False if it has none of this id."""
        handover = self._handovers.pop(delivery_id, None)
        if handover is None:
            return False
        handover.delivered, handover.refusal = refusal is None, refusal
        handover.settled.set()
        return True

    async def silence(self, *, may_last: Callable[[], bool]) -> str:
        """Wait until the client has said nothing about a delivery for too long; the delivery's id.

        Each has WORD_BOUND from its handing over, or from when those before it were settled. When
        that has passed `may_last` says whether it has as long once more.
        """
        while True:
            while not self._handovers:
                await self._handed_over.wait()
            delivery_id, handover = next(iter(self._handovers.items()))
            # Twice: where this process itself stood still, the word lies there unread.
            for seconds in (WORD_BOUND, UNREAD_BOUND):
                with trio.move_on_after(seconds):
                    await handover.settled.wait()
            if not (handover.settled.is_set() or may_last()):
                return delivery_id

    def close(self) -> None:
        """Nothing more comes from the client: what it has in its hands is lost.

        What was said to it before is still written.
        """
        self._sender.close()
        for handover in self._handovers.values():
            handover.settled.set()
        self._handovers.clear()


def _line(record: dict[str, Any]) -> bytes:
    return dump_json(record) + b"\n"
