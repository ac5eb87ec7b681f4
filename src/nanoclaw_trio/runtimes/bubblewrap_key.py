"""Keeping the API key from the tools of a Claude agent in a sandbox.

The agent gives the key to the program `claude` in its environment, and whatever tool that runs has
the same user: it would find the key in /proc. So the sandbox gets a copy of the program that can't
be read, in the place of the one in the Python environment, and the programs of container/shell,
which don't hand the key on. What the kernel makes of the copy is tried out before an agent gets one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.environment import process_environment, programs_home
from nanoclaw_trio.errors import AgentNotInstalled, KeyUnprotected
from nanoclaw_trio.files import in_thread, real_path
from nanoclaw_trio.logs import log
from nanoclaw_trio.runtimes.bubblewrap_agent import brings_claude, find_claude, wants_claude
from nanoclaw_trio.runtimes.bubblewrap_copy import find_copy, make_copy
from nanoclaw_trio.runtimes.bubblewrap_host import Bind, is_below
from nanoclaw_trio.runtimes.bubblewrap_probe import ELSEWHERE, prove_unreadable
from nanoclaw_trio.workspace.sources import shell_sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from nanoclaw_trio.protocol.models import VolumeMount
    from nanoclaw_trio.runtimes.abc import ContainerSpec
    from nanoclaw_trio.runtimes.bubblewrap_agent import ClaudeProgram
    from nanoclaw_trio.runtimes.bubblewrap_check import WorkingBwrap
    from nanoclaw_trio.settings import Settings

PROGRAMS_TARGET: Final = "/opt/nanoclaw/bin"
"""Where the agent finds what keeps the key from its tools, as in the image."""

LOCK_POLL: Final = 0.1
"""Seconds between two looks at whether another process has made the copy."""


class KeyGuard:
    """What is laid over a sandbox's files so that the agent's tools don't get at the key.

    One copy of the program serves all processes of a user; each of them tries it out once.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str] | None = None) -> None:
        """`environ` replaces the process's environment."""
        self._settings = settings
        self._environ = process_environment() if environ is None else environ
        self._proven: tuple[Bind, ...] = ()
        self._proving = trio.Lock()

    def known_covers(self, spec: ContainerSpec) -> tuple[Bind, ...]:
        """What the last sandbox of such an agent was covered with."""
        return self._proven if wants_claude(spec.environment) else ()

    async def make_covers(self, spec: ContainerSpec, working: WorkingBwrap) -> tuple[Bind, ...]:
        """The binds for a sandbox; none for another agent than Claude.

        May be cancelled; a copy that was being made is removed then.

        Raises:
            AgentNotInstalled: the Python environment hasn't got what the agent needs.
            KeyUnprotected: there is no way here to keep the key; says why and what to do.
            InvalidFile: the programs of container/shell aren't there; the installation is broken.
        """
        program = await _find_program(spec, working)
        if program is None:
            return ()
        async with self._proving:
            covers = await self._cover(program, spec)
            await self._prove(covers, spec, working)
        return covers

    async def _cover(self, program: ClaudeProgram, spec: ContainerSpec) -> tuple[Bind, ...]:
        copy = await self._copy(program, spec.name)
        shell = await in_thread(shell_sources, self._settings.project_root)
        for directory in (copy.parent, shell):
            exposing = await in_thread(find_exposing_mount, spec.mounts, directory)
            if exposing is not None:
                why = f"by its mount {exposing} the agent may change {directory}"
                raise KeyUnprotected(spec.name, why, "mount that read-only, or something else")
        return (
            Bind(source=str(copy), target=program.target),
            Bind(source=str(shell), target=PROGRAMS_TARGET),
        )

    async def _copy(self, program: ClaudeProgram, container: str) -> Path:
        await trio.lowlevel.checkpoint()
        try:
            directory = programs_home(self._environ)
        except RuntimeError:
            why = "there is no home directory for a copy of `claude`"
            raise KeyUnprotected(container, why, ELSEWHERE) from None
        try:
            return await keep_copy(program, directory)
        except OSError as error:
            why = f"`claude` can't be copied to {directory}: {error.strerror}"
            raise KeyUnprotected(container, why, f"mend that, or {ELSEWHERE}") from error

    async def _prove(
        self, covers: tuple[Bind, ...], spec: ContainerSpec, working: WorkingBwrap
    ) -> None:
        await trio.lowlevel.checkpoint()
        if covers == self._proven:
            return
        await prove_unreadable(covers[0], spec.name, working, self._settings)
        self._proven = covers


async def _find_program(spec: ContainerSpec, working: WorkingBwrap) -> ClaudeProgram | None:
    await trio.lowlevel.checkpoint()
    if not wants_claude(spec.environment):
        return None
    try:
        return await in_thread(find_claude, working.host.python)
    except AgentNotInstalled as error:
        problem = error
    # Another agent-runner may do without all that.
    if await in_thread(brings_claude, spec.mounts):
        raise problem
    return None


async def keep_copy(program: ClaudeProgram, directory: Path) -> Path:
    """The copy of the program; if there is none, it is made, or another process is waited for."""
    copy = await in_thread(find_copy, program.source, program.version, directory)
    if copy is None:
        log.info("copying the program `claude`, once for this version", directory=str(directory))
    while copy is None:
        copy = await in_thread(_make_copy, program, directory, utc_now().timestamp())
        if copy is None:
            await trio.sleep(LOCK_POLL)
    return copy


def _make_copy(program: ClaudeProgram, directory: Path, now: float) -> Path | None:
    check = trio.from_thread.check_cancelled
    return make_copy(program.source, program.version, directory, now=now, check=check)


def find_exposing_mount(mounts: Iterable[VolumeMount], directory: Path) -> Path | None:
    """A mount through which an agent could change a directory, or None."""
    place = str(real_path(directory))
    for mount in mounts:
        source = str(real_path(mount.host_path))
        if not mount.readonly and (is_below(place, (source,)) or is_below(source, (place,))):
            return mount.host_path
    return None
