"""A virtual clock for tests: it jumps when nobody has anything to do, and knows about threads."""

from __future__ import annotations

import math

import trio
import trio.testing


class VirtualClock(trio.abc.Clock, trio.abc.Instrument):
    """A clock that stands still while anybody works, and jumps to the next deadline when all wait.

        trio.run(main, clock=VirtualClock())

    or the fixture `virtual_clock`. It starts at 0.

    Trio's own autojumping MockClock takes a task that waits for a worker thread for an idle one,
    and jumps: a timeout of half an hour fires while a file is written. This one waits for worker
    threads first, except for one that was left alone (`abandon_on_cancel`), which may hang. Child
    processes and sockets it can't see either; tests with those use the real clock.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._jumper: trio.lowlevel.Task | None = None
        self._turns = 0
        self._turns_when_idle = 0
        self._stirred = trio.Event()

    def start_clock(self) -> None:
        """Called by Trio as the run begins."""
        trio.lowlevel.current_trio_token().run_sync_soon(
            trio.lowlevel.spawn_system_task, self._jump_when_idle
        )

    def current_time(self) -> float:
        """The virtual time, in seconds."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Called by Trio: real seconds until a deadline; never, as it comes by a jump."""
        return 0.0 if deadline <= self._now else math.inf

    def jump(self, seconds: float) -> None:
        """Move the time forward. ValueError for a negative number of seconds."""
        if seconds < 0:
            raise ValueError("time doesn't go back")
        self._now += seconds

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Called by Trio before each turn of each task."""
        if task is not self._jumper:
            self._turns += 1
            self._stirred.set()

    def before_io_wait(self, timeout: float) -> None:
        """Called by Trio when all who could run have had their turn."""
        del timeout
        self._turns_when_idle = self._turns

    async def _jump_when_idle(self) -> None:
        self._jumper = trio.lowlevel.current_task()
        trio.lowlevel.add_instrument(self)
        while True:
            await self._all_blocked()
            seconds = trio.lowlevel.current_statistics().seconds_to_next_deadline
            if trio.testing.active_thread_count() > 0:
                await trio.testing.wait_all_threads_completed()
            elif math.isinf(seconds):
                # Not time but the world outside is waited for.
                self._stirred = trio.Event()
                await self._stirred.wait()
            else:
                self.jump(max(0.0, seconds))

    async def _all_blocked(self) -> None:
        while True:
            await trio.testing.wait_all_tasks_blocked()
            # Somebody else may have waited for the same moment, and been woken with us. By the next
            # turn that one's has come, and there is no jump before the next moment of idleness.
            turns = self._turns_when_idle
            await trio.lowlevel.cancel_shielded_checkpoint()
            if turns == self._turns:
                return
