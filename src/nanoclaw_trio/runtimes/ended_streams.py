"""The streams of a container that nobody hears: lost, or never there."""

from __future__ import annotations

import trio


class BrokenInput(trio.abc.SendStream):
    """A stream whose other side is gone."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """trio.BrokenResourceError."""
        del data
        await self.wait_send_all_might_not_block()

    async def wait_send_all_might_not_block(self) -> None:
        """trio.BrokenResourceError."""
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError(self._why)

    async def aclose(self) -> None:
        """Nothing is open."""
        await trio.lowlevel.checkpoint()


class EndedOutput(trio.abc.ReceiveStream):
    """A stream at its end."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Its end."""
        del max_bytes
        await trio.lowlevel.checkpoint()
        return b""

    async def aclose(self) -> None:
        """Nothing is open."""
        await trio.lowlevel.checkpoint()
