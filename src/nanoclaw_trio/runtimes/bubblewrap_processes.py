"""The processes of sandboxes, of this host's and of other programs', found in /proc.

A sandbox is two processes with the same command line, and what they started. bwrap's *monitor* is
on the host's side and waits for the agent's exit status. Its child, the *init*, is the first of a
pid namespace of its own, and the agent is the init's child. When the monitor ends the kernel kills
the init (--die-with-parent), and with the init everything in the namespace. So SIGTERM to the
monitor would be no polite stop, and a sandbox whose monitor is gone may still be ending.
"""

from __future__ import annotations

import signal
from enum import Enum
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from nanoclaw_trio.runtimes.bubblewrap_argv import parse_marks
from nanoclaw_trio.runtimes.proc import (
    Process,
    children_of,
    process_ids,
    read_command,
    read_namespace_pids,
    read_process,
    send_signal,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PROGRAM_NAME: Final = "bwrap"


class Role(Enum):
    """What a process is to its sandbox."""

    MONITOR = "monitor"
    INIT = "init"
    ENDING = "ending"
    """An init that is ending. The kernel has taken its command line away already and waits for the
    rest of the namespace to end, so nobody can tell which sandbox's it is."""


@frozen(kw_only=True)
class SandboxProcess:
    """One of a sandbox's two processes. Without a name and labels if it is ENDING."""

    process: Process
    role: Role
    name: str = ""
    labels: Mapping[str, str] = field(factory=dict)


def find_sandboxes() -> tuple[SandboxProcess, ...]:
    """The processes of every sandbox on this system. Blocks for some reads a process.

    OSError if /proc can't be read.
    """
    found = (_look_at(pid) for pid in process_ids())
    return tuple(sandbox for sandbox in found if sandbox is not None)


def _look_at(pid: int) -> SandboxProcess | None:
    # In this order, since all but a few processes need no more than the first read.
    command = read_command(pid)
    if command and parse_marks(command) is None:
        return None
    process = read_process(pid)
    if process is None or (not command and process.name != PROGRAM_NAME):
        return None
    return classify(process, command, read_namespace_pids(pid))


def classify(
    process: Process, command: Sequence[str], namespace_pids: Sequence[int]
) -> SandboxProcess | None:
    """What a process is to a sandbox; None if it has ended, or is of no sandbox of ours. Pure.

    The namespaces keep an agent from passing a process of its own off as a sandbox: from inside it
    can start one with any command line, but not in the host's namespace, and not as an init one
    namespace below.
    """
    marks = parse_marks(command)
    is_init = len(namespace_pids) == 2 and namespace_pids[-1] == 1  # noqa: PLR2004 - host's, own
    if process.over or (marks is None and command):
        return None
    if marks is None:
        return SandboxProcess(process=process, role=Role.ENDING) if is_init else None
    if len(namespace_pids) != 1 and not is_init:
        return None
    role = Role.INIT if is_init else Role.MONITOR
    return SandboxProcess(process=process, role=role, name=marks[0], labels=marks[1])


def ask_to_end(sandbox: Iterable[SandboxProcess]) -> bool:
    """Send SIGTERM to the agent of a sandbox. False if there is none (yet, or any more).

    PermissionError if it is another user's.
    """
    inits = [part.process.pid for part in sandbox if part.role is Role.INIT]
    asked = [send_signal(child, signal.SIGTERM) for child in children_of(inits)]
    return any(asked)


def kill_processes(sandbox: Iterable[SandboxProcess]) -> None:
    """Send SIGKILL to each of these processes. PermissionError if one is another user's.

    Not only to the monitor: the init is bound to the monitor's life only when its setup is done.
    """
    for part in sandbox:
        send_signal(part.process, signal.SIGKILL)
