"""One engine for a project, and who has it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from nanoclaw_trio.engine.instance import held_instance
from nanoclaw_trio.errors import EngineRunning, ProjectNotFound, UnsafePath, WorkspaceFailed

NOON = datetime(2026, 2, 1, 12, 0, tzinfo=UTC)

HOLD = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from nanoclaw_trio.engine.instance import held_instance
with held_instance(Path(sys.argv[1]), datetime.now(UTC)):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has the project's engine."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_second_is_told_who_the_first_is(tmp_path):
    """Two engines on one project would answer twice: the second is told whose the first is."""
    with held_instance(tmp_path, NOON):
        with pytest.raises(EngineRunning) as caught, held_instance(tmp_path, NOON):
            pytest.fail("two engines")
        error = caught.value
        assert (error.pid, error.host) == (os.getpid(), socket.gethostname())
        assert error.since == "2026-02-01T12:00:00.000Z"
        assert str(os.getpid()) in str(error)


def test_it_is_free_again(tmp_path):
    """After the first has ended the next opens, also after an exception."""
    with pytest.raises(ValueError, match="mine"), held_instance(tmp_path, NOON):
        raise ValueError("mine")
    with held_instance(tmp_path, NOON):
        pass


def test_another_process_is_named(tmp_path, holder):
    """The holder is named across processes, by its number."""
    with pytest.raises(EngineRunning) as caught, held_instance(tmp_path, NOON):
        pytest.fail("two engines")
    assert caught.value.pid == holder.pid


def test_a_killed_process_has_it_no_more(tmp_path, holder):
    """The kernel frees the lock of a process that is killed; its record means nothing then."""
    holder.kill()
    holder.wait()
    with held_instance(tmp_path, NOON):
        pass


def test_holder_that_is_not_told(tmp_path):
    """A record that isn't there yet, or isn't ours, makes the error less precise and no other."""
    with held_instance(tmp_path, NOON):
        (tmp_path / "data" / "engine.json").write_text("{")
        unnamed = pytest.raises(EngineRunning, match="nobody says whose")
        with unnamed as caught, held_instance(tmp_path, NOON):
            pytest.fail("two engines")
        assert caught.value.pid is None


def test_no_project(tmp_path):
    """Where there is no project nothing is made."""
    with pytest.raises(ProjectNotFound), held_instance(tmp_path / "none", NOON):
        pytest.fail("no project")
    assert not (tmp_path / "none").exists()


def test_something_in_the_way(tmp_path):
    """What isn't a file is not locked, and what can't be written doesn't leave the lock behind."""
    (tmp_path / "data" / "engine.lock").mkdir(parents=True)
    with pytest.raises(UnsafePath), held_instance(tmp_path, NOON):
        pytest.fail("not a file")
    (tmp_path / "data" / "engine.lock").rmdir()
    (tmp_path / "data" / "engine.json").mkdir()
    (tmp_path / "data" / "engine.json" / "x").write_text("")
    with held_instance(tmp_path, NOON):
        assert (tmp_path / "data" / "engine.json").is_file()


def test_data_that_is_no_directory(tmp_path):
    """A file in the place of data/ is an error with its path."""
    (tmp_path / "data").write_text("")
    with pytest.raises(WorkspaceFailed, match="data"), held_instance(tmp_path, NOON):
        pytest.fail("no directory")
