"""Options that several commands have."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RUNTIMES: Final = (
    "auto",
    "docker-api",
    "docker",
    "podman-api",
    "podman",
    "container",
    "bubblewrap",
)
"""As :data:`nanoclaw_trio.runtimes.choose.RUNTIME_NAMES`, which would take Trio to import."""

AGENTS: Final = ("claude", "echo")
"""The agents that container/agent-runner has."""


def check_word(_context: click.Context, _parameter: click.Parameter, text: str | None) -> Any:
    """An image's name goes into a command line, where a dash would make it an option."""
    if text is not None and (not text or text.startswith("-") or len(text.split()) != 1):
        raise click.BadParameter("a name has no spaces, and no '-' at its start")
    return text


def check_seconds(
    _context: click.Context, _parameter: click.Parameter, seconds: float | None
) -> Any:
    """A duration that is one: not 0, not below, not for ever."""
    if seconds is not None and not 0 < seconds < math.inf:
        raise click.BadParameter("write a number of seconds above 0")
    return seconds


def check_proxy_way(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> str | None:
    """As CREDENTIAL_PROXY."""
    if text is None:
        return None
    from nanoclaw_trio.settings import proxy_way

    try:
        return proxy_way(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _check_folder(_context: click.Context, _parameter: click.Parameter, text: str) -> Path:
    """An empty name is a script's variable that isn't set, and would mean the current folder."""
    if not text:
        raise click.BadParameter("a folder's name isn't empty; leave it out for the current one")
    return Path(text)


PROJECT: Final = click.option(
    "--project",
    type=click.Path(),
    default=".",
    callback=_check_folder,
    metavar="DIR",
    help="The project's folder; the current one by default.",
)

RUNTIME: Final = click.option(
    "--runtime",
    type=click.Choice(RUNTIMES),
    default="auto",
    help="What runs the container; auto takes a container engine that answers, or bubblewrap.",
)

MAIN: Final = click.option(
    "--main/--no-main",
    default=None,
    help="Whether the group is the main one, which sees the project; by default if its name is main.",
)

CONFIG: Final = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The group's containerConfig as JSON, with the additionalMounts that it asks for.",
)

IMAGE: Final = click.option(
    "--image", metavar="NAME", callback=check_word, help="The agent's image."
)

BUILD: Final = click.option(
    "--build",
    is_flag=True,
    help="Build the image first, if it is missing or not what container/ says.",
)

AGENT: Final = click.option(
    "--agent", type=click.Choice(AGENTS), help="echo is for trying things out."
)

CREDENTIAL_PROXY: Final = click.option(
    "--credential-proxy",
    metavar="WAY",
    callback=check_proxy_way,
    help="Keep the key out of containers: socket, or tcp:ADDRESS[:PORT]; off by default.",
)

TIMEOUT: Final = click.option(
    "--timeout",
    type=float,
    metavar="SECONDS",
    callback=check_seconds,
    help="Silence of the agent that ends a run.",
)

JSON_LINES: Final = click.option(
    "--json", "as_json", is_flag=True, help="Write one JSON object a line."
)


def with_options(options: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    """A decorator that gives a command all of these options and arguments, in this order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
