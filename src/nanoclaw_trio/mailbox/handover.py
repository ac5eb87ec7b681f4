"""Follow-ups on their way out of a mailbox, from a thread that may be left alone with its disk."""

from __future__ import annotations

from threading import Lock


class Handover:
    """Between a thread that takes follow-ups back and the one that waits for them.

    Whoever waits may stop waiting: a disk may hang. Each follow-up then is either among those that
    :meth:`close` returned or in the mailbox, and never in both or in neither: :meth:`offer` tells
    the thread that nobody takes it any more, and the thread puts it back.
    """

    def __init__(self) -> None:
        self._mutex = Lock()
        self._texts: list[str] = []
        self._open = True

    def offer(self, text: str) -> bool:
        """Hand a text over; False if nobody waits any more."""
        with self._mutex:
            if self._open:
                self._texts.append(text)
            return self._open

    def close(self) -> tuple[str, ...]:
        """Wait no more; what was handed over, in order."""
        with self._mutex:
            self._open = False
            return tuple(self._texts)
