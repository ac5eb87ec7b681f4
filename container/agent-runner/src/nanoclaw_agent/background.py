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
    is; one of a task comes inside of a group.
    """
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except trio.Cancelled:
                raise
            except BaseException as error:  # noqa: BLE001 - raised again below
                # Out of the nursery it would come inside of a group.
                failure = error
            nursery.cancel_scope.cancel()
    finally:
        if failure is not None:
            raise failure
