"""`journal`."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from nanoclaw_trio.cli.commands.shared import JSON_LINES, PROJECT


@click.group(no_args_is_help=False)
def journal() -> None:
    """What the engine has done, event by event."""


@journal.command()
@PROJECT
@JSON_LINES
@click.pass_obj
def check(pending: list[int], /, **values: Any) -> int:
    """Check the journal: each container that was started has its end, each frame is accounted for.

    The exit status is 1 if something is missing.
    """
    from nanoclaw_trio.cli.journal import CheckOptions, check_command
    from nanoclaw_trio.cli.program import run_program

    return run_program(partial(check_command, CheckOptions(**values)), pending)
