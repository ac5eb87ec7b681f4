"""What is done before anything else is imported; needs the standard library alone."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks the command to end."""


def handled_signals() -> tuple[signal.Signals, ...]:
    """The signals that end the command: all of STOP_SIGNALS, but no SIGHUP under nohup."""
    return tuple(
        number
        for number in STOP_SIGNALS
        # An ignored SIGINT is taken back: a shell script's `&` ignores it for its jobs, and nobody
        # who sends one to this process means it to be lost.
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
    )


def note_signals(exit_now: Callable[[int], object] = os._exit) -> list[int]:
    """From now on a stop signal ends nothing: its number is appended to the list that is returned.

    For the time while imports run, when an exception could come at no worse moment. A second one
    ends the process on the spot, with the first one's exit status: nothing has been started yet.
    """
    noted: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        noted.append(number)
        if len(noted) > 1:
            exit_now(128 + noted[0])

    for number in handled_signals():
        signal.signal(number, note)
    return noted


def occupy_standard_descriptors() -> None:
    """Open /dev/null in the place of a standard stream that the caller closed (`>&-`).

    Else the next file that is opened would get its number, and the answers would go there.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest number that is free, which is this one.
            os.open(os.devnull, os.O_RDWR)


def hear_of_children() -> None:
    """Take back an ignored SIGCHLD, which is inherited from whoever started us (`trap '' CHLD`).

    Under it the kernel forgets how children end: each would seem to have succeeded.
    """
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
