"""From a command line to an exit status."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

import click

from nanoclaw_trio.cli.commands import cli

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM: Final = "nanoclaw-trio"

UNWRITTEN_STATUS: Final = 1
"""The exit status where standard output can't be written, as on a full disk."""


def run_command_line(arguments: Sequence[str], pending: list[int]) -> int:
    """Understand a command line and run it; the exit status. `pending` are signals that came."""
    try:
        status = _invoke(arguments, pending)
        # Here, and not at the interpreter's end, where a failure can't be handled any more.
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer has to go somewhere when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            from nanoclaw_trio.cli.ending import CLOSED_OUTPUT_STATUS

            return CLOSED_OUTPUT_STATUS
        click.echo(f"{PROGRAM}: standard output can't be written: {error.strerror}", err=True)
        return UNWRITTEN_STATUS
    return status


def _invoke(arguments: Sequence[str], pending: list[int]) -> int:
    # Why not cli.main: it makes an exit status of its own of a closed standard output.
    try:
        with cli.make_context(PROGRAM, list(arguments), obj=pending) as context:
            status: int = cli.invoke(context)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        as_json = "--json" in arguments and arguments[0] in {"run", "chat"}
        return _report_usage(error, as_json=as_json)
    return status


def _report_usage(error: click.ClickException, *, as_json: bool) -> int:
    # Late, as all that a help text doesn't need.
    import json

    from nanoclaw_trio.cli.ending import BAD_USAGE_STATUS, bad_usage, end_record

    context = error.ctx if isinstance(error, click.UsageError) else None
    command = context.command_path if context else PROGRAM
    text = error.format_message().rstrip(".")
    click.echo(f"{command}: {text} (`{command} --help` lists all)", err=True)
    if as_json:
        click.echo(json.dumps(end_record(bad_usage(text)), ensure_ascii=False))
    return BAD_USAGE_STATUS
