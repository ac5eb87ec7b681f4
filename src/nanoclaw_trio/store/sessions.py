"""Which conversation of Claude's a group goes on with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nanoclaw_trio.store.connection import Transaction


def session_of(tx: Transaction, folder: str) -> str | None:
    """The id of a group's session, or None if its next run begins one."""
    row = tx.row("SELECT session_id FROM sessions WHERE folder = ?", folder)
    return None if row is None else str(row["session_id"])


def keep_session(tx: Transaction, folder: str, session_id: str) -> None:
    """Keep a session's id for the group's next run. Nothing is written if that is its id already."""
    if session_of(tx, folder) == session_id:
        return
    tx.change(
        "INSERT INTO sessions (folder, session_id) VALUES (?, ?) "
        "ON CONFLICT (folder) DO UPDATE SET session_id = excluded.session_id",
        folder,
        session_id,
    )
