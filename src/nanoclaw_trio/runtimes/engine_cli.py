"""What the runtimes behind a container engine's command line have in common.

Docker, podman and Apple's `container` are driven through their client programs: one client for each
container, by which we hear it, and one short command for everything else. Never a shell; never a
secret in an argument or in a client's environment.
"""

from __future__ import annotations

import math
import shlex
from abc import abstractmethod
from typing import TYPE_CHECKING

from nanoclaw_trio.errors import RuntimeCommandFailed, StartFailed
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.logs import log
from nanoclaw_trio.runtimes.answers import excerpt
from nanoclaw_trio.runtimes.build_arguments import build_arguments
from nanoclaw_trio.runtimes.client import EngineClient, failed
from nanoclaw_trio.runtimes.container_engine import (
    CHECK_BOUND,
    ContainerEngine,
    require_sources,
)
from nanoclaw_trio.runtimes.images import ImageFacts, read_image
from nanoclaw_trio.runtimes.proc import reading_proc
from nanoclaw_trio.runtimes.process import reason
from nanoclaw_trio.runtimes.stale_clients import end_stale_clients

if TYPE_CHECKING:
    from nanoclaw_trio.errors import NanoclawError
    from nanoclaw_trio.files import Owner
    from nanoclaw_trio.runtimes.abc import Container, ContainerSpec
    from nanoclaw_trio.runtimes.answers import EngineWords
    from nanoclaw_trio.runtimes.build_arguments import BuildSpec
    from nanoclaw_trio.runtimes.process import CommandResult, ProcessContainer
    from nanoclaw_trio.runtimes.stale_clients import IsStale
    from nanoclaw_trio.settings import Settings


class EngineCli(ContainerEngine):
    """The base of the runtimes that drive a container engine's command line."""

    words: EngineWords

    version_arguments: tuple[str, ...]
    """The command that fails unless the engine answers."""

    removal_arguments: tuple[str, ...] = ("rm", "-f")
    """The command that kills and removes a container."""

    build_options: tuple[str, ...] = ()
    """Options of the command that builds an image, beside those that all engines have."""

    def __init__(
        self, settings: Settings, executable: str | None = None, *, host_user: Owner | None = None
    ) -> None:
        """Nothing is started yet.

        `executable` is the client's name or path, by default looked for on the PATH at each use.
        `host_user` is who this process runs as, for tests of the rules about owners.
        """
        super().__init__(settings, host_user=host_user)
        self._client = EngineClient(executable or self.program)

    async def check(self) -> str:
        """Ask the engine for its version, within CHECK_BOUND.

        Raises:
            RuntimeUnavailable: it isn't installed, or doesn't answer.
        """
        bound = min(CHECK_BOUND, self._settings.grace.command)
        result = await self._ask(*self.version_arguments, bound=bound)
        version = self.read_version(result)
        if version is None:
            raise self._unavailable(self.without_version(result))
        return f"{self.name} {version}"

    def read_version(self, result: CommandResult) -> str | None:
        """The engine's version from its answer; None if it has none."""
        found = result.stdout.split()
        return found[0] if result.exit_code == 0 and found else None

    def without_version(self, result: CommandResult) -> str:
        """Why an answer has no version in it, for people."""
        said = excerpt(result.stderr) or excerpt(result.stdout) or "nothing"
        return f"`{result.command}` ended with status {result.exit_code} and said: {said}"

    async def find_image(self, image: str) -> ImageFacts | None:
        """What the engine says of an image; None if it has none of this name.

        Raises:
            RuntimeUnavailable: the engine isn't there or doesn't answer.
        """
        result = await self._ask("image", "inspect", image, bound=self._settings.grace.command)
        if result.exit_code == 0:
            return read_image(result.stdout)
        if self.words.no_image.search(result.stderr):
            return None
        raise self._unavailable(excerpt(result.stderr))

    def builder(self) -> EngineCli:
        """This client itself."""
        return self

    def direct_to(self, *options: str) -> None:
        """Have the client talk to the engine that these options of its own name."""
        self._client = EngineClient(self._client.executable, options)

    def start_build(self, spec: BuildSpec) -> ProcessContainer:
        """Start the client that builds an image. Without a checkpoint; the caller closes it.

        Raises:
            RuntimeUnavailable: the client isn't installed, or can't be started.
        """
        self._require_program()
        try:
            return self._client.attach(spec.image, build_arguments(spec, self.build_options))
        except (OSError, ValueError) as error:
            raise self._unavailable(f"`build` can't be started: {reason(error)}") from error

    async def start(self, spec: ContainerSpec) -> Container:
        """Start the client, and the container with it.

        Raises:
            ImageMissing: the image isn't there.
            RuntimeUnavailable: the client isn't installed, or the engine doesn't answer.
            StartFailed: a mount's source is missing or can't be expressed, or the client can't be
                started.
        """
        facts = await self._examine_image(spec.image)
        await in_thread(require_sources, spec, abandon_on_cancel=True)
        self._require_program()
        # From here on there is no checkpoint: nothing stands between the start and its owner.
        try:
            arguments = self.run_arguments(self._leased(spec, facts))
            container = self._client.attach(spec.name, arguments)
        except (OSError, ValueError) as error:
            raise StartFailed(spec.name, f"{self.program}: {reason(error)}") from error
        container.holds_stdin = self._is_leased(spec, facts)
        return container

    @abstractmethod
    def run_arguments(self, spec: ContainerSpec) -> list[str]:
        """The command line that runs a container, after the program's name. Pure.

        Raises:
            StartFailed: it can't be expressed.
        """

    def describe(self, spec: ContainerSpec) -> str:
        """The command line that runs a container, as a shell would take it."""
        try:
            spec = self._leased(spec, self._images_seen.get(spec.image, ImageFacts()))
            return shlex.join([self.program, *self.run_arguments(spec)])
        except StartFailed:
            return super().describe(spec)

    async def end_stale_starts(self, is_stale: IsStale) -> None:
        """Kill the clients of hosts that are gone, where this system shows them."""
        with reading_proc():
            ended = await in_thread(end_stale_clients, is_stale, abandon_on_cancel=True)
        for pid in ended:
            log.warning("client of a host that is gone ended", runtime=self.name, pid=pid)

    async def stop(self, name: str, grace: float) -> bool:
        """SIGTERM, and SIGKILL after `grace` seconds, rounded up: engines count whole ones.

        Raises:
            RuntimeCommandFailed: it may live on.
        """
        seconds = math.ceil(grace)
        bound = seconds + self._settings.grace.command
        result = await self._command("stop", "-t", str(seconds), name, bound=bound)
        return self._has_acted(result)

    async def kill(self, name: str) -> bool:
        """SIGKILL.

        Raises:
            RuntimeCommandFailed: it may live on.
        """
        result = await self._command("kill", name)
        if self.words.not_running.search(result.stderr):
            return False
        return self._has_acted(result)

    async def remove(self, name: str) -> bool:
        """Kill and remove it.

        Raises:
            RuntimeCommandFailed: something may be left.
        """
        result = await self._command(*self.removal_arguments, name)
        if self.words.being_removed.search(result.stderr):
            await self._wait_for_removal(name, failed(result))
            return True
        # With -f, removing what isn't there is a success; only the name on stdout tells.
        return self._has_acted(result) and bool(result.stdout.strip())

    def _has_acted(self, result: CommandResult) -> bool:
        if self.words.no_container.search(result.stderr):
            return False
        if result.exit_code != 0:
            raise failed(result)
        return True

    def explain_exit(
        self, spec: ContainerSpec, exit_code: int, stderr: str
    ) -> NanoclawError | None:
        """The failure behind an exit of the client, if its own words say so."""
        said = self.own_words(exit_code, stderr)
        if said is None:
            return None
        if self.words.no_image.search(said):
            return self._forget_image(spec.image)
        if self.words.unreachable.search(said):
            return self._unavailable(excerpt(said))
        return StartFailed(spec.name, excerpt(said))

    @abstractmethod
    def own_words(self, exit_code: int, stderr: str) -> str | None:
        """What the client itself said at its end; None if only the agent spoke. Pure."""

    async def _command(self, *arguments: str, bound: float | None = None) -> CommandResult:
        """Run the client's command. RuntimeCommandFailed if it can't start or doesn't answer."""
        bound = self._settings.grace.command if bound is None else bound
        return await self._client.command(arguments, bound=bound)

    async def _ask(self, *arguments: str, bound: float) -> CommandResult:
        """As _command, where RuntimeUnavailable says better what is wrong."""
        self._require_program()
        try:
            return await self._command(*arguments, bound=bound)
        except RuntimeCommandFailed as error:
            raise self._unavailable(str(error)) from error

    def _require_program(self) -> None:
        if self._client.find() is None:
            raise self._unavailable(f"there is no program `{self._client.executable}` on the PATH")
