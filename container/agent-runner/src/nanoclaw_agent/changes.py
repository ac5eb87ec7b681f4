"""When to look into a directory again.

The kernel tells of changes (inotify, by way of watchfiles), but not everywhere: not of those made
on the other side of a virtual machine's shared folder, for one. So the directory is looked into
besides: seldom while changes are told of, and often once one was found that wasn't.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_agent.background import open_background_nursery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SWEEP_INTERVAL: Final = 0.5
"""Seconds between two looks where changes are told of."""

POLL_INTERVAL: Final = 0.05
"""Seconds between two looks where they aren't: not felt as a delay, and little work."""

WATCH_STEP: Final = 0.02
"""Seconds in which changes are gathered before they are told of."""

log: Final = logging.getLogger(__name__)


class Changes:
    """Whether something may have changed since it was last waited for."""

    def __init__(self) -> None:
        self._told = trio.Event()
        self._interval = POLL_INTERVAL

    def begin(self) -> None:
        """From now on changes are told of. Those from before may not have been."""
        self._interval = SWEEP_INTERVAL
        self.tell()

    def tell(self) -> None:
        """Something has changed."""
        self._told.set()

    async def wait(self) -> bool:
        """Wait until it is time to look again; whether a change was told of."""
        with trio.move_on_after(self._interval):
            await self._told.wait()
        told = self._told.is_set()
        if told:
            self._told = trio.Event()
        return told

    def missed(self) -> None:
        """A change wasn't told of, or may not be: from now on, don't count on it."""
        self._interval = POLL_INTERVAL


@asynccontextmanager
async def open_changes(directory: Path) -> AsyncIterator[Changes]:
    """The changes of what lies in this directory, which may not be there.

    Leaving the block, or being cancelled in it, takes no longer than WATCH_STEP.
    """
    changes = Changes()
    async with open_background_nursery() as nursery:
        nursery.start_soon(_watch, directory, changes)
        yield changes


async def _watch(directory: Path, changes: Changes) -> None:
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tell_of_changes, directory, changes, stop)
        try:
            await trio.sleep_forever()
        finally:
            # watchfiles waits in a thread that can't be cancelled, and looks at this in each step.
            stop.set()


async def _tell_of_changes(directory: Path, changes: Changes, stop: trio.Event) -> None:
    try:
        watching = _watch_with_the_kernel(directory, stop)
        # Whatever comes first, a change or the end of an interval, the watch is in place then.
        await anext(watching)
        changes.begin()
        async for found in watching:
            if found:
                changes.tell()
    except Exception as error:  # noqa: BLE001 - whatever it is, polling goes on
        changes.missed()
        log.info("no word of changes from the kernel, so %s is polled: %s", directory, error)


def _watch_with_the_kernel(directory: Path, stop: trio.Event) -> AsyncIterator[object]:
    # Late: without it, an agent answers all the same.
    from watchfiles import awatch

    step = round(WATCH_STEP * 1000)
    return awatch(
        directory,
        watch_filter=None,
        debounce=step,
        step=step,
        stop_event=stop,
        rust_timeout=round(SWEEP_INTERVAL * 1000),
        yield_on_timeout=True,
        recursive=False,
    )
