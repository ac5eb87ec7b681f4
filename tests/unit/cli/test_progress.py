"""The live line."""

from __future__ import annotations

import io
import math

import pytest
import trio
from attrs import frozen

from nanoclaw_trio.cli.progress import LiveLine, Progress, describe
from nanoclaw_trio.cli.streams import StandardError


@pytest.mark.parametrize(
    ("elapsed", "left", "line"),
    [
        (0, math.inf, "waiting · 0:00"),
        (61.9, math.inf, "waiting · 1:01"),
        (12, 1788.2, "waiting · 0:12 · 29:48 until the limit"),
        (12, 3723, "waiting · 0:12 · 1:02:03 until the limit"),
        (12, -3, "waiting · 0:12 · 0:00 until the limit"),
    ],
)
def test_describe(elapsed, left, line):
    """What is done, for how long, and how long until the deadline, if there is one."""
    assert describe("waiting", elapsed=elapsed, left=left) == line


@frozen
class Statistics:
    deadline: float


@frozen
class Run:
    """As much of a run as the line asks for."""

    deadline: float

    def statistics(self):
        """The run's picture."""
        return Statistics(self.deadline)


async def test_the_line_follows_the_clock_and_the_run(autojump_clock):
    """Each look shows the time that has passed and the deadline as it is now."""
    progress = Progress()
    assert progress.text() == "preparing · 0:00"
    await trio.sleep(5)
    assert progress.text() == "preparing · 0:05"
    progress.doing("waiting for the agent", Run(trio.current_time() + 90))
    await trio.sleep(30)
    assert progress.text() == "waiting for the agent · 0:30 · 1:00 until the limit"


class Terminal(io.StringIO):
    """A terminal that remembers all that was written."""

    def isatty(self):
        """It is one."""
        return True

    def since(self, mark):
        """What was written since the mark."""
        return self.getvalue()[mark:]

    def mark(self):
        """Where it is now."""
        return len(self.getvalue())


@pytest.fixture
def terminal(monkeypatch):
    """A terminal, 80 wide."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    return Terminal()


async def test_the_live_line_is_kept_fresh_and_goes(terminal, autojump_clock):
    """It is written anew while time passes, and erased at the end."""
    stderr = StandardError(terminal)
    with LiveLine(stderr) as line:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.keep_fresh)
            line.doing("waiting for the agent")
            await trio.sleep(3.2)
            nursery.cancel_scope.cancel()
        assert "waiting for the agent · 0:03" in terminal.getvalue()
        assert stderr.above is not None
        mark = terminal.mark()
    assert "\x1b[2K" in terminal.since(mark)
    assert stderr.above is None


async def test_text_goes_above_the_line(terminal):
    """A log line is written whole, without markup, and the live line again below it."""
    stderr = StandardError(terminal)
    with LiveLine(stderr) as line:
        line.doing("busy")
        mark = terminal.mark()
        stderr.write(f"[bold]{'x' * 100} 0:07\n")
        written = terminal.since(mark)
    assert f"[bold]{'x' * 100} 0:07\n" in written
    assert written.index("0:07") < written.index("busy")


async def test_the_line_makes_way(terminal):
    """While an answer is written to the same terminal there is no live line; then there is."""
    stderr = StandardError(terminal)
    with LiveLine(stderr) as line:
        line.doing("busy")
        with line.out_of_the_way():
            assert stderr.above is None
            mark = terminal.mark()
            line.refresh()
            assert terminal.since(mark) == ""
        assert stderr.above is not None
        assert "busy" in terminal.since(mark)


async def test_a_resting_line_stays_away_until_there_is_something_to_do(terminal):
    """When the user has the word nothing is written over what they type."""
    stderr = StandardError(terminal)
    with LiveLine(stderr) as line:
        line.rest()
        with line.out_of_the_way():
            pass
        assert stderr.above is None
        line.doing("busy again")
        assert stderr.above is not None


async def test_without_a_terminal_there_is_no_line(terminal):
    """The plain progress writes nothing, whatever it is told."""
    progress = Progress()
    progress.doing("busy")
    progress.rest()
    with progress.out_of_the_way():
        progress.refresh()
    assert terminal.getvalue() == ""
