"""Real processes: killed in the middle, at work at once, and on a full disk."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack, contextmanager

import pytest

from nanoclaw_trio.store.connection import open_database

PRELUDE = '''
import resource, sys
from pathlib import Path
from nanoclaw_trio.store import sessions
from nanoclaw_trio.store.connection import StoreFailed, open_database

def say(text):
    print(text, flush=True)

def heard():
    return sys.stdin.readline().strip()

def limit(size):
    """Bytes that a file may have: what doesn't fit any more is refused as by a full disk."""
    # Python doesn't notice that a compiled module is cut off, and finds it again.
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

def keep_pair(tx, name, text="s"):
    sessions.keep_session(tx, f"{name}-a", text)
    sessions.keep_session(tx, f"{name}-b", text)
'''

ONE_AFTER_THE_OTHER = """
database = open_database(Path(sys.argv[1]))
number = 0
while True:
    database.transact(keep_pair, f"{number:06}")
    say(number)
    number += 1
"""

IN_THE_MIDDLE = """
def change(tx):
    keep_pair(tx, "never")
    # More than SQLite keeps in memory: some of it is in the log already.
    for number in range(2000):
        sessions.keep_session(tx, f"spilled-{number}", "x" * 4000)
    say("in the middle")
    heard()

database = open_database(Path(sys.argv[1]))
database.transact(keep_pair, "before")
database.transact(change)
"""

AT_ONCE = """
while True:
    say("ready")
    project = heard()
    if not project:
        break
    database = open_database(Path(project))
    for number in range(20):
        database.transact(keep_pair, f"{sys.argv[1]}-{number}")
    database.close()
"""

FULL_DISK = """
database = open_database(Path(sys.argv[1]))
limit(200_000)
number = 0
try:
    while True:
        database.transact(keep_pair, f"{number:06}", "x" * 10_000)
        number += 1
except StoreFailed as error:
    say(error)
try:
    database.transact(keep_pair, "large", "x" * 10_000_000)
except StoreFailed as error:
    say(error)
say(number)
limit(resource.RLIM_INFINITY)
database.transact(keep_pair, "after")
"""

FULL_DISK_AT_THE_END = """
database = open_database(Path(sys.argv[1]))
for number in range(20):
    database.transact(keep_pair, f"{number:06}", "x" * 10_000)
limit(100_000)
database.close()
limit(resource.RLIM_INFINITY)
"""

FULL_DISK_FROM_THE_START = """
limit(int(sys.argv[2]))
try:
    open_database(Path(sys.argv[1]))
except StoreFailed as error:
    say(error)
limit(resource.RLIM_INFINITY)
"""


@contextmanager
def child(script, *arguments):
    """A process that runs a script of the above; killed in the end."""
    argv = [sys.executable, "-c", PRELUDE + script, *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def outcome(script, *arguments):
    """What a script says, once it has ended by itself."""
    with child(script, *arguments) as process:
        said, complaints = process.communicate(timeout=120)
        assert process.returncode == 0, complaints
        return said.splitlines(), complaints


def pairs(project):
    """The names of what was kept; each of them twice, in a database that is in order."""

    def read(tx):
        assert [row[0] for row in tx.rows("PRAGMA integrity_check")] == ["ok"]
        return [row["folder"] for row in tx.rows("SELECT folder FROM sessions ORDER BY folder")]

    database = open_database(project)
    found = database.transact(read)
    database.close()
    assert [name[-1] for name in found] == ["a", "b"] * (len(found) // 2)
    return [name[:-2] for name in found[::2]]


class TestKilled:
    def test_at_any_moment(self, project):
        """What was committed is there, in whole transactions, however often it is killed."""
        committed = -1
        for round_ in range(1, 6):
            with child(ONE_AFTER_THE_OTHER, project) as process:
                for _ in range(17 * round_):
                    committed = int(process.stdout.readline())
                process.kill()
                process.wait()
            found = pairs(project)
            assert found[: committed + 1] == [f"{number:06}" for number in range(committed + 1)]

    def test_in_the_middle(self, project):
        """Of a transaction that had begun nothing is there, not even what was written already."""
        with child(IN_THE_MIDDLE, project) as process:
            assert process.stdout.readline() == "in the middle\n"
            assert (project / "data" / "engine.db-wal").stat().st_size > 1_000_000
            process.kill()
            process.wait()
        assert pairs(project) == ["before"]


def test_many_processes(tmp_path):
    """They open one new project at once, and write at once, and nothing is lost."""
    projects = [tmp_path / f"{number}" for number in range(8)]
    names = ("x", "y", "z")
    with ExitStack() as stack:
        processes = [stack.enter_context(child(AT_ONCE, name)) for name in names]
        for project in [*projects, ""]:
            for process in processes:
                assert process.stdout.readline() == "ready\n", process.stderr.read()
            if project:
                project.mkdir()
            for process in processes:
                process.stdin.write(f"{project}\n")
                process.stdin.flush()
        assert [process.wait(60) for process in processes] == [0, 0, 0]
    expected = sorted(f"{name}-{number}" for name in names for number in range(20))
    for project in projects:
        assert sorted(pairs(project)) == expected


class TestFullDisk:
    def test_while_writing(self, project):
        """A transaction that doesn't fit has not happened; the others have, and the next does."""
        (first, second, number), _ = outcome(FULL_DISK, project)
        for error in (first, second):
            assert "data/engine.db can't be used: " in error
            assert "free the disk" in error
        assert int(number) > 0
        assert pairs(project) == [*(f"{n:06}" for n in range(int(number))), "after"]

    def test_while_closing(self, project):
        """What can't be moved into the database is in the log, and isn't lost; that is logged."""
        _, complaints = outcome(FULL_DISK_AT_THE_END, project)
        assert "store closed without a checkpoint" in complaints
        assert len(pairs(project)) == 20

    @pytest.mark.parametrize("size", [0, 1000, 30_000])
    def test_while_opening(self, project, size):
        """What can't be made is told, and is made whole once there is room."""
        (error,), _ = outcome(FULL_DISK_FROM_THE_START, project, size)
        assert "data/engine.db can't be used: " in error
        assert pairs(project) == []
