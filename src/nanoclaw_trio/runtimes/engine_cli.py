"""What the runtimes behind a container engine's command line have in common.

Docker, podman and Apple's `container` are driven through their client programs: one client for each
container, by which we hear it, and one short command for everything else. Never a shell; never a
secret in an argument or in a client's environment.
"""

from __future__ import annotations

import math
import os
import shlex
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.errors import (
    ImageIncompatible,
    ImageMissing,
    RuntimeCommandFailed,
    RuntimeUnavailable,
    StartFailed,
)
from nanoclaw_trio.files import Owner, in_thread, kind_of
from nanoclaw_trio.logs import log
from nanoclaw_trio.runtimes.abc import ContainerRuntime
from nanoclaw_trio.runtimes.answers import excerpt
from nanoclaw_trio.runtimes.build_arguments import build_arguments
from nanoclaw_trio.runtimes.client import EngineClient, failed
from nanoclaw_trio.runtimes.images import (
    PROTOCOL_VERSION,
    build_command,
    protocol_of,
    read_image,
)
from nanoclaw_trio.runtimes.process import reason
from nanoclaw_trio.runtimes.stale_clients import end_stale_clients

if TYPE_CHECKING:
    from nanoclaw_trio.errors import NanoclawError
    from nanoclaw_trio.runtimes.abc import Container, ContainerSpec
    from nanoclaw_trio.runtimes.answers import EngineWords
    from nanoclaw_trio.runtimes.build_arguments import BuildSpec
    from nanoclaw_trio.runtimes.images import ImageFacts
    from nanoclaw_trio.runtimes.process import CommandResult, ProcessContainer
    from nanoclaw_trio.runtimes.stale_clients import IsStale
    from nanoclaw_trio.settings import Settings

CHECK_BOUND: Final = 5.0
"""Seconds for an engine to say that it is there; a healthy one takes a tenth of one."""

REMOVAL_POLL: Final = 0.1
"""Seconds between two looks at a container that is being removed by another."""

IMAGE_USER: Final = Owner(uid=1000, gid=1000)
"""The user of the agent's image, `node` in the original's."""


class EngineCli(ContainerRuntime):
    """The base of the runtimes that drive a container engine's command line."""

    program: str
    """The client program, as it is called on the PATH."""

    remedy: str
    """What to do where the engine can't be used."""

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
        self._settings = settings
        self._client = EngineClient(executable or self.program)
        self._host_user = host_user or Owner(uid=os.geteuid(), gid=os.getegid())
        self._images_seen: set[str] = set()

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

    async def require_image(self, image: str) -> None:
        """Make sure that an image is there, and for this host (Trap A15).

        It is asked for once, until it is missed.

        Raises:
            ImageMissing: names the command that builds it.
            ImageIncompatible: its agent speaks another version of the protocol; so does this.
            RuntimeUnavailable: the engine doesn't answer.
        """
        if image in self._images_seen:
            return
        facts = await self.find_image(image)
        if facts is None:
            raise self._image_missing(image)
        version = protocol_of(facts)
        if version != PROTOCOL_VERSION:
            remedy = self._build_remedy(image)
            raise ImageIncompatible(image, self.name, version, PROTOCOL_VERSION, remedy)
        self._remember_image(image)

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

    def _remember_image(self, image: str) -> None:
        self._images_seen.add(image)

    async def start(self, spec: ContainerSpec) -> Container:
        """Start the client, and the container with it.

        Raises:
            ImageMissing: the image isn't there.
            RuntimeUnavailable: the client isn't installed, or the engine doesn't answer.
            StartFailed: a mount's source is missing or can't be expressed, or the client can't be
                started.
        """
        await self.require_image(spec.image)
        await in_thread(_require_sources, spec, abandon_on_cancel=True)
        self._require_program()
        # From here on there is no checkpoint: nothing stands between the start and its owner.
        try:
            return self._client.attach(spec.name, self.run_arguments(spec))
        except (OSError, ValueError) as error:
            raise StartFailed(spec.name, f"{self.program}: {reason(error)}") from error

    @abstractmethod
    def run_arguments(self, spec: ContainerSpec) -> list[str]:
        """The command line that runs a container, after the program's name. Pure.

        Raises:
            StartFailed: it can't be expressed.
        """

    def describe(self, spec: ContainerSpec) -> str:
        """The command line that runs a container, as a shell would take it."""
        try:
            return shlex.join([self.program, *self.run_arguments(spec)])
        except StartFailed:
            return super().describe(spec)

    async def end_stale_starts(self, is_stale: IsStale) -> None:
        """Kill the clients of hosts that are gone, where this system shows them."""
        for pid in await in_thread(end_stale_clients, is_stale, abandon_on_cancel=True):
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
            await self._wait_for_removal(name, result)
            return True
        # With -f, removing what isn't there is a success; only the name on stdout tells.
        return self._has_acted(result) and bool(result.stdout.strip())

    async def _wait_for_removal(self, name: str, refusal: CommandResult) -> None:
        # Of a container that has just ended, its --rm is at work: our rm is refused then.
        with trio.move_on_after(self._settings.grace.command):
            while await self.inspect(name) is not None:  # noqa: ASYNC110 - an engine sets no event
                await trio.sleep(REMOVAL_POLL)
            return
        raise failed(refusal)

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
            self._images_seen.discard(spec.image)
            return self._image_missing(spec.image)
        if self.words.unreachable.search(said):
            return self._unavailable(excerpt(said))
        return StartFailed(spec.name, excerpt(said))

    @abstractmethod
    def own_words(self, exit_code: int, stderr: str) -> str | None:
        """What the client itself said at its end; None if only the agent spoke. Pure."""

    def workspace_owner(self) -> Owner | None:
        """The image's user where the host's is root, who may give files away; else no change."""
        return IMAGE_USER if self._host_user.uid == 0 else None

    def process_user(self) -> Owner | None:
        """The host's user, unless it is root or the same as the image's (wire-formats 5)."""
        return None if self._host_user.uid in (0, IMAGE_USER.uid) else self._host_user

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

    def _unavailable(self, why: str) -> RuntimeUnavailable:
        return RuntimeUnavailable(self.name, why, self.remedy)

    def _image_missing(self, image: str) -> ImageMissing:
        return ImageMissing(image, self.name, self._build_remedy(image))

    def _build_remedy(self, image: str) -> str:
        root = self._settings.project_root
        project = None if root == current_directory() else root
        command = build_command(image, program=self.program, project=project)
        return f"run `{command}`, or use `--runtime bubblewrap`, which needs no image"


def current_directory() -> Path | None:
    """The process's own; None if it was removed meanwhile."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def _require_sources(spec: ContainerSpec) -> None:
    for mount in spec.mounts:
        try:
            missing = kind_of(mount.host_path) is None
        except OSError as error:
            raise StartFailed(spec.name, f"{mount.host_path}: {error.strerror}") from error
        if missing:
            raise StartFailed(spec.name, f"the mount's source {mount.host_path} isn't there")
