"""Frames, whole, in pieces, and broken."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.runtimes.engine_api.frames import STDERR, STDOUT, FrameParser


def frame(stream, payload):
    """A frame as engines send it."""
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


FRAMES = st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.binary(max_size=300)), max_size=20)


@given(frames=FRAMES, cuts=st.lists(st.integers(min_value=0, max_value=7000), max_size=30))
def test_cuts_change_nothing(frames, cuts):
    """However a stream is cut, each of its streams comes out whole and in order, and no other's."""
    data = b"".join(frame(stream, payload) for stream, payload in frames)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for wanted in (STDOUT, STDERR):
        parser = FrameParser(wanted)
        pieces = [parser.feed(data[a:b]) for a, b in pairwise(places)]
        assert b"".join(pieces) == b"".join(p for stream, p in frames if stream == wanted)


def test_byte_by_byte():
    """A payload is given as soon as it comes, also the first byte of it."""
    parser = FrameParser(STDOUT)
    given = [
        parser.feed(bytes([byte])) for byte in frame(1, b"ab") + frame(2, b"x") + frame(1, b"c")
    ]
    assert [piece for piece in given if piece] == [b"a", b"b", b"c"]


def test_a_frame_that_never_ends_is_not_kept():
    """Of a frame of 4 GiB nothing is kept but what is still to come."""
    parser = FrameParser(STDOUT)
    header = b"\x01\0\0\0\xff\xff\xff\xff"
    assert parser.feed(header + b"x" * 10) == b"x" * 10
    assert parser.feed(b"y" * 1000) == b"y" * 1000
    assert parser._header == b""


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x03\0\0\0\0\0\0\x01x", id="a stream that there isn't"),
        pytest.param(b"\x01\0\x01\0\0\0\0\x01x", id="no zeros"),
        pytest.param(b"\x01x", id="no zeros yet"),
        pytest.param(b"hello", id="a terminal's bytes"),
        pytest.param(frame(1, b"fine") + b"HTTP/1.1 500", id="behind a frame"),
    ],
)
def test_what_is_no_frame(data):
    """What isn't a frame is never taken for output; what came before it still is."""
    parser = FrameParser(STDOUT)
    assert parser.feed(data) == (b"fine" if b"fine" in data else b"")
    assert parser.problem is not None
    assert parser.problem.startswith("no frame begins with")
    assert parser.feed(frame(1, b"more")) == b""


@given(st.binary(max_size=200))
def test_any_bytes(data):
    """Whatever comes, it is output or a problem, and no more bytes than came."""
    assert len(FrameParser(STDOUT).feed(data)) <= len(data)
