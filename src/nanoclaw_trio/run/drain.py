"""Reads pipes to their end, and not for ever after the container's."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Take: TypeAlias = Callable[[bytes], Awaitable[None]]

LAST_LOOK: Final = 0.05
"""Seconds in which what lies in a pipe is read: no more than to see that there is nothing."""

LAST_LOOKS: Final = 1.0
"""The same for all looks. Who writes a byte at each would be read until they make up a pipe: for half
a day. A full pipe takes sixteen reads, however late each is."""

PIPE_SIZE: Final = 1024 * 1024
"""Bytes that a pipe holds at most (/proc/sys/fs/pipe-max-size, for an unprivileged process)."""


class Drain:
    """Bounds the reading of streams to `grace` seconds after the container's end.

    What the container wrote is in the pipes by then, so their end follows at once, unless a
    grandchild holds them open. Seconds that the consumer takes don't count; those that we take
    ourselves do, since a grandchild may write for ever, and faster than we read.
    """

    def __init__(self, grace: float) -> None:
        self._left = grace
        self._deadline = math.inf
        self._has_begun = False
        self._is_paused = False
        self._waiting: list[trio.CancelScope] = []

    async def read(self, stream: trio.abc.ReceiveStream, take: Take) -> None:
        """Hand over each chunk, to the stream's end, or until the bound passes.

        What was read is taken whole, and so is what lies in the pipe when the bound passes: the
        container may have written it, and we may have been kept from reading. Only waiting for
        more is given up. A broken stream has ended.
        """
        late = b""
        # One scope for all reads: to enter one costs as much as to read.
        with trio.CancelScope(deadline=self._deadline) as scope:
            while chunk := await self._receive_within(stream, scope):
                if self._has_begun:
                    # It may come in the moment in which the bound passes.
                    if scope.cancel_called:
                        late = chunk
                        break
                    scope.deadline = math.inf
                await take(chunk)
                if self._has_begun:
                    scope.deadline = self._deadline
            else:
                return
        await _read_rest(stream, take, late)

    async def _receive_within(
        self, stream: trio.abc.ReceiveStream, scope: trio.CancelScope
    ) -> bytes:
        self._waiting.append(scope)
        try:
            return bytes(await stream.receive_some())
        except trio.BrokenResourceError:
            return b""
        finally:
            self._waiting.remove(scope)

    def begin(self) -> None:
        """The container has ended: the bound starts."""
        if not self._has_begun:
            self._has_begun = True
            if not self._is_paused:
                self._go_on()

    def pause(self) -> None:
        """The consumer is at work: no time counts until :meth:`resume`."""
        if self._is_paused:
            return
        self._is_paused = True
        if self._has_begun:
            self._left = self._deadline - trio.current_time()
            self._set(math.inf)

    def resume(self) -> None:
        """The consumer waits: time counts again."""
        if not self._is_paused:
            return
        self._is_paused = False
        if self._has_begun:
            self._go_on()

    def _go_on(self) -> None:
        self._set(trio.current_time() + self._left)

    def _set(self, deadline: float) -> None:
        self._deadline = deadline
        for scope in self._waiting:
            scope.deadline = deadline


async def _read_rest(stream: trio.abc.ReceiveStream, take: Take, chunk: bytes) -> None:
    room, patience = PIPE_SIZE, LAST_LOOKS
    while room > 0 and patience > 0:
        if not chunk:
            began = trio.current_time()
            with trio.move_on_after(LAST_LOOK), suppress(trio.BrokenResourceError):
                chunk = bytes(await stream.receive_some())
            patience -= min(LAST_LOOK, trio.current_time() - began)
        if not chunk:
            return
        await take(chunk)
        room -= len(chunk)
        chunk = b""
