"""`serve`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from nanoclaw_trio.cli.commands.shared import (
    AGENT,
    BUILD,
    CREDENTIAL_PROXY,
    IMAGE,
    PROJECT,
    RUNTIME,
    TIMEOUT,
    check_seconds,
)


@click.command()
@PROJECT
@RUNTIME
@IMAGE
@BUILD
@AGENT
@TIMEOUT
@CREDENTIAL_PROXY
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Where chat bridges connect; data/nanoclaw.sock in the project by default.",
)
@click.option("--no-socket", is_flag=True, help="Serve the terminal alone.")
@click.option(
    "--terminal/--no-terminal",
    default=None,
    help="Whether lines of standard input are messages; by default if it is a terminal.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Containers at a time; MAX_CONCURRENT_CONTAINERS by default.",
)
@click.option(
    "--drain",
    type=float,
    default=60.0,
    metavar="SECONDS",
    callback=check_seconds,
    help="How long runs may take to end after /quit or the end of input; 60 by default. What isn't "
    "answered or said then is kept for the next start, and told of.",
)
@click.pass_obj
def serve(pending: list[int], /, **values: Any) -> int:
    """Serve the project's groups, until a signal or /quit.

    Chat bridges connect to a Unix socket and speak JSON, a line each; docs/socket.md has the
    protocol. On a terminal each line is a message to the main group, in the chat terminal:main.

    Groups and tasks that another command adds or changes meanwhile are taken up within 10 seconds.
    A container engine that doesn't answer is waited for, and so is an image.

    The exit status is 0 after /quit or the end of input, 2 for bad usage, 3 if the runtime isn't
    installed, 4 if the project is served already, and 130, 143 or 129 after SIGINT, SIGTERM or
    SIGHUP, with all containers gone.
    """
    if values["no_socket"] and values["socket"] is not None:
        raise click.UsageError("--socket and --no-socket exclude each other; give one of them")
    if values["no_socket"] and values["terminal"] is False:
        raise click.UsageError("without a socket and without a terminal there is nobody to serve")
    from nanoclaw_trio.cli.descriptor_limit import raise_descriptor_limit
    from nanoclaw_trio.cli.heap import calm_collector, keep_one_heap
    from nanoclaw_trio.cli.program import run_program
    from nanoclaw_trio.cli.serve import ServeOptions, serve_command

    raise_descriptor_limit()
    keep_one_heap()
    calm_collector()
    return run_program(partial(serve_command, ServeOptions(**values)), pending)
