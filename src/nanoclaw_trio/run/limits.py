"""The movable deadline: how long an agent may be silent, be starting, and live."""

from __future__ import annotations

import math
from enum import StrEnum

import trio
from attrs import frozen


class Limit(StrEnum):
    """Which limit ended a run."""

    ACTIVITY = "activity limit"
    STARTUP = "start-up limit"
    LIFETIME = "lifetime limit"


@frozen(kw_only=True)
class FiredLimit:
    """A limit that passed, and the seconds it was set to."""

    limit: Limit
    seconds: float

    def __str__(self) -> str:
        return f"{self.seconds * 1000:.0f} ms ({self.limit})"


@frozen(kw_only=True)
class Limits:
    """The limits of one run, in seconds; None for none.

    Attributes:
        activity: Silence between two markers.
        startup: From the start to the first marker.
        lifetime: From the start to the end, whatever happens.
    """

    activity: float
    startup: float | None = None
    lifetime: float | None = None


@frozen(kw_only=True)
class Silence:
    """What a deadline depends on, in seconds of Trio's clock.

    Attributes:
        started: When the container was started.
        since: Since when the agent is silent; None while its consumer is at work, since that time
            is not the agent's.
        heard: Whether a marker has come yet.
    """

    started: float
    since: float | None
    heard: bool = False


def next_deadline(limits: Limits, silence: Silence) -> tuple[float, FiredLimit]:
    """When the first of the limits passes, and which one it is."""
    when, limit, seconds = math.inf, Limit.ACTIVITY, limits.activity
    if silence.since is not None:
        when = silence.since + limits.activity
    if limits.startup is not None and not silence.heard:
        at = silence.started + limits.startup
        if at < when:
            when, limit, seconds = at, Limit.STARTUP, limits.startup
    if limits.lifetime is not None and silence.started + limits.lifetime < when:
        when, limit, seconds = silence.started + limits.lifetime, Limit.LIFETIME, limits.lifetime
    return when, FiredLimit(limit=limit, seconds=seconds)


class MovableDeadline:
    """A cancel scope around the waiting for a container's end; its deadline moves with each marker.

    Enter `scope` around what shall be given up when a limit passes. Only the waiting is under it:
    the pipes are read on while the container winds down.
    """

    def __init__(self, limits: Limits) -> None:
        self.scope = trio.CancelScope()
        self._limits = limits
        now = trio.current_time()
        self._silence = Silence(started=now, since=now)
        self._next = FiredLimit(limit=Limit.ACTIVITY, seconds=limits.activity)
        self._cut_short = False

    @property
    def fired(self) -> FiredLimit | None:
        """The limit that passed, once one has."""
        return self._next if self.scope.cancelled_caught and not self._cut_short else None

    @property
    def was_cut_short(self) -> bool:
        """Whether the waiting was given up because of :meth:`cut_short`."""
        return self.scope.cancelled_caught and self._cut_short

    def cut_short(self) -> None:
        """Wait no longer, though no limit has passed. Nothing happens if one has."""
        if not self.scope.cancel_called:
            self._cut_short = True
            self.scope.cancel()

    def begin(self) -> None:
        """The container was started: its time runs from now."""
        now = trio.current_time()
        waiting = self._silence.since is not None
        self._silence = Silence(started=now, since=None)
        self._move(now if waiting else None)

    def marker(self) -> None:
        """A marker was parsed: the agent is alive."""
        waiting = self._silence.since is not None
        self._move(trio.current_time() if waiting else None, heard=True)

    def consumer_waits(self) -> None:
        """From now on the agent's silence counts."""
        if self._silence.since is None:
            self._move(trio.current_time())

    def consumer_works(self) -> None:
        """Until the consumer waits again, silence isn't the agent's."""
        self._move(None)

    def _move(self, since: float | None, *, heard: bool = False) -> None:
        before = self._silence
        silence = Silence(started=before.started, since=since, heard=heard or before.heard)
        self._silence = silence
        # Nothing moves once it has passed: running, stopping, gone, and never back (Trap A8).
        if not self.scope.cancel_called:
            self.scope.deadline, self._next = next_deadline(self._limits, silence)
