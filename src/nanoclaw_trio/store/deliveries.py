"""What is to be said in chats, and what was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoclaw_trio.store.rows import messages_to_json, to_delivery, to_json

if TYPE_CHECKING:
    from datetime import datetime

    from nanoclaw_trio.store.connection import Transaction
    from nanoclaw_trio.store.models import Delivery


def record(tx: Transaction, delivery: Delivery) -> bool:
    """Note what is to be said; False if its id is known, and then nothing is changed."""
    inserted = tx.change(
        "INSERT INTO deliveries (id, kind, chat_jid, group_folder, text, sender, in_reply_to, "
        "task_id, messages, created_at, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending') "
        "ON CONFLICT (id) DO NOTHING",
        delivery.id,
        delivery.kind,
        delivery.chat_jid,
        delivery.group_folder,
        delivery.text,
        delivery.sender,
        to_json(delivery.in_reply_to),
        delivery.task_id,
        messages_to_json(delivery.messages),
        delivery.created_at,
    )
    return inserted > 0


def pending(
    tx: Transaction, chat_jid: str | None = None, *, limit: int | None = None
) -> tuple[Delivery, ...]:
    """What is still to be said, in all chats or in one, in the order in which it was recorded.

    With a limit no more than that many, the first ones.
    """
    # To SQLite a limit below 0 is none.
    most = -1 if limit is None else limit
    if chat_jid is None:
        # By the index of what is pending: by seq alone, all that was ever said would be walked.
        rows = tx.rows(
            "SELECT * FROM deliveries INDEXED BY deliveries_pending WHERE state = 'pending' "
            "ORDER BY seq LIMIT ?",
            most,
        )
    else:
        rows = tx.rows(
            "SELECT * FROM deliveries WHERE state = 'pending' AND chat_jid = ? "
            "ORDER BY seq LIMIT ?",
            chat_jid,
            most,
        )
    return tuple(map(to_delivery, rows))


def chats_with_pending(tx: Transaction) -> tuple[str, ...]:
    """The chats in which something is to be said, the longest waiting first."""
    rows = tx.rows(
        "SELECT chat_jid FROM deliveries WHERE state = 'pending' "
        "GROUP BY chat_jid ORDER BY min(seq)"
    )
    return tuple(row["chat_jid"] for row in rows)


def count_pending(tx: Transaction) -> int:
    """How much is still to be said, in all chats."""
    return tx.number("SELECT count(*) FROM deliveries WHERE state = 'pending'")


def mark_delivered(tx: Transaction, delivery_id: str, at: datetime) -> None:
    """Note that the bridge has said it."""
    _end(tx, delivery_id, "delivered", at, None)


def mark_undeliverable(tx: Transaction, delivery_id: str, at: datetime, why: str) -> None:
    """Note that it will never be said, and why."""
    _end(tx, delivery_id, "undeliverable", at, why)


def _end(tx: Transaction, delivery_id: str, state: str, at: datetime, why: str | None) -> None:
    tx.change(
        "UPDATE deliveries SET state = ?, ended_at = ?, why = ? WHERE id = ? AND state = 'pending'",
        state,
        at,
        why,
        delivery_id,
    )


def forget_old(tx: Transaction, before: datetime) -> int:
    """Delete what was said, or found undeliverable, before a moment; how many that is."""
    return tx.change("DELETE FROM deliveries WHERE state != 'pending' AND ended_at < ?", before)
