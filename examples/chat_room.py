"""A complete bridge: a chat room over TCP, with an assistant in it. Ctrl-C ends it.

In a project's folder `python chat_room.py [RUNTIME [PORT]]`, and for each person a `nc localhost
7474`. Their first line is a name; what they say is for all, with `@Andy` before it for Andy too.
"""

import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import trio

from nanoclaw_trio import (
    Bridge,
    ChatMessage,
    Delivery,
    Engine,
    RegisteredGroup,
    Registration,
    Settings,
    open_engine,
    open_runtime,
)

ROOM = Registration(jid="room@localhost", group=RegisteredGroup(name="Room", folder="room"))


class Room(Bridge):
    """Everybody who is connected, and the assistant's voice among them."""

    def __init__(self) -> None:
        self._people: set[trio.MemorySendChannel[str]] = set()

    async def deliver(self, delivery: Delivery) -> None:
        """Say something for the assistant; with nobody there it is kept, and tried again."""
        if not self._people:
            raise ConnectionError("nobody is in the room")
        self.tell(f"{delivery.sender or 'Andy'}: {delivery.text}")

    def tell(self, line: str) -> None:
        """Put a line before everybody; who is slow misses some."""
        for person in self._people:
            with suppress(trio.WouldBlock):
                person.send_nowait(line)

    async def welcome(self, engine: Engine, stream: trio.SocketStream) -> None:
        """Have one person in the room, for as long as the connection lasts."""
        person, lines = trio.open_memory_channel[str](100)
        self._people.add(person)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, engine, stream, nursery.cancel_scope)
                async for line in lines:
                    await stream.send_all(line.encode() + b"\n")
        except* trio.BrokenResourceError:
            pass  # they are gone, which is no news
        self._people.discard(person)

    async def _listen(
        self, engine: Engine, stream: trio.SocketStream, connection: trio.CancelScope
    ) -> None:
        name, rest = "", b""
        async for chunk in stream:
            *lines, rest = (rest[:65536] + chunk).split(b"\n")  # no line fills the memory
            for text in filter(None, (line.decode(errors="replace").strip() for line in lines)):
                if name:
                    self.tell(f"{name}: {text}")
                    await engine.send_message(message_of(name, text))
                name = name or text
        connection.cancel()


def message_of(name: str, text: str) -> ChatMessage:
    """What somebody said. A platform has ids and times of its own; those are to be handed in."""
    about = {"id": str(uuid4()), "sender": f"{name}@localhost", "sender_name": name}
    return ChatMessage(chat_jid=ROOM.jid, text=text, timestamp=datetime.now(UTC), **about)


async def main(runtime: Any = "auto", port: str = "7474") -> None:
    """Open the engine, then the door, until a signal comes; what was taken is in the store then."""
    settings, room = Settings.load("."), Room()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            chosen = await open_runtime(runtime, settings)
            async with open_engine(settings, runtime=chosen, bridge=room) as engine:
                await engine.register_group(ROOM)
                serve = partial(trio.serve_tcp, partial(room.welcome, engine), host="127.0.0.1")
                (listener,) = await nursery.start(serve, int(port))
                print("the room is at port", listener.socket.getsockname()[1], flush=True)
                await anext(signals)
                nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(partial(main, *sys.argv[1:]))
