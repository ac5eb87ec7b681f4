"""The prompts of a session on their way into the CLI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

    def answered(self) -> None:
        """A query has ended: what was handed out before need not be handed out again."""
        self._unanswered.clear()

    def preface(self, note: str) -> None:
        """Say something before the prompts that aren't answered, in the first one's message."""
        self._unanswered[:1] = [with_note(message, note) for message in self._unanswered[:1]]

    async def wait(self) -> bool:
        """Wait until there is something to be handed out; False if there is nothing more."""
        return bool(self._unanswered) or await self._next() is not None

    async def messages(self) -> AsyncIterator[dict[str, Any]]:  # noqa: ASYNC900 - for the SDK, which ends it
        """What isn't answered yet, then what comes, until there are no more."""
        for message in tuple(self._unanswered):
            yield message
        while (following := await self._next()) is not None:
            yield following

    async def _next(self) -> dict[str, Any] | None:
        prompt = await anext(self._prompts, None)
        if prompt is None:
            return None
        message = self._make_message(prompt)
        self._make_message = user_message
        self._unanswered.append(message)
        return message
