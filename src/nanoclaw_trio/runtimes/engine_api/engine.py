"""An engine behind a Unix socket: commands, their answers, and which version of the API it speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, urlencode

import orjson
import trio
from attrs import field, frozen

from nanoclaw_trio.errors import RuntimeCommandFailed
from nanoclaw_trio.runtimes.answers import excerpt
from nanoclaw_trio.runtimes.engine_api.connection import (
    Answer,
    Disconnected,
    Request,
    connect,
)
from nanoclaw_trio.runtimes.engine_api.version import EngineVersion, choose_version, read_version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nanoclaw_trio.runtimes.engine_api.connection import EngineConnection
    from nanoclaw_trio.runtimes.engine_api.place import EnginePlace

T = TypeVar("T")

SUCCESSES: Final = range(200, 300)
UNCHANGED: Final = 304
NOT_FOUND: Final = 404


@frozen(kw_only=True)
class Command:
    """One thing that an engine can do.

    Attributes:
        method: GET, POST or DELETE.
        path: Without a version, quoted.
        query: Names and values of the query.
        document: JSON to send, or nothing.
        upgrade: Whether the answer is a stream of bytes.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(factory=dict)
    document: bytes = b""
    upgrade: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def request(self, api: str | None) -> Request:
        """It as a request for this version of the API."""
        prefix = "" if api is None else f"/v{api}"
        query = f"?{urlencode(self.query)}" if self.query else ""
        return Request(
            method=self.method,
            target=f"{prefix}{self.path}{query}",
            body=self.document,
            upgrade=self.upgrade,
        )


VERSION_COMMAND: Final = Command(method="GET", path="/version")


def container_path(name: str, action: str = "") -> str:
    """The path of a container, and of what is done to it."""
    path = f"/containers/{quote(name, safe='')}"
    return f"{path}/{action}" if action else path


def image_path(image: str) -> str:
    """The path of what is known of an image."""
    return f"/images/{quote(image, safe='/:@')}/json"


class Engine:
    """An engine, asked over its socket. It holds no connection of its own: nothing is to close."""

    def __init__(self, place: EnginePlace) -> None:
        """Nobody connects yet."""
        self.place = place
        self._api: str | None = None

    async def version(self) -> EngineVersion:
        """What the engine says of itself; from here on its version of the API is used. Unbounded.

        Raises:
            RuntimeCommandFailed: it doesn't answer, or speaks no version of the API that we know.
        """
        answer = await self._exchange(VERSION_COMMAND)
        version = understand(VERSION_COMMAND, answer, read_version)
        try:
            self._api = choose_version(version)
        except ValueError as error:
            raise RuntimeCommandFailed(str(VERSION_COMMAND), str(error)) from error
        return version

    async def ask(self, command: Command, *, bound: float) -> Answer:
        """Give a command and wait for the answer, whatever it is, within `bound` seconds.

        Raises:
            RuntimeCommandFailed: the engine can't be reached, or doesn't answer in time.
        """
        with trio.move_on_after(bound):
            return await self._exchange(command)
        raise RuntimeCommandFailed(str(command), f"did not answer within {bound:g} s")

    async def _exchange(self, command: Command) -> Answer:
        connection = await self.give(command)
        try:
            return await connection.receive()
        except Disconnected as error:
            raise RuntimeCommandFailed(str(command), f"got no answer: {error}") from error
        finally:
            connection.close()

    async def give(self, command: Command) -> EngineConnection:
        """Give a command; the connection on which the answer will come.

        Raises:
            RuntimeCommandFailed: the engine didn't get it.
        """
        if self._api is None and command is not VERSION_COMMAND:
            await self.version()
        connection = await self._connect(command)
        try:
            await connection.send(command.request(self._api))
        except Disconnected as error:
            connection.close()
            raise RuntimeCommandFailed(str(command), f"was not taken: {error}") from error
        except BaseException:
            connection.close()
            raise
        return connection

    async def _connect(self, command: Command) -> EngineConnection:
        if self.place.obstacle is not None:
            raise RuntimeCommandFailed(str(command), self.place.obstacle)
        try:
            return await connect(self.place.socket)
        except OSError as error:
            # Who comes back may be of another version.
            self._api = None
            raise RuntimeCommandFailed(
                str(command), unreachable(self.place.socket, error)
            ) from error


def unreachable(socket: str, error: OSError) -> str:
    """Why a socket can't be connected to, for people. Pure."""
    match error:
        case FileNotFoundError():
            why = "it isn't there"
        case PermissionError():
            why = "this user may not use it"
        case ConnectionRefusedError():
            why = "nobody listens there"
        case _:
            why = error.strerror or str(error)
    return f"can't reach the engine's socket {socket}: {why}"


def understand(command: Command, answer: Answer, read: Callable[[Any], T]) -> T:
    """An answer's JSON, read.

    Raises:
        RuntimeCommandFailed: the engine refused, or answered garbage.
    """
    if answer.status not in SUCCESSES:
        raise refused(command, answer)
    try:
        return read(orjson.loads(answer.body))
    except ValueError as error:
        why = f"answered garbage ({error}): {excerpt(answer.body.decode(errors='replace'))}"
        raise RuntimeCommandFailed(str(command), why) from error


def refused(command: Command, answer: Answer) -> RuntimeCommandFailed:
    """The error for an answer that isn't a success."""
    return RuntimeCommandFailed(str(command), f"was refused ({answer.status}): {message(answer)}")


def message(answer: Answer) -> str:
    """The engine's own words for why it refused."""
    try:
        document = orjson.loads(answer.body)
    except ValueError:
        document = None
    match document:
        case {"message": str(text)}:
            return excerpt(text)
    return excerpt(answer.body.decode(errors="replace")) or "no reason given"
