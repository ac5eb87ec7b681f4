"""The agents that can answer, behind one protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from nanoclaw_agent.agents.echo import EchoAgent
from nanoclaw_agent.errors import AgentMissing, PackageMissing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path
    from typing import TypeAlias

    from nanoclaw_agent.container_input import ContainerInput
    from nanoclaw_agent.container_output import ContainerOutput
    from nanoclaw_agent.secrets import Secrets

    Respond: TypeAlias = Callable[[ContainerOutput], Awaitable[None]]


class Agent(Protocol):
    """Holds one conversation, in one session."""

    async def converse(self, prompts: AsyncIterator[str], respond: Respond) -> None:
        """Answer prompts until there are no more.

        The next prompt may be asked for while one is still being answered; it is a follow-up then,
        and the agent decides what becomes of it. It may be asked for anew after a cancelled request.
        Each query ends with a session update, after any number of answers. An output is with the
        host when `respond` returns. A success tells it that all prompts handed out so far are
        answered, so that none of them is asked again if the session fails later. Who asks for the
        next prompt too early for that says how many aren't, as the output's `pending`; prompts are
        answered in their order.

        Cancelled, it ends what it started, and needs no words of its own. An AgentError ends the
        session with its text; any other exception is a defect.
        """
        ...


def make_agent(
    name: str, container_input: ContainerInput, secrets: Secrets, workspace: Path
) -> Agent:
    """The agent of that name, for the session that the input names or for a new one.

    Raises AgentMissing, or PackageMissing.
    """
    if name == "echo":
        return EchoAgent(container_input.session_id)
    if name == "claude":
        return _make_claude(container_input, secrets, workspace)
    raise AgentMissing(name)


def _make_claude(container_input: ContainerInput, secrets: Secrets, workspace: Path) -> Agent:
    try:
        # Late: it takes half a second, and an echo needs none of it.
        from nanoclaw_agent.agents.claude.agent import ClaudeAgent
        from nanoclaw_agent.agents.claude.surroundings import look_around
    except ModuleNotFoundError as error:
        raise PackageMissing("claude", error.name) from error
    surroundings = look_around(workspace, is_main=container_input.is_main)
    return ClaudeAgent(container_input, secrets, surroundings)
