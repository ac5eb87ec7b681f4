"""Docker, through its command line.

The messages that are looked for were seen with client 28 and engine 20.10; those of later clients
are known from their sources.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.errors import RuntimeCommandFailed
from nanoclaw_trio.files import Owner, read_if_present
from nanoclaw_trio.runtimes.answers import EngineWords, read_ids, read_state_lines, words
from nanoclaw_trio.runtimes.arguments import (
    assignments,
    identity_arguments,
    mount_arguments,
    network_arguments,
    tmpfs_arguments,
)
from nanoclaw_trio.runtimes.client import failed, understand
from nanoclaw_trio.runtimes.container_engine import INIT_FAILURE_PATTERN
from nanoclaw_trio.runtimes.engine_cli import EngineCli

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nanoclaw_trio.runtimes.abc import ContainerSpec, ContainerState
    from nanoclaw_trio.runtimes.process import CommandResult
    from nanoclaw_trio.settings import Settings

STATE_TEMPLATE: Final = "[{{json .Name}},{{json .State.Status}},{{json .Config.Labels}}]"
"""How `container inspect` is asked to answer, one line a container.

Not `ps`, whose labels are one string in which a comma may be anything.
"""

VERSION_TEMPLATE: Final = "{{.Server.Version}} {{.Server.MinAPIVersion}}"
"""The second field is one that podman's imitation of the docker command doesn't have."""

SELINUX_ENFORCE: Final = Path("/sys/fs/selinux/enforce")
"""Holds 1 where SELinux enforces its policy; not there without SELinux."""

UNMOUNTABLE: Final = "\r\n"
"""Characters that a line of CSV can't hold for docker."""

TMPFS_OPTIONS: Final = "rw,exec,nosuid,nodev,mode=1777"
"""Docker's own would keep programs from being run there, and an agent's tools build some."""

EVENT_LAG: Final = 0.2
"""Seconds by which the engine may record an out-of-memory event after the container's end."""

CLIENT_STATUSES: Final = (125, 126, 127)
"""Exit statuses of the client's own: it failed, the command can't be run, or isn't there."""

_OWN_WORDS: Final = re.compile(
    r"^docker: (?P<failure>.+)$"
    r"|(?P<loss>error waiting for container: .*?)\"?$"
    rf"|{INIT_FAILURE_PATTERN}"
    r"|^(?P<usage>(?:unknown|invalid) .+)$(?=[\s\S]*'docker run --help')",
    re.MULTILINE,
)


class DockerRuntime(EngineCli):
    """Containers run by Docker.

    Where SELinux enforces, containers run without its confinement (`label=disable`), and with all
    the rest of theirs. Why the mounts aren't relabelled: that would rewrite the labels of the
    operator's own files, one by one, at each start, and take them from other services.
    """

    name = "docker"
    program = "docker"
    remedy = (
        "install Docker and start it, and see that this user may use it (group `docker`); "
        "or use `--runtime bubblewrap`"
    )
    version_arguments = ("version", "--format", VERSION_TEMPLATE)
    # A step that fails leaves no container behind.
    build_options = ("--force-rm",)
    words = EngineWords(
        no_container=words(r"no such container"),
        not_running=words(r"container \S+ is not running"),
        being_removed=words(r"removal of container \S+ is already in progress"),
        no_image=words(
            r"no such image|unable to find image|pull access denied|manifest .*(unknown|not found)"
        ),
        unreachable=words(
            r"cannot connect to the docker daemon|to connect to the docker (daemon|api)"
            r"|error during connect|error waiting for container"
        ),
    )

    def __init__(
        self,
        settings: Settings,
        executable: str | None = None,
        *,
        host_user: Owner | None = None,
        selinux: bool | None = None,
    ) -> None:
        """As the base class; `selinux` says whether it enforces, by default as the system says."""
        super().__init__(settings, executable, host_user=host_user)
        self._selinux = selinux_enforced() if selinux is None else selinux

    def run_arguments(self, spec: ContainerSpec) -> list[str]:
        """`docker run` with wire-formats 5, and hardened (Trap A15).

        The engine keeps no log of it: we do, and docker's costs time and fills the disk.
        """
        return [
            *("run", "-i", "--rm"),
            *identity_arguments(spec),
            *self.confinement_arguments(),
            *limit_arguments(spec),
            *network_arguments(spec),
            *root_arguments(spec),
            *("--pull=never", "--log-driver", "none"),
            *mount_arguments(spec, forbidden=UNMOUNTABLE, quoted=True),
            spec.image,
        ]

    def confinement_arguments(self) -> list[str]:
        """What the container may not do."""
        confinement = ["--init", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        return [*confinement, "--security-opt", "label=disable"] if self._selinux else confinement

    def read_version(self, result: CommandResult) -> str | None:
        """The engine's version; None for an imitation, too, that has no field of docker's."""
        match result.stdout.split():
            case [version, _minimum_api_version] if result.exit_code == 0:
                return version
        return None

    def without_version(self, result: CommandResult) -> str:
        """Why there is no version."""
        if "MinAPIVersion" in result.stderr:
            return "the program `docker` is podman here; use `--runtime podman`"
        return super().without_version(result)

    def own_words(self, exit_code: int, stderr: str) -> str | None:
        """The last thing the docker client itself said, or its init in the container."""
        if exit_code not in CLIENT_STATUSES:
            return None
        said = list(_OWN_WORDS.finditer(stderr))
        return said[-1][said[-1].lastgroup or 0] if said else None

    async def inspect(self, name: str) -> ContainerState | None:
        """What the engine says of it.

        Raises:
            RuntimeCommandFailed: the engine didn't say.
        """
        result = await self._inspect(name)
        if result.exit_code != 0:
            if self.words.no_container.search(result.stderr):
                return None
            raise failed(result)
        for state in understand(result, read_state_lines):
            if state.name == name:
                return state
        raise RuntimeCommandFailed(result.command, "answered about something else")

    async def list(self, labels: Mapping[str, str]) -> tuple[ContainerState, ...]:
        """All containers with these labels; those that vanish meanwhile are left out.

        Raises:
            RuntimeCommandFailed: the engine didn't say.
        """
        filters = [f"label={name}={value}" for name, value in labels.items()]
        options = [word for value in filters for word in ("--filter", value)]
        result = await self._command("ps", "-aq", "--no-trunc", *options)
        if result.exit_code != 0:
            raise failed(result)
        ids = understand(result, read_ids)
        if not ids:
            return ()
        states = await self._inspect(*ids)
        if states.exit_code != 0 and not self._only_absent(states.stderr):
            raise failed(states)
        found = understand(states, read_state_lines)
        if states.exit_code == 0 and len(found) < len(ids):
            told = f"told of {len(found)} of {len(ids)} containers"
            raise RuntimeCommandFailed(states.command, told)
        return found

    async def _inspect(self, *names: str) -> CommandResult:
        return await self._command("container", "inspect", "--format", STATE_TEMPLATE, *names)

    def _only_absent(self, stderr: str) -> bool:
        lines = [line for line in stderr.splitlines() if line.strip()]
        return bool(lines) and all(self.words.no_container.search(line) for line in lines)

    async def find_out_of_memory(self, name: str, since: float) -> bool:
        """Whether the engine recorded such an event: it remembers it after the removal.

        Raises:
            RuntimeCommandFailed: the engine didn't say.
        """
        window = {"--since": since, "--until": utc_now().timestamp() + EVENT_LAG}
        times = [word for option, moment in window.items() for word in (option, f"{moment:.6f}")]
        filters = {"container": name, "event": "oom"}
        result = await self._command(
            "events", *times, *assignments("--filter", filters), "--format", "{{.Action}}"
        )
        if result.exit_code != 0:
            raise failed(result)
        return "oom" in result.stdout.split()


def limit_arguments(spec: ContainerSpec) -> list[str]:
    """What the container may use; no swap beyond its memory."""
    arguments = ["--pids-limit", str(spec.pids_limit)]
    if spec.memory is not None:
        arguments += ["--memory", str(spec.memory), "--memory-swap", str(spec.memory)]
    if spec.cpus is not None:
        arguments += ["--cpus", f"{spec.cpus:g}"]
    return arguments


def root_arguments(spec: ContainerSpec) -> list[str]:
    """Whether the image's own files can be changed, and where an agent then writes instead."""
    return ["--read-only", *tmpfs_arguments(f":{TMPFS_OPTIONS}")] if spec.read_only else []


def selinux_enforced(path: Path = SELINUX_ENFORCE) -> bool:
    """Whether SELinux enforces its policy here."""
    return read_if_present(path) == b"1"
