"""How much may wait to be said in a chat before its group's agent is held up.

An agent says things as quickly as a disk takes them, and a chat platform doesn't: all that it is ahead
would lie in the store, on a disk that all groups share. So the outputs of its run aren't read any
more, nor are its requests taken in, until the bridge has said some of what waits. Both stay where the
agent has put them: in a pipe, and in its own mailbox. A run that is held up ends when one that doesn't
heed its closing would: a chat that takes nothing mustn't cost a place for a container.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nanoclaw_trio.store import deliveries

if TYPE_CHECKING:
    from nanoclaw_trio.store.connection import Transaction

MOST_WAITING: Final = 1_000
"""Things to be said in one chat: what an assistant says in days in which its bridge is down."""

MOST_CHARACTERS: Final = 64 * 1024 * 1024
"""Characters of these together: four answers of the greatest size."""


def is_full(tx: Transaction, chat_jid: str) -> bool:
    """Whether as much waits to be said in a chat as may."""
    waiting = deliveries.backlog(tx, chat_jid)
    return waiting.number >= MOST_WAITING or waiting.characters >= MOST_CHARACTERS
