"""The filter of system calls, as the kernel would carry it out."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.runtimes.bubblewrap_seccomp import (
    ALLOW,
    AUDIT_ARCH_AARCH64,
    AUDIT_ARCH_ARM,
    AUDIT_ARCH_I386,
    AUDIT_ARCH_X86_64,
    CALLS,
    REFUSE,
    X32,
    inherited_by,
    make_filter,
    opened_filter,
)

AUDIT_ARCH_S390X = 0x80000016

MAX_LENGTH = 4096
"""Instructions that a program may have (linux/bpf_common.h, BPF_MAXINSNS)."""

PIPE_BUF = 4096
"""Bytes that a pipe takes at once, whatever its size; pipe(7)."""


def open_descriptors():
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def interpret(program, architecture, number, arguments):
    """What the kernel makes of a call (struct seccomp_data of linux/seccomp.h)."""
    arguments = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number, architecture, 0, *(each % 2**64 for each in arguments))
    instructions = list(struct.iter_unpack("<HBBI", program))
    accumulator, at = None, 0
    while True:
        code, if_equal, if_not, value = instructions[at]
        at += 1
        if code == 0x20:  # BPF_LD | BPF_W | BPF_ABS
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif code == 0x15:  # BPF_JMP | BPF_JEQ | BPF_K
            at += if_equal if accumulator == value else if_not
        else:
            assert code == 0x06  # BPF_RET | BPF_K
            return value


TARGETS = [
    ("x86_64", AUDIT_ARCH_X86_64, 101, 311),
    ("x86_64", AUDIT_ARCH_X86_64, X32 | 521, X32 | 540),
    ("x86_64", AUDIT_ARCH_X86_64, 521, 540),
    ("x86_64", AUDIT_ARCH_X86_64, X32 | 101, X32 | 311),
    ("x86_64", AUDIT_ARCH_I386, 26, 348),
    ("aarch64", AUDIT_ARCH_AARCH64, 117, 271),
    ("aarch64", AUDIT_ARCH_ARM, 26, 377),
]


@pytest.mark.parametrize(("machine", "architecture", "ptrace", "process_vm_writev"), TARGETS)
@pytest.mark.parametrize(
    ("pid", "verdict"),
    [
        (1, REFUSE),
        (2**32 + 1, REFUSE),
        (1 - 2**32, REFUSE),
        (0, ALLOW),
        (2, ALLOW),
        (-1, ALLOW),
        (2**32, ALLOW),
        (2**32 + 2, ALLOW),
        (257, ALLOW),
        (65537, ALLOW),
    ],
)
def test_process_one_is_kept_from_both_calls(
    machine, architecture, ptrace, process_vm_writev, pid, verdict
):
    """Tracing and writing are refused for process 1, by the half of its number that counts, and
    allowed for all others."""
    program = make_filter(machine)
    other = 7
    for request in (0, 1, 16, 0x4206):
        assert interpret(program, architecture, ptrace, (request, pid, 1)) == verdict
    assert interpret(program, architecture, process_vm_writev, (pid, other)) == verdict
    # An argument of 1 in another place says nothing.
    assert interpret(program, architecture, ptrace, (1, other, 1, 1, 1, 1)) == ALLOW
    assert interpret(program, architecture, process_vm_writev, (other, 1, 1, 1, 1, 1)) == ALLOW


PRIORITIES = [
    ("x86_64", AUDIT_ARCH_X86_64, 141, (142, 144, 203, 314)),
    ("x86_64", AUDIT_ARCH_X86_64, X32 | 141, (X32 | 142, X32 | 144, X32 | 203, X32 | 314)),
    ("x86_64", AUDIT_ARCH_I386, 97, (154, 156, 241, 351)),
    ("aarch64", AUDIT_ARCH_AARCH64, 140, (118, 119, 122, 274)),
    ("aarch64", AUDIT_ARCH_ARM, 97, (154, 156, 241, 380)),
]


@pytest.mark.parametrize(("machine", "architecture", "setpriority", "schedule"), PRIORITIES)
def test_process_one_keeps_its_turn(machine, architecture, setpriority, schedule):
    """Nothing gives process 1, its group or all of its user's processes less of a processor; of
    others, and of their groups, it is allowed."""
    program = make_filter(machine)

    def verdict(number, *arguments):
        return interpret(program, architecture, number, arguments)

    process, group, user = 0, 1, 2
    for who in (1, 2**32 + 1):
        assert verdict(setpriority, process, who, 19) == REFUSE
        assert verdict(setpriority, group, who, 19) == REFUSE
        for number in schedule:
            assert verdict(number, who, 5) == REFUSE
    for who in (0, 1, 2, 1000):
        assert verdict(setpriority, user, who, 19) == REFUSE
    for who in (0, 2, -1):
        assert verdict(setpriority, process, who, 1) == ALLOW
        assert verdict(setpriority, group, who, 1) == ALLOW
        for number in schedule:
            assert verdict(number, who, 1, 1) == ALLOW


@pytest.mark.parametrize(
    ("machine", "architecture", "number"),
    [
        ("x86_64", AUDIT_ARCH_X86_64, 0),
        ("x86_64", AUDIT_ARCH_X86_64, 26),
        ("x86_64", AUDIT_ARCH_X86_64, 310),
        ("x86_64", AUDIT_ARCH_X86_64, 348),
        ("x86_64", AUDIT_ARCH_X86_64, 0x80000065),
        ("x86_64", AUDIT_ARCH_I386, 101),
        ("x86_64", AUDIT_ARCH_I386, 347),
        ("x86_64", AUDIT_ARCH_I386, X32 | 26),
        ("aarch64", AUDIT_ARCH_AARCH64, 26),
        ("aarch64", AUDIT_ARCH_AARCH64, 270),
        ("aarch64", AUDIT_ARCH_ARM, 117),
        ("aarch64", AUDIT_ARCH_ARM, 376),
    ],
)
def test_all_other_calls_are_allowed(machine, architecture, number):
    """No other call is refused, whatever its arguments, nor one whose number means it elsewhere."""
    assert interpret(make_filter(machine), architecture, number, (1, 1, 1, 1, 1, 1)) == ALLOW


@pytest.mark.parametrize(
    ("machine", "architecture"),
    [
        ("x86_64", AUDIT_ARCH_AARCH64),
        ("x86_64", AUDIT_ARCH_ARM),
        ("x86_64", 0),
        ("aarch64", AUDIT_ARCH_X86_64),
        ("aarch64", AUDIT_ARCH_I386),
        ("aarch64", AUDIT_ARCH_S390X),
    ],
)
def test_an_unknown_architecture_is_no_way_around(machine, architecture):
    """An architecture whose numbers aren't known is refused every call."""
    for number in (0, 26, 101, 117):
        assert interpret(make_filter(machine), architecture, number, (0, 0)) == REFUSE


MACHINES = st.sampled_from(sorted(CALLS))
WORDS = st.integers(0, 2**64 - 1)


@given(
    machine=MACHINES,
    number=st.integers(0, 2**32 - 1) | st.integers(0, 600),
    arguments=st.tuples(*[WORDS | st.integers(0, 3)] * 6),
    data=st.data(),
)
def test_every_call_has_a_verdict(machine, number, arguments, data):
    """Whatever is called, the program ends; it refuses what is done to process 1 and no more."""
    architecture = data.draw(st.sampled_from(sorted(CALLS[machine])))
    targets = {call.number: call.refused for call in CALLS[machine][architecture]}
    refused = any(
        all(arguments[index] % 2**32 == value for index, value in alternative)
        for alternative in targets.get(number, ())
    )
    verdict = interpret(make_filter(machine), architecture, number, arguments)
    assert verdict == (REFUSE if refused else ALLOW)


@pytest.mark.parametrize("machine", sorted(CALLS))
def test_it_is_a_program_that_the_kernel_takes(machine):
    """The program has whole instructions, few enough, and fits into a pipe that nobody reads yet."""
    program = make_filter(machine)
    assert len(program) % 8 == 0
    assert len(program) // 8 <= MAX_LENGTH
    assert len(program) <= PIPE_BUF


@pytest.mark.parametrize("machine", ["riscv64", "s390x", "i686", ""])
def test_other_machines_have_none(machine):
    """For a machine whose numbers aren't known there is no filter, and nothing to inherit."""
    assert make_filter(machine) is None
    before = open_descriptors()
    with opened_filter(machine) as seccomp:
        assert seccomp is None
        assert open_descriptors() == before
    assert inherited_by(seccomp) == ()


def test_a_descriptor_that_has_it_whole():
    """The program is read from the descriptor up to its end, by who is to inherit it; then it is
    closed."""
    before = open_descriptors()
    with opened_filter("x86_64") as seccomp:
        assert inherited_by(seccomp) == (seccomp,)
        assert not os.get_inheritable(seccomp)
        assert os.read(seccomp, PIPE_BUF) == make_filter("x86_64")
        assert os.read(seccomp, PIPE_BUF) == b""
    assert open_descriptors() == before


def test_no_standard_stream_is_taken_for_it():
    """In a host that was started without a standard input the descriptor isn't that of one."""
    kept = os.dup(0)
    os.close(0)
    try:
        with opened_filter("x86_64") as seccomp:
            assert seccomp > 2
            assert os.read(seccomp, PIPE_BUF) == make_filter("x86_64")
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def test_a_descriptor_of_a_failure():
    """It is closed, too, when what it was opened for fails."""
    before = open_descriptors()
    with pytest.raises(KeyError), opened_filter("x86_64"):
        raise KeyError
    assert open_descriptors() == before


@pytest.mark.parametrize("leaving", [0, 1, 2])
def test_without_descriptors_there_is_none(no_free_descriptor, leaving):
    """Where no pipe can be made nothing is left open."""
    before = open_descriptors()
    free = no_free_descriptor(leaving)
    with pytest.raises(OSError, match="Too many open files"), opened_filter("x86_64"):
        pass
    free()
    assert open_descriptors() == before
