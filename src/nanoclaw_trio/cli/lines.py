"""Lines of text from a stream of bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trio


async def read_lines(stream: trio.abc.ReceiveStream, sender: trio.MemorySendChannel[str]) -> None:
    """Send each line of a stream, without its end, as it comes; close the channel after the last.

    A byte that isn't UTF-8 becomes U+FFFD: a conversation isn't broken off for it.
    """
    with sender:
        parts: list[bytes] = []
        async for chunk in stream:
            first, *others = bytes(chunk).split(b"\n")
            parts.append(first)
            for part in others:
                await sender.send(_decode(parts))
                parts = [part]
        if any(parts):
            await sender.send(_decode(parts))


def _decode(parts: list[bytes]) -> str:
    return b"".join(parts).decode(errors="replace").removesuffix("\r")
