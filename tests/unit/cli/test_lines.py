"""Lines from a stream."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.cli.lines import read_lines

reproducible = settings(derandomize=True, deadline=None)


async def lines_of(chunks):
    """The lines of a stream that comes in these chunks."""
    send_stream, receive_stream = trio.testing.memory_stream_one_way_pair()
    sender, receiver = trio.open_memory_channel[str](0)
    for chunk in chunks:
        await send_stream.send_all(chunk)
    await send_stream.aclose()
    lines = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_lines, receive_stream, sender)
        lines.extend([line async for line in receiver])
    return lines


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\n\ntwo", ["one", "", "two"]),
        (b"dos\r\n", ["dos"]),
        ("ü\n".encode(), ["ü"]),
        (b"\xff\n", ["\ufffd"]),
    ],
)
async def test_lines(content, lines):
    """A line is what stands before a line end, and the rest at the end of the stream."""
    assert await lines_of([content]) == lines


@reproducible
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"))), st.data())
def test_lines_are_the_same_however_the_stream_is_cut(lines, data):
    """Wherever the chunks end, also inside of a character, the lines are the same. Trap A2."""
    content = "".join(f"{line}\n" for line in lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)))))
    ends = [0, *cuts, len(content)]
    chunks = [content[a:b] for a, b in pairwise(ends)]
    assert trio.run(lines_of, chunks) == lines
