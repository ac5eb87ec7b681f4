"""What is done before anything else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nanoclaw_trio.cli.startup import (
    STOP_SIGNALS,
    handled_signals,
    hear_of_children,
    note_signals,
    occupy_standard_descriptors,
)
from nanoclaw_trio.testing.docker_stand_in import Scenario, write_docker_stand_in

GUARD = 60


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


@pytest.mark.parametrize(
    ("before", "after"),
    [(signal.SIG_IGN, signal.SIG_DFL), (signal.default_int_handler, signal.default_int_handler)],
)
def test_an_ignored_sigchld_is_taken_back(before, after):
    """Who starts us may have ignored it; a handler of the program's own stays."""
    original = signal.signal(signal.SIGCHLD, before)
    try:
        hear_of_children()
        assert signal.getsignal(signal.SIGCHLD) is after
    finally:
        signal.signal(signal.SIGCHLD, original)


IGNORING = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, "-m", "nanoclaw_trio", *sys.argv[1:]])
"""


def test_a_failure_is_one_whoever_started_us(tmp_path, settings):
    """A supervisor that ignores SIGCHLD, which is inherited, makes no success of a failed run."""
    docker = write_docker_stand_in(tmp_path / "docker", Scenario(agent=("sh", "-c", "exit 7")))
    done = subprocess.run(
        [sys.executable, "-c", IGNORING, "run", "--runtime", "docker", "x"],
        env={**os.environ, "PATH": f"{docker.parent}{os.pathsep}{os.environ['PATH']}"},
        cwd=settings.project_root,
        capture_output=True,
        timeout=GUARD,
        check=False,
    )
    assert done.returncode == 1
    assert b"exited with code 7" in done.stderr
