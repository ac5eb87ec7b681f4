"""Warnings that somebody else causes, as often as they like: the log must not grow at their will."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import trio

from nanoclaw_trio.logs import log

if TYPE_CHECKING:
    from collections.abc import Callable

WARNING_INTERVAL: Final = 60.0
"""Seconds between two warnings of the same: whoever causes one can do it a thousand times a second."""


class RepeatedWarnings:
    """Each event is logged at once, and then a line a minute, with how many there were since the last.

    May be used by several threads, if its clock may.
    """

    def __init__(self, now: Callable[[], float] = trio.current_time) -> None:
        """`now` is a clock that never goes back, in seconds."""
        self._now = now
        self._lock = Lock()
        self._counts: dict[tuple[str, str], int] = {}
        self._next: dict[tuple[str, str], float] = {}

    def warning(self, event: str, /, *, source: str = "", **fields: str) -> None:
        """Log it with these fields, or only count it. Each `source` is counted by itself."""
        count = self._count((event, source))
        if count:
            about: dict[str, Any] = {**fields, "count": count}
            log.warning(event, **about)

    def _count(self, key: tuple[str, str]) -> int:
        """How many a line is to tell of now; 0 for no line."""
        with self._lock:
            count, now = self._counts.get(key, 0) + 1, self._now()
            if now < self._next.get(key, now):
                self._counts[key] = count
                return 0
            self._counts[key], self._next[key] = 0, now + WARNING_INTERVAL
            return count
