"""The ledger of messages: WAITING → ASKED → SETTLED, or back to WAITING, or GIVEN_UP.

A message that isn't owed an answer is context: it goes along with the next one that is.

Of one that is settled or given up the words are deleted. It is still known by its id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve

from nanoclaw_trio.store.models import MessageState
from nanoclaw_trio.store.rows import to_json, to_stored_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from nanoclaw_trio.protocol.models import ContainerInput
    from nanoclaw_trio.store.connection import Transaction
    from nanoclaw_trio.store.models import ChatMessage, StoredMessage

ANY_ATTEMPTS: Final = -1
"""For :func:`give_up`: what each message was tried more often than."""


def accept(
    tx: Transaction,
    message: ChatMessage,
    folder: str,
    *,
    is_owed: bool,
    received_at: datetime,
    prompt: ContainerInput | None = None,
) -> bool:
    """Take a message in for a group; False if it was taken in before, by its chat and its id."""
    inserted = tx.change(
        "INSERT INTO messages (folder, chat_jid, id, sender, sender_name, text, timestamp, "
        "is_owed, prompt, received_at, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting') "
        "ON CONFLICT (chat_jid, id) DO NOTHING",
        folder,
        message.chat_jid,
        message.id,
        message.sender,
        message.sender_name,
        message.text,
        message.timestamp,
        is_owed,
        None if prompt is None else to_json(prompt),
        received_at,
    )
    return inserted > 0


def waiting(tx: Transaction, folder: str) -> tuple[StoredMessage, ...]:
    """All messages of a group that no agent has, context among them, in their order."""
    rows = tx.rows(
        "SELECT * FROM messages WHERE folder = ? AND state = 'waiting' ORDER BY seq", folder
    )
    return tuple(map(to_stored_message, rows))


def waiting_first(
    tx: Transaction, folder: str, *, number: int, size: int
) -> tuple[StoredMessage, ...]:
    """The first of :func:`waiting`, `number` at most, and as far as one prompt can reach.

    That is none before which those that are owed an answer have more than `size` bytes of UTF-8. The
    first of these is there, if fewer than `number` stand before it.
    """
    # As blobs: a text's length ends at its first NUL.
    rows = tx.rows(
        "WITH first AS (SELECT seq, is_owed * (length(CAST(text AS BLOB)) + "
        "coalesce(length(CAST(prompt AS BLOB)), 0)) AS size "
        "FROM messages WHERE folder = ? AND state = 'waiting' ORDER BY seq LIMIT ?), "
        "behind AS (SELECT seq, sum(size) OVER (ORDER BY seq) - size AS size FROM first) "
        "SELECT * FROM messages WHERE seq IN (SELECT seq FROM behind WHERE size <= ?) "
        "ORDER BY seq",
        folder,
        number,
        size,
    )
    return tuple(map(to_stored_message, rows))


def has_work(tx: Transaction, folder: str) -> bool:
    """Whether a message of a group's waits for an answer."""
    row = tx.row(
        "SELECT 1 FROM messages WHERE folder = ? AND state = 'waiting' AND is_owed = 1 LIMIT 1",
        folder,
    )
    return row is not None


def count_waiting(tx: Transaction, folder: str, ids: str) -> int:
    """How many messages of a group wait whose ids are like this, with `*` for anything."""
    return tx.number(
        "SELECT count(*) FROM messages WHERE folder = ? AND state = 'waiting' AND id GLOB ?",
        folder,
        ids,
    )


def folders_with_work(tx: Transaction) -> tuple[str, ...]:
    """The groups that have messages waiting for an answer, the longest waiting first."""
    rows = tx.rows(
        "SELECT folder FROM messages WHERE state = 'waiting' AND is_owed = 1 "
        "GROUP BY folder ORDER BY min(seq)"
    )
    return tuple(row["folder"] for row in rows)


def counts(tx: Transaction) -> Mapping[str, int]:
    """How many messages wait for an answer, of each group that has any."""
    rows = tx.rows(
        "SELECT folder, count(*) AS number FROM messages "
        "WHERE state = 'waiting' AND is_owed = 1 GROUP BY folder"
    )
    return {row["folder"]: row["number"] for row in rows}


def count_unanswered(tx: Transaction) -> int:
    """How many messages still want an answer, in the hands of a run or not, of all groups."""
    waiting = tx.number("SELECT count(*) FROM messages WHERE state = 'waiting' AND is_owed = 1")
    asked = tx.number("SELECT count(*) FROM messages WHERE state = 'asked' AND is_owed = 1")
    return waiting + asked


def mark_asked(
    tx: Transaction, seqs: Iterable[int], run: str, follow_up: str | None = None
) -> None:
    """Note that messages that wait are given to a run: with its input, or as a follow-up's file."""
    tx.change(
        "UPDATE messages SET state = 'asked', run = ?, follow_up = ? "
        "WHERE seq IN (SELECT value FROM json_each(?)) AND state = 'waiting'",
        run,
        follow_up,
        to_json(list(seqs)),
    )


def asked(tx: Transaction, run: str) -> tuple[StoredMessage, ...]:
    """All messages that a run has, context among them, in their order."""
    rows = tx.rows("SELECT * FROM messages WHERE run = ? AND state = 'asked' ORDER BY seq", run)
    return tuple(map(to_stored_message, rows))


def settle(tx: Transaction, seqs: Iterable[int]) -> tuple[str, ...]:
    """Note that messages were taken in by a query that ended; the ids of those that were asked.

    Of messages that were settled before, or were put back, nothing is changed.
    """
    these = to_json(list(seqs))
    rows = tx.rows(
        "SELECT id FROM messages "
        "WHERE seq IN (SELECT value FROM json_each(?)) AND state = 'asked' ORDER BY seq",
        these,
    )
    tx.change(
        "UPDATE messages SET state = 'settled', text = '', prompt = NULL "
        "WHERE seq IN (SELECT value FROM json_each(?)) AND state = 'asked'",
        these,
    )
    return tuple(row["id"] for row in rows)


def put_back(tx: Transaction, run: str, *, failed: bool, except_seqs: Iterable[int] = ()) -> int:
    """Let what a run still has wait again; how many messages that is.

    If the run failed, one more attempt is counted for each, but not for `except_seqs`: they were
    never in the agent's hands.
    """
    return tx.change(
        "UPDATE messages SET state = 'waiting', run = NULL, follow_up = NULL, "
        "attempts = attempts + (? AND seq NOT IN (SELECT value FROM json_each(?))) "
        "WHERE run = ? AND state = 'asked'",
        failed,
        to_json(list(except_seqs)),
        run,
    )


def follow_up_files(tx: Transaction) -> tuple[tuple[str, str], ...]:
    """The groups' folders, and the names of the follow-ups' files that may be in their mailboxes."""
    rows = tx.rows(
        "SELECT DISTINCT folder, follow_up FROM messages "
        "WHERE state = 'asked' AND follow_up IS NOT NULL ORDER BY folder, follow_up"
    )
    return tuple((row["folder"], row["follow_up"]) for row in rows)


def put_all_back(tx: Transaction) -> int:
    """After a crash, let all that any run had wait again; how many messages that is.

    No attempt is counted. Remove :func:`follow_up_files` before.
    """
    return tx.change(
        "UPDATE messages SET state = 'waiting', run = NULL, follow_up = NULL WHERE state = 'asked'"
    )


def give_up(tx: Transaction, folder: str, attempts: int) -> tuple[StoredMessage, ...]:
    """Give up what waits and was attempted more often than `attempts`, with its context.

    Returns those that were owed an answer, for their chat to be told.
    """
    hopeless = _hopeless(waiting(tx, folder), attempts)
    tx.change(
        "UPDATE messages SET state = 'given_up', text = '', prompt = NULL "
        "WHERE seq IN (SELECT value FROM json_each(?))",
        to_json([stored.seq for stored in hopeless]),
    )
    return tuple(
        evolve(stored, state=MessageState.GIVEN_UP) for stored in hopeless if stored.is_owed
    )


def _hopeless(messages: Sequence[StoredMessage], attempts: int) -> list[StoredMessage]:
    hopeless: list[StoredMessage] = []
    context: list[StoredMessage] = []
    for stored in messages:
        context.append(stored)
        if stored.is_owed:
            hopeless += context if stored.attempts > attempts else ()
            context = []
    return hopeless


def skip_context(tx: Transaction, folder: str, keep: int) -> int:
    """Settle the oldest of a group's context beyond the last `keep`; how many messages that is."""
    return tx.change(
        "UPDATE messages SET state = 'settled', text = '', prompt = NULL WHERE seq IN ("
        "SELECT seq FROM messages WHERE folder = ? AND state = 'waiting' AND is_owed = 0 "
        "ORDER BY seq DESC LIMIT -1 OFFSET ?)",
        folder,
        keep,
    )


def forget_old(tx: Transaction, before: datetime) -> int:
    """Delete what was settled or given up and came in before a moment; how many that is.

    What is forgotten and handed in once more is taken in once more.
    """
    return tx.change(
        "DELETE FROM messages WHERE state IN ('settled', 'given_up') AND received_at < ?", before
    )
