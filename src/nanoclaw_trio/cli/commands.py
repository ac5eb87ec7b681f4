"""The commands and their options. What they do is imported when they are called."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from nanoclaw_trio import __version__
from nanoclaw_trio.cli.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

RUNTIMES: Final = ("auto", "docker", "podman", "container", "bubblewrap")
"""As :data:`nanoclaw_trio.runtimes.choose.RUNTIME_NAMES`, which would take Trio to import."""

AGENTS: Final = ("claude", "echo")
"""The agents that container/agent-runner has."""


def _check_word(_context: click.Context, _parameter: click.Parameter, text: str | None) -> Any:
    """An image's name goes into a command line, where a dash would make it an option."""
    if text is not None and (not text or text.startswith("-") or len(text.split()) != 1):
        raise click.BadParameter("a name has no spaces, and no '-' at its start")
    return text


def _check_seconds(
    _context: click.Context, _parameter: click.Parameter, seconds: float | None
) -> Any:
    if seconds is not None and not 0 < seconds < math.inf:
        raise click.BadParameter("write a number of seconds above 0")
    return seconds


def _check_folder(_context: click.Context, _parameter: click.Parameter, text: str) -> Path:
    """An empty name is a script's variable that isn't set, and would mean the current folder."""
    if not text:
        raise click.BadParameter("a folder's name isn't empty; leave it out for the current one")
    return Path(text)


_PROJECT: Final = click.option(
    "--project",
    type=click.Path(),
    default=".",
    callback=_check_folder,
    metavar="DIR",
    help="The project's folder; the current one by default.",
)

_RUNTIME: Final = click.option(
    "--runtime",
    type=click.Choice(RUNTIMES),
    default="auto",
    help="What runs the container; auto takes a container engine that answers, or bubblewrap.",
)

_MAIN: Final = click.option(
    "--main/--no-main",
    default=None,
    help="Whether the group is the main one, which sees the project; by default if its name is main.",
)

_CONVERSATION: Final = (
    click.argument("prompt", required=False),
    click.option(
        "--input",
        metavar="FILE",
        help="A container input as JSON in place of a prompt; - for standard input.",
    ),
    _PROJECT,
    click.option("--group", metavar="FOLDER", help="The group's folder name; main by default."),
    _MAIN,
    click.option("--session", metavar="ID", help="The session to resume."),
    _RUNTIME,
    click.option("--image", metavar="NAME", callback=_check_word, help="The agent's image."),
    click.option(
        "--build",
        is_flag=True,
        help="Build the image first, if it is missing or not what container/ says.",
    ),
    click.option("--agent", type=click.Choice(AGENTS), help="echo is for trying things out."),
    click.option(
        "--timeout",
        type=float,
        metavar="SECONDS",
        callback=_check_seconds,
        help="Silence of the agent that ends a run.",
    ),
    click.option("--json", is_flag=True, help="Write one JSON object a line."),
)


def _conversation_options(command: F) -> F:
    for option in reversed(_CONVERSATION):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Run AI agents in containers: no lost answers, no containers left behind."""


@cli.command()
@_conversation_options
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


@cli.command()
@_conversation_options
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


@cli.command()
@_PROJECT
@_RUNTIME
@click.option(
    "--base-image", metavar="NAME", callback=_check_word, help="What it is built on: a Debian."
)
@click.option("--tag", metavar="NAME", callback=_check_word, help="The image's name.")
@click.option("--force", is_flag=True, help="Build it even if it is up to date.")
@click.option("--no-cache", is_flag=True, help="The same, with every step done anew.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
@click.pass_obj
def build(pending: list[int], /, **values: Any) -> int:
    """Build the image that agents run in, from container/.

    An image that was built from the same sources is left as it is. Of several builds of one image
    at the same time one is done, and the others wait for it.

    The exit status is 0 if the image is there, 1 if it can't be built, 2 for bad usage, 3 without a
    container engine, and 130 or 143 after SIGINT or SIGTERM, with the build ended.
    """
    from nanoclaw_trio.cli.build import BuildOptions, build_command
    from nanoclaw_trio.cli.program import run_program

    return run_program(partial(build_command, BuildOptions(**values)), pending)


def _make_options(values: dict[str, Any]) -> Options:
    options = Options(**values)
    if options.prompt is not None and options.input is not None:
        raise click.UsageError("PROMPT and --input exclude each other; give one of them")
    return options


@cli.group(no_args_is_help=False)
def mounts() -> None:
    """What groups' containers may see."""


@mounts.command()
@click.pass_obj
def init(pending: list[int]) -> int:
    """Write an allowlist to start from, where there is none yet.

    It decides on the mounts that groups ask for besides their own, and lies outside of every
    project: ~/.config/nanoclaw/mount-allowlist.json.
    """
    from nanoclaw_trio.cli.mounts import init_command
    from nanoclaw_trio.cli.program import run_program

    return run_program(init_command, pending)


@mounts.command()
@click.argument("group", default="main")
@_PROJECT
@_MAIN
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The group's containerConfig as JSON, with the additionalMounts that it asks for.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line.")
@click.pass_obj
def check(pending: list[int], /, **values: Any) -> int:
    """Explain each mount of a group: why it has it, or why it doesn't.

    The exit status is 1 if a mount that the group asks for is refused.
    """
    from nanoclaw_trio.cli.mounts import CheckOptions, check_command
    from nanoclaw_trio.cli.program import run_program

    return run_program(partial(check_command, CheckOptions(**values)), pending)
