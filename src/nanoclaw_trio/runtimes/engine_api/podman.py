"""Podman, by the socket of its service."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from nanoclaw_trio.environment import process_environment
from nanoclaw_trio.runtimes.arguments import refuse_characters
from nanoclaw_trio.runtimes.engine_api.place import podman_place
from nanoclaw_trio.runtimes.engine_api.runtime import EngineApiRuntime
from nanoclaw_trio.runtimes.podman import KEEP_ID, PodmanRuntime, is_rootless

if TYPE_CHECKING:
    from nanoclaw_trio.runtimes.abc import ContainerSpec
    from nanoclaw_trio.runtimes.engine_api.place import EnginePlace

UNMOUNTABLE: Final = '",\r\n'
"""Characters of a path that podman takes for its own: it makes a line of CSV of each mount, and
quotes nothing."""


class PodmanApiRuntime(EngineApiRuntime):
    """Podman, by the socket of `podman system service`, in its imitation of Docker's API.

    Seen with podman 4.3. It doesn't tell of an end for want of memory.
    """

    name = "podman-api"
    program = "podman"
    client = PodmanRuntime
    host_option = "--url"
    is_podman = True
    remedy = (
        "start `podman system service` (`systemctl enable --now podman.socket`, with `--user` for a "
        "user's own); or use `--runtime podman`, which needs no service"
    )
    # Of `removed` it tells the status 0; of the next exit the right one. It looks that often.
    wait_query = MappingProxyType({"condition": "next-exit", "interval": "100ms"})

    def find_place(self) -> EnginePlace:
        """The socket of this user's service."""
        return podman_place(process_environment(), self._host_user)

    def document(self, spec: ContainerSpec) -> dict[str, Any]:
        """As docker's; rootless, the host's user is the image's own inside.

        Raises:
            StartFailed: podman would read a mount's path as several fields of a line.
        """
        for mount in spec.mounts:
            refuse_characters(spec.name, mount, UNMOUNTABLE)
        document = super().document(spec)
        if self._maps_user:
            document["HostConfig"]["UsernsMode"] = KEEP_ID
        return document

    async def remove(self, name: str) -> bool:
        """Kill it first: its removal by force would ask politely, and wait for ten seconds.

        Raises:
            RuntimeCommandFailed: something may be left.
        """
        killed = await self.kill(name)
        return await super().remove(name) or killed

    @property
    def _maps_user(self) -> bool:
        return is_rootless(self._host_user)
