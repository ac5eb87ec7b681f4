"""SIGTERM and SIGINT end the agent within a second, whatever it is doing (Trap A18).

In a container the agent may be process 1, for which the kernel ignores every signal without a
handler: so handlers are there from the first line of the program to its last. Outside of Trio a
signal ends the process on the spot. Inside, the first one cancels the program, which may wind down
for a grace period; after that, or on a second signal, the process ends on the spot too.

The exit status is the shell's: 128 and the signal's number, 143 for SIGTERM and 130 for SIGINT.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final, NoReturn

# Not in the handler: a signal in the middle of that very import waits for the lock of a module that
# its own thread holds, for ever.
from nanoclaw_agent.children import kill_descendants

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import FrameType

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

STOP_GRACE_PERIOD: Final = 0.5
"""Seconds that a cancelled program may wind down. Half of the second that the host is promised."""


async def run_until_signalled(
    program: Callable[[], Awaitable[int]], *, grace_period: float = STOP_GRACE_PERIOD
) -> int:
    """Await the program's exit status; a stop signal cancels it and gives the status instead.

    Call it in the main thread; it leaves the handlers of :func:`exit_on_signals` behind.
    """
    # Late: __main__ needs this module before it can afford to import Trio.
    import trio

    token = trio.lowlevel.current_trio_token()
    scope = trio.CancelScope()
    received: list[int] = []

    # Not trio.open_signal_receiver: its task doesn't run while the main thread is blocked, and the
    # grace period has to pass even then.
    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)
        exit_on_signals()
        _exit_after(grace_period, number)
        token.run_sync_soon(scope.cancel)

    status = 0
    with scope:
        try:
            _handle_stop_signals(stop)
            status = await program()
        finally:
            exit_on_signals()
            # The interpreter gives up its handlers before it ends: an alarm then would end it with
            # a status of its own.
            signal.setitimer(signal.ITIMER_REAL, 0)
    return 128 + received[0] if received else status


def exit_on_signals() -> None:
    """Make the stop signals end this process on the spot, with no traceback."""
    _handle_stop_signals(exit_now)


def _handle_stop_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, handler)


def exit_now(number: int, _: FrameType | None = None) -> NoReturn:
    """End this process on the spot with a signal's status, and all below it. Any thread may."""
    try:
        kill_descendants()
    finally:
        os._exit(128 + number)


def _exit_after(seconds: float, number: int) -> None:
    signal.signal(signal.SIGALRM, lambda _, frame: exit_now(number, frame))
    signal.setitimer(signal.ITIMER_REAL, seconds)
