"""A nursery for the background tasks of a context manager."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def open_background_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery that nobody sees from outside of the context manager that opens it.

    Leaving the block cancels its tasks and waits for them. An exception of the block goes on as it
    is; one of a task comes inside of a group. The host has the same: the agent shares no code with it.
    """
    cancelled: BaseException | None = None
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except trio.Cancelled:
                raise
            except BaseExceptionGroup as group:
                # Out of a nursery in the block. The cancellations in it may be this one's own, and
                # nobody would take them outside of it.
                cancelled, failure = group.split(trio.Cancelled)
                if cancelled is None:
                    failure = group
            except BaseException as error:  # noqa: BLE001 - raised again below
                failure = error
            if cancelled is not None:
                raise cancelled
            nursery.cancel_scope.cancel()
    finally:
        try:
            if failure is not None:
                raise failure
        finally:
            # An exception knows the frames that it came through; this one must not know it, too.
            del cancelled, failure
