"""Which files of the mailboxes were handled, by name, so that a crash has none handled twice.

A name has its directory before it: `messages/x.json`, `tasks/x.json`. It is noted in the transaction
that does what the file asks, and forgotten once the file is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nanoclaw_trio.store.connection import Transaction


def was_handled(tx: Transaction, folder: str, name: str) -> bool:
    """Whether a file of a group's was handled, and is to be deleted only."""
    sql = "SELECT 1 FROM requests WHERE folder = ? AND name = ?"
    return tx.row(sql, folder, name) is not None


def note_handled(tx: Transaction, folder: str, name: str) -> None:
    """Note that a file is handled with this transaction."""
    tx.change("INSERT OR IGNORE INTO requests (folder, name) VALUES (?, ?)", folder, name)


def forget(tx: Transaction, folder: str, names: Iterable[str]) -> None:
    """Forget files that were deleted: a later one of the same name is another."""
    for name in names:
        tx.change("DELETE FROM requests WHERE folder = ? AND name = ?", folder, name)


def handled(tx: Transaction, folder: str) -> tuple[str, ...]:
    """The files of a group's that are noted: those that were to be deleted when it was last done."""
    rows = tx.rows("SELECT name FROM requests WHERE folder = ? ORDER BY name", folder)
    return tuple(row["name"] for row in rows)
