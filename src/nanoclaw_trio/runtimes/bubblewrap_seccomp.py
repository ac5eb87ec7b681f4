"""The filter of system calls that keeps an agent's hands off process 1 of its sandbox.

Process 1 is bwrap, with the agent's user, and has asked the kernel to end with its host. Whoever
traces it, or writes its memory, has it take that back (prctl(2), PR_SET_PDEATHSIG). The file in which
its memory lies is covered; ptrace(2) and process_vm_writev(2) need no file. Whoever has the kernel
put it behind others, and starts a few hundred that are always busy, delays its end by minutes: so
what gives it, its group or all of its user's processes less of a processor is refused as well. Of all
other processes these are allowed: debuggers work.

Why no more: what else a process may do to another of its user, without a capability, makes that one
do nothing. pidfd_getfd(2) copies its descriptors, which are its streams and the event by which it
tells the agent's exit status. process_vm_readv(2), kcmp(2), perf_event_open(2) and get_robust_list(2)
read. process_madvise(2) takes a capability, and so do another mount of /proc and another namespace.
Signals, prlimit(2) and perf_event_open(2) may end it, which ends the sandbox. userfaultfd(2) is about
one's own memory, and io_uring(7) has no such calls. The agent has a session of its own, so that
/proc/PID/autogroup is not about process 1 (sched(7)).

Sources of the numbers: linux/filter.h and linux/seccomp.h for the program, linux/audit.h and
linux/elf-em.h for the architectures, the kernel's tables of system calls (syscall_64.tbl and
syscall_32.tbl of x86, asm-generic/unistd.h, syscall.tbl of arm), and linux/resource.h for PRIO_*.
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

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


PRIO_PROCESS: Final = 0
PRIO_PGRP: Final = 1
PRIO_USER: Final = 2

Arguments: TypeAlias = tuple[tuple[int, int], ...]
"""Some of a call's arguments: which one, from 0, and its value."""


@frozen
class Call:
    """A system call that does something to other processes.

    Attributes:
        number: Its own.
        refused: With which arguments it is refused: all of one of these.
    """

    number: int
    refused: tuple[Arguments, ...]


_TO_INIT: Final[tuple[Arguments, ...]] = (((0, INIT),),)

_PRIORITY_OF_INIT: Final[tuple[Arguments, ...]] = (
    ((0, PRIO_PROCESS), (1, INIT)),
    ((0, PRIO_PGRP), (1, INIT)),
    ((0, PRIO_USER),),
)


def _calls(*, ptrace: int, setpriority: int, to_init: Iterable[int]) -> tuple[Call, ...]:
    """The calls of an architecture; `to_init` have the process as their first argument."""
    return (
        Call(ptrace, refused=(((1, INIT),),)),
        Call(setpriority, refused=_PRIORITY_OF_INIT),
        *(Call(number, refused=_TO_INIT) for number in to_init),
    )


# process_vm_writev, sched_setparam, sched_setscheduler, sched_setaffinity, sched_setattr
_X86_64: Final = _calls(ptrace=101, setpriority=141, to_init=(311, 142, 144, 203, 314))
_X32: Final = _calls(ptrace=521, setpriority=141, to_init=(540, 142, 144, 203, 314))
_I386: Final = _calls(ptrace=26, setpriority=97, to_init=(348, 154, 156, 241, 351))
_AARCH64: Final = _calls(ptrace=117, setpriority=140, to_init=(271, 118, 119, 122, 274))
_ARM: Final = _calls(ptrace=26, setpriority=97, to_init=(377, 154, 156, 241, 380))


def _with_x32(calls: Iterable[Call]) -> tuple[Call, ...]:
    return tuple(Call(X32 | call.number, call.refused) for call in calls)


def _distinct(*calls: Call) -> tuple[Call, ...]:
    return tuple({call.number: call for call in calls}.values())


CALLS: Final[Mapping[str, Mapping[int, tuple[Call, ...]]]] = {
    "x86_64": {
        # Before Linux 5.4 the numbers of one are taken with the other's bit, too (seccomp(2),
        # "Architecture").
        AUDIT_ARCH_X86_64: _distinct(*_X86_64, *_X32, *_with_x32(_X86_64), *_with_x32(_X32)),
        AUDIT_ARCH_I386: _I386,
    },
    "aarch64": {AUDIT_ARCH_AARCH64: _AARCH64, AUDIT_ARCH_ARM: _ARM},
}
"""By machine, as uname(2) names it, and by the architectures whose calls its kernel takes."""


# Each start asks for it, in Trio's own thread.
@cache
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


def _filter_calls(calls: Iterable[Call]) -> list[bytes]:
    part = [_load(_NUMBER_AT)]
    for call in calls:
        verdict = [
            *(step for arguments in call.refused for step in _refuse_with(arguments)),
            _return(ALLOW),
        ]
        part += [_skip_unless(call.number, len(verdict)), *verdict]
    return [*part, _return(ALLOW)]


def _refuse_with(arguments: Arguments) -> list[bytes]:
    """Refuses the call if it has these arguments, and else goes on behind this."""
    steps = [_return(REFUSE)]
    for index, value in reversed(arguments):
        argument = _load(_ARGUMENTS_AT + _ARGUMENT_SIZE * index)
        steps = [argument, _skip_unless(value, len(steps)), *steps]
    return steps


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
