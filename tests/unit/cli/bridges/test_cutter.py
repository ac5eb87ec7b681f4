"""Lines from pieces of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.cli.bridges.cutter import LINE_LIMIT, LineCutter, TooLong


def cut(pieces, limit=LINE_LIMIT):
    """All lines of a stream that comes in these pieces."""
    cutter = LineCutter(limit)
    lines = [line for piece in pieces for line in cutter.receive_data(piece)]
    return [*lines, *cutter.receive_end()]


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([], []),
        ([b""], []),
        ([b"a\n"], [b"a"]),
        ([b"a"], [b"a"]),
        ([b"a\nb"], [b"a", b"b"]),
        ([b"a", b"b", b"\n", b"c\n"], [b"ab", b"c"]),
        ([b"\n\n"], [b"", b""]),
    ],
)
def test_cut(pieces, lines):
    """A line ends with its newline or with the stream, wherever the pieces end."""
    assert cut(pieces) == lines


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"1234\n"], [b"1234"]),
        ([b"12345\n"], [TooLong(4)]),
        ([b"12345"], [TooLong(4)]),
        ([b"123", b"45", b"6\nab\n"], [TooLong(4), b"ab"]),
    ],
)
def test_too_long(pieces, lines):
    """A line that is too long is noted as such, and the one after it is a line again."""
    assert cut(pieces, limit=4) == lines


def test_nothing_is_kept_of_a_line_that_is_too_long():
    """However long a line becomes, the memory that it takes stays below the limit."""
    cutter = LineCutter(8)
    for _ in range(1000):
        assert list(cutter.receive_data(b"123456")) == []
        assert sum(map(len, cutter._parts)) <= 8


@given(st.lists(st.binary(max_size=12), max_size=8), st.data())
def test_the_pieces_make_no_difference(lines, data):
    """Whatever the pipe does to a stream, the same lines come out of it."""
    stream = b"\n".join(line.replace(b"\n", b"") for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert cut(pieces, limit=8) == cut([stream], limit=8)
