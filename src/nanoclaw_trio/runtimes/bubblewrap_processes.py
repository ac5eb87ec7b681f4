"""The processes of sandboxes, of this host's and of other programs', found in /proc.

A sandbox is two processes, and what they started. bwrap's *monitor* is on the host's side and waits
for the agent's exit status. Its child, the *init*, is the first of a pid namespace of its own, and
the agent is the init's child. When the monitor ends the kernel kills the init (--die-with-parent),
and with the init everything in the namespace. So SIGTERM to the monitor would be no polite stop, and
a sandbox whose monitor is gone may still be ending.

The agent can't see the monitor. It is kept from the init's memory, but for machines without a filter
(`bubblewrap_seccomp`): there it can give it another name, another command line or none, and take from
it that it dies with the monitor. So an init is known by what no agent changes anywhere: by whose
child it is, and by its mounts once its monitor is gone.
"""

from __future__ import annotations

import signal
from enum import Enum
from typing import TYPE_CHECKING

from attrs import field, frozen

from nanoclaw_trio.runtimes.bubblewrap_argv import parse_marks, parse_mounted_marks
from nanoclaw_trio.runtimes.proc import (
    Process,
    children_of,
    if_permitted,
    process_ids,
    read_command,
    read_mount_points,
    read_namespace_pids,
    read_process,
    read_user_count,
    send_signal,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nanoclaw_trio.runtimes.bubblewrap_argv import Marks


class Role(Enum):
    """What a process is to its sandbox."""

    MONITOR = "monitor"
    INIT = "init"
    ENDING = "ending"
    """An init that is ending and has no monitor any more. The kernel has taken everything away by
    which it could be known and waits for the rest of the namespace to end, so nobody can tell which
    sandbox's it is."""


@frozen(kw_only=True)
class SandboxProcess:
    """One of a sandbox's two processes. Without a name and labels if it is ENDING."""

    process: Process
    role: Role
    name: str = ""
    labels: Mapping[str, str] = field(factory=dict)


@frozen(kw_only=True)
class Candidate:
    """A process that may be one of a sandbox's, and isn't over.

    Attributes:
        is_init: Whether it is the first of a pid namespace below ours; else it is in ours.
        marks: Whose it is as far as that can be read off itself.
    """

    process: Process
    is_init: bool
    marks: Marks | None


def find_sandboxes() -> tuple[SandboxProcess, ...]:
    """The processes of every sandbox on this system. Blocks for some reads a process.

    OSError if /proc can't be read, or what it says of one of the processes; one that we may not look
    at is another user's.
    """
    looks = (if_permitted(_look_at, pid) for pid in process_ids())
    return recognise([found for found in looks if found is not None])


def _look_at(pid: int) -> Candidate | None:
    # In this order, since all but a few processes need no more than these reads. What is inside of
    # a sandbox may have the longest of command lines, and none of them is read.
    namespace_pids = read_namespace_pids(pid)
    inner = may_be_init(namespace_pids)
    if inner:
        marks = _marks_of_init(pid)
    elif len(namespace_pids) != 1 or (marks := parse_marks(read_command(pid))) is None:
        return None
    # Last: where no marks were read since it was ending, it is known to be. More than one user are
    # in a container engine's, whose ends are none of our business.
    process = read_process(pid)
    if process is None or process.over or (inner and read_user_count(pid) > 1):
        return None
    return Candidate(process=process, is_init=inner, marks=marks)


def may_be_init(namespace_pids: Sequence[int]) -> bool:
    """Whether these are the numbers of the first process of a namespace one below ours. Pure.

    No agent has a process in our namespace, nor can it make another namespace below its own.
    """
    return len(namespace_pids) == 2 and namespace_pids[-1] == 1  # noqa: PLR2004 - ours, its own


def _marks_of_init(pid: int) -> Marks | None:
    # Before its mounts are made no agent runs, and its command line is the monitor's.
    return parse_mounted_marks(read_mount_points(pid)) or parse_marks(read_command(pid))


def recognise(candidates: Iterable[Candidate]) -> tuple[SandboxProcess, ...]:
    """What each process is to which sandbox, without those that are of none. Pure.

    An init has its monitor's marks, whatever it says of itself, or seems to be.
    """
    candidates = tuple(candidates)
    monitors = {each.process.pid: each.marks for each in candidates if not each.is_init}
    recognised = (_recognise(each, monitors.get(each.process.parent)) for each in candidates)
    return tuple(found for found in recognised if found is not None)


def _recognise(candidate: Candidate, parents: Marks | None) -> SandboxProcess | None:
    process = candidate.process
    marks = (parents if candidate.is_init else None) or candidate.marks
    if marks is None:
        return SandboxProcess(process=process, role=Role.ENDING) if process.exiting else None
    role = Role.INIT if candidate.is_init else Role.MONITOR
    return SandboxProcess(process=process, role=role, name=marks[0], labels=marks[1])


def ask_to_end(sandbox: Iterable[SandboxProcess]) -> bool:
    """Send SIGTERM to the agent of a sandbox. False if there is none (yet, or any more).

    PermissionError if it is another user's, OSError if /proc can't be read.
    """
    inits = [part.process.pid for part in sandbox if part.role is Role.INIT]
    asked = [send_signal(child, signal.SIGTERM) for child in children_of(inits)]
    return any(asked)


def kill_processes(sandbox: Iterable[SandboxProcess]) -> None:
    """Send SIGKILL to each of these processes.

    PermissionError if one is another user's, OSError if /proc can't be read.

    Not only to the monitor: the init is bound to the monitor's life only when its setup is done.
    """
    for part in sandbox:
        send_signal(part.process, signal.SIGKILL)
