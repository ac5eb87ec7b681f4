"""`build`."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from nanoclaw_trio.cli.commands.shared import PROJECT, RUNTIME, check_word


@click.command()
@PROJECT
@RUNTIME
@click.option(
    "--base-image", metavar="NAME", callback=check_word, help="What it is built on: a Debian."
)
@click.option("--tag", metavar="NAME", callback=check_word, help="The image's name.")
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
