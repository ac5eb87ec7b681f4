"""Visits to the disk, one after the other: what keeps many starts from holding everybody up.

A run's visits are Python code between many short calls of the system. Forty of them at once, in as
many threads, aren't done sooner than one after the other; but each takes the interpreter's lock from
Trio's thread, which then waits for its turn among forty after each of its own calls, and every
agent's output with it. In turn, there is one to wait for, and runs that begin together arrive one by
one at what comes next, the start of a process, which is done in Trio's own thread.
"""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

PATIENCE: Final = 0.05
"""Seconds that one visit may hold the next one up. Most take a tenth of that; one that takes longer
waits for a slow disk, or a disk that hangs, and leaves the interpreter to others."""


class Turns:
    """Whose turn it is, first come first served; taken away after PATIENCE."""

    def __init__(self) -> None:
        # Of those in line only the first looks at the time: all of them would wake one another up.
        self._line = trio.Lock()
        self._passed_on = trio.lowlevel.ParkingLot()
        self._current: object | None = None
        self._since = 0.0

    async def take(self, *, bound: float = math.inf) -> object:
        """Wait for a turn, and no longer than `bound` seconds; what to pass it on with.

        Not a checkpoint if nobody else has it.
        """
        # Whoever is in line was here before, though it may not have noticed yet that it can go.
        if self._current is not None or self._line.locked():
            with trio.CancelScope(deadline=trio.current_time() + bound):
                async with self._line:
                    await self._outwait_current()
        self._since = trio.current_time()
        self._current = turn = object()
        return turn

    async def _outwait_current(self) -> None:
        while self._current is not None and trio.current_time() < self._since + PATIENCE:
            with trio.CancelScope(deadline=self._since + PATIENCE):
                await self._passed_on.park()

    def pass_on(self, turn: object) -> None:
        """Let the next one have it; nothing happens if it was taken away."""
        if self._current is turn:
            self._current = None
            self._passed_on.unpark()


_turns: Final = trio.lowlevel.RunVar[Turns]("turns")


@asynccontextmanager
async def open_turn(*, bound: float = math.inf) -> AsyncGenerator[None]:
    """A turn for a visit to the disk, waited for no longer than `bound` seconds.

    Entering it is a checkpoint only where another visit is under way.
    """
    try:
        turns = _turns.get()
    except LookupError:
        turns = Turns()
        _turns.set(turns)
    turn = await turns.take(bound=bound)
    try:
        yield
    finally:
        turns.pass_on(turn)
