"""Reading pipes to their end, and not for ever."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator


class Drain:
    """Bounds the reading of streams to `grace` seconds after the container's end.

    What the container wrote is in the pipes by then, so their end follows at once, unless a
    grandchild holds them open. Seconds that are spent on what was read don't count.

    One scope for each stream and not for each read: to enter one costs as much as to read.
    """

    def __init__(self, grace: float) -> None:
        self._left = grace
        self._deadline = math.inf
        self._has_begun = False
        self._is_paused = False
        self._readers: set[trio.CancelScope] = set()

    @contextmanager
    def reading(self, stream: trio.abc.ReceiveStream) -> Iterator[BoundStream]:
        """Within, a stream is read; it is left at a read that the bound passes in."""
        with trio.CancelScope(deadline=self._deadline) as reader:
            self._readers.add(reader)
            try:
                yield BoundStream(stream, reader)
            finally:
                self._readers.discard(reader)

    def begin(self) -> None:
        """The container has ended: the bound starts."""
        if not self._has_begun:
            self._has_begun = True
            if not self._is_paused:
                self._go_on()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Within, something is done with what was read, and nothing is given up."""
        self._is_paused = True
        if self._has_begun:
            self._left = self._deadline - trio.current_time()
            self._set(math.inf)
        try:
            yield
        finally:
            self._is_paused = False
            if self._has_begun:
                self._go_on()

    def _go_on(self) -> None:
        self._set(trio.current_time() + self._left)

    def _set(self, deadline: float) -> None:
        self._deadline = deadline
        for reader in self._readers:
            reader.deadline = deadline


class BoundStream:
    """A stream that is read within the bound of a :class:`Drain`."""

    def __init__(self, stream: trio.abc.ReceiveStream, bound: trio.CancelScope) -> None:
        self._stream = stream
        self._bound = bound

    async def receive(self) -> bytes:
        """The next chunk; b"" at the stream's end, at a broken one's, and when the bound passed."""
        try:
            chunk = bytes(await self._stream.receive_some())
        except trio.BrokenResourceError:
            return b""
        # It may come in the moment in which the bound passes: then nothing could be waited for
        # any more that is done with it.
        return b"" if self._bound.cancel_called else chunk
