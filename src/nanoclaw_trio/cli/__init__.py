"""The command: `nanoclaw-trio`, the same as `python -m nanoclaw_trio`."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

from nanoclaw_trio.cli.startup import (
    hear_of_children,
    note_signals,
    occupy_standard_descriptors,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status. `arguments` are the command line's by default.

    Belongs in a program's main thread: it takes over the signals.
    """
    occupy_standard_descriptors()
    hear_of_children()
    pending = note_signals()
    # Imports make what stays: looking through that for garbage is a tenth of what they take. Who
    # runs a command turns it on again.
    gc.disable()
    try:
        return _run(sys.argv[1:] if arguments is None else arguments, pending)
    finally:
        gc.enable()


def _run(arguments: Sequence[str], pending: list[int]) -> int:
    # Late: from here on a signal has its exit status, whatever is being imported.
    from nanoclaw_trio.cli.command_line import run_command_line

    return run_command_line(arguments, pending)
