"""Which chats the bridge has told of, registered or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoclaw_trio.store.rows import to_chat

if TYPE_CHECKING:
    from nanoclaw_trio.store.connection import Transaction
    from nanoclaw_trio.store.models import Chat


def note_chat(tx: Transaction, chat: Chat) -> None:
    """Note a chat. Of one that is known an empty name and an earlier activity change nothing."""
    tx.change(
        "INSERT INTO chats (jid, name, last_activity) VALUES (?, ?, ?) "
        "ON CONFLICT (jid) DO UPDATE SET "
        "name = coalesce(nullif(excluded.name, ''), name), "
        # SQLite's max of two values is NULL where one of them is.
        "last_activity = max(coalesce(last_activity, excluded.last_activity), "
        "coalesce(excluded.last_activity, last_activity))",
        chat.jid,
        chat.name,
        chat.last_activity,
    )


def chats(tx: Transaction) -> tuple[Chat, ...]:
    """All of them, those heard from last at the front."""
    rows = tx.rows("SELECT * FROM chats ORDER BY last_activity IS NULL, last_activity DESC, jid")
    return tuple(map(to_chat, rows))
