"""Waiting for a change, of which there are many."""

from __future__ import annotations

import trio


class Notifier:
    """Wakes all that wait, at each change. An event is set once; this one is renewed.

    Who waits for a condition that takes a checkpoint to look at takes :attr:`event` before looking:
    a change in between is then not missed.
    """

    def __init__(self) -> None:
        self._event = trio.Event()

    @property
    def event(self) -> trio.Event:
        """Set at the next change."""
        return self._event

    def notify(self) -> None:
        """Something has changed."""
        self._event.set()
        self._event = trio.Event()

    async def wait(self) -> None:
        """Wait for the next change."""
        await self._event.wait()
