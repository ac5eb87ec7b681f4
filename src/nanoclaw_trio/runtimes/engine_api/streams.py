"""A container's standard streams, each on its own connection to the engine.

Why one for each: on a connection for both outputs, one that nobody reads would stand before the
other, or its frames would have to be kept. Here each has its own back-pressure, down to the agent,
and nobody keeps more than what is being read.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.runtimes.engine_api.frames import FrameParser

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nanoclaw_trio.runtimes.engine_api.connection import EngineConnection

FIRST_READ: Final = 16 * 1024
"""Bytes of a read to begin with; it doubles while reads come back full."""

LARGEST_READ: Final = 256 * 1024
"""Bytes of a read at most: what a Unix socket holds by default (net.core.wmem_default)."""


class AttachedInput(trio.abc.SendStream):
    """A container's standard input."""

    def __init__(self, connection: EngineConnection) -> None:
        self._stream = connection.stream
        self._closed = False
        self._has_reader = True
        self._attempt = trio.CancelScope()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write it all. trio.BrokenResourceError once the container has ended."""
        await self._until_the_end(partial(self._stream.send_all, data))

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room."""
        await self._until_the_end(self._stream.wait_send_all_might_not_block)

    async def _until_the_end(self, attempt: Callable[[], Awaitable[None]]) -> None:
        if self._closed:
            raise trio.ClosedResourceError("standard input was closed")
        if self._has_reader:
            with trio.CancelScope() as self._attempt:
                await attempt()
                return
        raise trio.BrokenResourceError("the container has ended")

    def container_ended(self) -> None:
        """Tell whoever writes: Docker neither reads on nor closes, for minutes at times."""
        self._has_reader = False
        self._attempt.cancel()

    async def aclose(self) -> None:
        """The end of the input. The connection stays: output comes on it."""
        self._closed = True
        # The container may be gone, and the connection closed.
        with suppress(OSError):
            self._stream.socket.shutdown(trio.socket.SHUT_WR)
        await trio.lowlevel.checkpoint()


class AttachedOutput(trio.abc.ReceiveStream):
    """A container's standard output or error.

    Attributes:
        ended: Set when a reader has met the end of it, as it should be or not.
    """

    def __init__(self, connection: EngineConnection, stream: int) -> None:
        """`stream` is the number of the stream in frames."""
        self._connection = connection
        self._parser = FrameParser(stream)
        self._pending = connection.take_trailing_data()
        self._size = FIRST_READ
        self.ended = trio.Event()

    @property
    def problem(self) -> str | None:
        """Why it isn't whole, where the bytes that came say so themselves."""
        return self._parser.problem

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes, up to `max_bytes`; b"" at the end.

        Raises:
            BrokenResourceError: the connection was lost, or holds what isn't a whole frame.
        """
        try:
            while self.problem is None and (data := await self._read(max_bytes)):
                if payload := self._parser.feed(data):
                    return payload
        except trio.BrokenResourceError:
            self.ended.set()
            raise
        self._parser.end()
        self.ended.set()
        if self.problem is not None:
            raise trio.BrokenResourceError(self.problem)
        return b""

    async def _read(self, max_bytes: int | None) -> bytes:
        if self._pending:
            await trio.lowlevel.checkpoint()
            size = max_bytes or len(self._pending)
            data, self._pending = self._pending[:size], self._pending[size:]
            return data
        data = bytes(await self._connection.stream.receive_some(max_bytes or self._size))
        if len(data) == self._size < LARGEST_READ:
            self._size *= 2
        return data

    async def aclose(self) -> None:
        """Close it. A reader that is blocked in it gets trio.ClosedResourceError."""
        self._connection.close()
        await trio.lowlevel.checkpoint()
