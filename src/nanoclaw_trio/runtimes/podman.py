"""Podman, through its command line, which is docker's but for what is in here.

The messages that are looked for were seen with podman 4.3.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from nanoclaw_trio.runtimes.answers import EngineWords, read_json_lines, words
from nanoclaw_trio.runtimes.arguments import assignments
from nanoclaw_trio.runtimes.client import failed, understand
from nanoclaw_trio.runtimes.docker import CLIENT_STATUSES, DockerRuntime
from nanoclaw_trio.runtimes.engine_cli import EngineCli

if TYPE_CHECKING:
    from nanoclaw_trio.files import Owner
    from nanoclaw_trio.runtimes.process import CommandResult

KEEP_ID: Final = "keep-id:uid=1000,gid=1000"
"""The user namespace in which the host's user is the image's own."""

_FAILURE: Final = re.compile(r"^Error: (.+)$", re.MULTILINE)
_OCI_FAILURE: Final = re.compile(r"\b(OCI|runc|crun)\b")


class PodmanRuntime(DockerRuntime):
    """Containers run by podman, as root or rootless.

    Rootless, the host's user becomes the image's own inside (`keep-id`), and what the agent
    writes belongs to the host's user outside.
    """

    name = "podman"
    program = "podman"
    remedy = "install podman, and see that `podman info` works; or use `--runtime bubblewrap`"
    # `podman version` answers even where podman can't work.
    version_arguments = ("info", "--format", "{{.Version.Version}}")
    # Podman's -f alone asks politely first, and waits for ten seconds.
    removal_arguments = ("rm", "-f", "-t", "0")
    words = EngineWords(
        no_container=words(r"no such container|no container with (name or id|id or name)"),
        not_running=words(r"can only kill running containers|container state improper"),
        being_removed=words(r"removal of container \S+ is already in progress"),
        # The last two: there can't be one of this name.
        no_image=words(
            r"image not known|no such image|short-name .* did not resolve"
            r"|invalid reference format|repository name must be lowercase"
        ),
        unreachable=words(r"(cannot|unable to) connect to podman"),
    )

    def confinement_arguments(self) -> list[str]:
        """What the container may not do, and who its users are outside."""
        confinement = super().confinement_arguments()
        return [*confinement, f"--userns={KEEP_ID}"] if self._maps_user else confinement

    def read_version(self, result: CommandResult) -> str | None:
        """The engine's version."""
        return EngineCli.read_version(self, result)

    def own_words(self, exit_code: int, stderr: str) -> str | None:
        """The last line, if podman itself wrote it.

        For 126 and 127, which the agent may have ended with, it must be about the OCI runtime.
        """
        said = _FAILURE.findall(stderr)
        if exit_code not in CLIENT_STATUSES or not said:
            return None
        ours = exit_code == CLIENT_STATUSES[0] or _OCI_FAILURE.search(said[-1])
        return said[-1] if ours else None

    async def remove(self, name: str) -> bool:
        """Kill it, and then remove it.

        Podman 4.3 forgets a container in the middle of a stop whose client was killed, and lets its
        processes live; it does so with -f, too, but not once it is killed.

        Raises:
            RuntimeCommandFailed: something may be left.
        """
        killed = await self.kill(name)
        # Its --rm may be quicker than we are.
        return await super().remove(name) or killed

    async def find_out_of_memory(self, name: str, since: float) -> bool:
        """Whether the event of its end says so, which podman does since the end of 2025.

        Earlier versions know it only of containers that were not removed, and ours are at once.

        Raises:
            RuntimeCommandFailed: podman didn't say.
        """
        # Not `--until`: 4.3 finds nothing with a time in it.
        result = await self._command(
            *("events", "--stream=false", "--since", str(int(since)), "--format", "json"),
            *assignments("--filter", {"container": name, "event": "died"}),
        )
        if result.exit_code != 0:
            raise failed(result)
        return understand(result, read_out_of_memory)

    @property
    def _maps_user(self) -> bool:
        return is_rootless(self._host_user)


def is_rootless(user: Owner) -> bool:
    """Whether podman works without root for this user."""
    return user.uid != 0


def read_out_of_memory(output: str) -> bool:
    """Whether one of these events, one JSON object a line, has OOMKilled."""
    events = read_json_lines(output)
    return any(isinstance(event, dict) and event.get("OOMKilled") is True for event in events)
