"""The counters and the histogram of waits."""

from __future__ import annotations

import math
from typing import get_args

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.engine.statistics import (
    WAIT_BOUNDS,
    CounterName,
    Counters,
    Tally,
    WaitSummary,
)

reproducible = settings(derandomize=True, deadline=None)


@pytest.fixture
def tally():
    """Nothing was counted yet."""
    return Tally()


def test_nothing(tally):
    """In the beginning all is zero."""
    assert tally.snapshot() == Counters()
    assert tally.waits() == WaitSummary()


def test_every_number_is_counted():
    """What can be counted are the numbers that a picture of the counters has."""
    fields = {field.name for field in attrs.fields(Counters)}
    assert set(get_args(CounterName)) == fields - {"runs_by_cause"}


@pytest.mark.parametrize("name", get_args(CounterName))
def test_count(tally, name):
    """A count goes to its own number, one by one or many at once."""
    tally.count(name)
    tally.count(name, 3)
    assert tally.snapshot() == Counters(**{name: 4})


def test_a_name_that_is_not_counted(tally):
    """A misspelt name is an error, and counts nothing."""
    with pytest.raises(KeyError):
        tally.count("answer")
    assert tally.snapshot() == Counters()


def test_causes(tally):
    """Runs that ended are counted by their cause."""
    for cause in ("completed", "timed_out", "completed"):
        tally.run_ended(cause)
    assert tally.snapshot().runs_by_cause == {"completed": 2, "timed_out": 1}


def test_a_picture_stays_as_it_is(tally):
    """What is counted later isn't in an earlier picture, and nobody can change it."""
    tally.run_ended("completed")
    before, waits = tally.snapshot(), tally.waits()
    tally.count("answers")
    tally.run_ended("completed")
    tally.waited(1)
    assert before == Counters(runs_by_cause={"completed": 1})
    assert waits == WaitSummary()
    with pytest.raises(TypeError):
        before.runs_by_cause["completed"] = 5
    with pytest.raises(TypeError):
        Counters().runs_by_cause["completed"] = 5


@pytest.mark.parametrize(
    ("seconds", "bound"),
    [(0, 0.1), (0.1, 0.1), (0.11, 1.0), (5, 5.0), (3600, 3600.0), (3601, math.inf)],
)
def test_which_bucket(tally, seconds, bound):
    """A wait is in each bucket whose bound it doesn't exceed."""
    tally.waited(seconds)
    assert tally.waits().buckets == tuple((b, int(b >= bound)) for b in WAIT_BOUNDS)


@reproducible
@given(seconds=st.lists(st.floats(0, 10_000)))
def test_waits(seconds):
    """The histogram has as many waits as there were, and their sum; its buckets never fall."""
    tally = Tally()
    for wait in seconds:
        tally.waited(wait)
    waits = tally.waits()
    counts = [number for _, number in waits.buckets]
    assert waits.count == counts[-1] == len(seconds)
    assert waits.sum == pytest.approx(sum(seconds))
    assert counts == sorted(counts)
    assert counts == [sum(wait <= bound for wait in seconds) for bound in WAIT_BOUNDS]
