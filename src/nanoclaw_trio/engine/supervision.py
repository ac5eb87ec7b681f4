"""Background tasks that go on after a failure: the engine outlives a full disk and a bug of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.logs import log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

RESTART_DELAYS: Final = (1.0, 5.0, 30.0, 60.0)
"""Seconds before a background task is started again; the last one for all that come after."""

HEALTHY: Final = 600.0
"""Seconds after which a task that fails counts as one that worked before."""

STORE_DELAY: Final = 5.0
"""Seconds before a store that refused is asked again."""


async def supervise(name: str, body: Callable[[], Awaitable[object]]) -> None:
    """Await a background task, and start it again after a failure of its own; until cancelled.

    Its exceptions don't leave: out of the engine's nursery they would cancel the embedder's own code
    and come out of its `async with` in a group. They are in the log, with their origin.
    """
    failures = 0
    while True:
        begun = trio.current_time()
        try:
            await body()
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
            # One that went well for long has another reason now.
            failures = failures if trio.current_time() - begun < HEALTHY else 0
            delay = RESTART_DELAYS[min(failures, len(RESTART_DELAYS) - 1)]
            log.error(
                "background task failed", task=name, why=str(error), again_in=delay, exc_info=error
            )
        else:
            return
        failures += 1
        await trio.sleep(delay)
