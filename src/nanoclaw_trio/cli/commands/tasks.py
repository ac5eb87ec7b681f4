"""`tasks`."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from nanoclaw_trio.cli.commands.shared import JSON_LINES, PROJECT, check_seconds


@click.group(no_args_is_help=False)
def tasks() -> None:
    """What agents do at times.

    A `serve` that runs on the same project takes up a change within 10 seconds.
    """


@tasks.command("list")
@click.argument("group", required=False)
@PROJECT
@JSON_LINES
@click.pass_obj
def list_(pending: list[int], /, **values: Any) -> int:
    """List the tasks, all or those of GROUP, with their next runs in the settings' time zone."""
    from nanoclaw_trio.cli.program import run_program
    from nanoclaw_trio.cli.tasks import ListOptions, list_command

    return run_program(partial(list_command, ListOptions(**values)), pending)


@tasks.command()
@click.argument("group")
@click.argument("prompt")
@click.option("--cron", metavar="EXPR", help="Five fields, in the settings' time zone: 0 9 * * 1-5")
@click.option(
    "--every", type=float, metavar="SECONDS", callback=check_seconds, help="The time between two."
)
@click.option("--at", metavar="LOCALTIME", help="Once, such as 2026-02-01T15:30:00.")
@click.option(
    "--context",
    type=click.Choice(["group", "isolated"]),
    default="isolated",
    help="Whether it runs in the group's conversation, or in one of its own (the default).",
)
@PROJECT
@JSON_LINES
@click.pass_obj
def add(pending: list[int], /, **values: Any) -> int:
    """Have the agent of GROUP do PROMPT at times; write the task's id.

    Say when by one of --cron, --every and --at. A `serve` that runs takes it up within 10 seconds.

    The exit status is 2 if there is no such group, or no such time.
    """
    if sum(values[way] is not None for way in ("cron", "every", "at")) != 1:
        raise click.UsageError("give one of --cron, --every and --at")
    from nanoclaw_trio.cli.program import run_program
    from nanoclaw_trio.cli.tasks import AddOptions, add_command

    return run_program(partial(add_command, AddOptions(**values)), pending)


@tasks.command()
@click.argument("task_id", metavar="ID")
@PROJECT
@click.pass_obj
def pause(pending: list[int], /, **values: Any) -> int:
    """Have a task wait until it is resumed. The exit status is 2 if there is none with this ID."""
    from nanoclaw_trio.cli.program import run_program
    from nanoclaw_trio.cli.tasks import ChangeOptions, pause_command

    return run_program(partial(pause_command, ChangeOptions(**values)), pending)


@tasks.command()
@click.argument("task_id", metavar="ID")
@PROJECT
@click.pass_obj
def resume(pending: list[int], /, **values: Any) -> int:
    """Let a paused task run again. The exit status is 2 if there is none with this ID."""
    from nanoclaw_trio.cli.program import run_program
    from nanoclaw_trio.cli.tasks import ChangeOptions, resume_command

    return run_program(partial(resume_command, ChangeOptions(**values)), pending)


@tasks.command()
@click.argument("task_id", metavar="ID")
@PROJECT
@click.pass_obj
def cancel(pending: list[int], /, **values: Any) -> int:
    """Remove a task. The exit status is 2 if there is none with this ID."""
    from nanoclaw_trio.cli.program import run_program
    from nanoclaw_trio.cli.tasks import ChangeOptions, cancel_command

    return run_program(partial(cancel_command, ChangeOptions(**values)), pending)


@tasks.command()
@click.argument("task_id", metavar="ID")
@click.option(
    "--limit",
    type=click.IntRange(min=1, max=10_000),
    default=20,
    metavar="N",
    help="How many; 20 by default, and 10,000 at most.",
)
@PROJECT
@JSON_LINES
@click.pass_obj
def runs(pending: list[int], /, **values: Any) -> int:
    """List the runs of a task, the newest first; of one that was cancelled, too.

    The exit status is 2 if there is neither a task with this ID nor a run of one.
    """
    from nanoclaw_trio.cli.program import run_program
    from nanoclaw_trio.cli.tasks import RunsOptions, runs_command

    return run_program(partial(runs_command, RunsOptions(**values)), pending)
