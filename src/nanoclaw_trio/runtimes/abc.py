"""What a container runtime is: the seam between a run and the world of containers.

Two small abstract classes. Write a runtime of your own by subclassing them, and hold it to
:class:`nanoclaw_trio.testing.RuntimeConformance`.

Every method may be cancelled at any point. A :meth:`ContainerRuntime.start` that was cancelled, or
that raised, has started nothing that could still come about: a runtime that waits after it gave its
engine the order takes the order back first.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from enum import Enum
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import trio

    from nanoclaw_trio.errors import NanoclawError
    from nanoclaw_trio.files import Owner
    from nanoclaw_trio.protocol.models import VolumeMount

INSTALL_LABEL: Final = "nanoclaw.install"
"""Names the project that a container belongs to; what the reaper looks for (Trap A26)."""

GROUP_LABEL: Final = "nanoclaw.group"
"""Names the group's folder."""

OWNER_LABEL: Final = "nanoclaw.owner"
"""Names the process of the host that started it, so that a living host's container is let be."""

AGENT_VARIABLE: Final = "NANOCLAW_AGENT"
"""Tells the agent-runner which agent to be; unset for Claude. An original agent ignores it."""

DEFAULT_AGENT: Final = "claude"

STDIN_VARIABLE: Final = "NANOCLAW_STDIN"
"""Tells the agent-runner how its standard input ends; unset for an end right after the input."""

STDIN_LEASE: Final = "lease"
"""The value by which standard input is a lease: one line of input, and then open for as long as the
host lives (docs/protocol 1)."""


@frozen(kw_only=True)
class ContainerSpec:
    """Everything a runtime needs to know to start a container. No secret is in here.

    Attributes:
        name: Unique; the container is stopped and verified gone by it.
        image: What to start. A runtime without images ignores it.
        environment: Variables for the container's process.
        mounts: Parents before children.
        labels: By which :meth:`ContainerRuntime.list` finds it.
        user: uid and gid the process runs as, or None for the image's own user.
        network: `default`, `none`, `host` or a network's name.
        memory: Bytes, or None for no limit.
        cpus: A number of processors, or None for no limit.
        pids_limit: Processes and threads.
        takes_lease: Whether the agent's source knows what a lease is. A runtime offers one where
            its image says so too; see `Container.holds_stdin`.
        read_only: Whether nothing can be written but the mounts, /tmp and the home, which begin
            empty and are gone at its end.
    """

    name: str
    image: str
    environment: Mapping[str, str] = field(factory=dict)
    mounts: tuple[VolumeMount, ...] = ()
    labels: Mapping[str, str] = field(factory=dict)
    user: Owner | None = None
    network: str = "default"
    memory: int | None = None
    cpus: float | None = None
    pids_limit: int = 512
    takes_lease: bool = False
    read_only: bool = False


class Phase(Enum):
    """Where in its life a container is."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@frozen(kw_only=True)
class ContainerState:
    """What a runtime says about one container that it knows."""

    name: str
    phase: Phase
    labels: Mapping[str, str] = field(factory=dict)


class Container(ABC):
    """A started container, as far as we hear it: its three streams and its end.

    Attributes:
        name: The name it was started under.
        stdin: Written once, then closed, or kept open as `holds_stdin` says; a write after the
            other side's end raises trio.BrokenResourceError.
        stdout: b"" at its end.
        stderr: b"" at its end.
        pid: The process of the host by which it is heard, where there is one; not the container's.
        holds_stdin: Whether standard input is a lease: the agent was told (STDIN_VARIABLE) that the
            input is one line, and that the stream's end is the host's.
    """

    name: str
    pid: int | None = None
    holds_stdin: bool = False
    stdin: trio.abc.SendStream
    stdout: trio.abc.ReceiveStream
    stderr: trio.abc.ReceiveStream

    @abstractmethod
    async def wait(self) -> int:
        """Wait for its end, as often as you like; the exit status, 128 + N for a signal N."""

    @abstractmethod
    async def aclose(self) -> None:
        """Let go: close the streams and end what only served to listen, within a bound.

        This is not how a container is stopped. It may live on; see :meth:`ContainerRuntime.stop`.
        """


class ContainerRuntime(ABC):
    """A way to run containers."""

    name: str
    """What `--runtime` calls it."""

    caveat: str | None = None
    """What people should know of it before they rely on it; said once, by who chooses it."""

    @abstractmethod
    async def check(self) -> str:
        """Ask whether it works here, within a bound. A line for people, such as its version.

        Raises:
            RuntimeUnavailable: it doesn't; says why and what to do.
        """

    @abstractmethod
    async def require_image(self, image: str) -> None:
        """Make sure that an image is there, and that its agent speaks our protocol.

        A runtime without images does nothing.

        Raises:
            ImageMissing: the operator's fault; names the command that builds it.
            ImageIncompatible: the same of an image of another protocol version.
            RuntimeUnavailable: the engine doesn't answer.
        """

    @abstractmethod
    async def start(self, spec: ContainerSpec) -> Container:
        """Start a container and attach to its streams.

        Returning doesn't promise that it runs already; a failure may show as its early end.

        Raises:
            ImageMissing, ImageIncompatible, RuntimeUnavailable, StartFailed: nothing was started.
        """

    @abstractmethod
    async def stop(self, name: str, grace: float) -> bool:
        """Ask it to end, and end it by force after `grace` seconds. False if it isn't there.

        Raises:
            RuntimeCommandFailed: it may live on.
        """

    @abstractmethod
    async def kill(self, name: str) -> bool:
        """End it by force. False if it isn't there or doesn't run.

        Raises:
            RuntimeCommandFailed: it may live on.
        """

    @abstractmethod
    async def remove(self, name: str) -> bool:
        """Remove what is left of it, by force. False if it isn't there.

        Raises:
            RuntimeCommandFailed: something may be left.
        """

    @abstractmethod
    async def inspect(self, name: str) -> ContainerState | None:
        """What became of it; None is the runtime's own word that it has no such container.

        Raises:
            RuntimeCommandFailed: the runtime didn't say, which is not "gone".
        """

    @abstractmethod
    async def list(self, labels: Mapping[str, str]) -> tuple[ContainerState, ...]:
        """All containers that carry these labels, in any phase.

        Raises:
            RuntimeCommandFailed: the runtime didn't say.
        """

    async def end_stale_starts(  # noqa: B027 - where nothing outlives its host, nothing is to do
        self, is_stale: Callable[[Mapping[str, str]], bool]
    ) -> None:
        """End what hosts that are gone have left behind to start their containers.

        `is_stale` says it of a container by its labels. To be called before :meth:`list` by who
        must know all containers that there will be; a runtime whose starts end with their host
        does nothing.

        Raises:
            RuntimeCommandFailed: what there is couldn't be seen.
        """

    def explain_exit(
        self, spec: ContainerSpec, exit_code: int, stderr: str
    ) -> NanoclawError | None:
        """The failure that an exit status stands for, where it is the runtime's and not the agent's.

        ImageMissing, RuntimeUnavailable or StartFailed; None for an end of the agent's own.
        `stderr` is the end of what was heard on standard error.
        """
        del spec, exit_code, stderr
        return None

    def describe(self, spec: ContainerSpec) -> str:
        """What is started for a spec, for the run log: where there is one, the command line."""
        return f"{self.name}: {spec}"

    async def find_out_of_memory(self, name: str, since: float) -> bool:
        """Whether the kernel killed something in it for want of memory, as far as can be told.

        `since` is the wall time of its start, in seconds since 1970. Asked after a failed end.
        """
        del name, since
        return False

    def workspace_owner(self) -> Owner | None:
        """Whom directories must belong to for the agent to write in them, or None for no change."""
        return None

    def process_user(self) -> Owner | None:
        """The user to run as in place of the image's own, or None (wire-formats 5)."""
        return None

    @property
    def mounts_files(self) -> bool:
        """Whether single files can be mounted, rather than directories only."""
        return True

    @property
    def mounts_sockets(self) -> bool:
        """Whether a container can connect to a Unix socket of the host's in a directory it mounts.

        Not where containers live in a virtual machine: what they see there is a shared folder.
        """
        return sys.platform != "darwin"
