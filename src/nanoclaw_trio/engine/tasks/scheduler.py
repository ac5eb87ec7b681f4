"""Which tasks are due, and whose they are while they run."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.background import open_background_nursery, start_protected
from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.errors import NanoclawError
from nanoclaw_trio.logs import log
from nanoclaw_trio.run.host import is_alive
from nanoclaw_trio.store import tasks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from datetime import datetime

    from nanoclaw_trio.store.database import Store, Transaction
    from nanoclaw_trio.store.models import Task

SWEEP: Final = 60.0
"""Seconds between two looks at the store, at most. Trio's clock doesn't count the hours that a
laptop slept, and the system's may be set: a longer sleep could end long after the time it was for.
Tasks that another process added, and leases that ended, are found by it too."""

LEASE: Final = 60.0
"""Seconds that a task stays with a process that doesn't renew its lease."""

RENEWALS: Final = 3
"""How often a lease is renewed while it lasts: two renewals may fail before it ends."""


class Scheduler:
    """Finds the tasks that are due, and offers them until somebody has claimed them.

        scheduler = Scheduler(store)
        nursery.start_soon(scheduler.run, offer)

    It keeps nothing in memory: what is due stands in the store, and what was offered and not
    claimed is offered again.
    """

    def __init__(self, store: Store, *, sweep: float = SWEEP) -> None:
        """`sweep`: seconds between two looks at the store, at most."""
        self._store = store
        self._sweep = sweep
        self._nudged = trio.Event()

    def nudge(self) -> None:
        """Look at the store now: a task was added, changed, completed, or is free again."""
        self._nudged.set()

    async def run(self, offer: Callable[[Task], object]) -> None:
        """Offer each task that is due, until cancelled; a missed one once, however often missed.

        `offer` must take a task that it was offered before, and have that change nothing: a task is
        offered at each look for as long as it is due and nobody has a lease on it. What `offer`
        raises ends this.

        At its start the leases of processes that have ended are dropped, so that what a crash broke
        off is due again.

        Raises:
            StoreFailed: the disk refuses, or another process has the database. It may be run again.
        """
        await self._store.transact(tasks.interrupt_dead, is_alive, utc_now())
        while True:
            self._nudged = trio.Event()
            now = utc_now()
            due, following = await self._store.transact(_look, now)
            for task in due:
                offer(task)
            with trio.move_on_after(self._pause(following)):
                await self._nudged.wait()

    def _pause(self, following: datetime | None) -> float:
        if following is None:
            return self._sweep
        # The time may have come while the store was asked.
        return min(self._sweep, max(0.0, (following - utc_now()).total_seconds()))


def _look(tx: Transaction, now: datetime) -> tuple[tuple[Task, ...], datetime | None]:
    """The tasks that are due, and when the next one will be."""
    return tasks.due(tx, now), tasks.next_due(tx, now)


async def keep_lease(store: Store, task_id: str, owner: str, *, lease: float = LEASE) -> None:
    """Renew the lease on a claimed task, each third of it, until cancelled.

    `lease` in seconds, as it was claimed with. It returns once the task isn't its owner's any more:
    it was completed or cancelled, or another took it, from whom it isn't taken back. A store that
    fails is logged, and asked again.
    """
    is_ours = True
    while is_ours:
        await trio.sleep(lease / RENEWALS)
        try:
            is_ours = await store.transact(tasks.renew, task_id, owner, utc_now(), lease)
        except NanoclawError as error:
            log.warning("lease not renewed", task=task_id, why=str(error))
    log.debug("lease over", task=task_id, owner=owner)


@asynccontextmanager
async def hold_lease(
    store: Store, task_id: str, owner: str, *, lease: float = LEASE
) -> AsyncGenerator[None]:
    """Within, a claimed task stays its owner's, as :func:`keep_lease` says.

    Leaving the block does not end the lease: completing or releasing the task does.
    """
    async with open_background_nursery() as nursery:
        start_protected(nursery, partial(keep_lease, store, task_id, owner, lease=lease))
        yield
