"""The commands and their options. What they do is imported when they are called."""

from __future__ import annotations

from typing import Final

import click

from nanoclaw_trio import __version__
from nanoclaw_trio.cli.commands.build import build
from nanoclaw_trio.cli.commands.conversation import chat, run
from nanoclaw_trio.cli.commands.groups import groups
from nanoclaw_trio.cli.commands.journal import journal
from nanoclaw_trio.cli.commands.mounts import mounts
from nanoclaw_trio.cli.commands.reap import reap
from nanoclaw_trio.cli.commands.serve import serve
from nanoclaw_trio.cli.commands.shared import AGENTS, RUNTIMES
from nanoclaw_trio.cli.commands.tasks import tasks

__all__ = ["AGENTS", "RUNTIMES", "cli"]

_COMMANDS: Final = (run, chat, serve, groups, tasks, build, mounts, reap, journal)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Run AI agents in containers: no lost answers, no containers left behind."""


for _command in _COMMANDS:
    cli.add_command(_command)
