"""The echo agent: says back what it is told. For trying things out, and for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from nanoclaw_agent.container_output import ContainerOutput

if TYPE_CHECKING:
    from nanoclaw_agent.agents import Respond


class EchoAgent:
    """Answers ``echo: PROMPT``, in the session given or in a new one, without a model."""

    def __init__(self, session_id: str | None) -> None:
        self._session_id = session_id or str(uuid4())

    async def answer(self, prompt: str, *, respond: Respond) -> str:
        """One output for one prompt. Scheduled or not makes no difference to an echo."""
        result = f"echo: {prompt}"
        await respond(
            ContainerOutput(status="success", result=result, new_session_id=self._session_id)
        )
        return self._session_id
