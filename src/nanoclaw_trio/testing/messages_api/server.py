"""The server: a listener, its connections, and who was asked what."""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import h11
import trio

from nanoclaw_trio.background import open_background_nursery
from nanoclaw_trio.testing.messages_api.answers import (
    answer_elsewhere,
    answer_error,
    answer_failure,
    answer_reply,
    checked_body,
    side_reply,
)
from nanoclaw_trio.testing.messages_api.connection import Answer, Connection
from nanoclaw_trio.testing.messages_api.models import ApiError, Hang, MessagesRequest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from nanoclaw_trio.testing.messages_api.connection import Call
    from nanoclaw_trio.testing.messages_api.models import DropConnection, Model, Reply


class MessagesApi:
    """A running imitation of the Messages API, and what it was asked.

    Attributes:
        host: The address on which it listens.
        port: Its port.
    """

    def __init__(self, model: Model, *, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._model = model
        self._requests: list[MessagesRequest] = []
        self._side_requests: list[MessagesRequest] = []
        self._waiting = trio.lowlevel.ParkingLot()
        self._failure: Exception | None = None

    @property
    def url(self) -> str:
        """What goes into ANTHROPIC_BASE_URL."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def requests(self) -> tuple[MessagesRequest, ...]:
        """The calls that the model was given, in the order of their arrival.

        A client that asks again is there again.
        """
        return tuple(self._requests)

    @property
    def side_requests(self) -> tuple[MessagesRequest, ...]:
        """The calls that the server answered itself, in the order of their arrival."""
        return tuple(self._side_requests)

    async def wait_for_requests(self, count: int) -> tuple[MessagesRequest, ...]:
        """Wait until the model was given that many calls, or more; all of them so far."""
        while len(self._requests) < count:
            await self._waiting.park()
        return self.requests

    async def _serve(self, stream: trio.SocketStream) -> None:
        connection = Connection(stream)
        with suppress(trio.BrokenResourceError):
            try:
                while await self._serve_call(connection) and connection.next_cycle():
                    pass
            except h11.RemoteProtocolError as error:
                await connection.refuse(error)

    async def _serve_call(self, connection: Connection) -> bool:
        """Answer the next call; whether the connection may go on."""
        call = await connection.receive()
        answer = None if call is None else await self._answer(call)
        if isinstance(answer, Answer):
            await connection.send(answer)
            return True
        if isinstance(answer, Hang):
            await connection.wait_for_hang_up()
        return False

    async def _answer(self, call: Call) -> Answer | Hang | DropConnection:
        if (call.method, call.path) != ("POST", "/v1/messages"):
            return answer_elsewhere(call)
        body = checked_body(call)
        if isinstance(body, ApiError):
            return answer_error(body)
        request = MessagesRequest(body=body, headers=call.headers)
        if request.is_side_request:
            self._side_requests.append(request)
            return answer_reply(request, side_reply(request))
        self._requests.append(request)
        self._waiting.unpark_all()
        return await self._answer_request(request)

    async def _answer_request(self, request: MessagesRequest) -> Answer | Hang | DropConnection:
        if self._failure is None:
            try:
                return answer_reply(request, await self._ask_model(request))
            except Exception as error:  # noqa: BLE001 - raised where the server was opened
                self._failure = error
        return answer_failure(self._failure)

    async def _ask_model(self, request: MessagesRequest) -> Reply:
        reply = self._model(request)
        return await reply if inspect.isawaitable(reply) else reply

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


@asynccontextmanager
async def open_messages_api(
    model: Model, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncGenerator[MessagesApi]:
    """Serve a scripted model on this machine until the block ends.

        async with open_messages_api(scripted(Text("Hello!"))) as api:
            ...  # something that has api.url as its ANTHROPIC_BASE_URL, and any ANTHROPIC_API_KEY
            assert api.requests[0].prompt == "Say hello"

    Any key will do, but there must be one. Calls that are under way when the block ends are
    dropped. When the model raises, or answers with something else than a reply, its client gets an
    error 400 and the model is asked no more; the exception is raised when the block ends, as it is,
    unless the block raises one itself.

    Args:
        model: Called for each turn of a conversation, in a task of the call's connection: an async
            one may wait for whatever it likes.
        host: The address to listen on: one that a container can reach, for an agent in there.
        port: The port; 0 for any that is free.

    Raises:
        OSError: The address can't be listened on.
    """
    listeners = await trio.open_tcp_listeners(port, host=host)
    api = MessagesApi(model, host=host, port=listeners[0].socket.getsockname()[1])
    async with open_background_nursery() as nursery:
        await nursery.start(trio.serve_listeners, api._serve, listeners)  # noqa: SLF001 - its own
        yield api
    api._raise_failure()  # noqa: SLF001 - its own
