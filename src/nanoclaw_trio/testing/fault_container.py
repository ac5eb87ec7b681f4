"""Containers that are lost sight of: what is heard of one when its client ends or falls silent."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

from nanoclaw_trio.runtimes.abc import Container
from nanoclaw_trio.runtimes.ended_streams import BrokenInput, EndedOutput

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class LosableContainer(Container):
    """A container heard through a client that may be lost, while the container lives on.

    Attributes:
        flips: Whether its client ends with a wrong status: 1 for 0, and 0 for any other.
    """

    def __init__(self, inner: Container, nursery: trio.Nursery) -> None:
        self.name = inner.name
        self.pid = inner.pid
        self.holds_stdin = inner.holds_stdin
        self.flips = False
        self.stdout = self._stdout = _Ear(self, inner.stdout)
        self.stderr = self._stderr = _Ear(self, inner.stderr)
        self.stdin = _Mouth(self, inner.stdin)
        self._inner = inner
        self._nursery = nursery
        self._status: int | None = None
        self._is_silent = False
        self._is_closed = False
        self._attempts: set[trio.CancelScope] = set()

    @property
    def is_heard(self) -> bool:
        """Whether its client is neither lost nor silent."""
        return self._status is None and not self._is_silent

    def lose(self, status: int) -> None:
        """Have its client end with this status."""
        if self._status is None and not self._is_closed:
            was_heard, self._status = self.is_heard, status
            self._cut_off(was_heard=was_heard)
            self._nursery.start_soon(self._inner.stdin.aclose)

    def fall_silent(self) -> None:
        """Have its client pass nothing on any more, not even its end."""
        was_heard, self._is_silent = self.is_heard, True
        self._cut_off(was_heard=was_heard)

    def after_output(self, action: Callable[[], object], *, cut: bool = False) -> None:
        """Do something once the first output was passed on, or half of it where it is `cut`."""
        self._stdout.after_first(action, cut=cut)

    def _cut_off(self, *, was_heard: bool) -> None:
        for attempt in self._attempts:
            attempt.cancel()
        if was_heard:
            self._nursery.start_soon(self._let_live)

    async def _let_live(self) -> None:
        # As an engine does: what a container writes is taken whether or not anybody listens.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stdout.drain)
            nursery.start_soon(self._stderr.drain)
        await self._inner.aclose()

    async def unless_lost(self, attempt: Callable[[], Awaitable[T]]) -> T | None:
        """What an attempt gives; None if the client was lost. For ever, if it is silent."""
        if self.is_heard:
            with trio.CancelScope() as scope:
                self._attempts.add(scope)
                try:
                    return await attempt()
                finally:
                    self._attempts.discard(scope)
        if self._status is None:
            await self._sleep_until_lost()
        await trio.lowlevel.checkpoint()
        return None

    async def _sleep_until_lost(self) -> None:
        with trio.CancelScope() as scope:
            self._attempts.add(scope)
            try:
                await trio.sleep_forever()
            finally:
                self._attempts.discard(scope)

    async def wait(self) -> int:
        """Its end, or its client's."""
        status = await self.unless_lost(self._inner.wait)
        if status is None:
            return self._status or 0
        return (0 if status else 1) if self.flips else status

    async def aclose(self) -> None:
        """Let go of it. What is lost is let go of already."""
        self._is_closed = True
        if self.is_heard:
            await self._inner.aclose()
        else:
            await trio.lowlevel.checkpoint()


class _Ear(trio.abc.ReceiveStream):
    def __init__(self, container: LosableContainer, stream: trio.abc.ReceiveStream) -> None:
        self._container = container
        self._stream = stream
        self._turn = trio.Lock()
        self._action: Callable[[], object] | None = None
        self._is_cut = False

    def after_first(self, action: Callable[[], object], *, cut: bool) -> None:
        self._action, self._is_cut = action, cut

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        chunk = await self._container.unless_lost(lambda: self._receive(max_bytes)) or b""
        action, self._action = self._action, None
        if action is None:
            return chunk
        action()
        return chunk[: len(chunk) // 2] if self._is_cut else chunk

    async def _receive(self, max_bytes: int | None = None) -> bytes:
        async with self._turn:
            return bytes(await self._stream.receive_some(max_bytes))

    async def drain(self) -> None:
        while await self._receive():
            pass

    async def aclose(self) -> None:
        if self._container.is_heard:
            await self._stream.aclose()
        else:
            await trio.lowlevel.checkpoint()


class _Mouth(trio.abc.SendStream):
    def __init__(self, container: LosableContainer, stream: trio.abc.SendStream) -> None:
        self._container = container
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if await self._container.unless_lost(lambda: self._send(data)) is None:
            raise trio.BrokenResourceError("its client was lost")

    async def _send(self, data: bytes | bytearray | memoryview) -> bool:
        await self._stream.send_all(data)
        return True

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        if self._container.is_heard:
            await self._stream.aclose()
        else:
            await trio.lowlevel.checkpoint()


class NoContainer(Container):
    """What is heard of a client that ends without having started anything."""

    def __init__(self, name: str, status: int) -> None:
        self.name = name
        self.stdin = BrokenInput("there is no container")
        self.stdout = EndedOutput()
        self.stderr = EndedOutput()
        self._status = status

    async def wait(self) -> int:
        """Its client's end."""
        await trio.lowlevel.checkpoint()
        return self._status

    async def aclose(self) -> None:
        """There is nothing to let go of."""
        await trio.lowlevel.checkpoint()
