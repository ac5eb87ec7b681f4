"""A bridge over a Unix socket: its clients are the chat platforms (docs/socket.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from nanoclaw_trio.cli.records import group_record
from nanoclaw_trio.engine.chat.bridge import Bridge
from nanoclaw_trio.errors import RuntimeFailure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nanoclaw_trio.cli.bridges.connection import Connection
    from nanoclaw_trio.engine.chat.bridge import Notice
    from nanoclaw_trio.store.models import Chat, Delivery, Registration


class NoSubscriber(RuntimeFailure):
    """The server ends, and nobody takes deliveries; they are kept for its next start."""

    def __init__(self) -> None:
        super().__init__("no client has subscribed; its delivery is kept for the next start")


class SocketBridge(Bridge):
    """Gives deliveries to the client that subscribed first, and to the next one if that is lost.

    The clients come by :func:`nanoclaw_trio.cli.bridges.attend.attend`.
    """

    def __init__(self) -> None:
        self._subscribers: list[Connection] = []
        self._subscribed = trio.Event()
        self._is_ending = False
        self._chats: dict[str, Chat] = {}

    def subscribe(self, connection: Connection) -> None:
        """A client takes deliveries from now on."""
        if connection not in self._subscribers:
            self._subscribers.append(connection)
            self._stir()

    def forget(self, connection: Connection) -> None:
        """A client is gone: what it has in its hands goes to the next one."""
        if connection in self._subscribers:
            self._subscribers.remove(connection)
        connection.close()

    def has_another(self, connection: Connection) -> bool:
        """Whether somebody else takes deliveries, too."""
        return any(each is not connection for each in self._subscribers)

    def note_chats(self, chats: Sequence[Chat]) -> None:
        """A client knows of these chats."""
        self._chats.update({chat.jid: chat for chat in chats})

    async def deliver(self, delivery: Delivery) -> None:
        """Wait until a client has said that it was said.

        Raises:
            Undeliverable: a client says that it will never go.
            NoSubscriber: the server ends, and there is no client to say it.
        """
        while True:
            connection = await self._first_subscriber()
            if await connection.hand_over(delivery):
                return

    async def _first_subscriber(self) -> Connection:
        while not self._subscribers:
            if self._is_ending:
                raise NoSubscriber
            await self._subscribed.wait()
        return self._subscribers[0]

    def expect_nobody(self) -> None:
        """The server ends: what no client is there for isn't waited for."""
        self._is_ending = True
        self._stir()

    def _stir(self) -> None:
        self._subscribed.set()
        self._subscribed = trio.Event()

    async def set_typing(self, chat_jid: str, *, is_typing: bool) -> None:
        """Mention it to all who have subscribed."""
        self._mention({"type": "typing", "chatJid": chat_jid, "isTyping": is_typing})
        await trio.lowlevel.checkpoint()

    async def notice(self, notice: Notice) -> None:
        """Mention it to all who have subscribed; the log has it, too."""
        self._mention({"type": "notice", "kind": notice.kind.value, "text": notice.text})
        await trio.lowlevel.checkpoint()

    async def list_chats(self) -> Sequence[Chat]:
        """The chats that clients have told of."""
        await trio.lowlevel.checkpoint()
        return tuple(self._chats.values())

    async def group_registered(self, registration: Registration) -> None:
        """Mention it to all who have subscribed."""
        self._mention({"type": "group_registered", "group": group_record(registration)})
        await trio.lowlevel.checkpoint()

    def _mention(self, record: dict[str, Any]) -> None:
        for connection in self._subscribers:
            connection.mention(record)
