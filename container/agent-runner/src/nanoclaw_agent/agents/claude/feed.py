"""The prompts of a session on their way into the CLI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from nanoclaw_agent.agents.claude.messages import user_message, with_note

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Feed:
    """Streaming input for one CLI after another, of which none loses a prompt of its predecessor."""

    def __init__(
        self, prompts: AsyncIterator[str], make_first: Callable[[str], dict[str, Any]]
    ) -> None:
        """`make_first` makes the session's first message, the others are nothing but their text."""
        self._prompts = prompts
        self._make_message = make_first
        self._unanswered: list[dict[str, Any]] = []
        self._has_ended = False
        self.when_exhausted: Callable[[], None] = _do_nothing

    @property
    def is_exhausted(self) -> bool:
        """Whether there are no more prompts, and none waits for its answer."""
        return self._has_ended and not self._unanswered

    def answered(self, prompts: tuple[str, ...] | None = None) -> None:
        """A query has ended: what it took in need not be handed out again.

        `prompts` are the ids of its messages; None for all that were handed out. Messages are taken
        in by their order, so that those before a listed one need not be listed.
        """
        ids = [message.get("uuid") for message in self._unanswered]
        places = [place for place, uuid in enumerate(ids) if prompts is None or uuid in prompts]
        del self._unanswered[: max(places, default=-1) + 1]

    def preface(self, note: str) -> None:
        """Say something before the prompts that aren't answered, in the first one's message."""
        self._unanswered[:1] = [with_note(message, note) for message in self._unanswered[:1]]

    async def wait(self) -> bool:
        """Wait until there is something to be handed out; False if there is nothing more."""
        return bool(self._unanswered) or await self._next() is not None

    async def messages(self) -> AsyncIterator[dict[str, Any]]:  # noqa: ASYNC900 - for the SDK, which ends it
        """What isn't answered yet, then what comes, until there are no more."""
        for message in tuple(self._unanswered):
            yield _with_new_id(message)
        while (following := await self._next()) is not None:
            yield _with_new_id(following)
        self.when_exhausted()

    async def _next(self) -> dict[str, Any] | None:
        prompt = await anext(self._prompts, None)
        if prompt is None:
            self._has_ended = True
            return None
        message = self._make_message(prompt)
        self._make_message = user_message
        self._unanswered.append(message)
        return message


def _with_new_id(message: dict[str, Any]) -> dict[str, Any]:
    # A new one each time: a CLI passes over an id that its session has seen.
    message["uuid"] = str(uuid4())
    return message


def _do_nothing() -> None:
    pass
