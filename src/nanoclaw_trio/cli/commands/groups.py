"""`groups`."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Final

import click

from nanoclaw_trio.cli.commands.shared import CONFIG, JSON_LINES, PROJECT

_NEGATIVE: Final = re.compile(r"-[0-9]+")


@click.group(no_args_is_help=False)
def groups() -> None:
    """The chats that the assistant serves, and the groups that answer there.

    A `serve` that runs on the same project takes up a change within 10 seconds.
    """


@groups.command("list")
@PROJECT
@JSON_LINES
@click.pass_obj
def list_(pending: list[int], /, **values: Any) -> int:
    """List the registered groups, and how many messages wait in each."""
    from nanoclaw_trio.cli.groups import ListOptions, list_command
    from nanoclaw_trio.cli.program import run_program

    return run_program(partial(list_command, ListOptions(**values)), pending)


class AddressCommand(click.Command):
    """A command that takes a chat's address, which some platforms begin with a minus."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Say what to do where such an address is taken for an option."""
        number = next((word for word in args if _NEGATIVE.fullmatch(word)), None)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if number is None or error.option_name != number[:2]:
                raise
            problem = f"{number} is no option; write -- before a chat's address that begins with -"
            raise click.UsageError(problem, ctx) from None


@groups.command(cls=AddressCommand)
@click.argument("jid")
@click.argument("folder")
@click.option("--name", help="Its name for people; the folder's by default.")
@click.option(
    "--trigger", metavar="WORD", help="What addresses the assistant; by default @ and its name."
)
@click.option(
    "--requires-trigger/--no-requires-trigger",
    default=None,
    help="Whether messages without that word are left alone; by default, except in the main group.",
)
@click.option(
    "--main/--no-main",
    "is_main",
    default=None,
    help="Whether it is the main group, which administers; a new group isn't by default.",
)
@CONFIG
@PROJECT
@JSON_LINES
@click.pass_obj
def add(pending: list[int], /, **values: Any) -> int:
    """Register the chat JID: from now on the group in FOLDER answers there.

    JID is the chat's address, as the bridge calls it; write -- before one that begins with a minus.
    Of a group that is registered already what the options say is changed, and the rest is kept. A
    `serve` that runs takes it up within 10 seconds.

    The exit status is 2 if the chat or the folder is another group's, or there is another main one.
    """
    from nanoclaw_trio.cli.groups import AddOptions, add_command
    from nanoclaw_trio.cli.program import run_program

    return run_program(partial(add_command, AddOptions(**values)), pending)


@groups.command()
@click.argument("folder")
@click.option(
    "--force", is_flag=True, help="Even if messages wait there; they are left unanswered."
)
@PROJECT
@click.pass_obj
def remove(pending: list[int], /, **values: Any) -> int:
    """Forget the registration of the group in FOLDER; its files stay where they are.

    A `serve` that runs takes no more messages for it within 10 seconds.

    The exit status is 1 if messages wait there, and 2 if there is no such group.
    """
    from nanoclaw_trio.cli.groups import RemoveOptions, remove_command
    from nanoclaw_trio.cli.program import run_program

    return run_program(partial(remove_command, RemoveOptions(**values)), pending)


@groups.command()
@click.argument("folder")
@PROJECT
@JSON_LINES
@click.pass_obj
def show(pending: list[int], /, **values: Any) -> int:
    """Show what is known of the group in FOLDER, and whether a run has it now.

    The exit status is 2 if there is no such group.
    """
    from nanoclaw_trio.cli.groups import ShowOptions, show_command
    from nanoclaw_trio.cli.program import run_program

    return run_program(partial(show_command, ShowOptions(**values)), pending)
