"""The prompts of a session on their way into the CLI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from nanoclaw_agent.agents.claude.messages import user_message, with_note

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable


class Feed:
    """Streaming input for one CLI after another, of which none loses a prompt of its predecessor."""

    def __init__(
        self, prompts: AsyncIterator[str], make_first: Callable[[str], dict[str, Any]]
    ) -> None:
        """`make_first` makes the session's first message, the others are nothing but their text."""
        self._prompts = prompts
        self._make_message = make_first
        self._handed_out: list[dict[str, Any]] = []
        self._settled = 0
        self._has_ended = False
        self.when_exhausted: Callable[[], None] = _do_nothing

    @property
    def pending(self) -> int:
        """How many of the prompts, the last ones, aren't known to be answered."""
        return len(self._handed_out)

    @property
    def is_exhausted(self) -> bool:
        """Whether there are no more prompts, and none waits for its answer."""
        return self._has_ended and not self._unanswered

    @property
    def _unanswered(self) -> list[dict[str, Any]]:
        return self._handed_out[self._settled :]

    def answered(self, prompts: Collection[str], *, are_all: bool) -> None:
        """A query has ended: what it took in need not be handed out again.

        `prompts` are the ids of its messages. Messages are taken in by their order, so that those
        before a listed one need not be listed. Unless these are all, the others aren't handed out
        again either; they stay pending until a later one is listed.
        """
        places = [n for n, m in enumerate(self._handed_out, 1) if m.get("uuid") in prompts]
        # A query that doesn't say what it took in took in the first at least.
        known = max(places, default=0 if are_all else 1)
        del self._handed_out[:known]
        self._settled = max(0, self._settled - known) if are_all else len(self._handed_out)

    def preface(self, note: str) -> None:
        """Say something before the prompts that aren't answered, in the first one's message."""
        first = slice(self._settled, self._settled + 1)
        self._handed_out[first] = [with_note(message, note) for message in self._handed_out[first]]

    async def wait(self) -> bool:
        """Wait until there is something to be handed out; False if there is nothing more."""
        return bool(self._unanswered) or await self._next() is not None

    def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What isn't answered yet, then what comes, until there are no more."""
        return _Messages(self, self._unanswered)

    async def hand_out(self) -> dict[str, Any] | None:
        """The next prompt's message; None if there are no more."""
        message = await self._next()
        if message is None:
            self.when_exhausted()
        return message

    async def _next(self) -> dict[str, Any] | None:
        prompt = await anext(self._prompts, None)
        if prompt is None:
            self._has_ended = True
            return None
        message = self._make_message(prompt)
        self._make_message = user_message
        self._handed_out.append(message)
        return message


class _Messages:
    """A feed's messages for one CLI.

    Why not an async generator: the SDK leaves it where it stands when it ends amid a message, and
    Trio warns of one that nobody closed.
    """

    def __init__(self, feed: Feed, again: Iterable[dict[str, Any]]) -> None:
        self._feed = feed
        self._again = iter(again)

    def __aiter__(self) -> _Messages:
        return self

    async def __anext__(self) -> dict[str, Any]:
        message = next(self._again, None) or await self._feed.hand_out()
        if message is None:
            raise StopAsyncIteration
        return _with_new_id(message)


def _with_new_id(message: dict[str, Any]) -> dict[str, Any]:
    # A new one each time: a CLI passes over an id that its session has seen.
    message["uuid"] = str(uuid4())
    return message


def _do_nothing() -> None:
    pass
