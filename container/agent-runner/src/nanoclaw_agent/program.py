"""From standard input to the exit status, with every failure told to the host."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_agent.agents import make_agent
from nanoclaw_agent.children import kill_descendants
from nanoclaw_agent.container_input import parse_input, read_stdin
from nanoclaw_agent.container_output import ContainerOutput, open_stdout
from nanoclaw_agent.errors import AgentError, OutputClosed
from nanoclaw_agent.isolation import keep_memory_private
from nanoclaw_agent.logs import log_to_stderr
from nanoclaw_agent.mailbox import open_mailbox
from nanoclaw_agent.secrets import Secrets
from nanoclaw_agent.session import Answers, Prompts
from nanoclaw_agent.signals import run_until_signalled

if TYPE_CHECKING:
    from nanoclaw_agent.agents import Agent
    from nanoclaw_agent.session import Write

log: Final = logging.getLogger(__name__)


def run(*, agent_name: str, workspace: str) -> int:
    """Run the named agent on this process's standard streams; the exit status."""
    log_to_stderr(Secrets({}))
    keep_memory_private()
    try:
        return trio.run(run_until_signalled, partial(serve, agent_name, Path(workspace)))
    finally:
        kill_descendants()


async def serve(agent_name: str, workspace: Path) -> int:
    """Serve one session; 0 when the host closed it, 1 when anything failed.

    A failure is one error output, and the last line on standard error, without a secret in either;
    a defect leaves a traceback before that. When the host has stopped reading there is nobody to
    tell, and nothing is said.
    """
    async with open_stdout() as outputs:
        try:
            return await _report_failures(agent_name, workspace, outputs.write)
        except OutputClosed:
            return 1


async def _report_failures(agent_name: str, workspace: Path, write: Write) -> int:
    secrets = Secrets({})
    try:
        container_input, secrets = parse_input(await read_stdin())
        log_to_stderr(secrets)
        agent = make_agent(agent_name, container_input, secrets, workspace)
        await _converse(agent, container_input.prompt, workspace, write)
    except OutputClosed:
        raise
    except AgentError as error:
        problem = str(error)
    except Exception as error:
        log.exception("the agent-runner failed")
        problem = f"the agent-runner failed: {type(error).__name__}: {error}"
    else:
        return 0
    await write(ContainerOutput(status="error", error=secrets.redact(problem)), ())
    # Hosts of the original quote the end of standard error, and not the output.
    log.error("%s", problem)
    return 1


async def _converse(agent: Agent, prompt: str, workspace: Path, write: Write) -> None:
    async with open_mailbox(workspace / "ipc" / "input") as mailbox:
        prompts = Prompts(prompt, mailbox)
        await agent.converse(prompts, Answers(prompts, write).respond)
