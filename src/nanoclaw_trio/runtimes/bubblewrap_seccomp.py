"""The filter of system calls that keeps an agent's hands off process 1 of its sandbox.

Process 1 is bwrap, with the agent's user, and has asked the kernel to end with its host. Whoever
traces it, or writes its memory, has it take that back (prctl(2), PR_SET_PDEATHSIG). The file in which
its memory lies is covered; these are the two calls that need no file. Of all other processes they are
allowed: debuggers work.

Why no more: what else a process may do to another of its user, without a capability, makes that one
do nothing. pidfd_getfd(2) copies its descriptors, which are its streams and the event by which it
tells the agent's exit status. process_vm_readv(2), kcmp(2), perf_event_open(2) and get_robust_list(2)
read. process_madvise(2) takes a capability, and so do another mount of /proc and another namespace.
Signals, prlimit(2) and perf_event_open(2) may end it, which ends the sandbox. userfaultfd(2) is about
one's own memory, and io_uring(7) has no such calls. sched_setscheduler(2) and setpriority(2) can have
it wait for its turn among busy processes, which delays an end and prevents none; since they, and
/proc/PID/autogroup, can do so to a whole group or session, refusing the number 1 would help little.

Sources of the numbers: linux/filter.h and linux/seccomp.h for the program, linux/audit.h and
linux/elf-em.h for the architectures, and the kernel's tables of system calls: syscall_64.tbl and
syscall_32.tbl of x86, asm-generic/unistd.h, syscall.tbl of arm.
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

INIT: Final = 1
"""The number of the first process of a pid namespace, in there."""

AUDIT_ARCH_AARCH64: Final = 0xC00000B7
AUDIT_ARCH_ARM: Final = 0x40000028
AUDIT_ARCH_I386: Final = 0x40000003
AUDIT_ARCH_X86_64: Final = 0xC000003E

X32: Final = 0x40000000
"""The bit by which a call's number is one of x32, an architecture that shares x86_64's name."""

ALLOW: Final = 0x7FFF0000
REFUSE: Final = 0x00050001
"""The call fails with EPERM."""

_NUMBER_AT: Final = 0
_ARCHITECTURE_AT: Final = 4
_ARGUMENTS_AT: Final = 16
_ARGUMENT_SIZE: Final = 8
"""Bytes in struct seccomp_data. The machines here have the low half of an argument first, and of a
process's number the kernel takes no more than that."""

_BEHIND_STREAMS: Final = 3

_LOAD: Final = 0x20
_JUMP_IF_EQUAL: Final = 0x15
_RETURN: Final = 0x06


@frozen
class Call:
    """A system call that does something to another process.

    Attributes:
        number: Its own.
        pid_at: Which of its arguments says to which process, from 0.
    """

    number: int
    pid_at: int


def _calls(ptrace: int, process_vm_writev: int) -> tuple[Call, Call]:
    return Call(ptrace, pid_at=1), Call(process_vm_writev, pid_at=0)


CALLS: Final[Mapping[str, Mapping[int, tuple[Call, ...]]]] = {
    "x86_64": {
        AUDIT_ARCH_X86_64: (
            *_calls(101, 311),
            *_calls(X32 | 521, X32 | 540),
            # Before Linux 5.4 these are the same calls (seccomp(2), "Architecture").
            *_calls(521, 540),
            *_calls(X32 | 101, X32 | 311),
        ),
        AUDIT_ARCH_I386: _calls(26, 348),
    },
    "aarch64": {AUDIT_ARCH_AARCH64: _calls(117, 271), AUDIT_ARCH_ARM: _calls(26, 377)},
}
"""By machine, as uname(2) names it, and by the architectures whose calls its kernel takes."""


def make_filter(machine: str) -> bytes | None:
    """The program for a machine; None for one that isn't among CALLS. Pure.

    An architecture that isn't there is refused every call.
    """
    architectures = CALLS.get(machine)
    if architectures is None:
        return None
    program = [_load(_ARCHITECTURE_AT)]
    for architecture, calls in architectures.items():
        part = _filter_calls(calls)
        program += [_skip_unless(architecture, len(part)), *part]
    return b"".join((*program, _return(REFUSE)))


def _filter_calls(calls: tuple[Call, ...]) -> list[bytes]:
    part = [_load(_NUMBER_AT)]
    for call in calls:
        pid = _load(_ARGUMENTS_AT + _ARGUMENT_SIZE * call.pid_at)
        verdict = (pid, _skip_unless(INIT, 1), _return(REFUSE), _return(ALLOW))
        part += [_skip_unless(call.number, len(verdict)), *verdict]
    return [*part, _return(ALLOW)]


def _load(offset: int) -> bytes:
    return _instruction(_LOAD, offset)


def _return(value: int) -> bytes:
    return _instruction(_RETURN, value)


def _skip_unless(value: int, count: int) -> bytes:
    """Passes over the next `count` instructions unless that was loaded."""
    return _instruction(_JUMP_IF_EQUAL, value, if_not=count)


def _instruction(code: int, value: int, *, if_not: int = 0) -> bytes:
    return struct.pack("<HBBI", code, 0, if_not, value)


@contextmanager
def opened_filter(machine: str) -> Iterator[int | None]:
    """A descriptor from which one bwrap reads the filter; None for a machine that has none.

    It is there until the block's end. OSError if none can be opened; then nothing is left open.
    """
    program = make_filter(machine)
    if program is None:
        yield None
        return
    descriptor = _hold(program)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _hold(content: bytes) -> int:
    """A descriptor from which this is read, up to its end; no more than PIPE_BUF bytes.

    Never one that a child has for a standard stream: a host may have been started without these.
    """
    reading, writing = os.pipe()
    try:
        os.write(writing, content)
        return fcntl.fcntl(reading, fcntl.F_DUPFD_CLOEXEC, _BEHIND_STREAMS)
    finally:
        os.close(reading)
        os.close(writing)


def inherited_by(seccomp: int | None) -> tuple[int, ...]:
    """The descriptors that a bwrap needs for such a filter. Pure."""
    return () if seccomp is None else (seccomp,)
