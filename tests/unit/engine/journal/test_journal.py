"""The journal: each event a line, in order, whatever the disk does."""

from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
import sys
from collections import deque
from typing import get_args

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.engine.journal.events import (
    FIELDS,
    WORDS_LIMIT,
    JournalEntry,
    decode_line,
    encode_line,
    misfit,
)
from nanoclaw_trio.engine.journal.file import KEEP, JournalFile, rotated_name
from nanoclaw_trio.engine.journal.journal import Event, Journal, read_journal
from nanoclaw_trio.errors import InvalidFile, UnsafePath

reproducible = settings(derandomize=True, deadline=None)

CHILD = """
import resource, signal, sys
from pathlib import Path
import trio
from nanoclaw_trio.engine.journal.journal import Journal
from nanoclaw_trio.testing import VirtualClock

async def main(journal, cancel_scope):
{body}

async def with_journal():
    journal = Journal(Path(sys.argv[1]), waiting_limit=30)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        await main(journal, nursery.cancel_scope)
        nursery.cancel_scope.cancel()
    await journal.close()
    print(journal.lines_lost)

trio.run(with_journal, clock=VirtualClock())
"""
"""A process with a journal; what it does with it is to be put in."""


@pytest.fixture
def path(tmp_path):
    """The journal of a project that has none yet."""
    return tmp_path / "data" / "journal.jsonl"


@pytest.fixture
def journal(path):
    """A journal that nothing was noted in."""
    return Journal(path)


@pytest.fixture
def write():
    """Let a journal write all that was noted, and end."""

    async def write(journal):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal.run)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await journal.close()

    return write


def ids(path):
    """What was delivered, by the journal."""
    return [entry.fields["id"] for entry in read_journal(path) if entry.event == "delivered"]


def entry(event="delivered", /, **fields):
    """An entry of a session."""
    at = "2026-01-01T00:00:00.000Z"
    return JournalEntry(at=at, event=event, engine="0123456789abcdef", fields=fields)


def line(number):
    """A line of 100 bytes or so."""
    return encode_line(entry(id=f"{number:06}"))


START = encode_line(entry("engine_started", install="i", pid=1, runtime="fake"))


class TestLines:
    async def test_an_event_is_a_line(self, virtual_clock, journal, path, write):
        """A line is a JSON object with the time, the event, the session and the event's fields."""
        await trio.sleep(1.5)
        journal.note("run_started", container="c1", folder="family")
        await write(journal)
        document = {
            "at": "2026-01-01T00:00:01.500Z",
            "event": "run_started",
            "engine": journal.engine,
            "container": "c1",
            "folder": "family",
        }
        assert path.read_text() == json.dumps(document, separators=(",", ":")) + "\n"

    async def test_what_is_read_is_what_was_noted(self, virtual_clock, journal, path, write):
        """The reader gives each entry back, with its place."""
        journal.note("message_settled", folder="family", ids=("m1", "m2"), container="c1")
        journal.note("runtime_back")
        await write(journal)
        settled, back = read_journal(path)
        assert settled.fields == {"folder": "family", "ids": ["m1", "m2"], "container": "c1"}
        assert (settled.place, settled.event) == ("journal.jsonl:1", "message_settled")
        assert back == JournalEntry(
            at="2026-01-01T00:00:00.000Z",
            event="runtime_back",
            engine=journal.engine,
            fields={},
            place="journal.jsonl:2",
        )

    async def test_nobody_else_may_read_it(self, virtual_clock, journal, path, write):
        """The file is its user's alone."""
        journal.note("runtime_back")
        await write(journal)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_sessions_have_names_of_their_own(self, path):
        """Each engine's session has another id."""
        assert re.fullmatch("[0-9a-f]{16}", Journal(path).engine)
        assert Journal(path).engine != Journal(path).engine

    async def test_a_reason_is_kept_short(self, virtual_clock, journal, path, write):
        """Of a reason the beginning is kept."""
        journal.note("undeliverable", id="d1", why="x" * 10_000)
        await write(journal)
        (entry,) = read_journal(path)
        assert entry.fields["why"] == "x" * WORDS_LIMIT

    def test_every_event_has_its_fields(self):
        """The events that may be noted are those whose fields are known."""
        assert set(get_args(Event)) == set(FIELDS)


class TestFields:
    @pytest.mark.parametrize(
        ("event", "fields", "problem"),
        [
            ("delivered", {}, "id is missing"),
            ("delivered", {"id": 1}, "id isn't a string"),
            ("delivered", {"id": None}, "id isn't a string"),
            ("delivered", {"id": "d1", "text": "Hello"}, "text: no such field"),
            ("said", {}, "there is no such event"),
            ("lines_lost", {"count": True}, "count isn't a whole number"),
            ("lines_lost", {"count": 1.0}, "count isn't a whole number"),
            ("orphans_reaped", {"containers": "c1"}, "containers isn't a list of strings"),
            ("orphans_reaped", {"containers": ["c1", 2]}, "containers isn't a list of strings"),
            ("task_failed", {"task": "t", "due": "d", "gave_up": 1}, "gave_up isn't true or false"),
            ("runtime_down", {"why": b"down"}, "why isn't a short text"),
        ],
    )
    async def test_what_does_not_fit_is_not_written(
        self, virtual_clock, journal, path, write, capsys, event, fields, problem
    ):
        """An entry with other fields isn't written, and nothing is raised: it is counted."""
        journal.note(event, **fields)
        assert journal.lines_lost == 1
        await write(journal)
        assert [(e.event, e.fields) for e in read_journal(path)] == [("lines_lost", {"count": 1})]
        assert f'event="journal entry refused" name={event} problem="{problem}"' in (
            capsys.readouterr().err
        )

    @pytest.mark.parametrize(
        ("event", "fields"),
        [
            ("run_asked", {"container": "c", "folder": "f", "messages": (), "task": None}),
            ("run_asked", {"container": "c", "folder": "f", "messages": ["m"], "task": "t"}),
            (
                "run_ended",
                {
                    "container": "c",
                    "folder": "f",
                    "cause": "completed",
                    "gone": True,
                    "detail": None,
                    "outputs": 0,
                    "rejected_frames": 0,
                    "duration": 1,
                },
            ),
            (
                "delivery_recorded",
                {
                    "id": "d",
                    "kind": "answer",
                    "chat": "c",
                    "container": None,
                    "n": None,
                    "in_reply_to": [],
                },
            ),
        ],
    )
    def test_what_fits(self, event, fields):
        """What may be absent may be None, and whole numbers are numbers."""
        assert misfit(event, fields) is None

    async def test_odd_text(self, virtual_clock, journal, path, write):
        """Half a surrogate pair, a newline and a marker of the journal's own stay on their line."""
        odd = 'a\ud800\n"event":"engine_started"\u2028'
        journal.note("delivered", id=odd)
        journal.note("delivered", id="d2")
        await write(journal)
        assert ids(path) == [odd.replace("\ud800", "\ufffd"), "d2"]


class TestTornLines:
    def test_wherever_it_is_torn(self, path):
        """A last line that a killed process left torn is passed over, and spoils no later one."""
        whole, torn = line(1), line(2)
        path.parent.mkdir()
        for length in range(len(torn)):
            path.write_bytes(whole + torn[:length])
            assert ids(path) == ["000001"]
            append(JournalFile(path), line(3))
            assert ids(path) == ["000001", "000003"]

    @pytest.mark.parametrize("left", [b"\0" * 50 + b"\n", b"(torn)\n", b"\xff\n", b"\n"])
    def test_what_a_power_cut_may_leave(self, path, left):
        """A line that is no JSON is passed over wherever it is."""
        path.parent.mkdir()
        path.write_bytes(line(1) + left + line(2))
        assert ids(path) == ["000001", "000002"]

    @pytest.mark.parametrize(
        "foreign",
        [
            b"[]",
            b"1",
            b"{}",
            b'{"at": 1, "event": "delivered", "engine": "e", "id": "d"}',
            b'{"at": "", "event": "delivered", "engine": "e"}',
            b'{"at": "", "event": "delivered", "engine": "e", "id": 3}',
        ],
    )
    def test_another_file_is_an_error(self, path, foreign):
        """JSON that is no entry is an error that names the line: it isn't a journal."""
        path.parent.mkdir()
        path.write_bytes(line(1) + foreign + b"\n")
        with pytest.raises(InvalidFile, match=r"journal\.jsonl: line 2 is no entry.*move the file"):
            list(read_journal(path))

    def test_a_newer_version(self):
        """An event that isn't known is read, and so is a field."""
        head = '"at": "now", "engine": "e"'
        new = decode_line(f'{{{head}, "event": "moved", "to": "mars"}}'.encode(), "f:1")
        assert (new.event, new.fields) == ("moved", {"to": "mars"})
        more = decode_line(f'{{{head}, "event": "delivered", "id": "d", "n": 1}}'.encode(), "f:1")
        assert more.fields == {"id": "d", "n": 1}


def append(file, *lines):
    """Write these lines; all are written then."""
    waiting = deque(lines)
    file.append(waiting)
    assert not waiting


class TestRotation:
    def test_by_size(self, path):
        """A file that a line would make too long is put aside, and the oldest goes."""
        file = JournalFile(path, max_bytes=4 * len(line(0)))
        append(file, *map(line, range(30)))
        names = [rotated_name(path, number) for number in range(KEEP + 1)]
        assert {file.name for file in path.parent.iterdir()} == set(names)
        assert names[:2] == ["journal.jsonl", "journal.1.jsonl"]
        assert ids(path) == [f"{number:06}" for number in range(12, 30)]
        assert all(path.with_name(name).stat().st_size <= 4 * len(line(0)) for name in names)

    @reproducible
    @given(
        batches=st.lists(st.lists(st.integers(1, 300), max_size=8), max_size=20),
        max_bytes=st.integers(1, 1000),
    )
    def test_what_is_left_is_the_end(self, tmp_path_factory, batches, max_bytes):
        """Whatever the sizes, what is read is the end of what was written, in order, nothing twice."""
        path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
        file, written = JournalFile(path, max_bytes=max_bytes), []
        for batch in batches:
            lines = [f"{len(written) + n}:{'x' * size}" for n, size in enumerate(batch)]
            append(file, *(encode_line(entry(id=text)) for text in lines))
            written += lines
        left = ids(path)
        assert left == written[len(written) - len(left) :]
        assert bool(left) is bool(written)

    def test_a_session_begins_no_rotated_file(self, path):
        """A journal whose beginning is gone doesn't begin with an engine's start."""
        file = JournalFile(path, max_bytes=2 * len(line(0)))
        append(file, *([line(0), START] * 3 * KEEP))
        entries = list(read_journal(path))
        assert path.with_name(f"journal.{KEEP}.jsonl").exists()
        assert entries[0].event == "delivered"

    def test_one_that_is_missing(self, path):
        """A rotated file that somebody removed is not missed."""
        file = JournalFile(path, max_bytes=1)
        append(file, *map(line, range(4)))
        path.with_name("journal.2.jsonl").unlink()
        assert ids(path) == ["000000", "000002", "000003"]
        append(file, line(4))
        assert ids(path) == ["000000", "000002", "000003", "000004"]

    def test_rotated_while_it_is_opened(self, path):
        """A file that is met under its old name and under its new one is read once."""
        append(JournalFile(path), line(1))
        path.with_name("journal.1.jsonl").hardlink_to(path)
        assert ids(path) == ["000001"]

    def test_rotated_while_it_is_read(self, path):
        """What was there when reading began is read to its end."""
        file = JournalFile(path, max_bytes=3 * len(line(0)))
        append(file, *map(line, range(6)))
        reading = read_journal(path)
        first = next(reading)
        append(file, *map(line, range(6, 60)))
        rest = [e.fields["id"] for e in reading]
        assert [first.fields["id"], *rest] == [f"{number:06}" for number in range(6)]


class TestNoJournal:
    def test_none_is_an_empty_one(self, path):
        """A project without a journal has no entries, and one with an empty one."""
        assert list(read_journal(path)) == []
        path.parent.mkdir()
        assert list(read_journal(path)) == []
        path.touch()
        assert list(read_journal(path)) == []

    def test_a_link_is_not_followed(self, path, tmp_path):
        """Where a link lies in its place, nothing is read from behind it, or written there."""
        path.parent.mkdir()
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_bytes(line(1))
        path.symlink_to(elsewhere)
        with pytest.raises(UnsafePath):
            list(read_journal(path))
        with pytest.raises(OSError, match="symbolic"):
            append(JournalFile(path), line(2))
        assert elsewhere.read_bytes() == line(1)


class TestInTheBackground:
    async def test_as_they_come(self, virtual_clock, journal, path, nursery):
        """What is noted is on the disk soon, in order, without an end of the journal."""
        nursery.start_soon(journal.run)
        for number in range(5):
            journal.note("delivered", id=f"{number}a")
            journal.note("delivered", id=f"{number}b")
            await trio.sleep(1)
            assert ids(path) == [f"{n}{letter}" for n in range(number + 1) for letter in "ab"]

    async def test_the_last_lines(self, virtual_clock, journal, path):
        """What was noted before the end is written at the end, cancelled as that is."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal.run)
            journal.note("engine_stopped")
            nursery.cancel_scope.cancel()
        with trio.CancelScope() as scope:
            scope.cancel()
            await journal.close()
        assert [entry.event for entry in read_journal(path)] == ["engine_stopped"]
        assert journal.lines_lost == 0

    async def test_after_the_end(self, virtual_clock, journal, path, write):
        """What is noted after the end is lost, and counted."""
        await write(journal)
        journal.note("engine_stopped")
        assert journal.lines_lost == 1

    async def test_a_journal_that_nobody_writes(self, virtual_clock, path, write):
        """What waits in memory is bounded; where entries are missing the journal says how many."""
        journal = Journal(path, waiting_limit=3)
        for number in range(10):
            journal.note("delivered", id=str(number))
        assert journal.lines_lost == 7
        await write(journal)
        *kept, lost = read_journal(path)
        assert [entry.fields["id"] for entry in kept] == ["0", "1", "2"]
        assert (lost.event, lost.fields) == ("lines_lost", {"count": 7})


class TestADiskThatRefuses:
    async def test_it_is_tried_again(self, virtual_clock, journal, path, nursery, capsys):
        """Trap A11. One warning, nothing raised; once the disk allows it, all is written."""
        path.parent.write_text("no directory")
        nursery.start_soon(journal.run)
        for number in range(100):
            journal.note("delivered", id=str(number))
            await trio.sleep(1)
        path.parent.unlink()
        await trio.sleep(6)
        assert ids(path) == [str(number) for number in range(100)]
        assert journal.lines_lost == 0
        logged = capsys.readouterr().err
        assert logged.count("journal can't be written") == 1
        assert logged.count("journal written again") == 1

    async def test_a_second_time(self, virtual_clock, journal, path, nursery, capsys):
        """A disk that refuses again is warned of again."""
        nursery.start_soon(journal.run)
        for _ in range(2):
            path.parent.write_text("no directory")
            journal.note("delivered", id="d1")
            await trio.sleep(20)
            path.parent.unlink()
            await trio.sleep(6)
            path.unlink()
            path.parent.rmdir()
        assert capsys.readouterr().err.count("journal can't be written") == 2

    async def test_where_lines_were_lost(self, virtual_clock, path, nursery):
        """What has no room is lost, counted, and said in the place where it is missing."""
        journal = Journal(path, waiting_limit=3)
        path.parent.write_text("no directory")
        nursery.start_soon(journal.run)
        for number in range(10):
            journal.note("delivered", id=str(number))
        await trio.sleep(1)
        path.parent.unlink()
        await trio.sleep(6)
        journal.note("delivered", id="10")
        await trio.sleep(1)
        events = [entry.fields for entry in read_journal(path)]
        assert events == [{"id": "0"}, {"id": "1"}, {"id": "2"}, {"count": 7}, {"id": "10"}]
        assert journal.lines_lost == 7

    async def test_to_the_end(self, virtual_clock, journal, path, write, capsys):
        """Trap A11. What the disk refused to the end is counted, and said to be lost."""
        path.parent.write_text("no directory")
        journal.note("delivered", id="d1")
        journal.note("delivered", id="d2")
        await write(journal)
        assert journal.lines_lost == 2
        assert 'event="journal is incomplete"' in capsys.readouterr().err

    async def test_one_that_hangs(self, autojump_clock, journal, path):
        """Trap T2. A disk that hangs holds up the end for some seconds only."""
        journal.note("delivered", id="d1")
        with journal._file._mutex:
            with trio.move_on_after(60) as scope:
                await journal.run()
            assert scope.cancelled_caught
            await journal.close()
            assert trio.current_time() == 65
        assert journal.lines_lost == 1

    def test_a_full_disk(self, path):
        """Trap A11. On a full disk a line may stay half written; it is written again, once."""
        body = """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for number in range(20):
        journal.note("delivered", id=str(number))
    # Python doesn't notice that a compiled module is cut off, and finds it again.
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    await trio.sleep(20)
    assert Path(sys.argv[1]).stat().st_size == 1000
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await trio.sleep(20)
    journal.note("delivered", id="20")
"""
        done = run_child(path, body)
        assert done.stdout == "0\n"
        assert done.stderr.count("journal can't be written") == 1
        assert ids(path) == [str(number) for number in range(21)]
        assert path.read_bytes().count(b" (torn)\n") == 1


def run_child(path, body):
    """A process that does this with its journal, and ends."""
    argv = [sys.executable, "-c", CHILD.format(body=body), str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done


def test_a_killed_process(path):
    """What a process that is killed had written stays readable, a gapless beginning."""
    body = """
    number = 0
    while True:
        journal.note("delivered", id=str(number))
        number += 1
        await trio.sleep(0.001)
        if number % 50 == 0:
            print(number, flush=True)
"""
    argv = [sys.executable, "-c", CHILD.format(body=body), str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            noted = [int(process.stdout.readline()) for _ in range(5)][-1]
        finally:
            process.send_signal(signal.SIGKILL)
    found = ids(path)
    assert found == [str(number) for number in range(len(found))]
    assert len(found) >= noted - 50
