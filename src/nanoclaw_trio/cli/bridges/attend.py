"""A client of the socket: its requests are heard and answered, one after the other."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import trio

from nanoclaw_trio.background import open_background_nursery
from nanoclaw_trio.cli.bridges.answers import answer, error_record, with_ref
from nanoclaw_trio.cli.bridges.connection import WORD_BOUND, Connection
from nanoclaw_trio.cli.bridges.cutter import LineCutter, TooLong
from nanoclaw_trio.cli.bridges.requests import (
    AnyRequest,
    ChatsRequest,
    DeliveredRequest,
    InvalidRequest,
    SubscribeRequest,
    UndeliverableRequest,
    decode_request,
    told_chats,
)
from nanoclaw_trio.cli.failure import unwrap
from nanoclaw_trio.errors import InputError
from nanoclaw_trio.logs import log

if TYPE_CHECKING:
    from nanoclaw_trio.cli.bridges.front import Front
    from nanoclaw_trio.cli.bridges.socket import SocketBridge

LAST_WORDS_BOUND: Final = 5.0
"""Seconds for a client that says nothing more to read the answers to what it said."""


class UnknownDelivery(InvalidRequest):
    """A client's word on a delivery that isn't in its hands."""

    def __init__(self, delivery_id: str, ref: str | None) -> None:
        super().__init__(f"delivery {delivery_id!r} isn't in this connection's hands @ $.id", ref)


class SilentSubscriber(InputError):
    """A client has said nothing about a delivery, and another one is there to take it."""

    def __init__(self, delivery_id: str) -> None:
        super().__init__(
            f"nothing was said about delivery {delivery_id!r} for {WORD_BOUND:.0f} seconds, and "
            "another client has it now; connect again, and subscribe"
        )


async def attend(
    stream: trio.abc.Stream, *, bridge: SocketBridge, engine: Front, trigger: str
) -> None:
    """Serve one client until it goes, or we are cancelled. Raises nothing but Cancelled.

    It has a reader and a writer of its own: one that is slow slows itself. `trigger` is the word
    that addresses the assistant in a group that is registered without one.
    """
    client = Client(stream, bridge, engine, trigger)
    try:
        await client.serve()
    except Exception as raised:  # noqa: BLE001 - one client's failure isn't the others'
        log.error("connection failed", exc_info=unwrap(raised))


class Client:
    """One client, and what it is about."""

    def __init__(
        self, stream: trio.abc.Stream, bridge: SocketBridge, engine: Front, trigger: str
    ) -> None:
        self._stream = stream
        self._bridge = bridge
        self._engine = engine
        self._trigger = trigger
        self._connection = Connection(stream)
        self._is_answering = False

    async def serve(self) -> None:
        """Hear it and answer it, until it is gone."""
        async with self._stream, trio.open_nursery() as nursery:
            nursery.start_soon(self._write, nursery.cancel_scope)
            try:
                await self._hear_out()
            finally:
                self._bridge.forget(self._connection)
            # It may have closed its sending side only, and read the last answers still.
            nursery.cancel_scope.deadline = trio.current_time() + LAST_WORDS_BOUND

    async def _write(self, scope: trio.CancelScope) -> None:
        await self._connection.write()
        # Said all, or nobody reads it any more: either way there is nothing left to listen for.
        scope.cancel()

    async def _hear_out(self) -> None:
        """Do what it asks for, until it is gone, or has been silent about a delivery for too long."""
        async with open_background_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            with suppress(trio.BrokenResourceError):
                await self._listen()

    async def _watch(self, hearing: trio.CancelScope) -> None:
        delivery_id = await self._connection.silence(may_last=self._may_be_silent)
        log.warning("silent subscriber closed", id=delivery_id)
        self._connection.say_last(error_record(SilentSubscriber(delivery_id)))
        hearing.cancel()

    def _may_be_silent(self) -> bool:
        # Its word may stand behind a request that the engine is still at.
        return self._is_answering or not self._bridge.has_another(self._connection)

    async def _listen(self) -> None:
        cutter = LineCutter()
        async for data in self._stream:
            for line in cutter.receive_data(bytes(data)):
                await self._hear(line)
        for line in cutter.receive_end():
            await self._hear(line)

    async def _hear(self, line: bytes | TooLong) -> None:
        if not line:
            return
        try:
            request = _read(line)
        except InvalidRequest as error:
            await self._connection.say(with_ref(error_record(error), error.ref))
            return
        try:
            record = await self._answer(request)
        except Exception as error:  # noqa: BLE001 - the connection goes on, whatever it was
            record = error_record(error, request)
        if record is not None:
            await self._connection.say(with_ref(record, request.ref))

    async def _answer(self, request: AnyRequest) -> dict[str, Any] | None:
        match request:
            case SubscribeRequest():
                self._bridge.subscribe(self._connection)
                return {"type": "subscribed"}
            case DeliveredRequest():
                self._settle(request)
                return None
            case UndeliverableRequest():
                self._settle(request, request.why)
                return None
            case ChatsRequest():
                chats = told_chats(request)
                self._bridge.note_chats(chats)
                return {"type": "noted", "chats": len(chats)}
            case _:
                self._is_answering = True
                try:
                    return await answer(request, self._engine, trigger=self._trigger)
                finally:
                    self._is_answering = False

    def _settle(
        self, request: DeliveredRequest | UndeliverableRequest, refusal: str | None = None
    ) -> None:
        if not self._connection.settle(request.id, refusal):
            raise UnknownDelivery(request.id, request.ref)


def _read(line: bytes | TooLong) -> AnyRequest:
    if isinstance(line, TooLong):
        raise InvalidRequest(f"the line has more than {line.limit} bytes; send less at a time")
    return decode_request(line)
