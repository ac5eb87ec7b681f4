"""`run` and `chat`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from nanoclaw_trio.cli.commands.shared import (
    AGENT,
    BUILD,
    CREDENTIAL_PROXY,
    IMAGE,
    MAIN,
    PROJECT,
    RUNTIME,
    TIMEOUT,
    with_options,
)

if TYPE_CHECKING:
    from nanoclaw_trio.cli.options import Options

_CONVERSATION: Final = (
    click.argument("prompt", required=False),
    click.option(
        "--input",
        metavar="FILE",
        help="A container input as JSON in place of a prompt; - for standard input.",
    ),
    PROJECT,
    click.option("--group", metavar="FOLDER", help="The group's folder name; main by default."),
    MAIN,
    click.option("--session", metavar="ID", help="The session to resume."),
    RUNTIME,
    IMAGE,
    BUILD,
    AGENT,
    TIMEOUT,
    CREDENTIAL_PROXY,
    click.option("--json", is_flag=True, help="Write one JSON object a line."),
)


@click.command()
@with_options(_CONVERSATION)
@click.pass_obj
def run(pending: list[int], /, **values: Any) -> int:
    """Ask an agent once and print its answers.

    PROMPT is what is asked; - reads it from standard input, and so does leaving it out where
    standard input isn't a terminal.

    The exit status is 0 for success, 1 if the agent failed, 2 for bad usage or input, 3 without a
    runtime or an image or while another run has the group, 124 if it timed out without an answer,
    and 130 or 143 after SIGINT or SIGTERM, with the container gone.
    """
    options = _make_options(values)
    from nanoclaw_trio.cli.program import run_program
    from nanoclaw_trio.cli.run import run_command

    return run_program(partial(run_command, options), pending)


@click.command()
@with_options(_CONVERSATION)
@click.pass_obj
def chat(pending: list[int], /, **values: Any) -> int:
    """Talk with an agent: each line is a message.

    PROMPT is the first message. /quit or the end of input ends the conversation. On a terminal a
    line goes to the agent at once, even while it is at work; otherwise when the line before it was
    answered. With --json each container's end is an object too.
    """
    options = _make_options(values)
    if "-" in {options.prompt, options.input}:
        raise click.UsageError("chat reads its messages from standard input itself; leave out '-'")
    from nanoclaw_trio.cli.chat import chat_command
    from nanoclaw_trio.cli.program import run_program

    return run_program(partial(chat_command, options), pending)


def _make_options(values: dict[str, Any]) -> Options:
    from nanoclaw_trio.cli.options import Options

    options = Options(**values)
    if options.prompt is not None and options.input is not None:
        raise click.UsageError("PROMPT and --input exclude each other; give one of them")
    return options
