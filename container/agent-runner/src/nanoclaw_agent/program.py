"""From standard input to the exit status, with every failure told to the host."""

from __future__ import annotations

import logging
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_agent.agents import make_agent
from nanoclaw_agent.children import kill_descendants
from nanoclaw_agent.container_input import parse_input, read_stdin
from nanoclaw_agent.container_output import ContainerOutput, open_stdout
from nanoclaw_agent.errors import AgentError, HostGone, OutputClosed
from nanoclaw_agent.forwarder import open_way_to_api
from nanoclaw_agent.isolation import keep_memory_private
from nanoclaw_agent.lease import LEASE, read_leased_stdin
from nanoclaw_agent.logs import log_to_stderr
from nanoclaw_agent.mailbox import open_mailbox
from nanoclaw_agent.secrets import Secrets
from nanoclaw_agent.session import Answers, Prompts
from nanoclaw_agent.signals import run_until_signalled

if TYPE_CHECKING:
    from nanoclaw_agent.agents import Agent
    from nanoclaw_agent.session import Write

log: Final = logging.getLogger(__name__)

INPUT_LIMIT: Final = 300.0
"""Seconds until the input is whole; a host writes it at once. A container engine that is killed amid
a start may forget the container and hold its standard input open: nobody else would ever end it."""


def run(*, agent_name: str, workspace: str, stdin: str | None = None) -> int:
    """Run the named agent on this process's standard streams; the exit status.

    `stdin` says what standard input is; None for one that ends with the input.
    """
    log_to_stderr(Secrets({}))
    keep_memory_private()
    try:
        return trio.run(run_until_signalled, partial(serve, agent_name, Path(workspace), stdin))
    finally:
        kill_descendants()


async def serve(agent_name: str, workspace: Path, stdin: str | None = None) -> int:
    """Serve one session; 0 when the host closed it, 1 when anything failed.

    A failure is one error output, and the last line on standard error, without a secret in either;
    a defect leaves a traceback before that. When the host has stopped reading there is nobody to
    tell, and nothing is said; nor when it was gone before its input was whole, or never sends it,
    where the status is that of SIGTERM.
    """
    async with open_stdout() as outputs:
        try:
            return await _report_failures(agent_name, workspace, stdin, outputs.write)
        except OutputClosed:
            return 1
        except HostGone:
            return 128 + signal.SIGTERM


async def _report_failures(
    agent_name: str, workspace: Path, stdin: str | None, write: Write
) -> int:
    secrets = Secrets({})
    try:
        container_input, secrets = parse_input(await _read_input(stdin))
        log_to_stderr(secrets)
        async with open_way_to_api(secrets) as reaching:
            agent = make_agent(agent_name, container_input, reaching, workspace)
            await _converse(agent, container_input.prompt, workspace, write)
    except (OutputClosed, HostGone):
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


async def _read_input(stdin: str | None) -> bytes:
    with trio.move_on_after(INPUT_LIMIT):
        return await (read_leased_stdin() if stdin == LEASE else read_stdin())
    raise HostGone


async def _converse(agent: Agent, prompt: str, workspace: Path, write: Write) -> None:
    async with open_mailbox(workspace / "ipc" / "input") as mailbox:
        prompts = Prompts(prompt, mailbox)
        await agent.converse(prompts, Answers(prompts, write).respond)
