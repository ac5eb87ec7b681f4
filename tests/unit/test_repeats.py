"""What others cause again and again is told of now and then."""

from __future__ import annotations

import re

import trio

from nanoclaw_trio.repeats import RepeatedWarnings


def counts(logged: str) -> list[str]:
    return re.findall(r"count=(\d+)", logged)


async def test_a_line_a_minute(virtual_clock, capsys):
    """Who tries again and again doesn't fill the log: each minute has a line, with how many."""
    warnings = RepeatedWarnings()
    for _ in range(100):
        warnings.warning("refused", why="it may not")
        await trio.sleep(1)
    logged = capsys.readouterr().err
    assert counts(logged) == ["1", "60"]
    assert logged.count('event=refused why="it may not"') == 2


async def test_what_is_rare_is_told_of_at_once(virtual_clock, capsys):
    """What comes after a minute's rest is logged by itself."""
    warnings = RepeatedWarnings()
    for _ in range(3):
        warnings.warning("refused")
        await trio.sleep(60)
    assert counts(capsys.readouterr().err) == ["1", "1", "1"]


async def test_none_hides_anothers(virtual_clock, capsys):
    """Each event of each source is counted by itself: who is loud hides nobody."""
    warnings = RepeatedWarnings()
    for event, source in (("a", "x"), ("a", "x"), ("b", "x"), ("a", "y")):
        warnings.warning(event, source=source, group=source)
    assert re.findall(r"event=(\w) group=(\w)", capsys.readouterr().err) == [
        ("a", "x"),
        ("b", "x"),
        ("a", "y"),
    ]
