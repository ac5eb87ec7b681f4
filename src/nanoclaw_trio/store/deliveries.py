"""What is to be said in chats, and what was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.store.rows import messages_to_json, to_delivery, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from nanoclaw_trio.store.connection import Row, Transaction
    from nanoclaw_trio.store.models import Delivery

ENDED_KEPT: Final = 10_000
"""Deliveries, counted back from the last, among which those that are over are still known by their
ids: an agent may say a thousand things in a second."""

ENDED_FORGOTTEN: Final = 100
"""Deliveries that are forgotten at a time, once more than those are over: a millisecond's work."""

WORDS_KEPT: Final = 400
"""Characters that are kept of what will never be said, and of why, for a person to look at."""


@frozen(kw_only=True)
class Backlog:
    """What waits to be said in a chat: how many things, and how many bytes they have together."""

    number: int
    size: int


def record(tx: Transaction, delivery: Delivery) -> bool:
    """Note what is to be said; False if its id is known, and then nothing is changed."""
    messages = messages_to_json(delivery.messages)
    inserted = tx.change(
        "INSERT INTO deliveries (id, kind, chat_jid, group_folder, text, sender, in_reply_to, "
        "task_id, messages, created_at, size, state) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending') ON CONFLICT (id) DO NOTHING",
        delivery.id,
        delivery.kind,
        delivery.chat_jid,
        delivery.group_folder,
        delivery.text,
        delivery.sender,
        to_json(delivery.in_reply_to),
        delivery.task_id,
        messages,
        delivery.created_at,
        _size(delivery.text) + _size(messages),
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


def backlog(tx: Transaction, chat_jid: str) -> Backlog:
    """How much is still to be said in a chat."""
    rows = tx.rows(
        "SELECT count(*) AS number, coalesce(sum(size), 0) AS size FROM deliveries "
        "WHERE state = 'pending' AND chat_jid = ?",
        chat_jid,
    )
    return _to_backlog(rows)


def backlog_elsewhere(tx: Transaction) -> Backlog:
    """How much is still to be said in all chats that no group is registered for, together."""
    rows = tx.rows(
        "SELECT count(*) AS number, coalesce(sum(size), 0) AS size FROM deliveries "
        "WHERE state = 'pending' AND chat_jid NOT IN (SELECT jid FROM groups)"
    )
    return _to_backlog(rows)


def _to_backlog(rows: Sequence[Row]) -> Backlog:
    (row,) = rows
    return Backlog(number=row["number"], size=row["size"])


def mark_delivered(tx: Transaction, delivery_id: str, at: datetime) -> None:
    """Note that the bridge has said it. The words are deleted: they are in the chat now."""
    _end(tx, delivery_id, "delivered", at, None, words=0)


def mark_undeliverable(tx: Transaction, delivery_id: str, at: datetime, why: str) -> None:
    """Note that it will never be said, and why. WORDS_KEPT of both are kept."""
    _end(tx, delivery_id, "undeliverable", at, why[:WORDS_KEPT], words=WORDS_KEPT)


def _end(
    tx: Transaction, delivery_id: str, state: str, at: datetime, why: str | None, *, words: int
) -> None:
    tx.change(
        "UPDATE deliveries SET state = ?, ended_at = ?, why = ?, text = substr(text, 1, ?), "
        "sender = NULL, in_reply_to = '[]', messages = '[]' WHERE id = ? AND state = 'pending'",
        state,
        at,
        why,
        words,
        delivery_id,
    )
    # By the index of what is over: by seq alone, all that waits would be read, words and all.
    tx.change(
        "DELETE FROM deliveries WHERE seq IN ("
        "SELECT seq FROM deliveries INDEXED BY deliveries_ended WHERE state != 'pending' "
        "AND seq <= (SELECT max(seq) FROM deliveries) - ? LIMIT ?)",
        ENDED_KEPT,
        ENDED_FORGOTTEN,
    )


def forget_old(tx: Transaction, before: datetime) -> int:
    """Delete what was said, or found undeliverable, before a moment; how many that is."""
    return tx.change("DELETE FROM deliveries WHERE state != 'pending' AND ended_at < ?", before)


def _size(text: str) -> int:
    # Half of a surrogate pair takes as many bytes as what the store has in its place.
    return len(text.encode(errors="surrogatepass"))
