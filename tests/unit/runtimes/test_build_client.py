"""A client that builds, as a real process."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from nanoclaw_trio.runtimes.build_client import ask_innermost, innermost_processes, run_build
from nanoclaw_trio.runtimes.proc import read_process
from nanoclaw_trio.runtimes.process import ChildProcess, ProcessContainer

GUARD = 60

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


WAITS = """
import os, signal, sys

def end(*_):
    {end}

signal.signal(signal.SIGTERM, end)
print(os.getpid())
print("ready", flush=True)
while True:
    signal.pause()
"""
"""A program that says its number, waits, and at SIGTERM does something."""


def client(script):
    """A client that is a shell."""
    environment = {"PATH": os.environ["PATH"]}
    return ProcessContainer("image", ChildProcess(["sh", "-c", script], environment))


def waits(end):
    """The command line of a program that does this at SIGTERM."""
    return shlex.join([sys.executable, "-IS", "-c", WAITS.format(end=end)])


async def hear_until(script, word, *, grace=GUARD):
    """Cancel a build as soon as it says a word; how it ended, and all it said until then."""
    lines, building = [], client(script)
    with trio.fail_after(GUARD), trio.CancelScope() as scope:

        def hear(line):
            lines.append(line)
            if line == word:
                scope.cancel()

        await run_build(building, hear, grace=grace)
    return await building.wait(), lines


async def test_lines_and_exit_status():
    """Both streams are heard to their ends, and the status is the client's own."""
    lines = []
    status = await run_build(client("echo out; echo err >&2; printf end; exit 3"), lines.append)
    assert (status, sorted(lines)) == (3, ["end", "err", "out"])


async def test_a_grandchild_with_the_pipes_is_not_waited_for():
    """The build is over when the client is, whoever holds its pipes open."""
    lines = []
    with trio.fail_after(GUARD):
        status = await run_build(client("sleep 600 & echo $!"), lines.append)
    os.kill(int(lines[0]), signal.SIGKILL)
    assert status == 0


async def test_what_the_listener_raises_goes_on():
    """An exception comes out as it is, and the client has ended."""

    def hear(_line):
        raise ZeroDivisionError

    building = client("echo x; exec sleep 600")
    with trio.fail_after(GUARD), pytest.raises(ZeroDivisionError):
        await run_build(building, hear)
    assert await building.wait() == 128 + signal.SIGTERM


async def test_a_client_that_has_ended_is_not_asked():
    """Where nothing runs any more there is nobody to ask."""

    def hear(_line):
        raise ZeroDivisionError

    building = client("echo x; exit 3")
    with trio.fail_after(GUARD):
        assert await building.wait() == 3
        with pytest.raises(ZeroDivisionError):
            await run_build(building, hear)


async def test_cancelled_the_client_is_asked_to_end():
    """It gets a SIGTERM and the time to end the build, even if its words fill a pipe meanwhile."""
    # Past sys.stdout: the signal may come amid a print of the program's.
    end = 'os.write(1, b"." * 300_000); sys.exit(7)'
    status, lines = await hear_until(f"exec {waits(end)}", "ready")
    assert (status, lines[1:]) == (7, ["ready"])


@pytest.mark.parametrize("script", [f"exec {waits('pass')}", f"{waits('pass')}; exit 8"])
async def test_a_client_that_does_not_end_is_killed(script):
    """Who ignores that is killed after the grace, with its process group."""
    status, _ = await hear_until(f"trap '' TERM; {script}", "ready", grace=0.2)
    assert status == 128 + signal.SIGKILL


async def test_a_client_whose_child_does_not_end_is_asked_itself():
    """The client's own turn comes after half of the grace."""
    script = f"{waits('pass')} & wait"
    status, lines = await hear_until(script, "ready", grace=1.0)
    os.kill(int(lines[0]), signal.SIGKILL)
    assert status == 128 + signal.SIGTERM


@linux_only
async def test_the_innermost_is_asked_first():
    """A client that waits for its child learns that the child ended, and ends in its own way."""
    status, _ = await hear_until(f"{waits('sys.exit(4)')}; exit $(($? + 1))", "ready")
    assert status == 5


@linux_only
def test_innermost_processes():
    """Who has a child in the group isn't innermost, and a child outside of the group isn't in it."""
    script = "setsid sleep 600 & echo $!; sleep 600 & echo $!; wait $!"
    argv = ["sh", "-c", script]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as leader:
        outside, inside = (int(leader.stdout.readline()) for _ in range(2))
        # Until setsid(1) has made its session it is in the group.
        while os.getpgid(outside) == leader.pid:
            assert leader.poll() is None
        assert [process.pid for process in innermost_processes(leader.pid)] == [inside]
        assert ask_innermost(leader.pid)
        leader.wait(timeout=GUARD)
        assert innermost_processes(leader.pid) == ()
        assert not ask_innermost(leader.pid)
        os.kill(outside, signal.SIGKILL)


@linux_only
def test_a_client_without_a_process_cant_be_asked():
    """Without a number there is nobody to ask."""
    assert not ask_innermost(None)
    assert read_process(os.getpid()) is not None
    assert Path("/proc/self").exists()
