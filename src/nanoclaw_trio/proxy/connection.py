"""An agent's connection: HTTP/1.1 by h11, requests in and answers out, each as it comes."""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import h11
import trio

from nanoclaw_trio.proxy.refusals import NOT_HTTP, TOO_LARGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nanoclaw_trio.proxy.bounds import Bounds
    from nanoclaw_trio.proxy.keys import Header
    from nanoclaw_trio.proxy.refusals import Refusal

CHUNK: Final = 64 * 1024
"""Bytes that are read at a time, and so the most that lie here of a request."""

SKIP_LIMIT: Final = 32 * 1024 * 1024
"""Bytes of a body that are read for nothing, so that a refusal is heard: the API's largest."""

_TOO_LARGE: Final = 431

_END_OF_HEAD: Final = re.compile(rb"\n\r?\n")


class ClientGone(Exception):
    """The agent hung up, was silent for too long, or doesn't speak HTTP: nobody is there to tell."""


class AgentConnection:
    """One connection of an agent's.

    The methods that receive or send raise ClientGone; then it is good for nothing but to be closed.
    Cancelled, too.

    Attributes:
        has_answered: Whether an answer to the request under way has begun.
    """

    def __init__(self, stream: trio.abc.Stream, bounds: Bounds) -> None:
        self._stream = stream
        self._bounds = bounds
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=bounds.head)
        self._asked: trio.Event | None = None
        self._received = 0
        self.has_answered = False

    async def receive_head(self) -> h11.Request | None:
        """The next request; None when there are no more."""
        try:
            with _bounded(self._bounds.pause):
                event = await self._next_event(self._look_at_head)
        except h11.RemoteProtocolError as error:
            refusal = TOO_LARGE if error.error_status_hint == _TOO_LARGE else NOT_HTTP
            with suppress(h11.LocalProtocolError):
                await self.refuse(refusal)
            return None
        return event if isinstance(event, h11.Request) else None

    async def receive_body(self) -> bytes | None:
        """The next piece of the request's body; None at its end."""
        # There may be ten thousand pieces in what is here already, and nothing else to wait for.
        await trio.lowlevel.checkpoint()
        try:
            with _bounded(self._bounds.silence):
                event = await self._next_event()
        except h11.RemoteProtocolError as error:
            raise ClientGone from error
        return bytes(event.data) if isinstance(event, h11.Data) else None

    def _look_at_head(self) -> None:
        """h11.RemoteProtocolError if a head has too many lines: in h11 they would hold all up."""
        waiting, _ = self._http.trailing_data
        # Mostly there are too few of them altogether.
        if waiting.count(b"\n") > self._bounds.lines:
            head = _END_OF_HEAD.split(waiting, 1)[0]
            if head.count(b"\n") >= self._bounds.lines:
                raise h11.RemoteProtocolError("too many lines", error_status_hint=_TOO_LARGE)

    async def _next_event(self, look: Callable[[], None] = lambda: None) -> Any:
        look()
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                await self._ask_for_body()
            self._http.receive_data(await self._receive())
            look()
        return event

    async def _ask_for_body(self) -> None:
        self._asked = trio.Event()
        try:
            await self._send(h11.InformationalResponse(status_code=100, headers=[]))
        finally:
            self._asked.set()

    async def _receive(self) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(CHUNK))
        except trio.BrokenResourceError as error:
            raise ClientGone from error
        self._received += len(data)
        return data

    async def wait_hang_up(self) -> None:
        """Wait until the agent has hung up, after its request's body."""
        waiting, _ = self._http.trailing_data
        # More would be read for each request that is answered, and all of it kept.
        if waiting:
            await trio.sleep_forever()
        if data := await self._receive():
            # The next request, before this one is answered. It waits, and nothing more is read.
            self._http.receive_data(data)
            await trio.sleep_forever()

    async def begin_answer(self, status: int, headers: Iterable[Header]) -> None:
        """Send an answer's line and headers. h11.LocalProtocolError if they aren't HTTP."""
        head = h11.Response(status_code=status, headers=list(headers))
        # Another task may just be asking for the request's body, and two can't send at once.
        if self._asked is not None:
            await self._asked.wait()
        self.has_answered = True
        await self._send(head)

    async def send(self, data: bytes) -> None:
        """Send a piece of an answer's body. h11.LocalProtocolError if it is longer than it said."""
        await self._send(h11.Data(data=data))

    async def end_answer(self) -> None:
        """Send an answer's end. h11.LocalProtocolError if it is shorter than it said."""
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        try:
            with _bounded(self._bounds.silence):
                await self._stream.send_all(data or b"")
        except trio.BrokenResourceError as error:
            raise ClientGone from error

    async def refuse(self, refusal: Refusal) -> None:
        """Send an answer of the proxy's own, once the request's body is over."""
        # Who is still writing hears nothing, and loses the answer when the connection is closed.
        await self._skip_body()
        await self.begin_answer(refusal.status, refusal.headers())
        # h11 leaves it out of an answer to HEAD.
        await self.send(refusal.document())
        await self.end_answer()

    async def _skip_body(self) -> None:
        # What is around the pieces counts, too: it may be most of what comes.
        last = self._received + SKIP_LIMIT
        while self._http.their_state is h11.SEND_BODY and self._received < last:
            await self.receive_body()

    def next_request(self) -> bool:
        """Get ready for another request; False if this was the last one."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self.has_answered = False
        return True


@contextmanager
def _bounded(seconds: float) -> Iterator[None]:
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError as error:
        raise ClientGone from error
