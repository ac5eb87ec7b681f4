"""The circuit breaker: when it opens, who may start then, and what is told."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nanoclaw_trio.engine.queue.breaker import (
    PROBE_INTERVALS,
    START_FAILURES,
    Breaker,
    BreakerChange,
    BreakerPicture,
    BreakerState,
)

CLOSED, OPEN, HALF_OPEN = BreakerState


def told(steps):
    """A breaker that was told these things, one each second from 0 on, and what it told on."""
    breaker = Breaker()
    changes = []
    for now, (method, *arguments) in enumerate(steps):
        changes.append(getattr(breaker, method)(*arguments, float(now)))
    return breaker, changes


DOWN = ("failed", "infrastructure", "no runtime")
START = ("failed", "start", "bad mount")
STARTED = ("started",)
PROBE_OK = ("probed", None)
PROBE_FAILS = ("probed", "still none")
TRIP = ("trip", "checked")

STEPS = [
    # what it is told | the state, since when, the next probe
    ([], (CLOSED, -math.inf, math.inf)),
    ([STARTED], (CLOSED, -math.inf, math.inf)),
    ([PROBE_OK], (CLOSED, -math.inf, math.inf)),
    ([PROBE_FAILS], (CLOSED, -math.inf, math.inf)),
    ([START, START], (CLOSED, -math.inf, math.inf)),
    ([START, START, STARTED, START, START], (CLOSED, -math.inf, math.inf)),
    ([START, START, START], (OPEN, 2, 7)),
    ([START, START, STARTED, START, START, START], (OPEN, 5, 10)),
    ([START, DOWN], (OPEN, 1, 6)),
    ([DOWN], (OPEN, 0, 5)),
    ([TRIP], (OPEN, 0, 5)),
    ([DOWN, DOWN, START, TRIP], (OPEN, 0, 5)),
    ([DOWN, PROBE_FAILS], (OPEN, 0, 11)),
    ([DOWN, PROBE_FAILS, PROBE_FAILS], (OPEN, 0, 22)),
    ([DOWN, PROBE_FAILS, DOWN], (OPEN, 0, 11)),
    ([DOWN, STARTED], (CLOSED, 1, math.inf)),
    ([DOWN, PROBE_OK], (HALF_OPEN, 0, math.inf)),
    ([DOWN, PROBE_OK, PROBE_OK], (HALF_OPEN, 0, math.inf)),
    ([DOWN, PROBE_OK, PROBE_FAILS], (HALF_OPEN, 0, math.inf)),
    ([DOWN, PROBE_OK, STARTED], (CLOSED, 2, math.inf)),
    ([DOWN, PROBE_OK, DOWN], (OPEN, 0, 12)),
    ([DOWN, PROBE_OK, START], (OPEN, 0, 12)),
    ([DOWN, PROBE_OK, TRIP], (OPEN, 0, 12)),
    ([DOWN, PROBE_FAILS, PROBE_OK, START], (OPEN, 0, 23)),
    ([DOWN, PROBE_OK, STARTED, START, START], (CLOSED, 2, math.inf)),
    ([DOWN, PROBE_FAILS, PROBE_OK, STARTED, DOWN], (OPEN, 4, 9)),
]


@pytest.mark.parametrize(("steps", "expected"), STEPS)
def test_states(steps, expected):
    """What it is told leads to this state, opened or closed at this time, with this next probe."""
    breaker, _ = told(steps)
    picture = breaker.picture()
    assert (picture.state, picture.since, picture.probe_at) == expected
    assert (breaker.state, breaker.probe_at) == (picture.state, picture.probe_at)


@pytest.mark.parametrize(("steps", "_expected"), STEPS)
def test_one_notice_each(steps, _expected):
    """An opening is told once, and so is the closing after it; nothing else is told."""
    breaker, changes = told(steps)
    notices = [change for change in changes if change is not None]
    expected = [BreakerChange.OPENED, BreakerChange.CLOSED] * len(steps)
    assert notices == expected[: len(notices)]
    assert len(notices) % 2 == (breaker.state is not CLOSED)


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([START], None),
        ([DOWN], "no runtime"),
        ([TRIP], "checked"),
        ([DOWN, START], "bad mount"),
        ([DOWN, PROBE_FAILS], "still none"),
        ([DOWN, PROBE_OK], "no runtime"),
        ([DOWN, PROBE_OK, START], "bad mount"),
        ([DOWN, PROBE_OK, STARTED], None),
    ],
)
def test_why(steps, why):
    """The reason is that of the latest failure, until it closes."""
    breaker, _ = told(steps)
    assert breaker.why == why


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], (True, True, True)),
        ([DOWN], (False, False, False)),
        ([DOWN, PROBE_OK], (True, False, False)),
        ([DOWN, PROBE_OK, STARTED], (True, True, True)),
        ([DOWN, PROBE_OK, START], (False, False, False)),
    ],
    ids=["closed", "open", "half open", "closed again", "open again"],
)
def test_may_start(steps, expected):
    """All start, nobody does, or one where no other start is under way."""
    breaker, _ = told(steps)
    assert tuple(breaker.may_start(starting) for starting in (0, 1, 4)) == expected


def test_probe_intervals():
    """Probes become rarer up to one a minute, and go on for ever."""
    breaker = Breaker()
    breaker.trip("down", 0.0)
    moments = [0.0]
    for _ in range(9):
        moments.append(breaker.probe_at)
        breaker.probed("down", breaker.probe_at)
    intervals = [later - earlier for earlier, later in pairwise(moments)]
    assert intervals == [5, 10, 20, 40, 60, 60, 60, 60, 60]


class BreakerMachine(RuleBasedStateMachine):
    """Whatever is told to a breaker in whatever order, the notices and the intervals are in order.

    The model is the history alone: the notices told, the starts that failed since a container
    started last, and what went wrong since it opened.
    """

    def __init__(self):
        super().__init__()
        self.breaker = Breaker()
        self.now = 0.0
        self.notices = []
        self.in_a_row = 0
        self.setbacks = 0
        self.last_setback = -math.inf

    @property
    def is_open(self):
        return bool(self.notices) and self.notices[-1] is BreakerChange.OPENED

    def note(self, change, expected):
        """The change was the one that the history asks for."""
        assert change is expected
        if change is not None:
            self.notices.append(change)
            self.setbacks = 0
            self.last_setback = self.now

    def note_setback(self, state):
        if state is HALF_OPEN:
            self.setbacks += 1
            self.last_setback = self.now

    @rule(seconds=st.sampled_from([0.0, 1.0, 5.0, 60.0]))
    def pass_time(self, seconds):
        self.now += seconds

    @rule()
    def started(self):
        expected = BreakerChange.CLOSED if self.is_open else None
        self.note(self.breaker.started(self.now), expected)
        self.in_a_row = 0

    @rule(kind=st.sampled_from(["infrastructure", "start"]))
    def failed(self, kind):
        state = self.breaker.state
        self.in_a_row += 1
        opens = kind == "infrastructure" or self.in_a_row >= START_FAILURES
        expected = BreakerChange.OPENED if opens and not self.is_open else None
        self.note(self.breaker.failed(kind, "why", self.now), expected)
        self.note_setback(state)

    @rule()
    def trip(self):
        state = self.breaker.state
        expected = None if self.is_open else BreakerChange.OPENED
        self.note(self.breaker.trip("why", self.now), expected)
        self.note_setback(state)

    @rule(why_not=st.sampled_from([None, "why"]))
    def probed(self, why_not):
        state = self.breaker.state
        self.breaker.probed(why_not, self.now)
        if state is OPEN and why_not is not None:
            self.note_setback(HALF_OPEN)
        if state is not OPEN:
            assert self.breaker.state is state

    @invariant()
    def closed_means_all_is_told(self):
        """Between an opening notice and a closing one, and only there, it isn't closed."""
        assert (self.breaker.state is not CLOSED) == self.is_open
        assert (self.breaker.why is not None) == self.is_open

    @invariant()
    def notices_alternate(self):
        """Never two opening notices without a closing one between."""
        assert all(one is not next_one for one, next_one in pairwise(self.notices))
        assert not self.notices or self.notices[0] is BreakerChange.OPENED

    @invariant()
    def a_probe_is_due_while_it_is_open(self):
        """It can't stay open for want of a probe, and each setback makes the interval longer."""
        interval = PROBE_INTERVALS[min(self.setbacks, len(PROBE_INTERVALS) - 1)]
        due = self.last_setback + interval if self.breaker.state is OPEN else math.inf
        assert self.breaker.probe_at == due

    @invariant()
    def who_may_start(self):
        """Nobody while it is open, and never a second one beside a trial."""
        assert self.breaker.may_start(0) == (self.breaker.state is not OPEN)
        assert self.breaker.may_start(1) == (self.breaker.state is CLOSED)


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(derandomize=True, deadline=None, max_examples=200)


def test_a_new_breaker_is_closed():
    """Nothing failed yet."""
    assert Breaker().picture() == BreakerPicture()
