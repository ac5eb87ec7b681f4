"""The agents that can answer, behind one protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from nanoclaw_agent.agents.echo import EchoAgent
from nanoclaw_agent.errors import AgentMissing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from nanoclaw_agent.container_input import ContainerInput
    from nanoclaw_agent.container_output import ContainerOutput

    Respond: TypeAlias = Callable[[ContainerOutput], Awaitable[None]]


class Agent(Protocol):
    """Answers queries, one after the other, in one session."""

    async def answer(self, prompt: str, *, respond: Respond) -> str:
        """Answer one query with any number of outputs; the id of the session it ended in.

        Each output is with the host when `respond` returns. A cancelled query needs no words of
        its own. An AgentError ends the session with its text; any other exception is a defect.
        """
        ...


def make_agent(name: str, container_input: ContainerInput) -> Agent:
    """The agent of that name, for the session that the input names or for a new one.

    Raises AgentMissing.
    """
    if name == "echo":
        return EchoAgent(container_input.session_id)
    raise AgentMissing(name)
