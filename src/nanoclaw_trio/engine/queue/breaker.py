"""The circuit breaker: nothing is started while no container can be.

    CLOSED ──── opens ────▶ OPEN ── the probe succeeds ──▶ HALF_OPEN
       ▲                    ▲  ▲ │                          │  │
       │                    │  └─┘ the probe fails          │  │
       │                    └─────────── a start fails ─────┘  │
       └───────────────── a container started ─────────────────┘

It opens when the infrastructure is at fault (no runtime, no image), when starts fail several times
in a row, and when it is tripped. All groups share a runtime and an image, so what one of them met
with the others would meet too, each with its messages' attempts at stake.

A probe only asks the runtime, which proves less than a container does: therefore one start is tried
before all of them are.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from attrs import evolve, frozen

FailureKind: TypeAlias = Literal["infrastructure", "start"]
"""What failed: the runtime or the image, which is certain to fail for all groups; or a start for
another reason, which may be one group's own."""

START_FAILURES: Final = 3
"""Starts that fail in a row, with no container started between them, before it is everybody's
matter. One may be a group's own fault, such as a mount that is gone; two may be chance."""

PROBE_INTERVALS: Final = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Seconds to the first probe, the second and so on; the last goes on for ever. A restart of the
runtime is noticed soon, and an engine without one costs a command a minute."""


class BreakerState(StrEnum):
    """Whether containers are started."""

    CLOSED = "closed"
    """They are."""
    OPEN = "open"
    """None is, until a probe has succeeded."""
    HALF_OPEN = "half_open"
    """One at a time, until one has started."""


class BreakerChange(StrEnum):
    """What is to be told, once. The two alternate, and OPENED is the first."""

    OPENED = "opened"
    """No container can be started, for the reason in `why`."""
    CLOSED = "closed"
    """They can again."""


@frozen(kw_only=True)
class BreakerPicture:
    """A breaker at one moment.

    Attributes:
        state: Whether containers are started.
        why: Why it is not closed, by the latest failure; None if it is.
        since: When it was opened or closed last, by Trio's clock; -inf if it never was opened.
        probe_at: When the runtime is to be asked, by the same clock; inf unless it is open.
        setbacks: How many probes and trial starts have failed since it was opened.
        start_failures: How many starts have failed in a row, while it is closed.
    """

    state: BreakerState = BreakerState.CLOSED
    why: str | None = None
    since: float = -math.inf
    probe_at: float = math.inf
    setbacks: int = 0
    start_failures: int = 0


class Breaker:
    """Says whether a container may be started, from how starts and probes end.

    Each method that is told something returns the change to tell on, or None. `now` is Trio's clock
    in seconds. No order of calls is an error: what was under way when the breaker opened ends when
    it ends.
    """

    def __init__(self) -> None:
        self._picture = BreakerPicture()

    @property
    def state(self) -> BreakerState:
        """Whether containers are started."""
        return self._picture.state

    @property
    def why(self) -> str | None:
        """Why it is not closed; None if it is."""
        return self._picture.why

    @property
    def probe_at(self) -> float:
        """When the runtime is to be asked; inf unless the breaker is open."""
        return self._picture.probe_at

    def picture(self) -> BreakerPicture:
        """All of it, for statistics."""
        return self._picture

    def may_start(self, starting: int) -> bool:
        """Whether a container may be started now, while that many starts are under way.

        The caller counts them, since only it sees those that end neither way: cancelled, or refused
        before the runtime was asked. A trial that ended so makes room for the next.
        """
        if self.state is BreakerState.HALF_OPEN:
            return starting == 0
        return self.state is BreakerState.CLOSED

    def trip(self, why: str, now: float) -> BreakerChange | None:
        """Open it at once: the runtime was asked, and no container can be started."""
        if self.state is BreakerState.CLOSED:
            self._picture = BreakerPicture(
                state=BreakerState.OPEN, why=why, since=now, probe_at=now + PROBE_INTERVALS[0]
            )
            return BreakerChange.OPENED
        if self.state is BreakerState.HALF_OPEN:
            self._set_back(why, now)
        # Else a start ended that was under way: that is no reason to probe later.
        self._picture = evolve(self._picture, why=why)
        return None

    def failed(self, kind: FailureKind, why: str, now: float) -> BreakerChange | None:
        """A container could not be started."""
        failures = self._picture.start_failures + 1
        is_everybodys = kind == "infrastructure" or failures >= START_FAILURES
        if self.state is not BreakerState.CLOSED or is_everybodys:
            return self.trip(why, now)
        self._picture = evolve(self._picture, start_failures=failures)
        return None

    def started(self, now: float) -> BreakerChange | None:
        """A container started, the trial's or one whose start was under way before: it closes."""
        if self.state is BreakerState.CLOSED:
            self._picture = evolve(self._picture, start_failures=0)
            return None
        self._picture = BreakerPicture(since=now)
        return BreakerChange.CLOSED

    def probed(self, why_not: str | None, now: float) -> None:
        """The runtime was asked: it can start containers, or can't, for this reason.

        Nothing is to be told on: a probe alone neither opens nor closes. One that comes when the
        breaker isn't open any more was overtaken by a start, and says nothing.
        """
        if self.state is not BreakerState.OPEN:
            return
        if why_not is not None:
            self._set_back(why_not, now)
        else:
            state = BreakerState.HALF_OPEN
            self._picture = evolve(self._picture, state=state, probe_at=math.inf)

    def _set_back(self, why: str, now: float) -> None:
        setbacks = self._picture.setbacks + 1
        interval = PROBE_INTERVALS[min(setbacks, len(PROBE_INTERVALS) - 1)]
        self._picture = evolve(
            self._picture,
            state=BreakerState.OPEN,
            why=why,
            probe_at=now + interval,
            setbacks=setbacks,
        )
