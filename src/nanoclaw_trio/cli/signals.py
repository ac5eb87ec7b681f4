"""What ends the command before its time: a signal, or a standard output that nobody reads."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nanoclaw_trio.cli.progress import Progress
    from nanoclaw_trio.run.agent_run import AgentRun

LAST_WORDS_BOUND: Final = 5.0
"""Seconds for the last line to be written after an interruption: its reader may be stuck."""


class Hurried(Protocol):
    """What stops many containers, and can be asked to wait for no grace any more: the engine."""

    def hurry(self) -> None:
        """Kill now what is being stopped."""
        ...


class Interruption:
    """The first signal cancels `scope`; each further one takes the graces from what is stopped.

    Attributes:
        scope: Around all that a signal ends.
        number: The first signal; None before.
        run: The run under way, if there is one.
        engine: The engine that is open, if there is one.
    """

    def __init__(self, say: Callable[[str], object], progress: Progress) -> None:
        """`say` and `progress` let the user know what a signal does."""
        self.scope = trio.CancelScope()
        self.number: signal.Signals | None = None
        self.run: AgentRun | None = None
        self.engine: Hurried | None = None
        self._say = say
        self._progress = progress
        self._last_words = trio.CancelScope()

    def receive(self, number: int) -> None:
        """A signal came."""
        if self.number is None:
            self.number = signal.Signals(number)
            self.scope.cancel()
            self._announce(self.number)
        elif number != signal.SIGPIPE:
            self._hurry(signal.Signals(number))
        self._last_words.deadline = trio.current_time() + LAST_WORDS_BOUND

    def output_lost(self) -> None:
        """Nobody reads standard output any more: the same as a SIGPIPE, which Python ignores."""
        self.receive(signal.SIGPIPE)

    def last_words(self) -> trio.CancelScope:
        """A scope around the writing of an ending: without bound, unless interrupted."""
        self._last_words = trio.CancelScope()
        if self.number is not None:
            self._last_words.deadline = trio.current_time() + LAST_WORDS_BOUND
        return self._last_words

    def _announce(self, number: signal.Signals) -> None:
        self._progress.doing("stopping")
        # Whoever closed the output on purpose (`| head`) waits for no word about it.
        if number is not signal.SIGPIPE and (what := self._containers()) is not None:
            self._say(f"{number.name}: stopping {what}; once more: without a grace")

    def _containers(self) -> str | None:
        """What there is to stop, in words; None for nothing."""
        if self.run is not None:
            return f"container {self.run.container_name}"
        return None if self.engine is None else "all containers"

    def _hurry(self, number: signal.Signals) -> None:
        for stopping in (self.run, self.engine):
            if stopping is not None:
                self._say(f"{number.name} again: killing {self._containers()}")
                stopping.hurry()


async def receive_signals(
    interruption: Interruption,
    signals: Iterable[signal.Signals],
    noted: Iterable[int],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Pass on the signals `noted` before, and then these signals as they come, until cancelled."""
    with trio.open_signal_receiver(*signals) as receiver:
        for number in tuple(noted):
            interruption.receive(number)
        task_status.started()
        async for number in receiver:
            interruption.receive(number)
