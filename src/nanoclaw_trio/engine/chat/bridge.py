"""What a chat bridge is to the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nanoclaw_trio.store.models import Chat, Delivery, Registration


class Undeliverable(Exception):
    """For a :meth:`Bridge.deliver` to raise: this can never be delivered, its chat being gone.

    It isn't tried again; the log and the journal say so.
    """


class NoticeKind(StrEnum):
    """What the operator is told."""

    RUNTIME_DOWN = "runtime_down"
    """No container can be started; messages are kept, and wait."""
    RUNTIME_BACK = "runtime_back"
    """They can again."""


@frozen(kw_only=True)
class Notice:
    """Something that the operator should know, said once.

    Attributes:
        kind: What it is about.
        text: For people: what is wrong and what to do.
    """

    kind: NoticeKind
    text: str


class Bridge(ABC):
    """A chat platform, as the engine sees it. Subclass it; one method is a must.

    Its methods are called from the engine's tasks. Those of one chat's deliveries are called one
    after the other, in order. What they raise is logged, and ends neither a run nor the engine.
    """

    @abstractmethod
    async def deliver(self, delivery: Delivery) -> None:
        """Say something in a chat; returning means that it was said.

        An exception means that it wasn't: it is tried again after 5 s, 10 s and so on up to 5
        minutes, for as long as it takes, and what comes after it in that chat waits. Raise
        :class:`Undeliverable` for what will never go.
        """

    async def set_typing(self, chat_jid: str, *, is_typing: bool) -> None:  # noqa: B027 - optional
        """Show that the assistant is at work in a chat, or isn't any more."""

    async def notice(self, notice: Notice) -> None:  # noqa: B027 - optional
        """Tell the operator. The engine has logged it already."""

    async def list_chats(self) -> Sequence[Chat]:
        """The chats that could be registered, asked for when an agent of the main group wants it."""
        return ()

    async def group_registered(self, registration: Registration) -> None:  # noqa: B027 - optional
        """An agent of the main group has registered a chat."""
