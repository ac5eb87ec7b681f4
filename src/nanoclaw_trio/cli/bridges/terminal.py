"""A bridge for the terminal: its lines are messages of the main group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import uuid4

import trio

from nanoclaw_trio.cli.conclude import describe
from nanoclaw_trio.cli.lines import read_lines
from nanoclaw_trio.cli.output import write_text
from nanoclaw_trio.cli.request import MAIN_GROUP
from nanoclaw_trio.cli.terminal import neutralize
from nanoclaw_trio.clock import iso_timestamp, utc_now
from nanoclaw_trio.engine.chat.bridge import Bridge
from nanoclaw_trio.errors import InputError, NanoclawError
from nanoclaw_trio.protocol.models import RegisteredGroup
from nanoclaw_trio.store.models import ChatMessage, DeliveryKind, Registration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nanoclaw_trio.cli.bridges.front import Front
    from nanoclaw_trio.cli.program import World
    from nanoclaw_trio.engine.chat.bridge import Notice
    from nanoclaw_trio.store.models import Delivery

PREFIX: Final = "terminal:"
"""What the addresses of the terminal's chats begin with."""

CHAT: Final = f"{PREFIX}main"
"""The chat that the terminal's lines are messages of."""

QUIT: Final = "/quit"
"""The line that ends it, as the end of input does."""


class TerminalUnregistered(InputError):
    """The terminal's chat has no group, and can't be the main group's."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"the terminal has no group: {why}; go without it with --no-terminal, or register a "
            f"group for it with `nanoclaw-trio groups add {CHAT} FOLDER`"
        )


class TerminalBridge(Bridge):
    """Prints what is said in the terminal's chats."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._streams = world.streams

    async def deliver(self, delivery: Delivery) -> None:
        """Print it: answers on standard output, the engine's own words on standard error.

        Raises:
            OutputUnwritable: standard output can't take it.
        """
        if delivery.kind is DeliveryKind.FAILURE:
            self._streams.say(delivery.text)
            await trio.lowlevel.checkpoint()
            return
        text = neutralize(delivery.text) if self._streams.stdout_is_terminal else delivery.text
        with self._world.progress.out_of_the_way():
            await write_text(
                self._streams,
                self._world.interruption,
                text if text.endswith("\n") else f"{text}\n",
            )

    async def set_typing(self, chat_jid: str, *, is_typing: bool) -> None:
        """Show on the live line that the agent is at work."""
        del chat_jid
        if is_typing:
            self._world.progress.doing("waiting for the agent")
        else:
            self._world.progress.rest()
        await trio.lowlevel.checkpoint()

    async def notice(self, notice: Notice) -> None:
        """Say it."""
        self._streams.say(notice.text)
        await trio.lowlevel.checkpoint()

    async def talk(self, engine: Front) -> None:
        """Send each line as a message, until /quit or the end of input."""
        sender, receiver = trio.open_memory_channel[str](0)
        with receiver:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read_lines, self._streams.stdin, sender)
                async for line in receiver:
                    if line.strip() == QUIT:
                        break
                    if line.strip():
                        await self._send(line, engine)
                nursery.cancel_scope.cancel()

    async def _send(self, line: str, engine: Front) -> None:
        message = ChatMessage(
            chat_jid=CHAT,
            id=uuid4().hex,
            sender=f"{PREFIX}user",
            sender_name="User",
            text=line,
            timestamp=utc_now(),
        )
        try:
            reception = await engine.send_message(message)
        except (NanoclawError, OSError) as error:
            self._streams.say(f"{describe(error)}; the message was not taken")
            return
        if reception.value != "accepted":
            self._streams.say(f"the message was not taken for an answer: {reception.value}")


async def register_terminal(engine: Front, *, trigger: str) -> None:
    """See to it that the terminal's chat has a group: the main one, if there is none yet.

    Raises:
        TerminalUnregistered: there is one, of another chat; or another chat has the folder `main`.
    """
    registered = await engine.groups()
    problem = find_problem(registered)
    if problem is not None:
        raise TerminalUnregistered(problem)
    if all(each.jid != CHAT for each in registered):
        await engine.register_group(main_group(trigger=trigger, added_at=iso_timestamp(utc_now())))


def find_problem(registered: Sequence[Registration]) -> str | None:
    """What stands in the way of the terminal's chat being the main group's, or None. Pure."""
    if any(each.jid == CHAT for each in registered):
        return None
    for each in registered:
        if each.is_main:
            return f"the main group {each.folder!r} answers in chat {each.jid!r}"
        if each.folder == MAIN_GROUP:
            return f"the group {MAIN_GROUP!r} answers in chat {each.jid!r}"
    return None


def main_group(*, trigger: str, added_at: str) -> Registration:
    """The main group, as it answers on the terminal: to each line. Pure."""
    group = RegisteredGroup(
        name="Terminal",
        folder=MAIN_GROUP,
        trigger=trigger,
        added_at=added_at,
        requires_trigger=False,
    )
    return Registration(jid=CHAT, group=group, is_main=True)
