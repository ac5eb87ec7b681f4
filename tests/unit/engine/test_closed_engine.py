"""An engine whose block is left takes nothing more, however the block was left."""

from __future__ import annotations

import pytest
import trio

from nanoclaw_trio.errors import EngineClosed


class Mishap(Exception):
    """The embedder's own."""


async def fail(_):
    """The block is left by an exception."""
    raise Mishap


async def cancel(scope):
    """The block is left because it is cancelled."""
    scope.cancel()
    await trio.lowlevel.checkpoint()


async def go(_):
    """The block comes to its end."""
    await trio.lowlevel.checkpoint()


@pytest.fixture
async def left(world, how):
    """An engine whose block was left so, and a group that was registered."""
    engine = None
    with trio.CancelScope() as scope:
        try:
            async with world.open() as engine:
                world.engine = engine
                await world.register("home")
                group = (await world.registration("home")).group
                await how(scope)
        except Mishap:
            pass
    world.engine = None
    return engine, group


@pytest.mark.parametrize("how", [fail, cancel, go])
async def test_nothing_is_taken_after_the_block(virtual_clock, world, left, how):
    """Messages and prompts that come after the end are refused with EngineClosed, and none seems
    taken that nobody will ever write down."""
    engine, group = left
    prompt = world.prompt("home", "too late")
    with pytest.raises(EngineClosed):
        await engine.send_message(world.message("home", "too late"))
    with pytest.raises(EngineClosed):
        await engine.submit("home", prompt)
    with pytest.raises(EngineClosed):
        engine.submit_nowait(group, prompt)
