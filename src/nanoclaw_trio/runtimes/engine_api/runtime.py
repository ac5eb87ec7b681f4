"""What the runtimes that ask an engine over its socket have in common."""

from __future__ import annotations

import math
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakValueDictionary

import orjson
import trio

from nanoclaw_trio.errors import RuntimeCommandFailed, StartFailed
from nanoclaw_trio.files import in_thread, kind_of
from nanoclaw_trio.runtimes.abc import Phase
from nanoclaw_trio.runtimes.container_engine import (
    CHECK_BOUND,
    INIT_FAILURE,
    INIT_STATUSES,
    ContainerEngine,
    require_sources,
)
from nanoclaw_trio.runtimes.docker import DockerRuntime, selinux_enforced
from nanoclaw_trio.runtimes.engine_api.document import create_document, encode
from nanoclaw_trio.runtimes.engine_api.engine import (
    NOT_FOUND,
    SUCCESSES,
    UNCHANGED,
    Command,
    Engine,
    container_path,
    image_path,
    message,
    refused,
    understand,
)
from nanoclaw_trio.runtimes.engine_api.place import EnginePlace
from nanoclaw_trio.runtimes.engine_api.replies import read_container, read_containers
from nanoclaw_trio.runtimes.engine_api.start import (
    NoSuchImage,
    Refused,
    StartOrder,
    start_container,
)
from nanoclaw_trio.runtimes.images import ImageFacts, read_image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nanoclaw_trio.errors import NanoclawError
    from nanoclaw_trio.files import Owner
    from nanoclaw_trio.runtimes.abc import Container, ContainerSpec, ContainerState
    from nanoclaw_trio.runtimes.engine_api.connection import Answer
    from nanoclaw_trio.runtimes.engine_api.container import HeardContainer
    from nanoclaw_trio.runtimes.engine_cli import EngineCli
    from nanoclaw_trio.settings import Settings


class EngineApiRuntime(ContainerEngine):
    """The base of the runtimes that ask an engine over its socket.

    A container costs no process of the host's, but three connections.
    """

    client: ClassVar[type[DockerRuntime]]
    """The runtime that drives this engine's client program."""

    host_option: ClassVar[str]
    """The client program's option for where its engine is."""

    is_podman: ClassVar[bool] = False

    wait_query: ClassVar[Mapping[str, str]]
    """How to ask for a container's end so that it is gone then, and its status is told."""

    def __init__(
        self,
        settings: Settings,
        socket: str | None = None,
        *,
        host_user: Owner | None = None,
        selinux: bool | None = None,
    ) -> None:
        """Nothing is asked yet.

        `socket` is the path of the engine's socket, by default where its client would look.
        `host_user` is who this process runs as, and `selinux` whether that enforces its policy, by
        default as the system says.
        """
        super().__init__(settings, host_user=host_user)
        self._selinux = selinux_enforced() if selinux is None else selinux
        self._engine = Engine(self.find_place() if socket is None else EnginePlace(socket=socket))
        self._containers: WeakValueDictionary[str, HeardContainer] = WeakValueDictionary()

    @abstractmethod
    def find_place(self) -> EnginePlace:
        """Where the engine's client would look for it."""

    @property
    def place(self) -> EnginePlace:
        """Where the engine is asked."""
        return self._engine.place

    def has_socket(self) -> bool:
        """Whether something is where the socket should be. Blocking."""
        return kind_of(Path(self.place.socket)) is not None

    def builder(self) -> EngineCli:
        """The client program, talking to the same engine: it is what builds images."""
        client = self.client(self._settings, host_user=self._host_user, selinux=self._selinux)
        client.direct_to(self.host_option, f"unix://{self.place.socket}")
        return client

    async def check(self) -> str:
        """Ask the engine for its version, within CHECK_BOUND.

        Raises:
            RuntimeUnavailable: nobody answers, or not the engine that is meant.
        """
        bound = min(CHECK_BOUND, self._settings.grace.command)
        try:
            with trio.fail_after(bound):
                version = await self._engine.version()
        except trio.TooSlowError as error:
            why = f"the engine behind {self.place.socket} did not answer within {bound:g} s"
            raise self._unavailable(why) from error
        except RuntimeCommandFailed as error:
            raise self._unavailable(error.why) from error
        if version.is_podman is not self.is_podman:
            other = "podman" if version.is_podman else "docker"
            why = f"{self.place.socket} is {other}'s; use `--runtime {other}-api`"
            raise self._unavailable(why)
        return f"{self.name} {version.number}"

    async def find_image(self, image: str) -> ImageFacts | None:
        """What the engine says of an image; None if it has none of this name.

        Raises:
            RuntimeUnavailable: the engine isn't there or doesn't answer.
        """
        command = Command(method="GET", path=image_path(image))
        try:
            answer = await self._ask(command)
        except RuntimeCommandFailed as error:
            raise self._unavailable(str(error)) from error
        if answer.status in SUCCESSES:
            return read_image(answer.body.decode(errors="replace"))
        if answer.status == NOT_FOUND or self.client.words.no_image.search(message(answer)):
            return None
        raise self._unavailable(str(refused(command, answer)))

    async def start(self, spec: ContainerSpec) -> Container:
        """Create the container, attach to its streams, and let it run.

        Cancelled, it takes back what it has ordered before Cancelled goes on, within the bound of a
        command.

        Raises:
            ImageMissing: the image isn't there.
            RuntimeUnavailable: the engine doesn't answer.
            StartFailed: a mount's source is missing, or the engine refuses.
        """
        facts = await self._examine_image(spec.image)
        await in_thread(require_sources, spec, abandon_on_cancel=True)
        order = self._order(self._leased(spec, facts))
        try:
            container = await start_container(self._engine, order)
        except NoSuchImage as error:
            raise self._forget_image(spec.image) from error
        except Refused as error:
            raise StartFailed(spec.name, error.why) from error
        except RuntimeCommandFailed as error:
            raise self._unavailable(str(error)) from error
        container.holds_stdin = self._is_leased(spec, facts)
        self._containers[spec.name] = container
        return container

    def _order(self, spec: ContainerSpec) -> StartOrder:
        return StartOrder(
            name=spec.name,
            document=encode(spec, self.document(spec)),
            end=self.wait_query,
            remove=self.remove,
            runs_on=self._runs_on,
            patience=self._settings.grace.command,
        )

    async def _runs_on(self, name: str) -> bool:
        # Engines hear of both ends apart, and may call a container running for a while whose output
        # has ended with it. Most often its exit status comes meanwhile, and nobody is asked.
        await trio.sleep(self._settings.grace.drain)
        state = await self.inspect(name)
        return state is not None and state.phase is Phase.RUNNING

    def document(self, spec: ContainerSpec) -> dict[str, Any]:
        """What the engine is told of a container. Pure."""
        return create_document(spec, selinux=self._selinux)

    def describe(self, spec: ContainerSpec) -> str:
        """What the engine is told, as JSON."""
        spec = self._leased(spec, self._images_seen.get(spec.image, ImageFacts()))
        try:
            text = encode(spec, self.document(spec)).decode()
        except StartFailed:
            return super().describe(spec)
        return f"{self.name}: POST /containers/create?name={spec.name} {text}"

    async def stop(self, name: str, grace: float) -> bool:
        """SIGTERM, and SIGKILL after `grace` seconds, rounded up: engines count whole ones.

        Raises:
            RuntimeCommandFailed: it may live on.
        """
        seconds = math.ceil(grace)
        bound = seconds + self._settings.grace.command
        command = container_command("POST", name, "stop", t=str(seconds))
        return self._has_acted(command, await self._ask(command, bound=bound))

    async def kill(self, name: str) -> bool:
        """SIGKILL.

        Raises:
            RuntimeCommandFailed: it may live on.
        """
        command = container_command("POST", name, "kill", signal="KILL")
        answer = await self._ask(command)
        if self.client.words.not_running.search(message(answer)):
            return False
        return self._has_acted(command, answer)

    async def remove(self, name: str) -> bool:
        """Kill and remove it, and the volumes that were made for it alone.

        Raises:
            RuntimeCommandFailed: something may be left.
        """
        command = container_command("DELETE", name, force="1", v="1")
        answer = await self._ask(command)
        if self.client.words.being_removed.search(message(answer)):
            await self._wait_for_removal(name, refused(command, answer))
            return True
        return self._has_acted(command, answer)

    async def inspect(self, name: str) -> ContainerState | None:
        """What the engine says of it.

        Raises:
            RuntimeCommandFailed: the engine didn't say.
        """
        command = container_command("GET", name, "json")
        answer = await self._ask(command)
        if self._is_absent(answer):
            return None
        state = understand(command, answer, read_container)
        if state.name != name:
            # A name may be the beginning of another's id.
            raise RuntimeCommandFailed(str(command), "answered about something else")
        return state

    async def list(self, labels: Mapping[str, str]) -> tuple[ContainerState, ...]:
        """All containers with these labels.

        Raises:
            RuntimeCommandFailed: the engine didn't say.
        """
        wanted = [f"{name}={value}" for name, value in labels.items()]
        filters = orjson.dumps({"label": wanted}).decode()
        query = {"all": "1", "filters": filters}
        command = Command(method="GET", path="/containers/json", query=query)
        return understand(command, await self._ask(command), read_containers)

    def explain_exit(
        self, spec: ContainerSpec, exit_code: int, stderr: str
    ) -> NanoclawError | None:
        """The failure behind an end that the engine didn't tell, or that was the init's."""
        container = self._containers.get(spec.name)
        if container is not None and container.loss is not None:
            return self._unavailable(container.loss)
        said = INIT_FAILURE.findall(stderr) if exit_code in INIT_STATUSES else []
        return StartFailed(spec.name, said[-1]) if said else None

    def _has_acted(self, command: Command, answer: Answer) -> bool:
        if self._is_absent(answer):
            return False
        if answer.status not in SUCCESSES and answer.status != UNCHANGED:
            raise refused(command, answer)
        return True

    def _is_absent(self, answer: Answer) -> bool:
        """Whether it says that there is no such container; podman does so with the status 500, too.

        The status 404 alone doesn't: it may be about the path.
        """
        words = self.client.words.no_container
        return answer.status >= NOT_FOUND and words.search(message(answer)) is not None

    async def _ask(self, command: Command, *, bound: float | None = None) -> Answer:
        bound = self._settings.grace.command if bound is None else bound
        return await self._engine.ask(command, bound=bound)


def container_command(method: str, name: str, action: str = "", **query: str) -> Command:
    """A command about one container."""
    return Command(method=method, path=container_path(name, action), query=query)
