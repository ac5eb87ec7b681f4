"""A container as the Engine API lets us hear it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
import trio
from attrs import frozen

from nanoclaw_trio.background import start_protected
from nanoclaw_trio.errors import RuntimeCommandFailed
from nanoclaw_trio.logs import log
from nanoclaw_trio.runtimes.abc import Container
from nanoclaw_trio.runtimes.ended_streams import BrokenInput, EndedOutput
from nanoclaw_trio.runtimes.engine_api.connection import Disconnected
from nanoclaw_trio.runtimes.engine_api.frames import STDERR, STDOUT
from nanoclaw_trio.runtimes.engine_api.streams import AttachedInput, AttachedOutput

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nanoclaw_trio.runtimes.engine_api.connection import Answer, EngineConnection

LOST: Final = 125
"""The exit status of a container whose end the engine didn't tell; what its clients use for it."""


LOOK_AGAIN: Final = 1.0
"""Seconds between two questions to an engine that doesn't answer the first."""


@frozen(kw_only=True)
class Connections:
    """The connections by which a container is heard.

    Attributes:
        output: Carries standard input and output, after the upgrade.
        error: Carries standard error, after the upgrade.
        end: On which the answer to `wait` comes.
    """

    output: EngineConnection
    error: EngineConnection
    end: EngineConnection


class HeardContainer(Container):
    """A container by this API, or what is left of one.

    Attributes:
        loss: How the engine was lost, or the container's output, if it was: then nobody knows what
            became of the container, or what it said.
    """

    loss: str | None = None


class EngineContainer(HeardContainer):
    """A container that was started. Letting go of it closes its connections, and stops nothing.

    Its output ends with it, and not before: engines hold that connection open for a container that
    closes standard output and lives on. So an output that ends while the container runs was lost, by
    somebody between us and the engine. What the agent says from then on nobody hears; that it ended
    well in the end would be believed.
    """

    def __init__(
        self, name: str, connections: Connections, runs_on: Callable[[str], Awaitable[bool]]
    ) -> None:
        """`runs_on` asks the engine whether it runs, when its output has ended."""
        self.name = name
        self.stdin = self._input = AttachedInput(connections.output)
        self.stdout = self._output = AttachedOutput(connections.output, STDOUT)
        self.stderr = AttachedOutput(connections.error, STDERR)
        self._connections = connections
        self._runs_on = runs_on
        self._exit_code: int | None = None
        self._waiting = trio.Lock()

    async def wait(self) -> int:
        """Wait for its end; LOST if the engine was lost before it told, or its output before."""
        async with self._waiting:
            while self._exit_code is None:
                self._exit_code = await self._hear_end()
        return self._exit_code

    async def _hear_end(self) -> int:
        exit_code = LOST
        async with trio.open_nursery() as nursery:
            start_protected(nursery, self._notice_loss, nursery.cancel_scope)
            exit_code = await self._receive_exit_code()
            nursery.cancel_scope.cancel()
        self._input.container_ended()
        return exit_code if self.loss is None else LOST

    async def _receive_exit_code(self) -> int:
        try:
            return read_exit_code(await self._connections.end.receive())
        except trio.ClosedResourceError:
            self.loss = "its connections were closed"
        except (Disconnected, ValueError) as error:
            self.loss = f"the engine was lost while the container ran: {error}"
        return LOST

    async def _notice_loss(self, waiting: trio.CancelScope) -> None:
        """Give the waiting up where standard output was lost."""
        await self._output.ended.wait()
        problem = self._output.problem
        if problem is None and await self._is_known_to_run():
            problem = "the connection ended"
        if problem is not None:
            self.loss = f"its output was lost while the container ran: {problem}"
            waiting.cancel()

    async def _is_known_to_run(self) -> bool:
        while True:
            try:
                return await self._runs_on(self.name)
            except RuntimeCommandFailed as error:
                log.debug("no word of a container", container=self.name, why=str(error))
            await trio.sleep(LOOK_AGAIN)

    async def aclose(self) -> None:
        """Close its connections, at once."""
        connections = self._connections
        for connection in (connections.output, connections.error, connections.end):
            connection.close()
        await trio.lowlevel.checkpoint()


class LostContainer(HeardContainer):
    """A container whose engine was lost while it was being started: it may or may not be there."""

    def __init__(self, name: str, loss: str) -> None:
        self.name = name
        self.loss = f"the engine was lost while the container was started: {loss}"
        self.stdin = BrokenInput("the engine was lost")
        self.stdout = EndedOutput()
        self.stderr = EndedOutput()

    async def wait(self) -> int:
        """LOST, at once."""
        await trio.lowlevel.checkpoint()
        return LOST

    async def aclose(self) -> None:
        """Nothing is open."""
        await trio.lowlevel.checkpoint()


def read_exit_code(answer: Answer) -> int:
    """The exit status in the answer to `wait`. ValueError if there is none."""
    document: Any = orjson.loads(answer.body)
    match document:
        case {"Error": {"Message": str(words)}} if words:
            raise ValueError(words)
        case {"StatusCode": int(status)} if status >= 0:
            return status
    raise ValueError(f"no exit status (answer {answer.status})")
