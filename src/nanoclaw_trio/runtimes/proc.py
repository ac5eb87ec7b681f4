"""Reading Linux's /proc, and signals that can't hit a stranger.

Formats: proc_pid_stat(5), proc_pid_status(5), proc_pid_cmdline(5), proc_pid_mountinfo(5),
proc_pid_uid_map(5). A process may end between any
two reads; then there is nothing to read, and the functions here say so instead of raising.

Whatever else keeps a process from being read is an OSError, such as too many open files: what can't
be seen isn't gone. It is a PermissionError where this system keeps other users' processes from us
(hidepid in proc(5)).
"""

from __future__ import annotations

import errno
import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import trio
from attrs import frozen

from nanoclaw_trio.errors import RuntimeCommandFailed
from nanoclaw_trio.files import open_directory, read_beginning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

T = TypeVar("T")

PROC: Final = Path("/proc")

READ_LIMIT: Final = 8 * 1024 * 1024
"""Bytes beyond what there is to read, but for the mounts of who has very many: those of a sandbox
begin with the one that it is known by."""

COMMAND_LIMIT: Final = 64 * 1024
"""Bytes of a command line that are looked at. It may have 6 MiB, in each of as many processes as an
agent makes; what is looked for in one is at its beginning."""

_ENDED: Final = frozenset({errno.ENOENT, errno.ESRCH, errno.EINVAL})
"""By which the kernel says that a process has ended, or that it has begun to: EINVAL, of what it has
taken away already, such as the mounts."""

_OVER: Final = frozenset("ZXx")
"""States of a process whose first thread has ended. Others may go on."""

_EXITING: Final = 0x4
"""PF_EXITING, of the flags that the kernel has of a process."""


@frozen(kw_only=True)
class Process:
    """A process, told apart from a later one with the same number by its start time.

    Attributes:
        pid: Its number, as this process sees it.
        parent: Its parent's number.
        name: Of its program, cut to 15 bytes by the kernel; stays readable while it ends.
        over: Whether it has ended and only waits to be reaped.
        exiting: Whether its end has begun, or that of its first thread.
        start_time: Clock ticks between the system's start and its own.
    """

    pid: int
    parent: int
    name: str
    over: bool
    exiting: bool
    start_time: int


def parse_stat(content: bytes) -> Process | None:
    """A process from its `stat`; None if the content isn't one.

    The name stands in parentheses and may hold spaces and parentheses itself.
    """
    before, _, name = content.rpartition(b")")[0].partition(b"(")
    fields = content.rpartition(b")")[2].split()
    try:
        return Process(
            pid=int(before),
            name=os.fsdecode(name),
            over=fields[0].decode() in _OVER and int(fields[17]) <= 1,
            exiting=bool(int(fields[6]) & _EXITING),
            parent=int(fields[1]),
            start_time=int(fields[19]),
        )
    except (ValueError, IndexError):
        return None


def parse_namespace_pids(status: bytes) -> tuple[int, ...] | None:
    """The numbers of a process in each pid namespace, from the reader's inwards (`NSpid`).

    None where the kernel doesn't say, or the process is gone.
    """
    # Not splitlines: a process names itself, and the kernel leaves a carriage return in its name.
    for line in status.split(b"\n"):
        key, _, value = line.partition(b":")
        if key == b"NSpid":
            return tuple(int(number) for number in value.split())
    return None


def parse_mount_points(mountinfo: bytes) -> tuple[str, ...]:
    """Where something is mounted, as a process sees it; spaces and line feeds are escaped.

    A last line that was cut off is left out.
    """
    # Not splitlines: a carriage return isn't escaped.
    *lines, _cut_off = mountinfo.split(b"\n")
    return tuple(os.fsdecode(line.split(b" ", 5)[4]) for line in lines)


def parse_user_count(uid_map: bytes) -> int:
    """How many users there are in a process's user namespace."""
    return sum(int(line.split()[2]) for line in uid_map.splitlines())


def parse_command(content: bytes) -> tuple[str, ...]:
    """The arguments of a process; empty for one that is ending, and for the kernel's own."""
    return tuple(os.fsdecode(content).removesuffix("\0").split("\0")) if content else ()


def means_end(error: OSError) -> bool:
    """Whether an error of reading says that the process has ended, or is just ending. Pure."""
    return error.errno in _ENDED


@contextmanager
def reading_proc() -> Iterator[None]:
    """For a runtime's commands: what can't be read is no answer, but RuntimeCommandFailed."""
    try:
        yield
    except OSError as error:
        raise RuntimeCommandFailed(str(PROC), str(error.strerror)) from error


def if_permitted(look: Callable[[int], T], pid: int) -> T | None:
    """What a look at a process finds; None if we may not look: it is another user's."""
    try:
        return look(pid)
    except PermissionError:
        return None


def process_ids() -> tuple[int, ...]:
    """The numbers of all processes. OSError if /proc doesn't show them."""
    with open_directory(PROC) as directory:
        pids = tuple(int(name) for name in directory.names() if name.isdigit())
    # An empty /proc, or one of another pid namespace, would make everything seem gone.
    if os.getpid() not in pids:
        raise FileNotFoundError(errno.ENOENT, "doesn't show the processes of this system")
    return pids


def read_process(pid: int) -> Process | None:
    """The process with this number, or None."""
    return parse_stat(_read(pid, "stat"))


def read_namespace_pids(pid: int) -> tuple[int, ...]:
    """As :func:`parse_namespace_pids`; empty where nothing is said."""
    return parse_namespace_pids(_read(pid, "status")) or ()


def read_mount_points(pid: int) -> tuple[str, ...]:
    """As :func:`parse_mount_points`, of a thread that is left; empty if there is none.

    Nothing but a capability changes that, while a process can write over its own command line.
    """
    found = _read(pid, "mountinfo")
    threads = () if found else _threads_of(pid)
    others = (_read(pid, f"task/{thread}/mountinfo") for thread in threads)
    return parse_mount_points(found or next(filter(None, others), b""))


def _threads_of(pid: int) -> Sequence[str]:
    try:
        with open_directory(PROC / str(pid) / "task") as directory:
            return directory.names()
    except OSError as error:
        if means_end(error):
            return ()
        raise


def read_user_count(pid: int) -> int:
    """As :func:`parse_user_count`; 0 if there is no such process, too."""
    return parse_user_count(_read(pid, "uid_map"))


def read_command(pid: int) -> tuple[str, ...]:
    """As :func:`parse_command`, of the first COMMAND_LIMIT bytes: the last argument may be cut.

    Empty if there is no such process, too.
    """
    return parse_command(_read(pid, "cmdline", limit=COMMAND_LIMIT))


def children_of(parents: Iterable[int]) -> tuple[Process, ...]:
    """The living processes whose parent is one of these, without those that we may not look at."""
    wanted = frozenset(parents)
    processes = (if_permitted(read_process, pid) for pid in process_ids())
    return tuple(p for p in processes if p is not None and not p.over and p.parent in wanted)


def wait_until_executed(pid: int) -> None:
    """Wait until a child that was just started shows its command line, or has ended.

    It takes microseconds, and blocks: subprocess.Popen returns while the kernel is at the end of
    execve(2), when the old command line is gone and the new one isn't there yet. OSError if /proc
    can't be read.
    """
    while not read_command(pid):
        process = read_process(pid)
        if process is None or process.over:  # pragma: no branch - going round again is a race
            return


def send_signal(process: Process, number: signal.Signals) -> bool:
    """Send a signal to this very process. False if it has ended.

    PermissionError if it is another user's, OSError if /proc can't be read.
    """
    try:
        with _opened(process) as descriptor:
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    return True


async def wait_for_end(process: Process) -> None:
    """Wait until a process has ended, whoever's child it is.

    The first process of a pid namespace ends only after every other in there has. OSError if /proc
    can't be read.
    """
    try:
        with _opened(process) as descriptor:
            await trio.lowlevel.wait_readable(descriptor)
    except ProcessLookupError:
        await trio.lowlevel.checkpoint()


@contextmanager
def _opened(process: Process) -> Iterator[int]:
    """A descriptor that stands for this process, and for no later one with its number.

    ProcessLookupError if it has ended.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError as error:
        # EINVAL, by kernels before 6.9, of a number that is only a session's or a group's still.
        if means_end(error):
            raise ProcessLookupError(process.pid) from error
        raise
    try:
        # Compared after the descriptor was opened: from here on it can't come to mean another.
        now = read_process(process.pid)
        if now is None or now.start_time != process.start_time:
            raise ProcessLookupError(process.pid)
        yield descriptor
    finally:
        os.close(descriptor)


def _read(pid: int, name: str, *, limit: int = READ_LIMIT) -> bytes:
    """What a file says of a process, its first `limit` bytes; nothing if that has ended."""
    try:
        return read_beginning(PROC / str(pid) / name, limit=limit) or b""
    except OSError as error:
        if means_end(error):
            return b""
        raise
