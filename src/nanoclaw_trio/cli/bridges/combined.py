"""Two bridges as one: each chat belongs to one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoclaw_trio.engine.chat.bridge import Bridge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nanoclaw_trio.engine.chat.bridge import Notice
    from nanoclaw_trio.store.models import Chat, Delivery, Registration


class CombinedBridge(Bridge):
    """Routes by chat: those that `belongs` names to the first bridge, all others to the second.

    What is about no chat, both get.
    """

    def __init__(self, first: Bridge, second: Bridge, belongs: Callable[[str], bool]) -> None:
        self._first = first
        self._second = second
        self._belongs = belongs

    def _of(self, chat_jid: str) -> Bridge:
        return self._first if self._belongs(chat_jid) else self._second

    async def deliver(self, delivery: Delivery) -> None:
        """As the chat's own bridge does."""
        await self._of(delivery.chat_jid).deliver(delivery)

    async def set_typing(self, chat_jid: str, *, is_typing: bool) -> None:
        """As the chat's own bridge does."""
        await self._of(chat_jid).set_typing(chat_jid, is_typing=is_typing)

    async def notice(self, notice: Notice) -> None:
        """Both say it."""
        await self._first.notice(notice)
        await self._second.notice(notice)

    async def list_chats(self) -> Sequence[Chat]:
        """Those of both."""
        return (*await self._first.list_chats(), *await self._second.list_chats())

    async def group_registered(self, registration: Registration) -> None:
        """The chat's own bridge is told."""
        await self._of(registration.jid).group_registered(registration)
