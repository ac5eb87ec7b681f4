"""A session: a prompt, then follow-ups as they come, until the host asks to close it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from typing import TypeAlias

    from nanoclaw_agent.container_output import ContainerOutput
    from nanoclaw_agent.mailbox import Mailbox

    Write: TypeAlias = Callable[[ContainerOutput, Collection[str]], Awaitable[None]]

MOST_NAMED: Final = 10_000
"""Files that one output names; a host takes no more (docs/protocol 2). Only an agent that never
writes a session update comes to so many, and the oldest were named by its earlier answers."""


class Prompts:
    """What an agent is asked in a session, one after the other: an asynchronous iterator.

    Follow-ups that are there already when the first prompt is taken belong to it. The iteration
    ends when the host asks to close the session, for good; follow-ups that lie beside that request
    stay where they are. A request for the next one may be cancelled, and loses nothing.

    It keeps account of the files that the prompts came in. Prompts are answered in their order.
    """

    def __init__(self, prompt: str, mailbox: Mailbox) -> None:
        self._first: str | None = prompt
        self._mailbox = mailbox
        self._is_closed = False
        self._unanswered: deque[list[str]] = deque()
        self._answered: list[str] = []

    def __aiter__(self) -> Prompts:
        return self

    async def __anext__(self) -> str:
        if self._first is not None:
            prompt, self._first = self._first, None
            return self._begin(prompt)
        follow_up = None if self._is_closed else await self._mailbox.next_follow_up()
        if follow_up is None:
            # The request is made once, and taken from the mailbox with that.
            self._is_closed = True
            raise StopAsyncIteration
        self._unanswered.append([follow_up.name])
        return follow_up.text

    def _begin(self, prompt: str) -> str:
        joined = list(self._mailbox.take_follow_ups())
        self._unanswered.append([follow_up.name for follow_up in joined])
        return "\n".join([prompt, *(follow_up.text for follow_up in joined)])

    def answered(self, pending: int) -> tuple[str, ...]:
        """All prompts handed out are answered but for the last `pending`.

        The names of the answered ones' files that aren't forgotten, in order.
        """
        for _ in range(len(self._unanswered) - pending):
            self._answered += self._unanswered.popleft()
        del self._answered[:-MOST_NAMED]
        return tuple(self._answered)

    def forget(self, names: Collection[str]) -> None:
        """The host knows that these are answered."""
        known = set(names)
        self._answered = [name for name in self._answered if name not in known]


class Answers:
    """An agent's outputs on their way to the host, with the names of the follow-ups they answer.

    A name is in each output from its answer up to its query's session update: a host that can't
    read one of them, for its length, has it from the other. None comes before its answer: a host
    doesn't ask again what is named, and asks again what isn't if the session fails.
    """

    def __init__(self, prompts: Prompts, write: Write) -> None:
        self._prompts = prompts
        self._write = write

    async def respond(self, output: ContainerOutput) -> None:
        """Write one output; it is with the host when this returns. An error answers nothing."""
        # Now: while this waits to be written, other prompts may be handed out.
        names = self._prompts.answered(output.pending) if output.status == "success" else ()
        await self._write(output, names)
        if output.is_session_update:
            self._prompts.forget(names)
