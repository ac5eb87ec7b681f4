"""The one connection to data/engine.db, and how it is worked on: a transaction at a time.

What is committed survives the end of the process at any moment, and of the machine: the write-ahead
log is synced at each commit (synchronous=FULL).
"""

from __future__ import annotations

import re
import sqlite3
import stat
import time
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeAlias, TypeVar

from attrs import frozen

from nanoclaw_trio.clock import iso_timestamp
from nanoclaw_trio.errors import HostError, InvalidFile, UnsafePath
from nanoclaw_trio.files import open_directory, real_path
from nanoclaw_trio.logs import log
from nanoclaw_trio.store.schema import check_version, migrate
from nanoclaw_trio.workspace.project import require_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

P = ParamSpec("P")
T = TypeVar("T")

Row: TypeAlias = sqlite3.Row
"""A row of a result; its values by the columns' names."""

Value: TypeAlias = str | int | datetime | None
"""What a statement's parameter may be. A moment becomes text that sorts."""

FILE_NAME: Final = "engine.db"
"""Under data/; SQLite puts its log and its index, -wal and -shm, beside it."""

BUSY_TIMEOUT: Final = 5.0
"""Seconds to wait for another process that writes: a command that adds a task takes a few ms."""

RETRY_INTERVAL: Final = 0.01
"""Seconds between two attempts at what SQLite doesn't wait for by itself."""

_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")

_PRIMARY: Final = 0xFF
"""The part of SQLite's error codes that says what kind of error it is."""

_REMEDIES: Final = {
    sqlite3.SQLITE_BUSY: "end the process that has it open, or try again later",
    sqlite3.SQLITE_CANTOPEN: "mend its permissions",
    sqlite3.SQLITE_FULL: "free the disk",
    sqlite3.SQLITE_IOERR: "free the disk, or mend it",
    sqlite3.SQLITE_PERM: "mend its permissions",
    sqlite3.SQLITE_READONLY: "mend its permissions",
}
"""What SQLite says of the disk, and what to do about it."""

_REMEDY: Final = "try again later, or mend the disk"
"""For all else that is no mistake in a statement."""


class StoreFailed(HostError):
    """The database can't be read or written: the disk is full, or another process keeps it locked.

    Nothing of what was to be done was done, and the store is usable still.
    """

    def __init__(self, path: Path, why: str, remedy: str) -> None:
        super().__init__(f"{path} can't be used: {why}; {remedy}")
        self.path = path
        self.why = why


class UnreadableRow(Exception):
    """What stands in a row isn't what this program wrote there; the text says where and why."""


@frozen
class Transaction:
    """A transaction, as the functions of the store's other modules work in it.

    Text that holds half of a surrogate pair, which UTF-8 can't, is taken with U+FFFD in its place.
    """

    connection: sqlite3.Connection

    def rows(self, sql: str, *parameters: Value) -> list[Row]:
        """All rows of a result."""
        return self._execute(sql, parameters).fetchall()

    def row(self, sql: str, *parameters: Value) -> Row | None:
        """The first row of a result, or None."""
        # Fetched whole: a statement that isn't at its end keeps what it reads from being written.
        return next(iter(self.rows(sql, *parameters)), None)

    def number(self, sql: str, *parameters: Value) -> int:
        """The one number that a statement results in."""
        return int(self.rows(sql, *parameters)[0][0])

    def change(self, sql: str, *parameters: Value) -> int:
        """Run a statement for its effect; how many rows it inserted, changed or deleted."""
        return self._execute(sql, parameters).rowcount

    def _execute(self, sql: str, parameters: tuple[Value, ...]) -> sqlite3.Cursor:
        return self.connection.execute(sql, tuple(map(_storable, parameters)))


def _storable(value: Value) -> str | int | None:
    match value:
        case datetime():
            return iso_timestamp(value)
        case str() if not value.isascii():
            return _HALF_PAIR.sub("\ufffd", value)
        case _:
            return value


class Database:
    """An open database, blocking as the disk is. Get it from :func:`open_database`.

    It may be used from any thread, from one at a time.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        connection.row_factory = sqlite3.Row

    def transact(
        self,
        function: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call a function with a transaction, and commit. If it raises, nothing has happened.

        Raises:
            StoreFailed: the disk refuses, or another process has the database.
            InvalidFile: the database is broken.
        """
        with _explained(self.path), _begun(self._connection) as transaction:
            return function(transaction, *args, **kwargs)

    def configure(self, busy_timeout: float) -> None:
        """Set how it is written. StoreFailed if another process has it for `busy_timeout` seconds.

        It has been seen to be ours: this changes the file.
        """
        with _explained(self.path):
            self._enter_wal(time.monotonic() + busy_timeout)
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute("PRAGMA foreign_keys=ON")

    def _enter_wal(self, deadline: float) -> None:
        # In all else SQLite waits for other processes by itself, but not where two change the mode.
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_INTERVAL)
            else:
                return

    def close(self) -> None:
        """Move what is in the write-ahead log into the database, if possible, and let go of it.

        No other process is waited for. Where it isn't possible, nothing is lost: whoever opens it
        next finds the log.
        """
        try:
            self._connection.execute("PRAGMA busy_timeout=0")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            log.warning("store closed without a checkpoint", path=str(self.path), why=str(error))
        finally:
            self._connection.close()


@contextmanager
def _begun(connection: sqlite3.Connection) -> Iterator[Transaction]:
    # IMMEDIATE: one that began by reading could find the database changed once it wants to write.
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield Transaction(connection)
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself where the disk was full.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except UnreadableRow as error:
        raise _broken(path, str(error)) from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & _PRIMARY
        if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
            raise _broken(path, str(error)) from error
        if code == sqlite3.SQLITE_ERROR or not isinstance(error, sqlite3.OperationalError):
            # A mistake in a statement, which no repetition mends.
            raise
        raise StoreFailed(path, str(error), _REMEDIES.get(code, _REMEDY)) from error


def _broken(path: Path, problem: str) -> InvalidFile:
    return InvalidFile(path, problem, "put a backup in its place, or move it away to begin anew")


def open_database(project_root: Path, *, busy_timeout: float = BUSY_TIMEOUT) -> Database:
    """Open a project's database, made if missing, and bring it to the newest version.

    `busy_timeout`: seconds to wait for another process, here and at each transaction.

    Raises:
        ProjectNotFound: there is no such project.
        InvalidFile: the file is no database, another program's, or a later version's of this one.
        UnsafePath: the file is a link, or anything else but a file.
        StoreFailed: the disk refuses, or another process has the database.
    """
    require_project(project_root)
    path = real_path(project_root) / "data" / FILE_NAME
    _make_file(path)
    with _explained(path):
        connection = sqlite3.connect(
            path, timeout=busy_timeout, isolation_level=None, check_same_thread=False
        )
    try:
        database = Database(path, connection)
        check_version(database)
        database.configure(busy_timeout)
        migrate(database)
    except BaseException:
        connection.close()
        raise
    return database


def _make_file(path: Path) -> None:
    try:
        with open_directory(path.parent, create=True) as data:
            data.create(path.name, b"", mode=0o600)
            # SQLite would follow a link, and gives its other files the mode of this one.
            for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
                if data.kind(name) not in {None, stat.S_IFREG}:
                    raise UnsafePath(str(data.path / name), "a link or no regular file")
    except OSError as error:
        why = error.strerror or "an error of the system"
        raise StoreFailed(path, why, "mend its permissions or free the disk") from error
