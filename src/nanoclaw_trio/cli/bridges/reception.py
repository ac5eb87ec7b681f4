"""Whoever connects to the socket: let in, or sent away."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.cli.bridges.attend import attend
from nanoclaw_trio.cli.bridges.peer import is_from_inside
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.logs import log
from nanoclaw_trio.protocol.json_text import dump_json

if TYPE_CHECKING:
    from nanoclaw_trio.cli.bridges.front import Front
    from nanoclaw_trio.cli.bridges.socket import SocketBridge

REFUSAL: Final = {
    "type": "error",
    "fault": "client",
    "problem": "a process inside of a container may not connect; connect from the host",
}


WARNING_INTERVAL: Final = 60.0
"""Seconds between two warnings: whoever is refused can come again a thousand times a second."""


class Refusals:
    """Who was sent away, as the log is told: at once, and then a line a minute with how many."""

    def __init__(self) -> None:
        self._count = 0
        self._next_warning = -math.inf

    def note(self) -> None:
        """Somebody was."""
        self._count += 1
        if trio.current_time() >= self._next_warning:
            why = "from inside of a container"
            log.warning("connections refused", count=self._count, why=why)
            self._count, self._next_warning = 0, trio.current_time() + WARNING_INTERVAL


async def receive(
    stream: trio.SocketStream,
    *,
    bridge: SocketBridge,
    engine: Front,
    trigger: str,
    refusals: Refusals,
) -> None:
    """Serve a client, unless it is inside of a container. Raises nothing but Cancelled."""
    if await in_thread(is_from_inside, stream.socket):
        refusals.note()
        async with stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(dump_json(REFUSAL) + b"\n")
        return
    await attend(stream, bridge=bridge, engine=engine, trigger=trigger)
