"""`mounts`."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from nanoclaw_trio.cli.commands.shared import CONFIG, JSON_LINES, MAIN, PROJECT


@click.group(no_args_is_help=False)
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
@PROJECT
@MAIN
@CONFIG
@JSON_LINES
@click.pass_obj
def check(pending: list[int], /, **values: Any) -> int:
    """Explain each mount of a group: why it has it, or why it doesn't.

    The exit status is 1 if a mount that the group asks for is refused.
    """
    from nanoclaw_trio.cli.mounts import CheckOptions, check_command
    from nanoclaw_trio.cli.program import run_program

    return run_program(partial(check_command, CheckOptions(**values)), pending)
