"""Whoever connects to the socket: let in, or sent away."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.cli.bridges.attend import attend
from nanoclaw_trio.cli.bridges.peer import is_from_inside
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.protocol.json_text import dump_json

if TYPE_CHECKING:
    from nanoclaw_trio.cli.bridges.front import Front
    from nanoclaw_trio.cli.bridges.socket import SocketBridge
    from nanoclaw_trio.repeats import RepeatedWarnings

REFUSAL: Final = {
    "type": "error",
    "fault": "client",
    "problem": "a process inside of a container may not connect; connect from the host",
}


async def receive(
    stream: trio.SocketStream,
    *,
    bridge: SocketBridge,
    engine: Front,
    trigger: str,
    warnings: RepeatedWarnings,
) -> None:
    """Serve a client, unless it is inside of a container. Raises nothing but Cancelled."""
    if await in_thread(is_from_inside, stream.socket):
        warnings.warning("connections refused", why="from inside of a container")
        async with stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(dump_json(REFUSAL) + b"\n")
        return
    await attend(stream, bridge=bridge, engine=engine, trigger=trigger)
