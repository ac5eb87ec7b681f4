"""Requests that wait in a mailbox, since the chats are full in which they want something said. Pure."""

from __future__ import annotations

import math
from typing import Final

HELD_FOR: Final = 60.0
"""Seconds after which they are looked at again though nobody has told of room, as where the bridge has
said all that waited in other chats. Each is read then, and may have a megabyte."""


class HeldRequests:
    """The files of one group's mailbox that are left alone, and the chats that they are for.

    What comes later for such a chat is held as well, room or none: it comes after them.
    """

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._chats: set[str] = set()
        self._until = -math.inf

    @property
    def names(self) -> frozenset[str]:
        """The files that are left alone."""
        return frozenset(self._names)

    @property
    def chats(self) -> frozenset[str]:
        """The chats that they are for."""
        return frozenset(self._chats)

    def is_for(self, chat_jid: str) -> bool:
        """Whether any of them is for this chat."""
        return chat_jid in self._chats

    def hold(self, name: str, chat_jid: str, now: float) -> None:
        """Leave a file alone."""
        if not self._names:
            self._until = now + HELD_FOR
        self._names.add(name)
        self._chats.add(chat_jid)

    def release(self) -> None:
        """There may be room: the next visit looks at all of them again.

        The next one, and not the one that may be under way: it is behind them already.
        """
        self._until = -math.inf

    def begin_visit(self, now: float) -> None:
        """Look at all of them again, if they were released, or left alone for HELD_FOR."""
        if now >= self._until:
            self._names.clear()
            self._chats.clear()
