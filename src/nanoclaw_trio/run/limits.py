"""The movable deadline: how long an agent may be silent, be starting, and live."""

from __future__ import annotations

import math
from enum import StrEnum
from operator import itemgetter
from typing import TYPE_CHECKING, TypeVar

import trio
from attrs import define, frozen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


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


@define(kw_only=True)
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


def next_deadline(limits: Limits, silence: Silence) -> float:
    """When the first of the limits passes."""
    when = math.inf if silence.since is None else silence.since + limits.activity
    if limits.startup is not None and not silence.heard:
        when = min(when, silence.started + limits.startup)
    if limits.lifetime is not None:
        when = min(when, silence.started + limits.lifetime)
    return when


def first_limit(limits: Limits, silence: Silence) -> FiredLimit:
    """Which of the limits passes at :func:`next_deadline`."""
    counted = (
        (Limit.ACTIVITY, limits.activity, silence.since),
        (Limit.STARTUP, limits.startup, None if silence.heard else silence.started),
        (Limit.LIFETIME, limits.lifetime, silence.started),
    )
    in_force = [
        (since + seconds, FiredLimit(limit=limit, seconds=seconds))
        for limit, seconds, since in counted
        if seconds is not None and since is not None
    ]
    return min(in_force, key=itemgetter(0))[1]


class MovableDeadline:
    """How long a container's end is waited for; it moves with each marker.

    Only the waiting is under it: the pipes are read on while the container winds down.

    It moves some times with each output and hardly ever passes, and to move a cancel scope's
    deadline costs as much as to read an output. So the scope's stays where it was, and only when
    that one passes it is made anew, with what the deadline is by then.

    Attributes:
        when: When it passes, on Trio's clock; never, before :meth:`begin`.
        fired: The limit that passed, once one has.
        was_cut_short: Whether the waiting was given up because of :meth:`cut_short`.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        now = trio.current_time()
        self._silence = Silence(started=now, since=now)
        self._scope = trio.CancelScope()
        self._is_cut_short = False
        self.when = math.inf
        self.fired: FiredLimit | None = None
        self.was_cut_short = False

    async def wait(self, ended: Callable[[], Awaitable[T]]) -> T | None:
        """Wait for the end; None once a limit has passed, or the waiting is cut short.

        `ended` may be cancelled and called again.
        """
        while not self._is_cut_short and trio.current_time() < self.when:
            with trio.CancelScope(deadline=self.when) as self._scope:
                return await ended()
        self.was_cut_short = self._is_cut_short
        if not self.was_cut_short:
            self.fired = first_limit(self._limits, self._silence)
        return None

    def cut_short(self) -> None:
        """Wait no longer, though no limit has passed. Nothing happens if one has."""
        if trio.current_time() < self.when:
            self._is_cut_short = True
            self._scope.cancel()

    def begin(self) -> None:
        """The container was started: its time runs from now."""
        self._move(is_silent=self._silence.since is not None, starts=True)

    def marker(self) -> None:
        """A marker was parsed: the agent is alive."""
        self._move(is_silent=self._silence.since is not None, heard=True)

    def consumer_waits(self) -> None:
        """From now on the agent's silence counts."""
        if self._silence.since is None:
            self._move(is_silent=True)

    def consumer_works(self) -> None:
        """Until the consumer waits again, silence isn't the agent's."""
        self._move(is_silent=False)

    def _move(self, *, is_silent: bool, starts: bool = False, heard: bool = False) -> None:
        now = trio.current_time()
        # Nothing moves once it has passed: running, stopping, gone, and never back (Trap A8).
        if now >= self.when:
            return
        silence = self._silence
        silence.started = now if starts else silence.started
        silence.since = now if is_silent else None
        silence.heard = silence.heard or heard
        self.when = next_deadline(self._limits, silence)
        if self.when < self._scope.deadline:  # noqa: PLR1730 - to set the same again costs as much
            self._scope.deadline = self.when
