"""A connection to the API's host: HTTP/1.1 by h11, one request after the other."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import h11
import trio

from nanoclaw_trio.proxy.addresses import look_up, reach
from nanoclaw_trio.proxy.refusals import BROKEN, SILENT, UNREACHABLE

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from nanoclaw_trio.proxy.bounds import Bounds
    from nanoclaw_trio.proxy.refusals import Refusal
    from nanoclaw_trio.proxy.upstream import Upstream

CHUNK: Final = 64 * 1024
"""Bytes that are read at a time, and so the most that lie here of an answer."""


class ApiFailed(Exception):
    """The API can't be reached, is silent, or doesn't speak HTTP.

    It has none of the words of the error behind it: they might show a header.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.type)
        self.refusal = refusal


class ApiConnection:
    """One connection. Its methods raise ApiFailed; then, and cancelled, it can only be closed."""

    def __init__(
        self, stream: trio.abc.Stream, socket: trio.socket.SocketType, bounds: Bounds
    ) -> None:
        self._stream = stream
        self._socket = socket
        self._bounds = bounds
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=bounds.head)
        self._is_sending = False

    async def send(self, event: h11.Event) -> None:
        """Send a request's head, a piece of its body, or its end."""
        self._is_sending = True
        with _explained(self._bounds.silence, SILENT):
            await self._stream.send_all(self._http.send(event) or b"")
        self._is_sending = False

    async def receive_head(self) -> h11.Response:
        """An answer's line and headers, those before it that only say that it will come left out."""
        event = await self._next_event()
        while isinstance(event, h11.InformationalResponse):
            event = await self._next_event()
        return cast("h11.Response", event)

    async def receive_body(self) -> bytes | None:
        """The next piece of the answer's body; None at its end."""
        event = await self._next_event()
        return bytes(event.data) if isinstance(event, h11.Data) else None

    async def _next_event(self) -> Any:
        with _explained(self._bounds.silence, SILENT):
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(bytes(await self._stream.receive_some(CHUNK)))
        return event

    def next_request(self) -> bool:
        """Get ready for another request; False if there can be none."""
        # An answer may have come while the request's end was being sent: h11 has it, the host hasn't.
        are_done = self._http.our_state is self._http.their_state is h11.DONE
        if self._is_sending or not are_done:
            return False
        self._http.start_next_cycle()
        # Something to be read where nothing was asked: most likely its end.
        return not self._socket.is_readable()

    async def aclose(self) -> None:
        """Close it, without a word: within a cancelled scope, too."""
        await trio.aclose_forcefully(self._stream)


class Connector:
    """Connects to the API's host, for all runs of a proxy."""

    def __init__(self, tls: ssl.SSLContext, bounds: Bounds) -> None:
        self._bounds = bounds
        self._tls = tls
        self._threads = trio.CapacityLimiter(bounds.lookups)

    async def connect(self, upstream: Upstream) -> ApiConnection:
        """Connect. ApiFailed if the host can't be reached."""
        with _explained(self._bounds.connect, UNREACHABLE):
            addresses = await look_up(upstream.name, upstream.port, self._threads)
            transport = await reach(addresses)
            if not upstream.has_tls:
                return ApiConnection(transport, transport.socket, self._bounds)
            stream = trio.SSLStream(
                transport, self._tls, server_hostname=upstream.name, https_compatible=True
            )
            try:
                await stream.do_handshake()
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
            return ApiConnection(stream, transport.socket, self._bounds)


class ApiLink:
    """The connection to the API that belongs to one of an agent's, for as long as that lasts."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._upstream: Upstream | None = None
        self._connection: ApiConnection | None = None

    async def connection(self, upstream: Upstream) -> ApiConnection:
        """A connection for a request: the one that there is, or a new one."""
        known = self._connection
        if known is not None and self._upstream == upstream and known.next_request():
            return known
        await self.aclose()
        self._connection = await self._connector.connect(upstream)
        self._upstream = upstream
        return self._connection

    async def aclose(self) -> None:
        """Close it, if there is one: within a cancelled scope, too."""
        known, self._connection = self._connection, None
        if known is not None:
            await known.aclose()


@contextmanager
def _explained(seconds: float, late: Refusal) -> Iterator[None]:
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise ApiFailed(late) from None
    except trio.BrokenResourceError:
        raise ApiFailed(UNREACHABLE if late is UNREACHABLE else BROKEN) from None
    except h11.ProtocolError:
        raise ApiFailed(BROKEN) from None
    except OSError:
        raise ApiFailed(UNREACHABLE) from None
