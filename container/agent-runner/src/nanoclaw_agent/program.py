"""From standard input to the exit status, with every failure told to the host."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_agent.agents import make_agent
from nanoclaw_agent.container_input import parse_input, read_stdin
from nanoclaw_agent.container_output import ContainerOutput, open_stdout
from nanoclaw_agent.errors import AgentError, OutputClosed
from nanoclaw_agent.mailbox import Mailbox
from nanoclaw_agent.session import run_session
from nanoclaw_agent.signals import run_until_signalled

if TYPE_CHECKING:
    from nanoclaw_agent.agents import Respond

log: Final = logging.getLogger(__name__)


def run(*, agent_name: str, workspace: str) -> int:
    """Run the named agent on this process's standard streams; the exit status."""
    # The root logger's default handler writes to standard error, which the host logs line by line.
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    return trio.run(run_until_signalled, partial(serve, agent_name, Path(workspace)))


async def serve(agent_name: str, workspace: Path) -> int:
    """Serve one session; 0 when the host closed it, 1 when anything failed.

    A failure is one error output; a defect leaves a traceback on standard error besides. When the
    host has stopped reading there is nobody to tell, and nothing is said.
    """
    async with open_stdout() as outputs:
        try:
            return await _report_failures(agent_name, workspace, outputs.write)
        except OutputClosed:
            return 1


async def _report_failures(agent_name: str, workspace: Path, respond: Respond) -> int:
    try:
        await _serve_session(agent_name, workspace, respond)
    except OutputClosed:
        raise
    except AgentError as error:
        await respond(ContainerOutput(status="error", error=str(error)))
        return 1
    except Exception as error:
        log.exception("the agent-runner failed")
        text = f"the agent-runner failed: {type(error).__name__}: {error}"
        await respond(ContainerOutput(status="error", error=text))
        return 1
    return 0


async def _serve_session(agent_name: str, workspace: Path, respond: Respond) -> None:
    container_input = parse_input(await read_stdin())
    agent = make_agent(agent_name, container_input)
    mailbox = Mailbox(workspace / "ipc" / "input")
    await run_session(container_input.prompt, agent=agent, mailbox=mailbox, respond=respond)
