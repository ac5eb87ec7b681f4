"""Apple's `container`, through its command line.

Version 1.0 or later, for its `--init` and `--cap-drop`. Written against its command reference and
the texts in its sources; it runs on macOS only, and has not been seen running here.

Each container is a virtual machine of its own: there is no limit to set on its processes, and
nothing like docker's security options.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from nanoclaw_trio.errors import StartFailed
from nanoclaw_trio.runtimes.answers import EngineWords, read_apple_states, words
from nanoclaw_trio.runtimes.arguments import (
    identity_arguments,
    mount_arguments,
    network_arguments,
    tmpfs_arguments,
)
from nanoclaw_trio.runtimes.client import failed, understand
from nanoclaw_trio.runtimes.engine_cli import EngineCli

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nanoclaw_trio.runtimes.abc import ContainerSpec, ContainerState
    from nanoclaw_trio.runtimes.images import ImageFacts
    from nanoclaw_trio.runtimes.process import CommandResult

MEBIBYTE: Final = 1024 * 1024

UNMOUNTABLE: Final = ",=\r\n"
"""Characters that end a path in its `--mount`; it has no way to quote one."""

FAILURE_STATUS: Final = 1
"""Exit status of the client when it failed; an agent may end with it as well."""

_VERSION: Final = re.compile(r"version\s+(\d\S*)", re.IGNORECASE)

LONGEST_NAME: Final = 63
"""Characters of a container's name, which is a host name there too."""

# How the client prints an error of its own: a code of theirs, then the message in quotes.
_OWN_WORDS: Final = re.compile(
    r"^Error: (?:unknown|invalidArgument|internalError|exists|notFound|cancelled|invalidState"
    r"|empty|timeout|unsupported|interrupted): \"[\s\S]*",
    re.MULTILINE,
)


class AppleRuntime(EngineCli):
    """Containers run by Apple's `container` on macOS.

    It has no way to run an image only if it is there: a missing one is fetched. So the image is
    asked for before every start (Trap A15).
    """

    name = "container"
    program = "container"
    remedy = (
        "install Apple's container 1.0 or later and run `container system start`; "
        "or use `--runtime docker`"
    )
    version_arguments = ("system", "status")
    build_options = ("--progress", "plain")
    # Not tried.
    offers_lease = False
    words = EngineWords(
        no_container=words(r"container not found|container (with ID )?\S+ not found"),
        not_running=words(r"container is stopped|no runtime client exists"),
        being_removed=words(r"is stopping and can not be deleted"),
        no_image=words(r"image not found|image .* not found"),
        unreachable=words(r"XPC connection error|container system start"),
    )

    def run_arguments(self, spec: ContainerSpec) -> list[str]:
        """`container run` with wire-formats 5, and what it has of hardening.

        Raises:
            StartFailed: a mount, or the name, can't be expressed.
        """
        if len(spec.name) > LONGEST_NAME:
            why = f"Apple's container takes names of {LONGEST_NAME} characters at most"
            raise StartFailed(spec.name, f"{why}; give the group's folder a shorter name")
        return [
            *("run", "-i", "--rm", "--progress", "none"),
            *identity_arguments(spec),
            *("--init", "--cap-drop", "ALL"),
            *_limit_arguments(spec),
            *network_arguments(spec),
            *(["--read-only", *tmpfs_arguments()] if spec.read_only else []),
            *mount_arguments(spec, forbidden=UNMOUNTABLE, quoted=False),
            spec.image,
        ]

    def read_version(self, result: CommandResult) -> str | None:
        """The API server's version, or `running` where the status doesn't tell."""
        if result.exit_code != 0:
            return None
        found = _VERSION.search(result.stdout)
        return found[1] if found else "running"

    def own_words(self, exit_code: int, stderr: str) -> str | None:
        """The error that the client itself printed."""
        said = _OWN_WORDS.search(stderr) if exit_code == FAILURE_STATUS else None
        return said[0].removeprefix("Error: ") if said else None

    def _remember_image(self, image: str, facts: ImageFacts) -> None:
        """Don't: see the class."""

    async def inspect(self, name: str) -> ContainerState | None:
        """What the services say of it. Up to version 1.0 an empty list is "no such container".

        Raises:
            RuntimeCommandFailed: they didn't say.
        """
        result = await self._command("inspect", name)
        if result.exit_code != 0 and self.words.no_container.search(result.stderr):
            return None
        states = self._read_states(result)
        return next((state for state in states if state.name == name), None)

    async def list(self, labels: Mapping[str, str]) -> tuple[ContainerState, ...]:
        """All containers with these labels; `container list` has no filter for them.

        Raises:
            RuntimeCommandFailed: the services didn't say.
        """
        states = self._read_states(await self._command("list", "--all", "--format", "json"))
        return tuple(state for state in states if labels.items() <= state.labels.items())

    def _read_states(self, result: CommandResult) -> tuple[ContainerState, ...]:
        if result.exit_code != 0:
            raise failed(result)
        return understand(result, read_apple_states)

    @property
    def mounts_files(self) -> bool:
        """Directories only: its mounts are shared folders of a virtual machine."""
        return False

    @property
    def mounts_sockets(self) -> bool:
        """None, for the same reason."""
        return False


def _limit_arguments(spec: ContainerSpec) -> list[str]:
    arguments: list[str] = []
    if spec.memory is not None:
        arguments += ["--memory", f"{math.ceil(spec.memory / MEBIBYTE)}M"]
    if spec.cpus is not None:
        arguments += ["--cpus", str(math.ceil(spec.cpus))]
    return arguments
