"""One HTTP connection to an engine's Unix socket, for one request.

Why not an HTTP client library: a read that is cancelled there closes the connection, and with it go
a container's exit status, or the answer to an order that must be taken back. Here a cancelled read
loses nothing: the next one goes on where it was. h11 knows the protocol, and Trio the socket.
"""

from __future__ import annotations

from typing import Final

import h11
import trio
from attrs import frozen

READ_SIZE: Final = 64 * 1024
"""Bytes of one read of an answer."""

BODY_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of an answer that are taken: a list of some thousand containers."""

CONNECT_POLL: Final = 0.02
"""Seconds between two attempts to connect to an engine that lets no more wait."""

SWITCHING_PROTOCOLS: Final = 101
"""The status by which a connection becomes a stream of bytes."""

CUT_OFF: Final = "the connection ended before the answer was whole"
"""Why there is no answer where the engine closed the connection, as it does when it is killed."""


class Disconnected(Exception):
    """The connection ended, or held what isn't HTTP, before the answer was whole."""


@frozen(kw_only=True)
class Request:
    """What is asked of an engine.

    Attributes:
        method: GET, POST or DELETE.
        target: The path with its query, quoted.
        body: JSON, or nothing.
        upgrade: Whether the connection is to become a stream of bytes (HTTP 1.1, `Upgrade`).
    """

    method: str
    target: str
    body: bytes = b""
    upgrade: bool = False

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Its headers. A connection serves one request."""
        headers = [("Host", "engine"), ("Content-Length", str(len(self.body)))]
        if self.body:
            headers.append(("Content-Type", "application/json"))
        if self.upgrade:
            return [*headers, ("Connection", "Upgrade"), ("Upgrade", "tcp")]
        return [*headers, ("Connection", "close")]


@frozen(kw_only=True)
class Answer:
    """What an engine answered.

    Attributes:
        status: The status of HTTP.
        body: JSON, if anything.
    """

    status: int
    body: bytes = b""


class EngineConnection:
    """A connection that is open, made by :func:`connect`. Whoever has it closes it.

    Attributes:
        stream: The bytes below; after an upgrade they are the caller's.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._http = h11.Connection(h11.CLIENT)
        self._status: int | None = None
        self._body = bytearray()
        self._answer: Answer | None = None
        self._loss: str | None = None

    async def send(self, request: Request) -> None:
        """Send the request. Cancelled, it may be cut off, and no engine acts upon such a one.

        Raises:
            Disconnected: nobody takes it.
        """
        try:
            await self.stream.send_all(self._encode(request))
        except trio.BrokenResourceError as error:
            raise Disconnected(_reason(error)) from error

    def _encode(self, request: Request) -> bytes:
        head = h11.Request(method=request.method, target=request.target, headers=request.headers)
        events = (head, h11.Data(data=request.body), h11.EndOfMessage())
        return b"".join(self._http.send(event) or b"" for event in events)

    async def receive_status(self) -> int:
        """Wait for the head of the answer. After a cancellation it may be called again.

        Raises:
            Disconnected: there will be none.
        """
        while self._status is None:
            event = await self._next_event()
            if isinstance(event, h11.Response | h11.InformationalResponse) and is_final(event):
                self._status = event.status_code
        return self._status

    async def receive(self) -> Answer:
        """Wait for the whole answer, as often as you like, after a cancellation too.

        Raises:
            Disconnected: it won't come whole, or is larger than BODY_LIMIT.
        """
        status = await self.receive_status()
        if self._answer is None:
            while not isinstance(event := await self._next_event(), h11.EndOfMessage):
                self._take(event.data if isinstance(event, h11.Data) else b"")
            self._answer = Answer(status=status, body=bytes(self._body))
        return self._answer

    def _take(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > BODY_LIMIT:
            raise Disconnected(f"the answer is larger than {BODY_LIMIT} bytes")

    async def _next_event(self) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
        """The next event; NEED_DATA is none of them."""
        if self._loss is not None:
            # h11 would only say that it has failed before.
            raise Disconnected(self._loss)
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self.stream.receive_some(READ_SIZE))
        except (h11.RemoteProtocolError, trio.BrokenResourceError) as error:
            self._loss = CUT_OFF if self._has_ended else _reason(error)
            raise Disconnected(self._loss) from error
        return event

    @property
    def _has_ended(self) -> bool:
        """Whether the other side has closed it. h11 tells that in terms of its own states."""
        return self._http.trailing_data[1]

    def take_trailing_data(self) -> bytes:
        """What came behind the head of an upgrade's answer, and belongs to the stream."""
        return self._http.trailing_data[0]

    def close(self) -> None:
        """Close it, at once; a read that is blocked in it gets trio.ClosedResourceError."""
        self.stream.socket.close()


def is_final(head: h11.Response | h11.InformationalResponse) -> bool:
    """Whether no other head comes after this one (`100 Continue` is followed by one)."""
    return isinstance(head, h11.Response) or head.status_code == SWITCHING_PROTOCOLS


async def connect(path: str) -> EngineConnection:
    """Connect to the socket at this path; waits where too many wait already. OSError if it can't be."""
    socket = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    try:
        await socket.connect(path)
        while not _is_connected(socket):
            await trio.sleep(CONNECT_POLL)
            await socket.connect(path)
    except BaseException:
        socket.close()
        raise
    return EngineConnection(trio.SocketStream(socket))


def _is_connected(socket: trio.socket.SocketType) -> bool:
    # A full queue of the listener's is told with EAGAIN, which Trio takes for a connecting under
    # way, as it is with other kinds of sockets; nor would the system say when there is room.
    try:
        socket.getpeername()
    except OSError:
        return False
    return True


def _reason(error: Exception) -> str:
    cause = error.__cause__
    return (isinstance(cause, OSError) and cause.strerror) or str(error)
