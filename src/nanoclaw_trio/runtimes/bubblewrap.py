"""The embedded default where no container engine answers: a sandbox made by bubblewrap.

Nothing to install, no daemon, no image: the agent runs from the host's own Python environment.
There is no registry of sandboxes either. They are found by their processes, of which everything is
known that there is to know: a sandbox without a process is gone, and leaves nothing behind.
"""

from __future__ import annotations

import os
import platform
import shlex
import sys
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.errors import RuntimeUnavailable, StartFailed
from nanoclaw_trio.files import Owner, in_thread
from nanoclaw_trio.runtimes.abc import ContainerRuntime, ContainerState
from nanoclaw_trio.runtimes.bubblewrap_argv import sandbox_argv
from nanoclaw_trio.runtimes.bubblewrap_check import (
    BWRAP_ENVIRONMENT,
    RUNTIME_NAME,
    WorkingBwrap,
    find_executables,
    find_working_bwrap,
)
from nanoclaw_trio.runtimes.bubblewrap_key import KeyGuard
from nanoclaw_trio.runtimes.bubblewrap_sandboxes import (
    kill_sandbox,
    look_for_sandboxes,
    stop_sandbox,
)
from nanoclaw_trio.runtimes.bubblewrap_seccomp import inherited_by, opened_filter
from nanoclaw_trio.runtimes.lease import with_lease
from nanoclaw_trio.runtimes.proc import read_process, wait_until_executed
from nanoclaw_trio.runtimes.process import ChildProcess, ProcessContainer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nanoclaw_trio.errors import NanoclawError
    from nanoclaw_trio.protocol.models import VolumeMount
    from nanoclaw_trio.runtimes.abc import Container, ContainerSpec
    from nanoclaw_trio.runtimes.bubblewrap_host import Bind
    from nanoclaw_trio.settings import Settings

LESS_ISOLATED: Final = (
    "bubblewrap isolates less than a container: the agent sees this system's /usr read-only, acts "
    "as the very user who started it wherever a file is shared with it, has this system's network "
    "unless CONTAINER_NETWORK is none, and no limit on memory and processors, nor on processes if "
    "it is root's"
)
"""What people should know before they give an agent more than they would give a stranger."""


class BubblewrapRuntime(ContainerRuntime):
    """Runs agents in sandboxes of bubblewrap, on Linux.

    Attributes:
        caveat: What it isolates less than a container, for whoever chooses it to say once.

    Images are unknown here, and so are the limits of a spec on memory and processors: only a cgroup
    could hold a sandbox to them, and that takes root or systemd. That on processes is in force from
    Linux 5.14 on, unless the user is root (`bubblewrap_host`).
    """

    name = RUNTIME_NAME
    caveat = LESS_ISOLATED

    def __init__(self, settings: Settings, executable: str | None = None) -> None:
        """`executable` stands in for the bwrap of the system and that of the wheel."""
        self._settings = settings
        self._executable = executable
        self._working: WorkingBwrap | None = None
        self._checking = trio.Lock()
        self._guard = KeyGuard(settings)
        self._start_times: dict[str, int] = {}

    async def check(self) -> str:
        """Start a sandbox, once: what works is remembered, and what doesn't is tried again."""
        working = await self._find_bwrap()
        return f"{working.version} ({working.executable})"

    async def _find_bwrap(self) -> WorkingBwrap:
        require_linux(sys.platform)
        async with self._checking:
            if self._working is None:
                given: tuple[str, ...] = () if self._executable is None else (self._executable,)
                executables = given or await in_thread(find_executables)
                self._working = await find_working_bwrap(executables, self._settings)
            return self._working

    async def require_image(self, image: str) -> None:
        """Nothing to do: there are no images. What an agent needs is looked for at its start."""
        del image
        await trio.lowlevel.checkpoint()

    async def start(self, spec: ContainerSpec) -> Container:
        """Start a sandbox. Its memory, cpus and image are left out of account.

        For a Claude agent the program `claude` is copied first, if it wasn't before.

        Raises, beside what every runtime does:
            AgentNotInstalled: the Claude agent isn't installed in this Python environment.
            KeyUnprotected: the agent's tools could have read the API key.
        """
        spec = _leased(spec)
        working = await self._find_bwrap()
        problem = await in_thread(find_missing_source, spec.mounts)
        if problem is not None:
            raise StartFailed(spec.name, problem)
        covers = await self._guard.make_covers(spec, working)
        # From here on without a checkpoint, so that nothing is started that nobody owns.
        try:
            with opened_filter(platform.machine()) as seccomp:
                argv = _make_argv(working, spec, self._settings, covers, seccomp)
                child = ChildProcess(argv, BWRAP_ENVIRONMENT, inherited=inherited_by(seccomp))
        except (FileNotFoundError, PermissionError) as error:
            self._working = None
            raise RuntimeUnavailable(
                self.name, f"{working.executable}: {error.strerror}", "install it again"
            ) from error
        except (OSError, ValueError) as error:
            raise StartFailed(spec.name, f"{working.executable}: {error}") from error
        # For a look at its end: one that is ending can't be told by its name any more.
        self._start_times[spec.name] = see_start(child.pid)
        container = ProcessContainer(spec.name, child)
        container.holds_stdin = spec.takes_lease
        return container

    def describe(self, spec: ContainerSpec) -> str:
        """The command line, once a bwrap has been found, without the filter of system calls.

        That is a descriptor of each start's own, and means nothing to whoever reads this.
        """
        if self._working is None:
            return super().describe(spec)
        try:
            covers = self._guard.known_covers(spec)
            return shlex.join(_make_argv(self._working, _leased(spec), self._settings, covers))
        except StartFailed:
            return super().describe(spec)

    async def stop(self, name: str, grace: float) -> bool:
        """Send SIGTERM to the agent, and after `grace` seconds SIGKILL to all of the sandbox."""
        return await stop_sandbox(name, grace)

    async def kill(self, name: str) -> bool:
        """Send SIGKILL to all of the sandbox, and wait until all of it has ended."""
        return await kill_sandbox(name)

    async def remove(self, name: str) -> bool:
        """Kill what is left of it. Besides processes there is nothing of it."""
        return await kill_sandbox(name)

    async def inspect(self, name: str) -> ContainerState | None:
        """Whether it runs; a sandbox that is just ending is waited for, within a bound."""
        since = self._start_times.get(name, 0)
        states = await look_for_sandboxes(lambda process: process.name == name, since=since)
        if not states:
            self._start_times.pop(name, None)
            return None
        return states[0]

    async def list(self, labels: Mapping[str, str]) -> tuple[ContainerState, ...]:
        """All sandboxes with these labels, whoever started them."""
        return await look_for_sandboxes(lambda process: labels.items() <= process.labels.items())

    def explain_exit(
        self, spec: ContainerSpec, exit_code: int, stderr: str
    ) -> NanoclawError | None:
        """The failure of bwrap itself: exit status 1, and its one line on standard error."""
        line = stderr.strip()
        if exit_code == 1 and line.startswith("bwrap: ") and "\n" not in line:
            return StartFailed(spec.name, line)
        return None

    def workspace_owner(self) -> Owner | None:
        """The calling user, if that is root: no other's files can be written to in a sandbox.

        Others find their own files there, or can't change whose they are.
        """
        return Owner(uid=os.geteuid(), gid=os.getegid()) if os.geteuid() == 0 else None


def _leased(spec: ContainerSpec) -> ContainerSpec:
    # bwrap ends with its parent, but for a parent that ended before bwrap could ask for that.
    return with_lease(spec) if spec.takes_lease else spec


def _make_argv(
    working: WorkingBwrap,
    spec: ContainerSpec,
    settings: Settings,
    covers: Sequence[Bind],
    seccomp: int | None = None,
) -> list[str]:
    return sandbox_argv(
        working.executable,
        spec,
        working.host,
        timezone=settings.timezone,
        covers=covers,
        seccomp=seccomp,
    )


def see_start(pid: int) -> int:
    """Wait until a monitor that was just started can be found; its start time, 0 if nobody can tell."""
    try:
        wait_until_executed(pid)
        monitor = read_process(pid)
    except OSError:
        # The sandbox is there, and has no owner until its start has returned.
        return 0
    return 0 if monitor is None else monitor.start_time


def require_linux(platform: str) -> None:
    """RuntimeUnavailable on any other system."""
    if platform != "linux":
        raise RuntimeUnavailable(
            RUNTIME_NAME, f"it works on Linux only, and this is {platform}", "use Docker"
        )


def find_missing_source(mounts: Iterable[VolumeMount]) -> str | None:
    """What is wrong with the first mount whose source can't be reached, or None."""
    for mount in mounts:
        try:
            mount.host_path.stat()
        except OSError as error:
            return f"mount {mount.host_path} at {mount.container_path}: {error.strerror}"
    return None
