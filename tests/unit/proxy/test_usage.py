"""Counting tokens from what passes by."""

from __future__ import annotations

from itertools import pairwise

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.proxy.usage import (
    BODY_LIMIT,
    LINE_LIMIT,
    MOST_TOKENS,
    ApiUsage,
    UsageTally,
    tokens_of,
)

reproducible = settings(derandomize=True, deadline=None)

STREAM = b"text/event-stream; charset=utf-8"
DOCUMENT = b"application/json"

FULL = {
    "input_tokens": 1,
    "output_tokens": 2,
    "cache_read_input_tokens": 3,
    "cache_creation_input_tokens": 4,
    "service_tier": "standard",
    "server_tool_use": {"web_search_requests": 7},
}
READ = {"input_tokens": 1, "output_tokens": 2, "cache_read_tokens": 3, "cache_write_tokens": 4}


def start(**usage):
    """The event with which a message starts."""
    return line({"type": "message_start", "message": {"id": "msg", "usage": usage}})


def delta(**usage):
    """The event that tells of its end."""
    return line({"type": "message_delta", "delta": {}, "usage": usage})


def line(document):
    """An event."""
    return b"event: x\ndata: " + orjson.dumps(document) + b"\n\n"


def count(kind, *chunks):
    """The tokens in an answer that comes in these pieces."""
    reader = tokens_of(kind)
    for chunk in chunks:
        reader.feed(chunk)
    return reader.tokens()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (start(**FULL), READ),
        (start(input_tokens=9, output_tokens=1) + delta(output_tokens=40), {"input_tokens": 9, "output_tokens": 40}),
        (start(input_tokens=9) + delta(output_tokens=4) + delta(output_tokens=6), {"input_tokens": 9, "output_tokens": 6}),
        (start(input_tokens=9) + delta(**FULL), READ),
        (start(input_tokens=9).replace(b"\n", b"\r\n"), {"input_tokens": 9}),
        (start(input_tokens=9).replace(b"data: ", b"data:"), {"input_tokens": 9}),
        (start(input_tokens=9)[:-2], {}),
        (start(input_tokens=-1, output_tokens="2", cache_read_input_tokens=None), {}),
        (start(input_tokens=True, output_tokens=1.5), {}),
        (start(input_tokens=MOST_TOKENS, output_tokens=MOST_TOKENS + 1), {"input_tokens": MOST_TOKENS}),
        (line({"type": "message_start", "message": {"usage": [1]}}), {}),
        (line({"type": "ping", "usage": FULL}), {}),
        (line(["usage"]), {}),
        (b'data: {"usage": \n\n', {}),
        (b'data: {"type":"message_delta","usage":' + b"[" * 5000 + b"\n\n", {}),
        (line({"type": "content_block_delta", "delta": {"text": 'data: {"usage"'}}), {}),
        (b"x" * (LINE_LIMIT + 1) + b"\n" + start(input_tokens=9), {"input_tokens": 9}),
        (b"data: " + b'"usage"' * LINE_LIMIT + b"\n", {}),
        (b"", {}),
    ],
)  # fmt: skip
def test_a_stream(text, expected):
    """The numbers of a stream are the last that its events say; what isn't a number isn't one."""
    assert count(STREAM, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (orjson.dumps({"type": "message", "usage": FULL}), READ),
        (orjson.dumps({"type": "message", "usage": FULL})[:-1], {}),
        (orjson.dumps({"type": "error", "usage": FULL}), {}),
        (orjson.dumps({"input_tokens": 7}), {}),
        (orjson.dumps({"type": "message", "usage": None}), {}),
        (b"", {}),
        (orjson.dumps({"type": "message", "usage": FULL}) + b" " * BODY_LIMIT, {}),
    ],
)
def test_a_document(text, expected):
    """The numbers of a message that comes whole; of one that is too long none are taken."""
    assert count(DOCUMENT, text) == expected


@pytest.mark.parametrize("kind", [b"", b"text/plain", b"application/jsonl", b"\xff"])
def test_other_kinds(kind):
    """What is neither is passed by."""
    assert count(kind, start(**FULL)) == {}


events = st.one_of(
    st.builds(start, input_tokens=st.integers(0, 9), output_tokens=st.integers(0, 9)),
    st.builds(delta, output_tokens=st.integers(0, 99)),
    st.binary(max_size=40),
    st.sampled_from([b"\n", b"data: ", b'"usage"', b"x" * LINE_LIMIT]),
)


@reproducible
@given(parts=st.lists(events, max_size=8), cuts=st.lists(st.integers(0, 400), max_size=12))
def test_it_does_not_matter_where_it_is_cut(parts, cuts):
    """Any stream, cut anywhere, gives the same numbers as in one piece."""
    text = b"".join(parts)
    places = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    chunks = [text[begin:end] for begin, end in pairwise(places)]
    assert count(STREAM, *chunks) == count(STREAM, text)


@reproducible
@given(chunks=st.lists(st.binary(max_size=LINE_LIMIT), max_size=5))
def test_what_is_kept_is_bounded(chunks):
    """Whatever comes, no more than a line is kept, or a document."""
    for kind, limit in ((STREAM, LINE_LIMIT), (DOCUMENT, BODY_LIMIT)):
        reader = tokens_of(kind)
        for chunk in chunks * 20:
            reader.feed(chunk)
            assert len(getattr(reader, "_line", b"") or getattr(reader, "_body", b"")) <= limit


def test_the_tally():
    """Counts add up by group, and a group that did nothing has zeros."""
    tally = UsageTally()
    for event in ("requests", "requests", "errors", "failures", "refused"):
        tally.count("family", event)
    tally.add_tokens("family", READ)
    before = tally.of("family")
    tally.add_tokens("family", {"output_tokens": 8})
    assert tally.of("family") == ApiUsage(
        requests=2,
        errors=1,
        failures=1,
        refused=1,
        input_tokens=1,
        output_tokens=10,
        cache_read_tokens=3,
        cache_write_tokens=4,
    )
    assert before.output_tokens == 2
    assert tally.of("other") == ApiUsage()
