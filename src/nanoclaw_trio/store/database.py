"""What the engine remembers, for Trio: one transaction after the other, each in a worker thread."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

import trio

from nanoclaw_trio.files import in_thread
from nanoclaw_trio.store.connection import Database, StoreFailed, Transaction, open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

__all__ = ["CLOSE_TIMEOUT", "Store", "StoreFailed", "Transaction", "open_store"]

P = ParamSpec("P")
T = TypeVar("T")

CLOSE_TIMEOUT: Final = 10.0
"""Seconds that closing may take: the last transaction, and what a slow disk takes to sync."""


class Store:
    """A project's database, for Trio. Get it from :func:`open_store`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = trio.Lock()
        self._is_closed = False

    async def transact(
        self,
        function: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call a function with a transaction, in a worker thread, and commit.

        Functions are called one after the other, in the order in which it was asked. What one
        raises comes out as it is, and nothing of what it did has happened. Cancelled before the
        function is called, nothing happens; from then on it is done whole, and its result returned.

        Raises:
            StoreFailed: the disk refuses, or another process has the database.
            InvalidFile: the database is broken.
            trio.ClosedResourceError: the block of `open_store` was left.
        """

        def work() -> T:
            return self._database.transact(function, *args, **kwargs)

        async with self._lock:
            if self._is_closed:
                raise trio.ClosedResourceError
            return await in_thread(work)

    async def _close(self) -> None:
        self._is_closed = True
        async with self._lock:
            # Abandoned where it hangs: no more than a checkpoint is left undone.
            await in_thread(self._database.close, abandon_on_cancel=True)


@asynccontextmanager
async def open_store(project_root: Path) -> AsyncIterator[Store]:
    """Open a project's database, made if missing, and brought to the newest version.

    On leaving, a transaction that has begun is waited for, then the database is closed; that is
    bounded, cancelled or not.

    Raises:
        ProjectNotFound: there is no such project.
        InvalidFile: the file is no database, another program's, or a later version's of this one.
        UnsafePath: the file is a link, or anything else but a file.
        StoreFailed: the disk refuses, or another process has the database.
    """
    store = Store(await in_thread(open_database, project_root))
    try:
        yield store
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_TIMEOUT):
            await store._close()  # noqa: SLF001 - nobody else shall close it
