"""Columns and moments for people."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nanoclaw_trio.cli.moments import local_text
from nanoclaw_trio.cli.table import align


def test_align():
    """Each column is as wide as its widest cell, and no line ends with spaces."""
    assert align(("A", "LONG", "C"), [("1", "2", "3"), ("four", "5", "")]) == (
        "A     LONG  C",
        "1     2     3",
        "four  5",
    )


def test_no_rows():
    """A heading over nothing isn't shown."""
    assert align(("A",), []) == ()


def test_a_cell_is_one_line():
    """A line end in a cell doesn't break the table."""
    assert align(("A", "B"), [("1\n2", "3")]) == ("A    B", "1 2  3")


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("UTC", "2026-02-01 15:30:00 UTC"),
        ("Europe/Berlin", "2026-02-01 16:30:00 CET"),
        ("America/New_York", "2026-02-01 10:30:00 EST"),
    ],
)
def test_local_text(zone, text):
    """A moment is shown in the zone, with the zone's name."""
    assert local_text(datetime(2026, 2, 1, 15, 30, tzinfo=UTC), zone) == text


def test_no_moment():
    """Where there is none, that is shown."""
    assert local_text(None, "UTC") == "-"
