"""Processes are read from /proc as the kernel writes them, and strangers are never signalled."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.runtimes import proc
from nanoclaw_trio.runtimes.bubblewrap_processes import find_sandboxes
from nanoclaw_trio.runtimes.proc import Process

STAT_TAIL = b" S 41 7 7 0 -1 4194560 9 8 7 6 5 4 3 2 20 0 1 0 12345 1000 50\n"


@pytest.fixture
def child():
    """A child process that waits for its input."""
    process = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    yield process
    process.kill()
    process.stdin.close()
    process.wait()


@given(st.binary(max_size=15).filter(lambda name: b"\n" not in name))
def test_a_programs_name_may_hold_anything(name):
    """Spaces and parentheses in a program's name don't shift the fields behind it."""
    assert proc.parse_stat(b"42 (" + name + b")" + STAT_TAIL) == Process(
        pid=42, parent=41, name=os.fsdecode(name), over=False, exiting=False, start_time=12345
    )


@pytest.mark.parametrize(("state", "over"), [(b"R", False), (b"D", False), (b"Z", True)])
def test_a_zombie_is_over(state, over):
    """A process that waits to be reaped counts as ended."""
    process = proc.parse_stat(b"42 (x)" + STAT_TAIL.replace(b" S ", b" " + state + b" "))
    assert process is not None
    assert process.over is over


def test_a_process_with_threads_left_is_not_over():
    """A process whose first thread has ended goes on with its others."""
    tail = STAT_TAIL.replace(b" S ", b" Z ").replace(b" 20 0 1 0 ", b" 20 0 2 0 ")
    process = proc.parse_stat(b"42 (x)" + tail)
    assert process is not None
    assert not process.over


@pytest.mark.parametrize(("flags", "exiting"), [(b"4194560", False), (b"4194564", True)])
def test_an_end_under_way_is_seen(flags, exiting):
    """The kernel says of a process that it is ending before it has ended."""
    process = proc.parse_stat(b"42 (x)" + STAT_TAIL.replace(b"4194560", flags))
    assert process is not None
    assert process.exiting is exiting


@pytest.mark.parametrize("content", [b"", b"42", b"42 (x) S", b"x (x)" + STAT_TAIL, b"\xff (\xff)"])
def test_what_is_no_stat_is_no_process(content):
    """Content that was cut off by a process's end is no process, and no exception."""
    assert proc.parse_stat(content) is None


@given(st.binary(max_size=200))
def test_no_stat_raises(content):
    """Whatever the bytes, reading them as a stat yields a process or None."""
    assert isinstance(proc.parse_stat(content), Process | None)


@pytest.mark.parametrize(
    ("status", "pids"),
    [
        (b"Name:\tx\nNSpid:\t42\nUid:\t0\n", (42,)),
        (b"Name:\tx\nNSpid:\t42\t1\n", (42, 1)),
        (b"Name:\ta\rNSpid:\tx\nNSpid:\t42\t1\n", (42, 1)),
        (b"Name:\tNSpid:\n", None),
        (b"Name:\tx\n", None),
        (b"", None),
    ],
)
def test_the_numbers_in_each_namespace(status, pids):
    """A process's numbers are read from the reader's namespace inwards."""
    assert proc.parse_namespace_pids(status) == pids


MOUNTINFO = (
    b"407 189 0:92 /newroot / ro,nosuid - tmpfs tmpfs rw\n"
    b"408 407 254:0 /usr /us\\040r ro,nosuid master:1 shared:7 - ext4 /dev/vda rw\n"
)


@pytest.mark.parametrize(
    ("content", "points"),
    [
        (MOUNTINFO, ("/", "/us\\040r")),
        (MOUNTINFO[:-1], ("/",)),
        (b"407 189 0:92 /a\rb /c\rd ro - tmpfs tmpfs rw\n", ("/c\rd",)),
        (b"", ()),
    ],
)
def test_mount_points(content, points):
    """Where something is mounted is read as the kernel writes it."""
    assert proc.parse_mount_points(content) == points


@pytest.mark.parametrize(
    ("content", "count"),
    [(b"      1000          0          1\n", 1), (b"0 0 1\n1 100000 65536\n", 65537), (b"", 0)],
)
def test_users_are_counted(content, count):
    """A user namespace has as many users as its ranges hold."""
    assert proc.parse_user_count(content) == count


@pytest.mark.parametrize(
    ("content", "command"),
    [
        (b"", ()),
        (b"a\0", ("a",)),
        (b"a\0b c\0", ("a", "b c")),
        (b"a\0\0", ("a", "")),
        (b"\xff\0", ("\udcff",)),
    ],
)
def test_a_command_line_is_cut_at_its_zeros(content, command):
    """Arguments may be empty, and need not be UTF-8."""
    assert proc.parse_command(content) == command


def test_a_living_process_is_found(child):
    """A child process is among the processes, with its parent, command and number."""
    assert child.pid in proc.process_ids()
    process = proc.read_process(child.pid)
    assert process is not None
    assert (process.parent, process.over) == (os.getpid(), False)
    assert process in proc.children_of([os.getpid()])
    assert proc.read_command(child.pid)[1:] == ("-c", "input()")
    assert "/proc" in proc.read_mount_points(child.pid)
    assert proc.read_user_count(child.pid) == proc.read_user_count(os.getpid()) > 0
    assert proc.read_namespace_pids(child.pid)[0] == child.pid


RENAMED = """
import ctypes, sys
PR_SET_NAME = 15
ctypes.CDLL(None).prctl(PR_SET_NAME, b"a\\rNSpid:\\tx")
print("ready", flush=True)
input()
"""


def test_a_process_that_forges_a_line_by_its_name():
    """The kernel leaves a carriage return in a name; what stands behind it is no line, and a look for
    sandboxes isn't broken off by it."""
    argv = [sys.executable, "-c", RENAMED]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"ready\n"
        assert proc.read_process(child.pid).name == "a\rNSpid:\tx"
        assert proc.read_namespace_pids(child.pid)[0] == child.pid
        assert child.pid not in [found.process.pid for found in find_sandboxes()]
        child.kill()


def test_a_process_that_is_gone_is_nothing(child):
    """After its end a process reads as nothing; before it is reaped it is nobody's child."""
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert child.pid not in [process.pid for process in proc.children_of([os.getpid()])]
    child.wait()
    assert proc.read_process(child.pid) is None
    assert proc.read_command(child.pid) == ()
    assert proc.read_namespace_pids(child.pid) == ()
    assert proc.read_mount_points(child.pid) == ()
    assert proc.read_user_count(child.pid) == 0


def bytes_read():
    """How many bytes this process has read so far, of files and of what the kernel tells."""
    counts = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in counts)["rchar"])


HEADLESS = """
import ctypes, threading
threading.Thread(target=input).start()
print("ready", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_process_without_its_first_thread_is_seen():
    """A process whose first thread has ended looks like one that has, and still has its mounts."""
    argv = [sys.executable, "-ISc", HEADLESS]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"ready\n"
        while proc.read_command(child.pid):
            time.sleep(0.001)
        process = proc.read_process(child.pid)
        assert process is not None
        assert (process.over, process.exiting) == (False, True)
        assert "/proc" in proc.read_mount_points(child.pid)
        child.kill()


def test_of_a_long_command_line_the_beginning_is_read():
    """A command line of more than a megabyte, such as one with thousands of mounts, is read up to a
    limit, and no more of it is fetched than that."""
    argv = [sys.executable, "-c", "input()", "first", *["x" * 100_000] * 12]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as child:
        proc.wait_until_executed(child.pid)
        before = bytes_read()
        command = proc.read_command(child.pid)
        assert bytes_read() - before < 2 * proc.COMMAND_LIMIT
        assert command[:4] == tuple(argv[:4])
        assert len("\0".join(command)) == proc.COMMAND_LIMIT
        child.kill()


@pytest.mark.parametrize(
    ("number", "ended"),
    [
        (errno.ENOENT, True),
        (errno.ESRCH, True),
        (errno.EINVAL, True),  # the mounts of what is ending
        (errno.EMFILE, False),
        (errno.ENFILE, False),
        (errno.ENOMEM, False),
        (errno.EIO, False),
        (errno.EACCES, False),
        (errno.EPERM, False),
        (None, False),
    ],
)
def test_what_an_end_looks_like(number, ended):
    """That something can't be read is no sign of an end, but for what the kernel says of ends."""
    assert proc.means_end(OSError(number, "no")) is ended


READERS = (
    proc.read_process,
    proc.read_namespace_pids,
    proc.read_mount_points,
    proc.read_user_count,
    proc.read_command,
    proc.wait_until_executed,
)


@pytest.mark.parametrize("read", READERS)
def test_without_a_descriptor_nobody_is_gone(child, no_free_descriptor, read):
    """A process that can't be looked at for want of a descriptor is an error, and not gone."""
    free = no_free_descriptor()
    with pytest.raises(OSError, match="Too many open files"):
        read(child.pid)
    free()


async def test_without_a_descriptor_nothing_has_ended(child, no_free_descriptor):
    """Nor is it gone for who would send it a signal, or waits for its end."""
    process = proc.read_process(child.pid)
    # One, for what stands for the process; and then none to see with that it is the same.
    free = no_free_descriptor(leaving=1)
    with pytest.raises(OSError, match="Too many open files"):
        proc.send_signal(process, signal.SIGKILL)
    with pytest.raises(OSError, match="Too many open files"):
        await proc.wait_for_end(process)
    free()
    assert child.poll() is None


def test_strangers_are_nobodys_children(made_up_proc, child):
    """Where /proc keeps other users' processes from us, our children are found among them."""
    made_up_proc.add(child.pid, stat=f"/proc/{child.pid}/stat")
    made_up_proc.add(77, stat=made_up_proc.FORBIDDEN)
    assert [process.pid for process in proc.children_of([os.getpid()])] == [child.pid]


def test_a_child_that_can_not_be_read_is_an_error(made_up_proc):
    """Another error than that may hide a child."""
    made_up_proc.add(77, stat=made_up_proc.BROKEN)
    with pytest.raises(OSError, match="Input/output error"):
        proc.children_of([os.getpid()])


def test_threads_that_can_not_be_listed_are_an_error(made_up_proc):
    """A process without a first thread, whose others can't be seen, isn't one without mounts."""
    made_up_proc.add(77, mountinfo="/dev/null", task="/dev/null")
    with pytest.raises(NotADirectoryError):
        proc.read_mount_points(77)


def test_of_very_many_mounts_the_first_are_read(made_up_proc, tmp_path):
    """A process with more mounts than are looked at shows the first of them, a cut one left out."""
    line = b"1 1 0:1 / /%07d rw - tmpfs tmpfs rw\n"
    count = proc.READ_LIMIT // len(line % 0) + 2
    (tmp_path / "mounts").write_bytes(b"".join(line % number for number in range(count)))
    made_up_proc.add(77, mountinfo=tmp_path / "mounts")
    points = proc.read_mount_points(77)
    assert points[:2] == ("/0000000", "/0000001")
    assert len(points) == proc.READ_LIMIT // len(line % 0)


def test_a_child_is_known_once_it_was_executed():
    """After the wait a child shows its command line; a child that has ended is not waited for."""
    for _ in range(50):
        with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as child:
            proc.wait_until_executed(child.pid)
            assert proc.read_command(child.pid) == ("/bin/cat",)
    proc.wait_until_executed(child.pid)


def test_a_signal_reaches_the_process_it_is_for(child):
    """A living process gets the signal."""
    process = proc.read_process(child.pid)
    assert process is not None
    assert proc.send_signal(process, signal.SIGTERM)
    assert child.wait() == -signal.SIGTERM


def test_a_later_process_with_the_same_number_is_no_target(child):
    """A process that started at another time than the one meant is left alone."""
    process = proc.read_process(child.pid)
    assert process is not None
    assert not proc.send_signal(evolve(process, start_time=process.start_time - 1), signal.SIGKILL)
    assert child.poll() is None


async def test_an_end_is_waited_for(child):
    """Waiting for a process lasts until its end, and no longer."""
    process = proc.read_process(child.pid)
    assert process is not None
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(proc.wait_for_end, process)
            await trio.testing.wait_all_tasks_blocked()
            assert child.poll() is None
            child.kill()
        await proc.wait_for_end(process)
        child.wait()
        await proc.wait_for_end(process)
