"""The tables, as the steps that lead to them from an empty file.

A step that was released is never changed: what is to be otherwise is a new step at the end. Moments
are text as :func:`~nanoclaw_trio.clock.iso_timestamp` writes it, which sorts as the moments do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nanoclaw_trio.errors import InvalidFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nanoclaw_trio.store.connection import Database, Transaction

APPLICATION_ID: Final = 0x6E63_7472
"""What tells our databases from another program's: "nctr", in SQLite's application_id."""

FIRST: Final = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    """
    CREATE TABLE groups (
        folder TEXT PRIMARY KEY,
        jid TEXT NOT NULL UNIQUE,
        is_main INTEGER NOT NULL,
        registered_group TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE UNIQUE INDEX one_main_group ON groups (is_main) WHERE is_main = 1",
    """
    CREATE TABLE chats (
        jid TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        last_activity TEXT
    ) WITHOUT ROWID
    """,
    "CREATE TABLE sessions (folder TEXT PRIMARY KEY, session_id TEXT NOT NULL) WITHOUT ROWID",
    # AUTOINCREMENT: a number that was a forgotten message's doesn't come again.
    """
    CREATE TABLE messages (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        folder TEXT NOT NULL,
        chat_jid TEXT NOT NULL,
        id TEXT NOT NULL,
        sender TEXT NOT NULL,
        sender_name TEXT NOT NULL,
        text TEXT NOT NULL,
        timestamp TEXT NOT NULL,
        is_owed INTEGER NOT NULL,
        prompt TEXT,
        received_at TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        run TEXT,
        follow_up TEXT,
        UNIQUE (chat_jid, id)
    )
    """,
    "CREATE INDEX messages_waiting ON messages (folder, seq) WHERE state = 'waiting'",
    """
    CREATE INDEX messages_owed ON messages (folder, seq)
    WHERE state = 'waiting' AND is_owed = 1
    """,
    "CREATE INDEX messages_asked ON messages (run) WHERE state = 'asked'",
    """
    CREATE TABLE deliveries (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        chat_jid TEXT NOT NULL,
        group_folder TEXT NOT NULL,
        text TEXT NOT NULL,
        sender TEXT,
        in_reply_to TEXT NOT NULL,
        task_id TEXT,
        messages TEXT NOT NULL,
        created_at TEXT NOT NULL,
        state TEXT NOT NULL,
        ended_at TEXT,
        why TEXT
    )
    """,
    "CREATE INDEX deliveries_pending ON deliveries (chat_jid, seq) WHERE state = 'pending'",
    """
    CREATE TABLE requests (
        folder TEXT NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (folder, name)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE tasks (
        id TEXT PRIMARY KEY,
        folder TEXT NOT NULL,
        chat_jid TEXT NOT NULL,
        prompt TEXT NOT NULL,
        schedule_type TEXT NOT NULL,
        schedule_value TEXT NOT NULL,
        context_mode TEXT NOT NULL,
        status TEXT NOT NULL,
        next_run TEXT,
        created_at TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        lease_owner TEXT,
        lease_until TEXT
    ) WITHOUT ROWID
    """,
    "CREATE INDEX tasks_active ON tasks (next_run) WHERE status = 'active'",
    # No foreign key to tasks: the runs of a task outlive it.
    """
    CREATE TABLE task_runs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        task_id TEXT NOT NULL,
        owner TEXT NOT NULL,
        scheduled_for TEXT NOT NULL,
        started_at TEXT NOT NULL,
        ended_at TEXT,
        status TEXT NOT NULL,
        container TEXT,
        detail TEXT
    )
    """,
    "CREATE INDEX task_runs_of ON task_runs (task_id, seq)",
    "CREATE INDEX task_runs_open ON task_runs (owner) WHERE status = 'running'",
)

SIZES: Final = (
    "ALTER TABLE deliveries ADD COLUMN size INTEGER NOT NULL DEFAULT 0",
    # As blobs: a text's length ends at its first NUL.
    """
    UPDATE deliveries SET size = length(CAST(text AS BLOB)) + length(CAST(messages AS BLOB))
    WHERE state = 'pending'
    """,
    "DROP INDEX deliveries_pending",
    # With all that the sizes are summed up by, or each row would be read, texts and all.
    """
    CREATE INDEX deliveries_pending ON deliveries (chat_jid, seq, size, state)
    WHERE state = 'pending'
    """,
    # The words of what was over by then go within thirty days: to delete them all at once takes as
    # much of the disk as they do, and twenty seconds for a gigabyte.
    "CREATE INDEX deliveries_ended ON deliveries (seq) WHERE state != 'pending'",
)

MIGRATIONS: Final = (FIRST, SIZES)
"""Statement by statement, what makes version N + 1 of a database of version N."""


def check_version(database: Database, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Make sure that a database is ours, and none from the future; nothing is changed.

    Raises:
        InvalidFile: it is another program's, or a later version's of this one.
    """
    version, is_foreign = database.transact(_identify)
    if is_foreign:
        raise InvalidFile(
            database.path, "the database of another program", "move it away, and start again"
        )
    if version > len(migrations):
        raise InvalidFile(
            database.path,
            f"written by a later version (format {version}; this one knows up to {len(migrations)})",
            "update nanoclaw-trio",
        )


def migrate(database: Database, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring a database to the newest version, each step whole or not at all.

    Two processes may do so at once: a step that the other one made isn't made again.
    """
    version, _ = database.transact(_identify)
    for number, statements in enumerate(migrations[version:], version + 1):
        database.transact(_step, number, statements)


def _identify(tx: Transaction) -> tuple[int, bool]:
    version = tx.number("PRAGMA user_version")
    is_new = version == 0 and tx.number("SELECT count(*) FROM sqlite_master") == 0
    return version, not is_new and tx.number("PRAGMA application_id") != APPLICATION_ID


def _step(tx: Transaction, number: int, statements: Sequence[str]) -> None:
    if tx.number("PRAGMA user_version") >= number:
        return
    for statement in statements:
        tx.change(statement)
    tx.change(f"PRAGMA user_version = {number}")
