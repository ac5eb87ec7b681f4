"""What a run was asked and what of that it has settled: pure bookkeeping, no clock of its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from nanoclaw_trio.protocol.models import ContainerOutput


class Conversation:
    """The messages that are in the hands of one run.

    Each is in flight from the moment it was asked until a query that took it in has ended. Whatever
    is in flight when the run ends was not answered, and is asked again: so nothing is lost in any
    interleaving of sending, closing and exiting, and nothing is asked twice that was answered.

    An agent of ours says by name which follow-ups its queries have ended (`follow_ups`). Of one that
    doesn't say it, a follow-up counts as ended with the first success after it was taken from the
    mailbox, which may be one query too early.
    """

    def __init__(self, prompt: Iterable[int]) -> None:
        """`prompt` are the messages of the run's prompt, by their numbers in the store."""
        self._prompt = tuple(prompt)
        self._follow_ups: dict[str, tuple[int, ...]] = {}
        self._failed = False
        self._names_follow_ups = False
        self._ended_at: float | None = None

    @property
    def follow_ups(self) -> tuple[str, ...]:
        """The files of the follow-ups that are in flight."""
        return tuple(self._follow_ups)

    @property
    def names_follow_ups(self) -> bool:
        """Whether the agent has said by name which follow-ups it has answered."""
        return self._names_follow_ups

    @property
    def has_failed(self) -> bool:
        """Whether the agent reported an error, and nothing good after it."""
        return self._failed

    @property
    def idle_since(self) -> float | None:
        """Since when the agent has answered all and waits; None while it works."""
        return None if self._follow_ups else self._ended_at

    def sent(self, name: str, messages: Iterable[int]) -> None:
        """A follow-up of this name is on its way."""
        self._follow_ups[name] = tuple(messages)

    def unsent(self, name: str) -> None:
        """It didn't go after all: the agent is as busy or idle as it was before."""
        self._follow_ups.pop(name, None)

    def heard(
        self, output: ContainerOutput, now: float, pending: Collection[str] = ()
    ) -> tuple[int, ...]:
        """The messages that this output settles.

        `pending` are the follow-ups that still lie in the mailbox; only needed of an agent that
        doesn't say which it has answered.
        """
        self._names_follow_ups |= output.follow_ups is not None
        self._failed = output.status == "error"
        if self._failed:
            return ()
        settled, self._prompt = self._prompt, ()
        for name in self._ended(output, pending):
            settled += self._follow_ups.pop(name)
        self._ended_at = now
        return settled

    def _ended(self, output: ContainerOutput, pending: Collection[str]) -> list[str]:
        if output.follow_ups is not None:
            named = dict.fromkeys(output.follow_ups)
            return [name for name in named if name in self._follow_ups]
        return [name for name in self._follow_ups if name not in pending]

    def close_at(self, idle_timeout: float | None, *, yields: bool, now: float) -> float:
        """When the run is to be closed, if nothing happens before; infinite for not by itself.

        `yields`: as soon as it is idle, since others wait for its place. An agent that reported an
        error and lives on is closed at once: what it left is asked again.
        """
        if self._failed:
            return now
        if self.idle_since is None:
            return math.inf
        if yields:
            return self.idle_since
        return math.inf if idle_timeout is None else self.idle_since + idle_timeout
