"""The database's file, what may be in its place, and what SQLite says when it can't."""

from __future__ import annotations

import os
import sqlite3
import stat
from datetime import UTC, datetime, timedelta, timezone

import pytest

from nanoclaw_trio.errors import HostError, InvalidFile, ProjectNotFound, UnsafePath
from nanoclaw_trio.store import chats, deliveries, messages, sessions, tasks
from nanoclaw_trio.store.connection import Database, StoreFailed, open_database
from nanoclaw_trio.store.models import Chat


@pytest.fixture
def path(project):
    """Where the database is, or will be; its directory is there."""
    (project / "data").mkdir(exist_ok=True)
    return project / "data" / "engine.db"


def keep(tx, *ids):
    """Keep a session for each."""
    for id_ in ids:
        sessions.keep_session(tx, id_, "session")


def kept(tx):
    """Whose sessions were kept."""
    return [row["folder"] for row in tx.rows("SELECT folder FROM sessions ORDER BY folder")]


class TestFile:
    def test_is_for_its_user_only(self, project):
        """The database, its log and its index can be read by nobody else, whatever the umask."""
        before = os.umask(0)
        try:
            database = open_database(project)
        finally:
            os.umask(before)
        database.transact(keep, "a")
        modes = {
            file.name: stat.S_IMODE(file.stat().st_mode)
            for file in (project / "data").iterdir()
            if file.name.startswith("engine")
        }
        database.close()
        assert modes == dict.fromkeys(("engine.db", "engine.db-wal", "engine.db-shm"), 0o600)

    def test_how_it_is_written(self, database):
        """Each commit is synced to the disk, by way of a log."""
        pragmas = {
            name: database.transact(lambda tx, name=name: tx.rows(f"PRAGMA {name}")[0][0])
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
        assert pragmas == {
            "journal_mode": "wal",
            "synchronous": 2,
            "foreign_keys": 1,
            "busy_timeout": 5000,
        }

    def test_closing_leaves_one_file(self, project):
        """What was in the log is in the database, and found at the next opening."""
        database = open_database(project)
        database.transact(keep, "a")
        database.close()
        assert [file.name for file in (project / "data").iterdir()] == ["engine.db"]
        database = open_database(project)
        assert database.transact(kept) == ["a"]
        database.close()

    def test_no_project(self, tmp_path):
        """Nothing is made where there is no project."""
        with pytest.raises(ProjectNotFound):
            open_database(tmp_path / "nothing")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", ["engine.db", "engine.db-wal", "engine.db-shm"])
    def test_a_link_is_not_followed(self, project, path, tmp_path, name):
        """What it leads to is neither read nor changed."""
        target = tmp_path / "target"
        (path.parent / name).symlink_to(target)
        with pytest.raises(UnsafePath, match=f"{name} is a link"):
            open_database(project)
        assert not target.exists()

    def test_a_directory(self, project, path):
        """Something else than a file is refused."""
        path.mkdir()
        with pytest.raises(UnsafePath, match="no regular file"):
            open_database(project)

    def test_no_place_for_it(self, project):
        """A file where the directory belongs is named."""
        (project / "data").write_text("")
        with pytest.raises(
            StoreFailed, match=r"data/engine\.db can't be used: Not a directory; mend"
        ):
            open_database(project)


class TestWhatIsNoDatabase:
    @pytest.mark.parametrize("content", [b"xy", b"no database\n" * 1000])
    def test_it_is_left_alone(self, project, path, content):
        """A file of something else is named, and isn't changed."""
        path.write_bytes(content)
        with pytest.raises(InvalidFile, match=r"engine\.db: file is not a database; put a backup"):
            open_database(project)
        assert path.read_bytes() == content

    def test_a_broken_one(self, project, path):
        """Pages that hold nonsense are found when they are read, and nothing is changed then."""
        database = open_database(project)
        database.transact(keep, *(f"{number:05}" for number in range(1000)))
        database.close()
        whole = path.read_bytes()
        broken = whole[:4096] + bytes(range(256)) * ((len(whole) - 4096) // 256)
        path.write_bytes(broken)
        database = open_database(project)
        with pytest.raises(InvalidFile, match="malformed"):
            database.transact(kept)
        database.close()

    @pytest.mark.parametrize(
        ("statement", "call", "what"),
        [
            ("UPDATE messages SET prompt = '{'", "waiting", "stored message"),
            ("UPDATE messages SET prompt = '[]'", "waiting", "stored message"),
            ("UPDATE messages SET timestamp = 'then'", "waiting", "stored message"),
            ("UPDATE deliveries SET kind = 'song'", "pending", "delivery"),
            ("UPDATE deliveries SET messages = '[{}]'", "pending", "delivery"),
            ("UPDATE tasks SET created_at = 1", "tasks", "task"),
            ("UPDATE chats SET last_activity = '?'", "chats", "chat"),
        ],
    )
    def test_a_row_of_somebody_elses(self, database, make, statement, call, what):
        """A row that isn't as it was written is named, and what is wrong with it."""

        def fill(tx):
            messages.accept(
                tx, make.message("A"), "family", is_owed=True, received_at=make.moment()
            )
            deliveries.record(tx, make.delivery("d1"))
            tasks.add(tx, make.task())
            chats.note_chat(tx, Chat(jid="a@test", name="A"))

        read = {
            "waiting": lambda tx: messages.waiting(tx, "family"),
            "pending": deliveries.pending,
            "tasks": tasks.tasks,
            "chats": chats.chats,
        }
        database.transact(fill)
        database.transact(lambda tx: tx.change(statement))
        with pytest.raises(InvalidFile, match=rf"engine\.db: a {what} isn't as it was written"):
            database.transact(read[call])


class TestTransaction:
    def test_what_raises_has_not_happened(self, database):
        """The exception comes out as it is, nothing was done, and the next one works."""
        error = LookupError("mine")

        def change(tx):
            keep(tx, "a")
            raise error

        with pytest.raises(LookupError) as caught:
            database.transact(change)
        assert caught.value is error
        assert database.transact(kept) == []
        database.transact(keep, "b")
        assert database.transact(kept) == ["b"]

    @pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_even_what_is_no_error(self, database, stop):
        """A program's end in the middle undoes it too."""

        def change(tx):
            keep(tx, "a")
            raise stop

        with pytest.raises(stop):
            database.transact(change)
        assert database.transact(kept) == []

    @pytest.mark.parametrize(
        ("statement", "error"),
        [
            ("INSERT INTO sessions (folder) VALUES ('b')", sqlite3.IntegrityError),
            ("SELECT ?", sqlite3.ProgrammingError),
            ("SELECT nothing", sqlite3.OperationalError),
        ],
    )
    def test_a_mistake_of_ours(self, database, statement, error):
        """A wrong statement isn't blamed on the disk, and nothing has happened."""

        def change(tx):
            keep(tx, "a")
            tx.change(statement)

        with pytest.raises(error):
            database.transact(change)
        assert database.transact(kept) == []

    def test_whatever_else_sqlite_says(self, database):
        """What is no mistake in a statement is the store's failure, whatever its code, and the next
        transaction works."""
        database._connection.set_progress_handler(lambda: 1, 1)
        with pytest.raises(StoreFailed, match="interrupted; try again later"):
            database.transact(kept)
        database._connection.set_progress_handler(None, 1)
        assert database.transact(kept) == []

    @pytest.mark.parametrize("has_begun", [False, True])
    def test_locked(self, project, path, has_begun):
        """Another process's write is waited for; after that it is told, and the next one works."""
        database = open_database(project, busy_timeout=0.05)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        if has_begun:
            other.execute("INSERT INTO sessions VALUES ('theirs', 'x')")
        with pytest.raises(StoreFailed, match="database is locked; end the process") as caught:
            database.transact(keep, "a")
        assert caught.value.path == path
        assert isinstance(caught.value, HostError)
        other.close()
        assert database.transact(kept) == []
        database.close()

    def test_a_reader_keeps_nobody_from_writing(self, project, path):
        """Only the checkpoint at the end has to do without, and nothing is lost by that."""
        database = open_database(project, busy_timeout=0.05)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN")
        other.execute("SELECT * FROM sessions").fetchall()
        database.transact(keep, "a")
        database.close()
        assert other.execute("SELECT * FROM sessions").fetchall() == []
        other.execute("COMMIT")
        assert other.execute("SELECT folder FROM sessions").fetchall() == [("a",)]
        other.close()


class TestOpening:
    @pytest.fixture
    def reader(self, path):
        """Another process's connection, in the middle of reading a file that has no log yet."""
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("CREATE TABLE other (a)")
        reader.execute("DROP TABLE other")
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM sqlite_master").fetchall()
        yield reader
        reader.close()

    def test_while_another_reads(self, project, reader):
        """It is waited for and then told; once the other is done the file can be opened."""
        with pytest.raises(StoreFailed, match="locked; end the process"):
            open_database(project, busy_timeout=0.05)
        reader.execute("COMMIT")
        open_database(project).close()

    @pytest.fixture
    def impatient(self, path):
        """The database behind a connection that waits for nobody by itself."""
        connection = sqlite3.connect(path, isolation_level=None, timeout=0)
        yield Database(path, connection)
        connection.close()

    def test_a_mode_that_cannot_be_changed_yet(self, reader, impatient):
        """What SQLite doesn't wait for by itself is tried again until it works."""
        tried = []

        def trace(statement):
            tried.append(statement)
            if len(tried) == 3:
                reader.execute("COMMIT")

        impatient._connection.set_trace_callback(trace)
        impatient.configure(60)
        assert impatient.transact(lambda tx: tx.row("PRAGMA journal_mode")[0]) == "wal"
        assert tried[:3] == ["PRAGMA journal_mode=WAL"] * 3

    def test_a_mode_that_cannot_be_changed(self, reader, impatient):
        """It isn't tried for longer than asked."""
        with pytest.raises(StoreFailed, match="locked; end the process"):
            impatient.configure(0.05)

    def test_what_cannot_be_waited_for(self, path):
        """Anything else that SQLite says comes at once."""
        path.write_bytes(b"no database" * 100)
        database = Database(path, sqlite3.connect(path, isolation_level=None))
        with pytest.raises(InvalidFile):
            database.configure(60)
        database.close()


class TestValues:
    @pytest.mark.parametrize(
        ("given", "read"),
        [
            (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00.000Z"),
            (datetime(2026, 1, 1, 0, 0, 0, 123999, tzinfo=UTC), "2026-01-01T00:00:00.123Z"),
            (
                datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2))),
                "2025-12-31T22:00:00.000Z",
            ),
            ("a\0b", "a\0b"),
            ("\ud800\udfff", "\ufffd\ufffd"),
            ("\N{GRINNING FACE}", "\N{GRINNING FACE}"),
            (7, 7),
            (True, 1),
            (None, None),
        ],
    )
    def test_as_it_is_stored(self, database, given, read):
        """Moments become text in UTC that sorts; text is kept but for half of a pair."""
        assert database.transact(lambda tx: tx.row("SELECT ?", given)[0]) == read
