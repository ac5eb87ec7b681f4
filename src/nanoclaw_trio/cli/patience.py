"""Waiting for a runtime that can't be used yet."""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from nanoclaw_trio.errors import AgentNotInstalled, RuntimeUnavailable
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.runtimes.choose import installed_runtimes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nanoclaw_trio.cli.program import World

T = TypeVar("T")

PATIENCE: Final = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Seconds before a runtime that can't be used is asked again; the last for all that come after."""


async def until_available(attempt: Callable[[], Awaitable[T]], world: World) -> T:
    """What an attempt results in, once the runtime can be used; that it is waited for is said once.

    Raises:
        RuntimeUnavailable: there is nothing to wait for: none is installed, or no agent is.
    """
    was_said = False
    for delay in chain(PATIENCE, repeat(PATIENCE[-1])):
        try:
            return await attempt()
        except RuntimeUnavailable as error:
            unavailable = error
        if isinstance(unavailable, AgentNotInstalled) or not await in_thread(installed_runtimes):
            raise unavailable
        if not was_said:
            world.streams.say(f"{unavailable}; waiting until it can")
            was_said = True
        world.progress.doing("waiting for the runtime")
        await trio.sleep(delay)
    raise AssertionError("there is always another delay")  # pragma: no cover - repeat() has no end
