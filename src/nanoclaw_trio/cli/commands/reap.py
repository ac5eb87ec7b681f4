"""`reap`."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from nanoclaw_trio.cli.commands.shared import JSON_LINES, PROJECT, RUNTIME


@click.command()
@click.option("--dry-run", is_flag=True, help="Only list what would go.")
@PROJECT
@RUNTIME
@JSON_LINES
@click.pass_obj
def reap(pending: list[int], /, **values: Any) -> int:
    """Stop and remove the project's containers whose host is gone, and see them gone.

    They are found by their label, never by their name; those of a process that lives are let be.
    `serve` does the same at its start, and each 5 minutes.

    The exit status is 1 if one of them isn't confirmed gone, and 3 without a runtime.
    """
    from nanoclaw_trio.cli.program import run_program
    from nanoclaw_trio.cli.reap import ReapOptions, reap_command

    return run_program(partial(reap_command, ReapOptions(**values)), pending)
