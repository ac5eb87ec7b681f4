"""The end of listening to a CLI that has nothing left to do and doesn't end for all that."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_agent.agents.claude.events import Resting

if TYPE_CHECKING:
    from nanoclaw_agent.agents.claude.events import Event
    from nanoclaw_agent.agents.claude.feed import Feed

END_GRACE: Final = 2.0
"""Seconds for a CLI to end by itself, which takes it some tenths of one."""


class Ending:
    """Passes the deadline of its scope when everything was answered and the CLI rests.

    A command that runs in the background keeps a CLI from ending, without a bound; an agent in the
    background is something to do, and is waited for.
    """

    def __init__(self, feed: Feed) -> None:
        self.scope = trio.CancelScope()
        self._feed = feed
        self._is_idle = False
        feed.when_exhausted = self._update

    def heard(self, event: Event) -> None:
        """Take notice of what the CLI said."""
        if isinstance(event, Resting):
            self._is_idle = event.is_idle
        self._update()

    def _update(self) -> None:
        if not (self._is_idle and self._feed.is_exhausted):
            self.scope.deadline = math.inf
        elif self.scope.deadline == math.inf:
            self.scope.deadline = trio.current_time() + END_GRACE
