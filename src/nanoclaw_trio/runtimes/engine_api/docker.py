"""Docker, by its socket."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import orjson

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.environment import process_environment
from nanoclaw_trio.runtimes.docker import EVENT_LAG, DockerRuntime
from nanoclaw_trio.runtimes.engine_api.engine import SUCCESSES, Command, refused
from nanoclaw_trio.runtimes.engine_api.place import docker_place
from nanoclaw_trio.runtimes.engine_api.runtime import EngineApiRuntime

if TYPE_CHECKING:
    from nanoclaw_trio.runtimes.engine_api.place import EnginePlace


class DockerApiRuntime(EngineApiRuntime):
    """Docker, without its client."""

    name = "docker-api"
    program = "docker"
    client = DockerRuntime
    host_option = "--host"
    remedy = (
        "start Docker, and see that this user may use its socket (group `docker`); or use "
        "`--runtime docker`, which goes by docker's own client, or `--runtime bubblewrap`"
    )
    wait_query = MappingProxyType({"condition": "removed"})

    def find_place(self) -> EnginePlace:
        """The socket that docker's client would use."""
        return docker_place(process_environment())

    async def find_out_of_memory(self, name: str, since: float) -> bool:
        """Whether the engine recorded such an event: it remembers it after the removal.

        Raises:
            RuntimeCommandFailed: the engine didn't say.
        """
        until = utc_now().timestamp() + EVENT_LAG
        filters = orjson.dumps({"container": [name], "event": ["oom"]}).decode()
        query = {"since": f"{since:.6f}", "until": f"{until:.6f}", "filters": filters}
        command = Command(method="GET", path="/events", query=query)
        answer = await self._ask(command)
        if answer.status not in SUCCESSES:
            raise refused(command, answer)
        # An event a line, all of the kind that was asked for.
        return bool(answer.body.strip())
