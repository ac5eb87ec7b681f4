"""Starting a container in steps, each of which can be taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio
from attrs import frozen

from nanoclaw_trio.errors import RuntimeCommandFailed
from nanoclaw_trio.logs import log
from nanoclaw_trio.runtimes.engine_api.connection import SWITCHING_PROTOCOLS, Disconnected
from nanoclaw_trio.runtimes.engine_api.container import (
    Connections,
    EngineContainer,
    LostContainer,
)
from nanoclaw_trio.runtimes.engine_api.engine import (
    NOT_FOUND,
    SUCCESSES,
    UNCHANGED,
    Command,
    container_path,
    message,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from nanoclaw_trio.runtimes.engine_api.connection import EngineConnection
    from nanoclaw_trio.runtimes.engine_api.container import HeardContainer
    from nanoclaw_trio.runtimes.engine_api.engine import Engine

CREATED: Final = 201


class Refused(Exception):
    """The engine won't do one of the steps; nothing of the container is left."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class NoSuchImage(Refused):
    """The step was the first, and the image isn't there."""


@frozen(kw_only=True)
class StartOrder:
    """What is to be started.

    Attributes:
        name: The container's.
        document: JSON for `create`.
        end: What to wait for: the query of `wait`.
        remove: How to remove a container, by its name.
        runs_on: Asks whether a container runs whose output has ended.
        patience: Seconds for taking it back.
    """

    name: str
    document: bytes
    end: Mapping[str, str]
    remove: Callable[[str], Awaitable[object]]
    runs_on: Callable[[str], Awaitable[bool]]
    patience: float


async def start_container(engine: Engine, order: StartOrder) -> HeardContainer:
    """Create a container, listen to its streams and for its end, and then let it run.

    Cancelled, or refused, it has left nothing when it returns: an order that is under way is heard
    out and taken back, within `patience`. An engine that is lost in the middle, or doesn't take it
    back, is told by the container's early end, since then nobody knows.

    Raises:
        Refused: the engine won't.
        RuntimeCommandFailed: the engine can't be reached; nothing is left of the container.
    """
    start = _Start(engine, order)
    try:
        return await start.run()
    except (Disconnected, Refused, RuntimeCommandFailed) as error:
        failure = error
    except BaseException:
        await start.take_back()  # noqa: ASYNC102 - it shields itself, within a bound
        raise
    nothing_is_left = await start.take_back()
    if nothing_is_left and not isinstance(failure, Disconnected):
        raise failure
    return LostContainer(order.name, str(failure))


class _Start:
    """One start under way: the connections that were opened for it, to be closed or handed on."""

    def __init__(self, engine: Engine, order: StartOrder) -> None:
        self._engine = engine
        self._order = order
        self._creation: EngineConnection | None = None
        self._opened: list[EngineConnection] = []

    async def run(self) -> EngineContainer:
        await self._create()
        output = await self._attach(stdin="1", stdout="1")
        error = await self._attach(stderr="1")
        end = await self._give("wait", self._order.end)
        await _require(end, SUCCESSES)
        begin = await self._give("start")
        await _require(begin, (*SUCCESSES, UNCHANGED))
        begin.close()
        self._opened.clear()
        connections = Connections(output=output, error=error, end=end)
        return EngineContainer(self._order.name, connections, self._order.runs_on)

    async def _create(self) -> None:
        command = Command(
            method="POST",
            path="/containers/create",
            query={"name": self._order.name},
            document=self._order.document,
        )
        self._creation = await self._engine.give(command)
        answer = await self._creation.receive()
        if answer.status == NOT_FOUND:
            raise NoSuchImage(message(answer))
        await _require(self._creation, (CREATED,))
        self._creation.close()

    async def _attach(self, **streams: str) -> EngineConnection:
        connection = await self._give("attach", {"stream": "1", **streams}, upgrade=True)
        await _require(connection, (SWITCHING_PROTOCOLS,))
        return connection

    async def _give(
        self, action: str, query: Mapping[str, str] | None = None, **fields: Any
    ) -> EngineConnection:
        path = container_path(self._order.name, action)
        command = Command(method="POST", path=path, query=query or {}, **fields)
        connection = await self._engine.give(command)
        self._opened.append(connection)
        return connection

    async def take_back(self) -> bool:
        """Leave nothing of it, within the patience, even when cancelled; whether nothing is left."""
        nothing_is_left = False
        patience = trio.current_time() + self._order.patience
        with trio.CancelScope(shield=True, deadline=patience):  # noqa: ASYNC912 - removing is one
            try:
                if await self._was_created():
                    await self._order.remove(self._order.name)
                nothing_is_left = True
            except (Disconnected, RuntimeCommandFailed) as error:
                log.warning("start not taken back", container=self._order.name, why=str(error))
        for connection in self._opened:
            connection.close()
        return nothing_is_left

    async def _was_created(self) -> bool:
        """Whether the engine created it: also if that was still under way."""
        if self._creation is None:
            return False
        try:
            return (await self._creation.receive()).status == CREATED
        finally:
            self._creation.close()


async def _require(connection: EngineConnection, statuses: Collection[int]) -> None:
    """Wait for the head of an answer; Refused unless it has one of these statuses."""
    status = await connection.receive_status()
    if status in statuses:
        return
    if status in SUCCESSES:
        # What follows may never end: a stream, from somebody in between who knows of no upgrade.
        raise Refused(f"the engine, or a proxy before it, answered with status {status}")
    raise Refused(message(await connection.receive()))
