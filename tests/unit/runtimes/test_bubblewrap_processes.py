"""Which process is what to which sandbox."""

from __future__ import annotations

import pytest

from nanoclaw_trio.errors import RuntimeCommandFailed
from nanoclaw_trio.runtimes.abc import ContainerState, Phase
from nanoclaw_trio.runtimes.bubblewrap_argv import LABELS_VARIABLE, NAME_VARIABLE
from nanoclaw_trio.runtimes.bubblewrap_processes import (
    Role,
    SandboxProcess,
    classify,
    find_sandboxes,
)
from nanoclaw_trio.runtimes.bubblewrap_sandboxes import (
    find_leftovers,
    make_states,
    signal_sandbox,
)
from nanoclaw_trio.runtimes.proc import Process

MARKED = (
    *("bwrap", "--clearenv", "--setenv", NAME_VARIABLE, "x"),
    *("--setenv", LABELS_VARIABLE, '{"a": "1"}', "--unshare-user"),
)
PROCESS = Process(pid=42, parent=41, name="bwrap", over=False, start_time=9)
ZOMBIE = Process(pid=42, parent=41, name="bwrap", over=True, start_time=9)


def sandbox(name, role, labels=None):
    """A process of a sandbox with this name."""
    return SandboxProcess(process=PROCESS, role=role, name=name, labels=labels or {})


@pytest.mark.parametrize(
    ("process", "command", "namespace_pids", "role"),
    [
        (PROCESS, MARKED, (42,), Role.MONITOR),
        (PROCESS, MARKED, (42, 1), Role.INIT),
        (PROCESS, (), (42, 1), Role.ENDING),
        (PROCESS, (), (42,), None),  # the kernel's own
        (PROCESS, MARKED, (42, 2), None),  # the agent, a moment before it is executed
        (PROCESS, MARKED, (42, 9, 1), None),  # something an agent started
        (PROCESS, MARKED, (), None),  # gone between two reads
        (PROCESS, ("bwrap", "--ro-bind"), (42, 1), None),  # another program's sandbox
        (ZOMBIE, (), (42, 1), None),
        (ZOMBIE, MARKED, (42,), None),
    ],
)
def test_processes_are_told_apart(process, command, namespace_pids, role):
    """Monitor, init and an ending init are told from each other and from everything else."""
    found = classify(process, command, namespace_pids)
    assert (None if found is None else found.role) is role


def test_marks_are_carried_over():
    """A sandbox's process knows its name and labels."""
    assert classify(PROCESS, MARKED, (42,)) == sandbox("x", Role.MONITOR, {"a": "1"})


def test_a_system_without_sandboxes_has_none_of_a_made_up_name():
    """Looking through the real /proc finds no sandbox that isn't there."""
    assert "there-is-no-such-sandbox" not in {process.name for process in find_sandboxes()}


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


async def test_another_users_sandbox_is_named_by_its_processes():
    """What the system doesn't permit is an error that names the processes, and no success."""

    def refuse(_):
        raise PermissionError

    with pytest.raises(RuntimeCommandFailed, match="`kill 42` isn't permitted: another user's"):
        await signal_sandbox(refuse, (sandbox("x", Role.INIT),))
