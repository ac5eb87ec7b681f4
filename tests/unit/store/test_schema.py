"""From version to version, and which indexes the frequent questions are answered by."""

from __future__ import annotations

import sqlite3

import pytest

from nanoclaw_trio.errors import InvalidFile
from nanoclaw_trio.store import deliveries, messages, requests, tasks
from nanoclaw_trio.store.connection import open_database
from nanoclaw_trio.store.deliveries import Backlog
from nanoclaw_trio.store.schema import MIGRATIONS, _step, check_version, migrate

FIRST, *_ = MIGRATIONS
NEXT = (
    "ALTER TABLE sessions ADD COLUMN kept_at TEXT",
    "UPDATE sessions SET kept_at = '2026-01-01T00:00:00.000Z'",
)
BROKEN = ("ALTER TABLE sessions ADD COLUMN other TEXT", "UPDATE missing SET a = 1")


@pytest.fixture
def path(project):
    """Where the database is; its directory is there."""
    (project / "data").mkdir(exist_ok=True)
    return project / "data" / "engine.db"


def version(tx):
    """The number that stands in the file."""
    return tx.number("PRAGMA user_version")


class TestMigrating:
    def test_an_empty_file(self, project, path):
        """A file with nothing in it is brought to the newest version."""
        path.touch()
        database = open_database(project)
        assert database.transact(version) == len(MIGRATIONS)
        database.close()

    def test_an_old_file(self, database):
        """What is in it is kept, and the steps that it lacks are taken, once."""
        database.transact(lambda tx: tx.change("INSERT INTO sessions VALUES ('family', 's1')"))
        newer = (*MIGRATIONS, NEXT)
        for _ in range(2):
            check_version(database, newer)
            migrate(database, newer)
        assert database.transact(version) == len(MIGRATIONS) + 1
        row = database.transact(lambda tx: tx.row("SELECT * FROM sessions"))
        assert tuple(row) == ("family", "s1", "2026-01-01T00:00:00.000Z")

    def test_a_step_that_was_made_meanwhile(self, database):
        """Another process may have been faster: nothing is made twice."""
        database.transact(_step, 1, FIRST)
        assert database.transact(version) == len(MIGRATIONS)

    def test_a_step_that_fails(self, database):
        """It leaves nothing behind, and those before it are kept."""
        with pytest.raises(sqlite3.OperationalError, match="no such table: missing"):
            migrate(database, (*MIGRATIONS, NEXT, BROKEN))
        assert database.transact(version) == len(MIGRATIONS) + 1
        names = database.transact(
            lambda tx: [row["name"] for row in tx.rows("PRAGMA table_info(sessions)")]
        )
        assert names == ["folder", "session_id", "kept_at"]

    def test_a_later_version(self, project, path):
        """A file of a later version is refused with what to do, and isn't changed."""
        database = open_database(project)
        migrate(database, (*MIGRATIONS, NEXT))
        database.close()
        content = path.read_bytes()
        with pytest.raises(InvalidFile, match=r"format 3; this one knows up to 2\); update nano"):
            open_database(project)
        assert path.read_bytes() == content

    @pytest.mark.parametrize("number", [0, 1, 7])
    def test_another_programs(self, project, path, number):
        """The database of another program is refused, and isn't changed."""
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE messages (a)")
        other.execute(f"PRAGMA user_version = {number}")
        other.commit()
        other.close()
        content = path.read_bytes()
        with pytest.raises(InvalidFile, match="the database of another program; move it away"):
            open_database(project)
        assert path.read_bytes() == content


@pytest.fixture
def first_version(path):
    """A database as the first version made it, without a version of ours having opened it since."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in FIRST:
        connection.execute(statement)
    connection.execute("PRAGMA user_version = 1")
    yield connection
    connection.close()


def test_the_sizes_of_what_waits(first_version, project, make):
    """What waits to be said is counted in bytes from the first look on, and nothing is changed."""
    for state in ("pending", "delivered", "undeliverable"):
        first_version.execute(
            "INSERT INTO deliveries (id, kind, chat_jid, group_folder, text, in_reply_to, messages, "
            "created_at, state) VALUES (?, 'answer', 'family@test', 'family', ?, '[\"m1\"]', '[]', "
            "'2026-01-01T00:00:00.000Z', ?)",
            (state, "é\0x", state),
        )
    first_version.close()
    database = open_database(project)
    assert database.transact(deliveries.backlog, "family@test") == Backlog(number=1, size=6)
    (waiting,) = database.transact(deliveries.pending)
    assert waiting == make.delivery("pending", text="é\0x", in_reply_to=("m1",))
    database.close()


class TestIndexes:
    """Against tables that hold all that ever was, what is asked each second looks up an index."""

    @pytest.fixture
    def plan(self, database):
        """How SQLite answers what a function asks: the lines of its plan that touch a table."""

        def ask(tx, function, *args, **kwargs):
            statements = []
            tx.connection.set_trace_callback(statements.append)
            try:
                function(tx, *args, **kwargs)
            finally:
                tx.connection.set_trace_callback(None)
            return [
                row["detail"]
                for statement in statements
                for row in tx.rows(f"EXPLAIN QUERY PLAN {statement}")
            ]

        def plan(function, *args, **kwargs):
            lines = database.transact(ask, function, *args, **kwargs)
            return [line for line in lines if line.startswith(("SCAN", "SEARCH"))]

        return plan

    @pytest.mark.parametrize(
        ("function", "arguments", "index"),
        [
            (messages.waiting, ("family",), "messages_waiting (folder=?)"),
            (messages.has_work, ("family",), "messages_owed (folder=?)"),
            (messages.folders_with_work, (), "messages_owed"),
            (messages.counts, (), "messages_owed"),
            (messages.count_unanswered, (), "messages_owed"),
            (messages.count_unanswered, (), "messages_asked"),
            (messages.asked, ("run",), "messages_asked (run=?)"),
            (messages.put_all_back, (), "messages_asked"),
            (messages.follow_up_files, (), "messages_asked"),
            (messages.settle, ([1, 2],), "INTEGER PRIMARY KEY (rowid=?)"),
            (messages.mark_asked, ([1, 2], "run"), "INTEGER PRIMARY KEY (rowid=?)"),
            (messages.skip_context, ("family", 3), "messages_waiting (folder=?)"),
            (deliveries.pending, (), "deliveries_pending"),
            (deliveries.pending, ("family@test",), "deliveries_pending (chat_jid=?)"),
            (deliveries.chats_with_pending, (), "deliveries_pending"),
            (deliveries.count_pending, (), "deliveries_pending"),
            (
                deliveries.backlog,
                ("family@test",),
                "COVERING INDEX deliveries_pending (chat_jid=?)",
            ),
            (deliveries.backlog_elsewhere, (), "COVERING INDEX deliveries_pending"),
            (messages.count_waiting, ("family", "*"), "messages_waiting (folder=?)"),
            (requests.was_handled, ("family", "a.json"), "PRIMARY KEY (folder=? AND name=?)"),
            (requests.handled, ("family",), "PRIMARY KEY (folder=?)"),
            (tasks.runs, ("t1", 5), "task_runs_of (task_id=?)"),
        ],
    )
    def test_used(self, plan, function, arguments, index):
        """Not one of its statements walks through a whole table."""
        lines = plan(function, *arguments)
        assert any(index in line for line in lines), lines
        assert [line for line in lines if " USING " not in line and "json_each" not in line] == []

    def test_of_a_run(self, plan):
        """What a run has is found by the run."""
        lines = plan(messages.put_back, "run", failed=True, except_seqs=[1])
        assert "SEARCH messages USING INDEX messages_asked (run=?)" in lines

    def test_of_tasks(self, plan, make):
        """What is due, and what will be next, is found by the time."""
        past = "SEARCH tasks USING INDEX tasks_active (next_run<?)"
        future = "SEARCH tasks USING INDEX tasks_active (next_run>?)"
        assert plan(tasks.due, make.moment()) == [past]
        assert {past, future} <= set(plan(tasks.next_due, make.moment()))
