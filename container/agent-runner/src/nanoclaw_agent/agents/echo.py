"""The echo agent: says back what it is told. For trying things out, and for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from nanoclaw_agent.container_output import answer, session_update

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nanoclaw_agent.agents import Respond


class EchoAgent:
    """Answers ``echo: PROMPT``, in the session given or in a new one, without a model."""

    def __init__(self, session_id: str | None) -> None:
        self._session_id = session_id or str(uuid4())

    async def converse(self, prompts: AsyncIterator[str], respond: Respond) -> None:
        """One answer for one prompt. Scheduled or not makes no difference to an echo."""
        async for prompt in prompts:
            await respond(answer(f"echo: {prompt}", self._session_id))
            await respond(session_update(self._session_id))
