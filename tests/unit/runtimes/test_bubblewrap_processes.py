"""Which process is what to which sandbox."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve

from nanoclaw_trio.errors import RuntimeCommandFailed
from nanoclaw_trio.runtimes.abc import ContainerState, Phase
from nanoclaw_trio.runtimes.bubblewrap_processes import (
    Candidate,
    Role,
    SandboxProcess,
    find_sandboxes,
    may_be_init,
    recognise,
)
from nanoclaw_trio.runtimes.bubblewrap_sandboxes import (
    find_leftovers,
    make_states,
    signal_sandbox,
)
from nanoclaw_trio.runtimes.proc import COMMAND_LIMIT, Process, process_ids

MARKS = ("x", {"a": "1"})
PROCESS = Process(pid=42, parent=41, name="bwrap", over=False, exiting=False, start_time=9)


def sandbox(name, role, labels=None):
    """A process of a sandbox with this name."""
    return SandboxProcess(process=PROCESS, role=role, name=name, labels=labels or {})


def candidate(*, pid=42, parent=41, exiting=False, is_init, marks=None):
    """A process as it may be found."""
    process = evolve(PROCESS, pid=pid, parent=parent, exiting=exiting)
    return Candidate(process=process, is_init=is_init, marks=marks)


@pytest.mark.parametrize(
    ("namespace_pids", "is_init"),
    [
        ((42, 1), True),
        ((42,), False),
        ((42, 2), False),  # the agent
        ((42, 9, 1), False),  # something of another program's, which may have made a namespace
        ((), False),  # gone between two reads
    ],
)
def test_an_init_is_the_first_of_a_namespace(namespace_pids, is_init):
    """An init is told from other processes by its numbers in the pid namespaces."""
    assert may_be_init(namespace_pids) is is_init


@pytest.mark.parametrize(
    ("found", "role"),
    [
        (candidate(is_init=False, marks=MARKS), Role.MONITOR),
        (candidate(is_init=True, marks=MARKS), Role.INIT),
        (candidate(is_init=True, marks=MARKS, exiting=True), Role.INIT),
    ],
)
def test_processes_are_told_apart(found, role):
    """Monitor and init are told from each other, and know their sandbox's name and labels."""
    assert recognise([found]) == (
        SandboxProcess(process=found.process, role=role, name="x", labels={"a": "1"}),
    )


def test_what_is_ending_is_nobodys():
    """An init whose end is under way can't be known any more."""
    ending = candidate(is_init=True, exiting=True)
    assert recognise([ending]) == (SandboxProcess(process=ending.process, role=Role.ENDING),)


def test_an_end_is_the_kernels_word():
    """An init without marks that isn't ending is another program's, and nobody waits for its end:
    an agent can take its init's command line away, and would hold up what others' ends are."""
    assert recognise([candidate(is_init=True)]) == ()


@pytest.mark.parametrize("exiting", [True, False])
@pytest.mark.parametrize("marks", [None, ("another", {})])
def test_an_init_is_its_monitors(marks, exiting):
    """A monitor's child is that sandbox's init, whatever its agent has written on it."""
    monitor = candidate(pid=41, parent=1, is_init=False, marks=MARKS)
    init = candidate(parent=41, is_init=True, marks=marks, exiting=exiting)
    assert [(each.name, each.role) for each in recognise([init, monitor])] == [
        ("x", Role.INIT),
        ("x", Role.MONITOR),
    ]


def test_a_system_without_sandboxes_has_none_of_a_made_up_name():
    """Looking through the real /proc finds no sandbox that isn't there."""
    assert "there-is-no-such-sandbox" not in {process.name for process in find_sandboxes()}


def test_what_may_not_be_looked_at_is_anothers(made_up_proc):
    """Where /proc keeps other users' processes from us, the rest is looked through."""
    made_up_proc.add(77, status=made_up_proc.FORBIDDEN)
    assert find_sandboxes() == ()


def test_what_can_not_be_looked_at_is_no_end(made_up_proc):
    """Another error than that is one of the look: what couldn't be seen may be the sandbox."""
    made_up_proc.add(77, status=made_up_proc.BROKEN)
    with pytest.raises(OSError, match="Input/output error"):
        find_sandboxes()


FORKS = """
import os
for _ in range(60):
    if os.fork() == 0:
        break
else:
    print("ready", flush=True)
os.read(0, 1)
"""


def test_long_command_lines_delay_no_scan():
    """However many processes have the longest of command lines, a scan reads little of each: an
    agent that makes such doesn't hold up what other sandboxes' ends are."""
    with subprocess.Popen(
        [sys.executable, "-ISc", FORKS, *["x" * 120_000] * 14],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as agent:
        assert agent.stdout.readline() == b"ready\n"
        before = bytes_read()
        find_sandboxes()
        read = bytes_read() - before
        agent.stdin.close()
    assert read < len(process_ids()) * 2 * COMMAND_LIMIT


def bytes_read():
    """How many bytes this process has read so far, of files and of what the kernel tells."""
    counts = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in counts)["rchar"])


@pytest.mark.parametrize(
    ("processes", "leftovers"),
    [
        ([("x", Role.MONITOR), ("x", Role.INIT)], []),
        ([("x", Role.INIT)], [("x", Role.INIT)]),
        ([("y", Role.INIT)], []),
        ([("", Role.ENDING)], [("", Role.ENDING)]),
        ([("x", Role.MONITOR), ("y", Role.INIT), ("", Role.ENDING)], [("", Role.ENDING)]),
    ],
)
def test_leftovers_have_lost_their_monitor(processes, leftovers):
    """An init without its monitor is a leftover; one that is ending may be anybody's."""
    found = find_leftovers(
        [sandbox(name, role) for name, role in processes], lambda process: process.name == "x"
    )
    assert found == tuple(sandbox(name, role) for name, role in leftovers)


@pytest.mark.parametrize(("since", "waits"), [(8, True), (9, True), (10, False)])
@pytest.mark.parametrize("role", [Role.ENDING, Role.INIT])
def test_what_is_older_is_no_leftover_of_it(role, since, waits):
    """What was started before a sandbox was is no part of it, whether it has a name or not."""
    process = sandbox("x", role)
    found = find_leftovers([process], lambda process: process.name == "x", since=since)
    assert found == ((process,) if waits else ())


def test_a_sandbox_is_stated_once():
    """Two processes are one sandbox; an ending one has no name to state."""
    processes = [
        sandbox("x", Role.MONITOR, {"a": "1"}),
        sandbox("x", Role.INIT, {"a": "1"}),
        sandbox("y", Role.INIT),
        sandbox("", Role.ENDING),
    ]
    assert make_states(processes) == (
        ContainerState(name="x", phase=Phase.RUNNING, labels={"a": "1"}),
        ContainerState(name="y", phase=Phase.RUNNING, labels={}),
    )


def test_another_users_sandbox_is_named_by_its_processes():
    """What the system doesn't permit is an error that names the processes, and no success."""

    def refuse(_):
        raise PermissionError

    with pytest.raises(RuntimeCommandFailed, match="`kill 42` isn't permitted: another user's"):
        signal_sandbox(refuse, (sandbox("x", Role.INIT),))
