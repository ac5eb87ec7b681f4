"""`journal check`."""

from __future__ import annotations

import json
import signal

import pytest
from attrs import evolve

from nanoclaw_trio.cli.journal import CheckOptions, check_command


@pytest.fixture
def options(settings):
    """The options of a plain `journal check`."""
    return CheckOptions(project=settings.project_root, as_json=False)


@pytest.fixture
def journal(settings):
    """Write the project's journal: events, each with its fields."""

    def write(*events):
        (settings.project_root / "data").mkdir(exist_ok=True)
        lines = [
            json.dumps(
                {"at": f"2026-02-01T00:00:0{n}.000Z", "event": event, "engine": "e1", **fields}
            )
            for n, (event, fields) in enumerate(events)
        ]
        path = settings.project_root / "data" / "journal.jsonl"
        path.write_text("".join(f"{line}\n" for line in lines))

    return write


START = ("engine_started", {"install": "i", "pid": 1, "runtime": "fake"})
RUN = {"container": "c1", "folder": "family"}
ASKED = ("run_asked", {**RUN, "messages": [], "task": None})
STARTED = ("run_started", RUN)


async def test_no_journal(make_desk, options):
    """A project that never had an engine has broken no promise."""
    desk = make_desk()
    assert await check_command(options, desk.world) == 0
    assert desk.written() == "0 entries, 0 promises broken, 0 under way at the end\n"


async def test_kept(make_desk, options, journal):
    """What is under way at the end is nobody's fault yet."""
    journal(START, ASKED, STARTED)
    desk = make_desk()
    assert await check_command(options, desk.world) == 0
    assert desk.written().startswith("3 entries, 0 promises broken, ")


async def test_broken(make_desk, options, journal):
    """A promise that was broken is named, with its place, and the exit status says so."""
    journal(START, ASKED, STARTED, ("engine_stopped", {}))
    desk = make_desk()
    assert await check_command(options, desk.world) == 1
    *violations, summary = desk.written().splitlines()
    assert violations[0].startswith("journal.jsonl:")
    assert "[run-ends-once]" in violations[0]
    assert f"{len(violations)} promises broken" in summary


async def test_json(make_desk, options, journal):
    """The same for programs, with what is under way, and a summary in the last line."""
    journal(START, ASKED, STARTED)
    desk = make_desk()
    assert await check_command(evolve(options, as_json=True), desk.world) == 0
    *items, summary = desk.records()
    assert {item["type"] for item in items} == {"open"}
    assert set(items[0]) == {"type", "rule", "what", "at", "place"}
    assert summary == {"type": "journal", "entries": 3, "violations": 0, "open": len(items)}
    journal(START, ASKED, STARTED, ("engine_stopped", {}))
    desk = make_desk()
    assert await check_command(evolve(options, as_json=True), desk.world) == 1
    assert desk.records()[0]["type"] == "violation"


async def test_no_journal_at_all(make_desk, options, journal):
    """A file that is something else is bad input."""
    journal(("engine_started", {}))
    desk = make_desk()
    assert await check_command(options, desk.world) == 2
    assert "line 1 is no entry" in desk.said()[0]


async def test_bad_usage(make_desk, options):
    """A project that isn't there is bad usage."""
    desk = make_desk()
    assert await check_command(evolve(options, project="/nowhere"), desk.world) == 2


async def test_a_signal(make_desk, options):
    """Checking is ended by a signal, too."""
    desk = make_desk()
    desk.world.interruption.receive(signal.SIGINT)
    assert await check_command(options, desk.world) == 130
