"""How much may wait to be said in a chat before no more is taken for it.

An agent says things as quickly as a disk takes them, and a chat platform doesn't: all that it is ahead
lies in the store, on a disk that all groups share. So what an agent wants to say in a chat that is
full isn't taken: its run is stopped, as one that failed. What it wrote into its mailbox stays there,
on its own account, until there is room. Nothing else is held up by that, neither other chats nor what
else an agent asks for.

A run begins only where half of that, or more, is free, and where nothing of what earlier runs have said
waits in the mailbox. So whoever fills a chat has said as much itself, and for a chat platform that is
down no container is started again and again.

Chats that no group is registered for, to which the main group's agent may write, count as one: it can
make up any number of them.

Why not let an agent wait, with its answers in its pipe: it would keep a place for a container, for as
long as a chat platform is down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nanoclaw_trio.store import deliveries, groups

if TYPE_CHECKING:
    from nanoclaw_trio.store.connection import Transaction
    from nanoclaw_trio.store.deliveries import Backlog

MOST_WAITING: Final = 1_000
"""Things to be said in one chat: what an assistant says in days in which its bridge is down."""

MOST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of UTF-8 of these together: four answers of the greatest size that is allowed by default."""

PART_FOR_RUNS: Final = 0.5
"""The part of both up to which runs begin."""


class ChatFull(Exception):
    """Too much waits to be said in a chat; nothing was changed.

    Attributes:
        chat_jid: The chat's address.
    """

    def __init__(self, chat_jid: str) -> None:
        super().__init__("too much waits to be said in its chat")
        self.chat_jid = chat_jid


def require_room(tx: Transaction, chat_jid: str) -> None:
    """Return if something more may wait to be said in a chat, however long it is.

    Raises:
        ChatFull: it may not.
    """
    waiting = _backlog(tx, chat_jid)
    if waiting.number >= MOST_WAITING or waiting.size >= MOST_BYTES:
        raise ChatFull(chat_jid)


def require_room_for_run(tx: Transaction, chat_jid: str) -> None:
    """Return if a run may begin that answers in a chat.

    Raises:
        ChatFull: it may not.
    """
    if not has_room_for_run(tx, chat_jid):
        raise ChatFull(chat_jid)


def has_room_for_run(tx: Transaction, chat_jid: str) -> bool:
    """Whether a run may begin that answers in a chat."""
    waiting = _backlog(tx, chat_jid)
    return (
        waiting.number <= PART_FOR_RUNS * MOST_WAITING
        and waiting.size <= PART_FOR_RUNS * MOST_BYTES
    )


def _backlog(tx: Transaction, chat_jid: str) -> Backlog:
    if groups.has_chat(tx, chat_jid):
        return deliveries.backlog(tx, chat_jid)
    return deliveries.backlog_elsewhere(tx)
