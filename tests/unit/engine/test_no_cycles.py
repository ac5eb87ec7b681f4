"""A conversation leaves nothing for Python's cyclic collector (cli/heap.py lets it look rarely)."""

from __future__ import annotations

import gc
from collections import Counter

import pytest
import trio

ROUNDS = 5


async def settled():
    """Until nobody has anything to do."""
    await trio.sleep(1000)


@pytest.mark.parametrize("words", [("hello",), ("hello", "again"), ("!crash",), ("!fail",)])
async def test_however_it_goes(virtual_clock, home, words):
    """With an answer, with follow-ups, with a container that ends, and with one that fails."""

    async def talk():
        for word in words:
            await home.say("home", word)
            await trio.sleep(5)
        await settled()

    for _ in range(2):
        await talk()
    gc.collect()
    gc.disable()
    try:
        for _ in range(ROUNDS):
            await talk()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found = Counter(type(thing).__qualname__ for thing in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert home.said("home")
    assert not found
