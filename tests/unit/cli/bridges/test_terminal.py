"""The terminal as a bridge, in memory, with an engine behind it."""

from __future__ import annotations

import pytest
import trio

from nanoclaw_trio.cli.bridges.terminal import (
    CHAT,
    TerminalBridge,
    TerminalUnregistered,
    find_problem,
    main_group,
    register_terminal,
)
from nanoclaw_trio.engine.chat.bridge import Notice, NoticeKind
from nanoclaw_trio.store.models import DeliveryKind

OURS = main_group(trigger="@Andy", added_at="")


@pytest.mark.parametrize(
    ("fields", "text", "written"),
    [
        ({}, "Hello", "Hello\n"),
        ({}, "Hello\n", "Hello\n"),
        ({}, "\x1b[2J", "\x1b[2J\n"),
        ({"stdout_is_terminal": True}, "\x1b[2J", "␛[2J\n"),
    ],
)
@pytest.mark.parametrize("kind", [DeliveryKind.ANSWER, DeliveryKind.MESSAGE])
async def test_what_is_said(make_desk, delivery, fields, text, written, kind):
    """Answers and messages are lines on standard output, and don't steer a terminal."""
    desk = make_desk(**fields)
    await TerminalBridge(desk.world).deliver(delivery(text=text, kind=kind))
    assert desk.written() == written


async def test_a_failure_is_no_answer(make_desk, delivery):
    """The engine's own words go to standard error."""
    desk = make_desk()
    bridge = TerminalBridge(desk.world)
    await bridge.deliver(delivery(text="gave up", kind=DeliveryKind.FAILURE))
    await bridge.notice(Notice(kind=NoticeKind.RUNTIME_DOWN, text="docker is down"))
    assert (desk.written(), desk.said()) == ("", ["gave up", "docker is down"])


async def test_typing_is_on_the_live_line(make_desk):
    """That an agent is at work is what the command is at."""
    desk = make_desk()
    bridge = TerminalBridge(desk.world)
    await bridge.set_typing(CHAT, is_typing=True)
    await bridge.set_typing(CHAT, is_typing=False)
    assert desk.world.progress.told == ["waiting for the agent"]


async def talk(desk, engine_for, keys):
    """Type these bytes, and let the engine answer."""
    bridge = TerminalBridge(desk.world)
    async with engine_for(bridge) as engine:
        await register_terminal(engine, trigger="@Andy")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bridge.talk, engine)
            await desk.keyboard.send_all(keys)
            await desk.keyboard.aclose()


async def test_a_conversation(virtual_clock, make_desk, engine_for):
    """Each line is a message; the end of input ends it, and what was asked is answered."""
    desk = make_desk()
    await talk(desk, engine_for, b"Hello\n\n  \nBye")
    assert desk.written() == "echo: Hello\necho: Bye\n"


async def test_quit(virtual_clock, make_desk, engine_for):
    """/quit ends it, whatever comes after."""
    desk = make_desk()
    await talk(desk, engine_for, b"Hello\n /quit \nBye\n")
    assert desk.written() == "echo: Hello\n"


async def test_a_message_that_is_refused(virtual_clock, make_desk, engine_for):
    """A line that the engine refuses is said to be, and the next is taken."""
    desk = make_desk()
    await talk(desk, engine_for, b"x" * 600_000 + b"\nBye\n")
    (line,) = [line for line in desk.said() if "timestamp=" not in line]
    assert "is too long" in line
    assert line.endswith("; the message was not taken")
    assert desk.written() == "echo: Bye\n"


async def test_a_message_that_asks_for_no_answer(
    virtual_clock, make_desk, engine_for, registration
):
    """Where the terminal's chat is a group's that wants its trigger word, that is said."""
    desk = make_desk()
    bridge = TerminalBridge(desk.world)
    async with engine_for(bridge) as engine:
        await desk.keyboard.send_all(b"Hello\n")
        await desk.keyboard.aclose()
        await bridge.talk(engine)
    assert desk.said() == ["the message was not taken for an answer: unregistered"]


async def test_the_main_group_is_the_terminals(virtual_clock, make_desk, engine_for):
    """Where there is no main group the terminal's chat becomes one, once."""
    desk = make_desk()
    async with engine_for(TerminalBridge(desk.world)) as engine:
        for _ in range(2):
            await register_terminal(engine, trigger="@Andy")
        (registered,) = await engine.groups()
    assert (registered.jid, registered.folder, registered.is_main) == (CHAT, "main", True)
    assert registered.group.requires_trigger is False


async def test_another_main_group(virtual_clock, make_desk, engine_for, registration):
    """Where the main group is another chat's nothing is changed, and it is said what to do."""
    desk = make_desk()
    async with engine_for(TerminalBridge(desk.world)) as engine:
        await engine.register_group(registration("family", is_main=True))
        with pytest.raises(
            TerminalUnregistered, match="the main group 'family' answers in chat 'tg:1'"
        ):
            await register_terminal(engine, trigger="@Andy")
        assert len(await engine.groups()) == 1


def test_find_problem(registration):
    """The terminal's own group stands in no way, nor does any other that isn't the main one."""
    assert find_problem([]) is None
    assert find_problem([OURS]) is None
    assert find_problem([registration()]) is None
    assert find_problem([registration("main")]) == "the group 'main' answers in chat 'tg:1'"
