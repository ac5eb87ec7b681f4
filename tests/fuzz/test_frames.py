"""The frame parser, beside one that is slow and plainly right."""

from __future__ import annotations

import sys
from itertools import pairwise

from documents import CANARY, check_discreet, contents, objects
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.errors import InvalidContainerOutput
from nanoclaw_trio.protocol.convert import (
    decode_output,
    parse_json,
    structure,
    wire,
)
from nanoclaw_trio.protocol.frames import (
    END_MARKER,
    START_MARKER,
    Frame,
    FrameParser,
    FrameRestarted,
    FrameTooLarge,
    FrameUnfinished,
    Sentinel,
)
from nanoclaw_trio.protocol.models import ContainerOutput

LIMIT = 200

WORDS = [START_MARKER, END_MARKER, START_MARKER[:20], END_MARKER[:19]]
WORDS += [b"\n", b"\n", b"\r", b" ", b"-", "ä".encode(), b"{}", b"x" * 150]
STREAMS = st.lists(st.sampled_from(WORDS) | st.binary(max_size=8), max_size=120).map(b"".join)
CUTS = st.lists(st.integers(0, 3000), max_size=60)


def parse(chunks, check=lambda parser: None):
    """The events of a stream in these chunks, and its noise. `check` is given the parser when all
    is told."""
    parser = FrameParser(max_frame_bytes=LIMIT)
    events = []
    for chunk in (*chunks, b""):
        parser.receive_data(chunk)
        while not isinstance(event := parser.next_event(), Sentinel):
            events.append(event)
        check(parser)
    return events, parser.noise_bytes


def cut(stream, cuts):
    edges = sorted({0, len(stream), *(place for place in cuts if place < len(stream))})
    return [stream[start:end] for start, end in pairwise(edges)]


def parse_slowly(stream):
    """The same, one byte after the other: what the module's text says, and nothing for speed."""
    events, noise, opened, at = [], 0, None, 0
    while at < len(stream):
        is_line = stream[at : at + 1] == b"\n"
        if opened is None:
            if stream.startswith(START_MARKER, at):
                at += len(START_MARKER)
                opened = at
            else:
                noise += 1
                at += 1
        elif is_line and stream.startswith(END_MARKER, at + 1):
            content = stream[opened : at + 1]
            events.append(fate(content, Frame(payload=content.strip())))
            at += 1 + len(END_MARKER)
            opened = None
        elif is_line and stream.startswith(START_MARKER, at + 1):
            content = stream[opened : at + 1]
            events.append(fate(content, FrameRestarted(dropped=len(content))))
            at += 1 + len(START_MARKER)
            opened = at
        else:
            at += 1
    if opened is not None:
        content = stream[opened:]
        events.append(fate(content, FrameUnfinished(size=len(content))))
    return events, noise


def fate(content, event):
    return event if len(content) <= LIMIT else FrameTooLarge(limit=LIMIT)


@given(STREAMS, CUTS)
def test_the_parser_agrees_with_a_slow_one(stream, cuts):
    """However a stream of any bytes is cut, its events and its noise are those that a parser finds
    which looks at one byte after the other."""
    assert parse(cut(stream, cuts)) == parse_slowly(stream)


@given(STREAMS)
def test_payloads_survive_a_second_time(stream):
    """Payloads that are written as frames again, each directly behind its START, are read as they
    were."""
    frames = [event for event in parse([stream] if stream else [])[0] if isinstance(event, Frame)]
    again = b"".join(START_MARKER + f.payload + b"\n" + END_MARKER for f in frames)
    assert parse([again] if again else []) == (frames, 0)


@given(STREAMS, CUTS)
def test_no_more_is_kept_than_the_open_frame(stream, cuts):
    """Between two chunks the parser holds no more than a frame's cap, a chunk and a marker."""
    chunks = cut(stream, cuts)
    most = LIMIT + max(map(len, chunks), default=0) + len(START_MARKER) + 1

    def check(parser):
        assert len(parser._buffer) <= most
        assert not parser._chunks

    parse(chunks, check)


@given(STREAMS, CUTS)
def test_work_is_linear_in_chunks_and_markers(stream, cuts):
    """The steps that the parser takes are no more than some for each chunk and each marker, and
    some for each byte that may begin one."""
    chunks = cut(stream, cuts)
    markers = stream.count(START_MARKER) + stream.count(END_MARKER)
    steps = 0

    def count(frame, event, _):
        nonlocal steps
        steps += event == "call" and frame.f_code.co_filename.endswith("frames.py")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        parse(chunks)
    finally:
        sys.setprofile(before)
    assert steps <= 100 + 40 * (len(chunks) + markers)


OUTPUTS = contents(
    objects(
        status=st.sampled_from(["success", "error", CANARY]),
        result=st.text(max_size=10) | st.none(),
        newSessionId=st.text(max_size=10) | st.none(),
        error=st.just(CANARY) | st.none(),
        followUps=st.lists(st.text(max_size=5) | st.just(CANARY), max_size=3),
    )
)


@given(OUTPUTS)
def test_a_payload_is_an_output_or_an_error_without_its_content(payload):
    """Of any payload comes an output, or InvalidContainerOutput that says nothing of what is in
    it; and the same by the plain parser, which takes no steps."""
    assert outcome(decode_output, payload) == outcome(plainly, payload)


def outcome(decode, payload):
    try:
        return decode(payload)
    except InvalidContainerOutput as error:
        check_discreet(error)
        return str(error)


def plainly(payload):
    try:
        return structure(wire, parse_json(payload), ContainerOutput)
    except ValueError as error:
        raise InvalidContainerOutput(str(error)) from None
