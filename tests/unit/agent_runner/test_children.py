"""The processes below this one, as /proc tells of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_agent.children import descendants, read_parents

reproducible = settings(derandomize=True, deadline=None)

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")

GUARD = 60


@pytest.mark.parametrize(
    ("parents", "found"),
    [
        ({}, []),
        ({5: 1, 6: 1}, []),
        ({8: 5, 7: 5, 5: 1}, [7, 8]),
        ({6: 5, 7: 6, 8: 7, 9: 1}, [6, 7, 8]),
        ({6: 5, 5: 6}, [6]),
        ({5: 5}, []),
    ],
)
def test_descendants_are_children_and_theirs(parents, found):
    """Each generation follows its parents; other families and circles are left out."""
    assert descendants(5, parents) == found


@reproducible
@given(st.dictionaries(st.integers(0, 9), st.integers(0, 9)), st.integers(0, 9))
def test_any_parents_make_an_end(parents, pid):
    """Whatever is read, a process is found once, and never above itself."""
    found = descendants(pid, parents)
    assert len(found) == len(set(found))
    assert pid not in found
    assert all(parents[child] in {pid, *found} for child in found)


@pytest.mark.parametrize(
    ("stat", "parents"),
    [
        (b"7 (bash) S 5 7 7 0", {7: 5}),
        (b"7 (a) S 1 (b) R 5 7", {7: 5}),
        (b"7 (\n) Z 9 \n) D 5 7", {7: 5}),
        (b"7 (\xff\xfe) T 5 7", {7: 5}),
        (b"7 (gone) Z 5 7", {}),
        (b"7 (gone) X 5 7", {}),
    ],
)
def test_names_can_not_hide_a_parent(tmp_path, stat, parents):
    """A process may call itself anything; zombies and the dead aren't living processes."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_bytes(stat)
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "stat").write_bytes(stat)
    assert read_parents(tmp_path) == parents


def test_process_that_has_ended_is_passed_over(tmp_path):
    """What can't be read any more isn't a living process; and where there is no /proc, none is."""
    (tmp_path / "7" / "stat").mkdir(parents=True)
    assert read_parents(tmp_path) == {}
    assert read_parents(tmp_path / "missing") == {}


@linux
def test_real_processes_are_found():
    """A child of this process is below it, and a zombie isn't any more."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in descendants(os.getpid(), read_parents())
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert child.pid not in descendants(os.getpid(), read_parents())


FAMILY = """
import os, subprocess, sys, time
from nanoclaw_agent.children import {function}
GRANDCHILD = "{signals}; print(os.getpid(), flush=True); time.sleep(600)"
CHILD = "import os, signal, subprocess, sys, time\\n" + GRANDCHILD
PARENT = CHILD.replace("time.sleep(600)", "subprocess.run([sys.executable, '-c', sys.argv[1]])")
child = subprocess.Popen(
    [sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True
)
pids = [int(child.stdout.readline()) for _ in range(2)]
{function}()
print(*pids, flush=True)
input()
"""
"""Prints the numbers of a child and a grandchild that it has sent signals to."""

IGNORE = "[signal.signal(s, signal.SIG_IGN) for s in (signal.SIGTERM, signal.SIGINT)]"


async def wait_until_ended(pid: int) -> None:
    """Wait until a process is gone, or is a zombie."""
    with trio.fail_after(GUARD):
        while True:
            if pid not in read_parents():
                return
            await trio.sleep(0.005)


@linux
async def test_kill_ends_a_whole_family(start_python):
    """A child and a grandchild that don't listen to SIGTERM have ended when it returns."""
    script = FAMILY.format(function="kill_descendants", signals=IGNORE)
    process = await start_python("-c", script)
    pids = [int(pid) for pid in (await process.read_line()).split()]
    living = read_parents()
    assert len(pids) == 2
    assert not set(pids) & living.keys()


@linux
async def test_terminate_reaches_a_whole_family(start_python):
    """SIGTERM goes to a child and to a grandchild."""
    script = FAMILY.format(function="terminate_descendants", signals="pass")
    process = await start_python("-c", script)
    for pid in (await process.read_line()).split():
        await wait_until_ended(int(pid))


FORKING = """
import subprocess, sys
from nanoclaw_agent.children import kill_descendants
CHILD = '''
import subprocess
print("ready", flush=True)
while True:
    subprocess.Popen(["sleep", "600.{number}"])
'''
child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE)
child.stdout.readline()
kill_descendants()
print("killed", flush=True)
input()
"""


@linux
async def test_no_child_escapes_that_is_started_meanwhile(start_python):
    """Of a program that starts others without an end, none is left."""
    process = await start_python("-c", FORKING.format(number=os.getpid()))
    assert await process.read_line() == b"killed"
    started = f"sleep\x00600.{os.getpid()}\x00".encode()
    assert started not in map(read_command_line, read_parents())


def read_command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@linux
async def test_family_of_another_user_does_not_stop_it(start_python):
    """A process that may not be signalled is passed over, and the others are still ended."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a process of another user")
    process = await start_python("-c", OTHER_USER)
    own, others = (int(pid) for pid in (await process.read_line()).split())
    living = read_parents()
    assert own not in living
    assert others in living
    await process.give_input(b"end")
    await wait_until_ended(others)


OTHER_USER = """
import os, subprocess, sys
from nanoclaw_agent.children import kill_descendants
wait = ["cat"]
own = subprocess.Popen(wait, user=65534, stdin=subprocess.PIPE)
others = subprocess.Popen(wait, user=65533, stdin=subprocess.PIPE)
os.setresuid(65534, 65534, 0)
kill_descendants()
print(own.pid, others.pid, flush=True)
input()
"""
