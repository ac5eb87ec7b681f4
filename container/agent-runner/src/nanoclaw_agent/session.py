"""A session: a prompt, then follow-ups as they come, until the host asks to close it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nanoclaw_agent.mailbox import Mailbox


class Prompts:
    """What an agent is asked in a session, one after the other: an asynchronous iterator.

    Follow-ups that are there already when the first prompt is taken belong to it. The iteration
    ends when the host asks to close the session, for good; follow-ups that lie beside that request
    stay where they are. A request for the next one may be cancelled, and loses nothing.
    """

    def __init__(self, prompt: str, mailbox: Mailbox) -> None:
        self._first: str | None = prompt
        self._mailbox = mailbox
        self._is_closed = False

    def __aiter__(self) -> Prompts:
        return self

    async def __anext__(self) -> str:
        if self._first is not None:
            prompt, self._first = self._first, None
            return "\n".join([prompt, *self._mailbox.take_follow_ups()])
        follow_up = None if self._is_closed else await self._mailbox.next_follow_up()
        if follow_up is None:
            # The request is made once, and taken from the mailbox with that.
            self._is_closed = True
            raise StopAsyncIteration
        return follow_up
