"""What all container engines have in common for us, however they are talked to: images and users."""

from __future__ import annotations

import os
import re
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
from nanoclaw_trio.files import Owner, kind_of
from nanoclaw_trio.runtimes.abc import ContainerRuntime
from nanoclaw_trio.runtimes.images import (
    PROTOCOL_VERSION,
    ImageFacts,
    build_command,
    protocol_of,
    takes_lease,
)
from nanoclaw_trio.runtimes.lease import with_lease

if TYPE_CHECKING:
    from nanoclaw_trio.runtimes.abc import ContainerSpec
    from nanoclaw_trio.runtimes.engine_cli import EngineCli
    from nanoclaw_trio.settings import Settings

CHECK_BOUND: Final = 5.0
"""Seconds for an engine to say that it is there; a healthy one takes a tenth of one."""

REMOVAL_POLL: Final = 0.1
"""Seconds between two looks at a container that is being removed by another."""

IMAGE_USER: Final = Owner(uid=1000, gid=1000)
"""The user of the agent's image, `node` in the original's."""

INIT_FAILURE_PATTERN: Final = r"^\[FATAL tini \(\d+\)\] (?P<init>exec .+ failed: .+)$"
"""The words of docker's init where it can't start the image's program."""

INIT_FAILURE: Final = re.compile(INIT_FAILURE_PATTERN, re.MULTILINE)

INIT_STATUSES: Final = (126, 127)
"""The init's exit statuses then: the program can't be run, or isn't there."""


class ContainerEngine(ContainerRuntime):
    """The base of the runtimes that have a container engine with images."""

    program: str
    """The engine's client program, as it is called on the PATH."""

    remedy: str
    """What to do where the engine can't be used."""

    offers_lease: bool = True
    """Whether the end of standard input reaches the container, and a container's end is heard
    although standard input is open."""

    def __init__(self, settings: Settings, *, host_user: Owner | None = None) -> None:
        """`host_user` is who this process runs as, for tests of the rules about owners."""
        self._settings = settings
        self._host_user = host_user or Owner(uid=os.geteuid(), gid=os.getegid())
        self._images_seen: dict[str, ImageFacts] = {}

    async def require_image(self, image: str) -> None:
        """Make sure that an image is there, and for this host (Trap A15).

        It is asked for once, until it is missed.

        Raises:
            ImageMissing: names the command that builds it.
            ImageIncompatible: its agent speaks another version of the protocol; so does this.
            RuntimeUnavailable: the engine doesn't answer.
        """
        await self._examine_image(image)

    async def _examine_image(self, image: str) -> ImageFacts:
        """As require_image; what the engine says of it."""
        seen = self._images_seen.get(image)
        if seen is not None:
            return seen
        facts = await self.find_image(image)
        if facts is None:
            raise self._image_missing(image)
        version = protocol_of(facts)
        if version != PROTOCOL_VERSION:
            remedy = self._build_remedy(image)
            raise ImageIncompatible(image, self.name, version, PROTOCOL_VERSION, remedy)
        self._remember_image(image, facts)
        return facts

    @abstractmethod
    async def find_image(self, image: str) -> ImageFacts | None:
        """What the engine says of an image; None if it has none of this name.

        Raises:
            RuntimeUnavailable: the engine isn't there or doesn't answer.
        """

    def has_socket(self) -> bool:
        """Whether it is asked over a socket that is there. Blocking."""
        return False

    @abstractmethod
    def builder(self) -> EngineCli:
        """The engine's client program, which builds images."""

    def _remember_image(self, image: str, facts: ImageFacts) -> None:
        self._images_seen[image] = facts

    def _forget_image(self, image: str) -> ImageMissing:
        """Look for it again next time; the error for it."""
        self._images_seen.pop(image, None)
        return self._image_missing(image)

    def _leased(self, spec: ContainerSpec, facts: ImageFacts) -> ContainerSpec:
        return with_lease(spec) if self._is_leased(spec, facts) else spec

    def _is_leased(self, spec: ContainerSpec, facts: ImageFacts) -> bool:
        return self.offers_lease and spec.takes_lease and takes_lease(facts)

    @property
    def _maps_user(self) -> bool:
        """Whether the host's user is the image's own inside, and what that writes is its."""
        return False

    def workspace_owner(self) -> Owner | None:
        """The image's user where the host's is root, who may give files away; else no change."""
        return IMAGE_USER if self._host_user.uid == 0 and not self._maps_user else None

    def process_user(self) -> Owner | None:
        """The host's user, unless it is root or the same as the image's (wire-formats 5)."""
        own = self._host_user.uid in (0, IMAGE_USER.uid) or self._maps_user
        return None if own else self._host_user

    async def _wait_for_removal(self, name: str, refusal: RuntimeCommandFailed) -> None:
        # Of a container that has just ended, its --rm is at work: our rm is refused then.
        with trio.move_on_after(self._settings.grace.command):
            while await self.inspect(name) is not None:  # noqa: ASYNC110 - an engine sets no event
                await trio.sleep(REMOVAL_POLL)
            return
        raise refusal

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


def require_sources(spec: ContainerSpec) -> None:
    """Look for the sources of all mounts: some engines make what isn't there. Blocking.

    Raises:
        StartFailed: one is missing, or can't be looked for.
    """
    for mount in spec.mounts:
        try:
            missing = kind_of(mount.host_path) is None
        except OSError as error:
            raise StartFailed(spec.name, f"{mount.host_path}: {error.strerror}") from error
        if missing:
            raise StartFailed(spec.name, f"the mount's source {mount.host_path} isn't there")
