"""A command without containers, from its body to an exit status in every case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nanoclaw_trio.cli.conclude import describe
from nanoclaw_trio.cli.exit_status import status_after_error
from nanoclaw_trio.cli.failure import unwrap
from nanoclaw_trio.cli.output import json_line, write_text
from nanoclaw_trio.cli.terminal import neutralize

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from nanoclaw_trio.cli.program import World


async def conduct(world: World, body: Callable[[], Awaitable[int]]) -> int:
    """Await the exit status; of an error or a signal, make one. Raises nothing but Cancelled."""
    try:
        with world.interruption.scope:
            return await body()
    except Exception as raised:  # noqa: BLE001 - every failure has its exit status
        error = unwrap(raised)
        world.streams.say(describe(error))
        return status_after_error(error)
    return 128 + (world.interruption.number or 0)


async def write_lines(world: World, lines: Iterable[str]) -> None:
    """Write lines for people on standard output, so that none steers a terminal."""
    text = "".join(f"{line}\n" for line in lines)
    shown = neutralize(text) if world.streams.stdout_is_terminal else text
    await write_text(world.streams, world.interruption, shown)


async def write_records(world: World, records: Iterable[dict[str, Any]]) -> None:
    """Write JSON objects on standard output, a line each."""
    terminal = world.streams.stdout_is_terminal
    text = "".join(json_line(record, terminal=terminal) for record in records)
    await write_text(world.streams, world.interruption, text)
