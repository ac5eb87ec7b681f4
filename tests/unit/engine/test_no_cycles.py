"""A conversation leaves nothing for Python's cyclic collector (cli/heap.py lets it look rarely)."""

from __future__ import annotations

import pytest
import trio


@pytest.mark.parametrize("words", [("hello",), ("hello", "again"), ("!crash",), ("!fail",)])
async def test_however_it_goes(virtual_clock, count_garbage, home, words):
    """With an answer, with follow-ups, with a container that ends, and with one that fails."""

    async def talk():
        for word in words:
            await home.say("home", word)
            await trio.sleep(5)
        # Until nobody has anything to do.
        await trio.sleep(1000)

    assert not await count_garbage(talk)
    assert home.said("home")
