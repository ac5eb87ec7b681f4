"""The tokens that are counted from the API's answers as they pass by."""

from __future__ import annotations

import json
from itertools import pairwise

from documents import VALUES, objects
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.proxy.usage import LINE_LIMIT, MOST_TOKENS, ApiUsage, tokens_of

COUNTS = st.integers(-1, 10**6) | st.just(MOST_TOKENS + 1) | VALUES

USAGE = objects(
    input_tokens=COUNTS,
    output_tokens=COUNTS,
    cache_read_input_tokens=COUNTS,
    cache_creation_input_tokens=COUNTS,
)

EVENTS = objects(
    type=st.sampled_from(["message_start", "message_delta", "message", "ping"]),
    usage=USAGE,
    message=objects(usage=USAGE),
)

LINES = st.lists(
    EVENTS.map(lambda event: b"data: " + json.dumps(event).encode())
    | st.sampled_from(
        [b"", b"event: message_start", b"data:", b"data: {", b'data: "usage"', b"\xff"]
    )
    | st.just(b'data: {"usage": "' + b"x" * LINE_LIMIT),
    max_size=5,
)

CUTS = st.lists(st.integers(0, 1500), max_size=30)


def counted(kind, chunks):
    reader = tokens_of(kind)
    for chunk in chunks:
        reader.feed(chunk)
    return dict(reader.tokens())


def cut(data, cuts):
    edges = sorted({0, len(data), *(place for place in cuts if place < len(data))})
    return [data[start:end] for start, end in pairwise(edges)]


def check(tokens):
    assert tokens.keys() <= {field.name for field in ApiUsage.__attrs_attrs__}
    assert all(type(count) is int and 0 <= count <= MOST_TOKENS for count in tokens.values())


@given(LINES, CUTS, st.sampled_from([b"\n", b"\r\n"]))
def test_a_streams_counts_are_the_same_however_it_is_cut(lines, cuts, end):
    """Of a stream of any lines, cut anywhere, the same counts are taken, each a number that a
    request may have; a line that is too long is none."""
    data = b"".join(line + end for line in lines)
    kind = b"text/event-stream; charset=utf-8"
    tokens = counted(kind, cut(data, cuts))
    check(tokens)
    assert tokens == counted(kind, [data]) == slowly(lines, end)


def slowly(lines, end):
    """The last word of each count, of lines that are whole and not too long."""
    seen = {}
    for line in lines:
        if len(line + end) - 1 <= LINE_LIMIT:
            reader = tokens_of(b"text/event-stream")
            reader.feed(line + b"\n")
            seen |= reader.tokens()
    return seen


@given(EVENTS.map(json.dumps).map(str.encode) | st.binary(max_size=60), CUTS)
def test_a_documents_counts_are_the_same_however_it_is_cut(body, cuts):
    """Of any body the same counts are taken however it is cut, or none."""
    tokens = counted(b"application/json", cut(body, cuts))
    check(tokens)
    assert tokens == counted(b"application/json", [body] if body else [])


@given(st.binary(max_size=40), st.lists(st.binary(max_size=20), max_size=3))
def test_any_content_type_has_a_reader(kind, chunks):
    """Whatever an answer says that it is, its counts are read, or it has none."""
    check(counted(kind, chunks))
