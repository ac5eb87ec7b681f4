"""Finding, asking about and ending sandboxes, whoever started them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import trio

from nanoclaw_trio.errors import RuntimeCommandFailed
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.runtimes.abc import ContainerState, Phase
from nanoclaw_trio.runtimes.bubblewrap_processes import (
    Role,
    SandboxProcess,
    ask_to_end,
    find_sandboxes,
    kill_processes,
)
from nanoclaw_trio.runtimes.proc import reading_proc, wait_for_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")

ENDING_BOUND: Final = 5.0
"""Seconds for the kernel to end what was killed; a process that waits for a disk takes longer."""


async def stop_sandbox(name: str, grace: float) -> bool:
    """Send SIGTERM to the agent, and after `grace` seconds SIGKILL to all of its sandbox.

    False if there is no such sandbox. Raises as :func:`kill_sandbox` does.
    """
    sandbox = await _find(name)
    with trio.move_on_after(grace):
        # Where no agent is left, or none yet, there is nobody to be polite to.
        if await in_thread(signal_sandbox, ask_to_end, sandbox, abandon_on_cancel=True):
            await wait_for_ends(sandbox)
    await kill_sandbox(name)
    return bool(sandbox)


async def kill_sandbox(name: str) -> bool:
    """Send SIGKILL to all of a sandbox, and wait until all of it has ended.

    False if there is no such sandbox.

    Raises:
        RuntimeCommandFailed: it is another user's, or hasn't ended within ENDING_BOUND, or /proc
            can't be read.
    """
    # Not within the bound: where a look takes long, a kill that was never sent would have failed.
    sandbox = await _kill(name)
    if not sandbox:
        return False
    with trio.move_on_after(ENDING_BOUND):  # noqa: ASYNC912 - there is one to wait for
        # Again and again: a monitor may have started its init after we looked.
        while sandbox:
            await wait_for_ends(sandbox)
            sandbox = await _kill(name)
        return True
    raise RuntimeCommandFailed(f"kill {name}", f"hasn't ended it within {ENDING_BOUND:g} s")


async def look_for_sandboxes(
    matches: Callable[[SandboxProcess], bool], *, since: int = 0
) -> tuple[ContainerState, ...]:
    """The matching sandboxes, after those that are just ending have ended.

    An end is heard before the kernel is done with the sandbox, whose last processes would be taken
    for one that lives on. The matching ones were started at `since` at the earliest, which is a
    process's start time: what is older and ending is none of them, and isn't waited for.

    Raises:
        RuntimeCommandFailed: /proc can't be read; or one is still ending after ENDING_BOUND, and
            nobody can tell which.
    """
    processes = await _scan()
    leftovers = find_leftovers(processes, matches, since=since)
    with trio.move_on_after(ENDING_BOUND) as bound:
        await wait_for_ends(leftovers)
    if leftovers:
        processes = await _scan()
    states = make_states(filter(matches, processes))
    if bound.cancelled_caught and not states:
        raise RuntimeCommandFailed("/proc", "shows a sandbox that is ending and doesn't end")
    return states


def find_leftovers(
    processes: Iterable[SandboxProcess],
    matches: Callable[[SandboxProcess], bool],
    *,
    since: int = 0,
) -> tuple[SandboxProcess, ...]:
    """What may be the rest of a matching sandbox that is ending: its monitor is gone. Pure."""
    processes = tuple(each for each in processes if each.process.start_time >= since)
    monitored = {process.name for process in processes if process.role is Role.MONITOR}
    return tuple(
        process
        for process in processes
        if process.role is Role.ENDING or (process.name not in monitored and matches(process))
    )


def make_states(processes: Iterable[SandboxProcess]) -> tuple[ContainerState, ...]:
    """One state for each sandbox that these processes belong to. Pure."""
    states = {
        process.name: ContainerState(name=process.name, phase=Phase.RUNNING, labels=process.labels)
        for process in processes
        if process.role is not Role.ENDING
    }
    return tuple(states.values())


async def _scan() -> tuple[SandboxProcess, ...]:
    return await _look(find_sandboxes)


async def _find(name: str) -> tuple[SandboxProcess, ...]:
    return await _look(_find_named, name)


async def _kill(name: str) -> tuple[SandboxProcess, ...]:
    return await _look(_kill_named, name)


async def _look(
    look: Callable[..., tuple[SandboxProcess, ...]], *arguments: object
) -> tuple[SandboxProcess, ...]:
    # The time that a look takes grows with what agents start, and must not hold up whoever has
    # waited long enough. Abandoned it does no harm, and sends what it was to send.
    with reading_proc():
        return await in_thread(look, *arguments, abandon_on_cancel=True)


def _find_named(name: str) -> tuple[SandboxProcess, ...]:
    return tuple(process for process in find_sandboxes() if process.name == name)


def _kill_named(name: str) -> tuple[SandboxProcess, ...]:
    sandbox = _find_named(name)
    signal_sandbox(kill_processes, sandbox)
    return sandbox


def signal_sandbox(
    send: Callable[[tuple[SandboxProcess, ...]], T], sandbox: tuple[SandboxProcess, ...]
) -> T:
    """Have `send` signal a sandbox's processes.

    Raises:
        RuntimeCommandFailed: they are another user's, or /proc can't be read.
    """
    with reading_proc():
        try:
            return send(sandbox)
        except PermissionError as error:
            pids = ", ".join(str(process.process.pid) for process in sandbox)
            raise RuntimeCommandFailed(f"kill {pids}", "isn't permitted: another user's") from error


async def wait_for_ends(sandbox: Iterable[SandboxProcess]) -> None:
    """Wait until each of these processes has ended.

    Raises:
        RuntimeCommandFailed: one can't be looked at.
    """
    await trio.lowlevel.checkpoint()
    with reading_proc():
        for process in sandbox:
            await wait_for_end(process.process)
