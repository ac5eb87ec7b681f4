"""What is done before anything else."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from nanoclaw_trio.cli.startup import (
    STOP_SIGNALS,
    handled_signals,
    note_signals,
    occupy_standard_descriptors,
)


def test_nohup_is_respected(handlers):
    """An ignored SIGHUP stays ignored; an ignored SIGINT, which `&` in a script makes, doesn't."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    assert handled_signals() == (signal.SIGINT, signal.SIGTERM)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert handled_signals() == STOP_SIGNALS


def test_a_signal_is_noted(handlers):
    """The first signal ends nothing; a second one ends the process with the first one's status."""
    statuses = []
    noted = note_signals(exit_now=statuses.append)
    signal.raise_signal(signal.SIGTERM)
    assert (noted, statuses) == ([signal.SIGTERM], [])
    signal.raise_signal(signal.SIGINT)
    assert statuses == [143]


def test_a_closed_descriptor_is_occupied():
    """A standard stream that the caller closed isn't given to the next file that is opened."""
    kept = os.dup(0)
    os.close(0)
    try:
        occupy_standard_descriptors()
        assert os.path.samestat(os.fstat(0), Path(os.devnull).stat())
    finally:
        os.dup2(kept, 0)
        os.close(kept)
