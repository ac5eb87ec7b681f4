"""Whether the process that started a container lives."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.run.host import is_alive, this_process

reproducible = settings(derandomize=True, deadline=None)

HOST = socket.gethostname()
NO_PID = 999_999_999
"""A number beyond what any system gives to a process."""

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")


def label_of(pid, proc=Path("/proc")):
    """The label of a process as Linux shows it."""
    stat = (proc / str(pid) / "stat").read_text()
    return f"{HOST}:{pid}:{stat.rpartition(')')[2].split()[19]}"


@pytest.fixture
def child():
    """A child process that waits to be killed."""
    program = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-S", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        yield process


def test_this_process():
    """Our own label names the host, the process and its start, and we live."""
    label = this_process()
    assert re.fullmatch(rf"{re.escape(HOST)}:{os.getpid()}:[0-9]+", label)
    assert label == this_process()
    assert is_alive(label)


@needs_proc
def test_a_child(child):
    """A child lives until it ends; ended and not yet waited for it lives no more."""
    label = label_of(child.pid)
    assert is_alive(label)
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{child.pid}/stat").exists()
    assert not is_alive(label)
    child.wait()
    assert not is_alive(label)


@needs_proc
def test_a_number_used_again():
    """A later process with the same number is not the one that started the container."""
    host, pid, start = this_process().rsplit(":", 2)
    assert not is_alive(f"{host}:{pid}:{int(start) + 1}")
    assert not is_alive(f"{host}:{pid}:{int(start) - 1}")


def test_no_such_process():
    """A number that no process has belongs to one that has ended."""
    assert not is_alive(f"{HOST}:{NO_PID}:1")


@pytest.mark.parametrize(
    "owner",
    [
        f"not-{HOST}:{NO_PID}:1",
        f"{HOST}.example:{NO_PID}:1",
        f"[::1]:{NO_PID}:1",
    ],
)
def test_another_host(owner):
    """Of another host's process nobody here can say that it has ended."""
    assert is_alive(owner)


@pytest.mark.parametrize(
    "owner",
    [
        "",
        ":",
        "::",
        HOST,
        f"{HOST}:",
        f"{HOST}::",
        f"{HOST}:{NO_PID}",
        f"{HOST}:{NO_PID}:",
        f"{HOST}:{NO_PID}:ended",
        f"{HOST}:-1:1",
        f"{HOST}:²:1",
        f"{HOST}:1e3:1",
        f"{HOST}:{10**30}:1",
        f"{HOST}:{'9' * 5000}:1",
        f"{HOST}: {NO_PID}:1",
        f"{HOST}:{NO_PID}:1\n",
    ],
)
def test_malformed(owner):
    """A label that names no process clearly is no proof that one has ended."""
    assert is_alive(owner)


@reproducible
@given(st.text(max_size=40) | st.text(":0123456789²", max_size=30).map(lambda rest: HOST + rest))
def test_any_label_has_an_answer(owner):
    """No label, whoever wrote it, is more than a yes or a no."""
    assert is_alive(owner) in {True, False}


@pytest.fixture
def proc(tmp_path):
    """A made-up /proc, by a function that shows a process in it."""

    def show(pid, stat):
        directory = tmp_path / str(pid)
        directory.mkdir()
        (directory / "stat").write_text(stat)
        return tmp_path

    return show


def stat_line(command, state, start):
    """A line of /proc/PID/stat, with 52 fields."""
    return f"5 ({command}) {state} " + " ".join(["0"] * 18) + f" {start} " + "0 " * 30


@pytest.mark.parametrize(
    ("command", "state", "start", "alive"),
    [
        ("python3", "S", 4711, True),
        ("python3", "R", 4711, True),
        ("python3", "D", 4711, True),
        ("python3", "T", 4711, True),
        ("python3", "Z", 4711, False),
        ("python3", "X", 4711, False),
        ("python3", "S", 4712, False),
        ("a) Z (b c", "S", 4711, True),
        ("1 2 3)", "S", 4711, True),
        ("", "S", 4711, True),
    ],
)
def test_what_proc_says(proc, command, state, start, alive):
    """The state and the start are found whatever the command's name; a zombie has ended."""
    assert is_alive(f"{HOST}:5:4711", proc(5, stat_line(command, state, start))) is alive


def test_without_proc(tmp_path, child):
    """Where there is no /proc a process lives as long as there is one with its number."""
    assert this_process(tmp_path) == f"{HOST}:{os.getpid()}:0"
    assert is_alive(this_process(tmp_path), tmp_path)
    label = f"{HOST}:{child.pid}:0"
    assert is_alive(label, tmp_path)
    child.kill()
    child.wait()
    assert not is_alive(label, tmp_path)


@needs_proc
def test_a_label_without_a_start():
    """A start that could not be told when the label was made is no proof of another process."""
    assert is_alive(f"{HOST}:{os.getpid()}:0")


def test_a_proc_that_cannot_be_read(tmp_path):
    """Where the system doesn't show a process, nobody can say that it has ended."""
    (tmp_path / "5" / "stat").mkdir(parents=True)
    assert is_alive(f"{HOST}:5:4711", tmp_path)


def test_an_own_start_that_could_not_be_read(tmp_path):
    """A moment without a free descriptor isn't remembered for the process's whole life: its later
    runs could not be told from those of a process with its number."""
    (tmp_path / str(os.getpid()) / "stat").mkdir(parents=True)
    assert this_process(tmp_path).endswith(":0")
    (tmp_path / str(os.getpid()) / "stat").rmdir()
    (tmp_path / str(os.getpid()) / "stat").write_text(Path("/proc/self/stat").read_text())
    assert this_process(tmp_path) == this_process()
