"""The stop ladder: from a polite word to the certainty that a container is gone.

Rungs: `_close` in the mailbox where there is time for it, the runtime's polite stop, kill, remove,
and asking whether it is gone. A rung that fails or hangs is noted, and the next is taken. Each has
its bound and so has the whole, even when the runtime's own command hangs; it ends in a receipt.

The container is stopped by its name. Killing the client by which we hear it stops nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import trio

from nanoclaw_trio.errors import NanoclawError
from nanoclaw_trio.run.receipt import Gone, Receipt, Unconfirmed
from nanoclaw_trio.runtimes.abc import Phase

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nanoclaw_trio.runtimes.abc import Container, ContainerRuntime, ContainerState
    from nanoclaw_trio.settings import GracePeriods

T = TypeVar("T")

SETTLE_POLL: Final = 0.1
"""Seconds between two looks for a container whose start is under way."""

COMMANDS: Final = 8
"""Commands of the runtime that one descent takes at most, each with its bound: a look before it,
one after each of the three rungs, the rungs, and one to spare."""


class StopLadder:
    """Stops one container, once, however often and from wherever it is asked to."""

    def __init__(self, runtime: ContainerRuntime, name: str, *, grace: GracePeriods) -> None:
        self._runtime = runtime
        self._name = name
        self._grace = grace
        self._steps: list[str] = []
        self._grace_scope: trio.CancelScope | None = None
        self._hurried = False
        self._survived = False

    @property
    def survived(self) -> bool:
        """Whether the container ran on after we had heard its end."""
        return self._survived

    @property
    def bound(self) -> float:
        """Seconds that :meth:`descend` takes at the very most."""
        return self._grace.settle + self._grace.stop + COMMANDS * self._grace.command

    def hurry(self) -> None:
        """Wait for no grace any more: kill now. For a person who asked a second time."""
        self._hurried = True
        if self._grace_scope is not None:
            self._grace_scope.cancel()

    async def ask_to_close(
        self, container: Container, close: Callable[[], Awaitable[object]]
    ) -> None:
        """The first rung: `_close` in the mailbox, and time for the container to end upon it."""
        with self._period(self._grace.close):
            try:
                await close()
            except (NanoclawError, OSError) as error:
                self._steps.append(f"close: failed: {error}")
                return
            await container.wait()
            self._steps.append("close: it ended")
            return
        in_vain = f"it did not end within {self._grace.close:g} s"
        self._steps.append(f"close: {'given up' if self._hurried else in_vain}")

    async def confirm(self, container: Container) -> Receipt:
        """After we heard its end: ask whether it is gone, and see to it if it isn't."""
        state: Gone | ContainerState | None = None
        with self._shielded():
            state = await self._look()
        if isinstance(state, Gone):
            return state
        self._survived = state is not None and state.phase is Phase.RUNNING
        return await self.descend(container, was_there=True)

    async def descend(self, container: Container | None, *, was_there: bool = False) -> Receipt:
        """From the polite stop to the receipt, within `bound`, even when cancelled.

        `container` is None when its start did not return.
        """
        with self._shielded():
            never_there = await self._appearance(None if was_there else container)
            if never_there is not None:
                return never_there
            for rung in (self._stop, self._kill, self._remove):
                await rung()
                state = await self._look()
                if isinstance(state, Gone):
                    return state
                if state is not None:
                    self._steps.append(f"inspect: it is there, {state.phase.value}")
        return self._unconfirmed()

    async def _appearance(self, container: Container | None) -> Receipt | None:
        """Wait for a container whose start is under way: it can't be stopped before it is there.

        None if it is there, or if the runtime doesn't say.
        """
        patience = trio.current_time() + self._grace.settle
        ended = container is None
        while isinstance(state := await self._look(), Gone):
            if container is None or ended:
                return state
            if trio.current_time() >= patience:
                self._steps.append(f"start: still under way after {self._grace.settle:g} s")
                return self._unconfirmed()
            ended = await _ends_within(container, SETTLE_POLL)
        return None

    async def _stop(self) -> None:
        if self._hurried:
            return
        with self._period(self._grace.stop + self._grace.command):
            await self._attempt("stop", self._runtime.stop(self._name, self._grace.stop))
            return
        self._steps.append("stop: given up")

    async def _kill(self) -> None:
        await self._bounded("kill", self._runtime.kill(self._name))

    async def _remove(self) -> None:
        await self._bounded("remove", self._runtime.remove(self._name))

    async def _look(self) -> Gone | ContainerState | None:
        """What the runtime says of the container; None if it doesn't say."""
        said = await self._bounded("inspect", self._inspect())
        return said[0] if said else None

    async def _inspect(self) -> tuple[Gone | ContainerState]:
        state = await self._runtime.inspect(self._name)
        if state is not None:
            return (state,)
        evidence = f"{self._runtime.name} has no container {self._name}"
        return (Gone(container=self._name, evidence=evidence, steps=tuple(self._steps)),)

    async def _bounded(self, rung: str, attempt: Awaitable[T]) -> T | None:
        with trio.move_on_after(self._grace.command):
            return await self._attempt(rung, attempt)
        self._steps.append(f"{rung}: no answer within {self._grace.command:g} s")
        return None

    async def _attempt(self, rung: str, attempt: Awaitable[T]) -> T | None:
        try:
            done = await attempt
        except Exception as error:  # noqa: BLE001 - whatever a rung raises, the next must be taken
            self._steps.append(f"{rung}: failed: {error}")
            return None
        if isinstance(done, bool):
            self._steps.append(f"{rung}: {'done' if done else 'not there'}")
        return done

    def _unconfirmed(self) -> Unconfirmed:
        steps = tuple(self._steps)
        return Unconfirmed(container=self._name, why=steps[-1] if steps else "cut off", steps=steps)

    def _shielded(self) -> trio.CancelScope:
        return trio.CancelScope(shield=True, deadline=trio.current_time() + self.bound)

    def _period(self, seconds: float) -> trio.CancelScope:
        self._grace_scope = scope = trio.CancelScope(deadline=trio.current_time() + seconds)
        if self._hurried:
            scope.cancel()
        return scope


async def _ends_within(container: Container, seconds: float) -> bool:
    with trio.move_on_after(seconds):
        await container.wait()
        return True
    return False
