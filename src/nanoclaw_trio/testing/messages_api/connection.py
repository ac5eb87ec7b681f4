"""HTTP/1.1 on one connection, by h11: calls come in, answers go out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import h11
from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import trio

HEAD_LIMIT: Final = 64 * 1024
"""The bytes that a request's line and headers may have."""

BODY_LIMIT: Final = 32 * 1024 * 1024
"""The bytes that a request's body may have: the API's own limit."""

_CHUNK: Final = 64 * 1024


@frozen(kw_only=True)
class Call:
    """A whole request.

    Attributes:
        method: `POST`.
        path: Without the query.
        headers: By lower-case name.
        body: None if it was larger than the limit, and not kept.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)


@frozen(kw_only=True)
class Answer:
    """A whole response. h11.LocalProtocolError for one whose head isn't HTTP.

    Attributes:
        status: The HTTP status.
        headers: Its headers. Without a content-length the body is sent in chunks.
        pieces: The body, each piece sent on its own.
    """

    status: int = 200
    headers: Mapping[str, str] = field(factory=dict)
    pieces: Iterable[bytes] = ()

    def __attrs_post_init__(self) -> None:
        # Here and not when it is sent: whoever made it is to blame, and not the connection.
        self.head()

    def head(self) -> h11.Response:
        """Its first line and headers."""
        return h11.Response(status_code=self.status, headers=list(self.headers.items()))


class Connection:
    """One client's connection.

    Its methods raise h11.RemoteProtocolError for a client that doesn't speak HTTP, and
    trio.BrokenResourceError for one that hung up. One that is cancelled leaves a connection that
    is good for nothing but to be closed.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)

    async def receive(self) -> Call | None:
        """Wait for the next call; None when the client has no more."""
        request = await self._next_event()
        if not isinstance(request, h11.Request):
            return None
        return Call(
            method=request.method.decode(),
            path=request.target.decode().partition("?")[0],
            headers={name.decode(): value.decode("latin-1") for name, value in request.headers},
            body=await self._receive_body(),
        )

    async def _receive_body(self) -> bytes | None:
        body = bytearray()
        while isinstance(event := await self._next_event(), h11.Data):
            # What is too large is read to its end: a client hears no answer while it writes.
            if len(body) <= BODY_LIMIT:
                body += event.data
        return bytes(body) if len(body) <= BODY_LIMIT else None

    async def _next_event(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(bytes(await self._stream.receive_some(_CHUNK)))
        return event

    async def send(self, answer: Answer) -> None:
        """Send an answer to the call that was received."""
        await self._send(answer.head())
        for piece in answer.pieces:
            await self._send(h11.Data(data=piece))
        await self._send(h11.EndOfMessage())

    async def refuse(self, error: h11.RemoteProtocolError) -> None:
        """Tell a client that it doesn't speak HTTP; it is the last that is sent."""
        text = f"{error}\n".encode()
        headers = {"content-length": str(len(text)), "connection": "close"}
        await self.send(Answer(status=error.error_status_hint, headers=headers, pieces=(text,)))

    async def _send(self, event: h11.Event) -> None:
        if data := self._http.send(event):
            await self._stream.send_all(data)

    def next_cycle(self) -> bool:
        """Get ready for another call; False if this was the last one."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            return True
        return False

    async def wait_for_hang_up(self) -> None:
        """Wait until the client is gone, and drop what it says until then."""
        while await self._stream.receive_some(_CHUNK):
            pass
