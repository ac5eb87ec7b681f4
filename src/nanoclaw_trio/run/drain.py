"""Reading pipes to their end, and not for ever."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator


class Drain:
    """Reads streams; once the container has ended, for `grace` seconds more at most.

    What the container wrote is in the pipes by then, so their end follows at once, unless a
    grandchild holds them open. Seconds that a consumer takes don't count.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._began = math.inf
        self._deadline = math.inf
        self._reads: set[trio.CancelScope] = set()

    def begin(self) -> None:
        """The container has ended: the bound starts."""
        if self._began == math.inf:
            self._began = trio.current_time()
            self._set(self._began + self._grace)

    async def receive(self, stream: trio.abc.ReceiveStream) -> bytes:
        """The next chunk; b"" at the stream's end, at a broken one's, and when the bound passed."""
        with trio.CancelScope(deadline=self._deadline) as read:  # noqa: ASYNC912 - receiving is one
            self._reads.add(read)
            try:
                return bytes(await stream.receive_some())
            except trio.BrokenResourceError:
                return b""
            finally:
                self._reads.discard(read)
        return b""

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While the consumer is at work."""
        before = trio.current_time()
        try:
            yield
        finally:
            # What it took before the container's end was never part of the bound.
            taken = trio.current_time() - max(before, self._began)
            if taken > 0:
                self._set(self._deadline + taken)

    def _set(self, deadline: float) -> None:
        self._deadline = deadline
        for read in self._reads:
            read.deadline = deadline
