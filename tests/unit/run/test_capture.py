"""What is kept of a stream: its ends, no more than the limit, and no part of a secret."""

from __future__ import annotations

import re
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nanoclaw_trio.run.capture import LINE_LIMIT, Capture, LineSplitter
from nanoclaw_trio.workspace.secrets import REDACTED, Secrets

reproducible = settings(derandomize=True, deadline=None)

NO_SECRETS = Secrets({})
KEY = "sk-ant-api03-0123456789abcdef"
GAP = re.compile(r"\n\[… (\d+) bytes left out …\]\n")

pieces = st.lists(st.binary(max_size=30), max_size=20)
ascii_pieces = st.lists(st.text("abc\n", max_size=30).map(str.encode), max_size=20)


def secret(*values):
    """Secrets with these values."""
    return Secrets({f"KEY_{index}": value for index, value in enumerate(values)})


def fed(limit, chunks):
    """A capture of these chunks."""
    capture = Capture(limit)
    for chunk in chunks:
        capture.feed(chunk)
    return capture


def cut(stream, sizes):
    """The stream in pieces of these sizes, over and over."""
    chunks, start = [], 0
    while start < len(stream):
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(stream[start : start + size])
        start += size
    return chunks


@reproducible
@given(st.integers(1, 60), ascii_pieces)
@example(1, [b"ab"])
@example(10, [b"abc"] * 7)
def test_it_keeps_both_ends(limit, chunks):
    """It keeps what a naive model keeps: all, or both ends, and the number of bytes between."""
    stream = b"".join(chunks)
    capture = fed(limit, chunks)
    text = capture.text(NO_SECRETS)
    assert capture.dropped == max(0, len(stream) - limit)
    assert capture.truncated == (len(stream) > limit)
    if not capture.truncated:
        assert text.encode() == stream
        return
    head, dropped, tail = GAP.split(text)
    assert (head, int(dropped)) == (stream[: limit // 2].decode(), capture.dropped)
    assert tail == stream[-(limit - limit // 2) :].decode()


@reproducible
@given(st.integers(1, 60), pieces, st.integers(1, 80))
def test_the_last_line_is_whole_or_none(limit, chunks, size):
    """A last line is what the whole stream's last line is, or None."""
    stream = b"".join(chunks)
    line = fed(limit, chunks).last_line(size)
    if line is not None:
        assert line == stream.rstrip().split(b"\n")[-1]
    if len(stream) <= min(limit, size):
        assert line is not None


@reproducible
@given(st.integers(1, 60), pieces)
def test_any_bytes_become_text(limit, chunks):
    """Trap A2. Bytes that are no text are replaced; a character cut at the gap is left out."""
    capture = fed(limit, chunks)
    text = capture.text(NO_SECRETS)
    if not capture.truncated:
        assert text == b"".join(chunks).decode(errors="replace")
    else:
        assert GAP.search(text)


@pytest.mark.parametrize("limit", range(1, 24))
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_no_half_characters(limit, size):
    """Trap A2. However it is cut, by the pipe or by the limit, no character is broken."""
    text = "äöü€🌍" * 3
    capture = fed(limit, cut(text.encode(), [size]))
    for part in GAP.split(capture.text(NO_SECRETS))[::2]:
        assert part in text


def held(capture):
    """Bytes that a capture holds on to."""
    return sum(map(len, (*capture._head, *(capture._tail or ()))))


@pytest.mark.parametrize("size", [1, 7, 511, 4096, 60_000, 1_000_000])
def test_memory_is_bounded(size):
    """Trap A4. However large the stream and its pieces, hardly more than the limit is held."""
    limit = 20_000
    chunk = bytes(size)
    tracemalloc.start()
    try:
        capture = Capture(limit)
        for _ in range(max(3, 150_000 // size)):
            # Each its own piece, as a pipe gives them.
            capture.feed(bytes(bytearray(chunk)))
        current, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert capture.truncated
    assert held(capture) <= 1.5 * limit
    assert current <= 2 * limit


def test_chunks_are_kept_as_they_came():
    """Large pieces are not copied: what they cost is their reading."""
    chunks = [bytes([number]) * 1000 for number in range(8)]
    capture = fed(16_000, chunks)
    assert all(kept is chunk for kept, chunk in zip(capture._head, chunks, strict=True))
    capture = fed(16_000, [bytes(8000), *chunks])
    assert all(kept is chunk for kept, chunk in zip(capture._tail, chunks, strict=True))


EXCERPTS = [
    (b"", ""),
    (b"\n \n", ""),
    (b"it broke\n", "it broke"),
    (b"a" * 300, "a" * 200),
    ("ä".encode() * 300, "ä" * 200),
    ("🌍".encode() * 300, "🌍" * 200),
    (b"Trace\n" + b"  x\n" * 100, ("Trace\n" + "  x\n" * 100).strip()[-200:]),
    (b"\xff" * 300, "\ufffd" * 200),
    (b"start" + b" " * 2000, ""),
]


@pytest.mark.parametrize(("stream", "excerpt"), EXCERPTS)
@pytest.mark.parametrize("size", [1, 64])
def test_excerpt(stream, excerpt, size):
    """An excerpt is the last characters, whole, without white space around them."""
    assert fed(10_000, cut(stream, [size])).excerpt(200, NO_SECRETS) == excerpt


def test_an_excerpt_has_no_gap_in_it():
    """What was left out is never skipped over unseen: the excerpt begins behind it."""
    capture = fed(10, [b"aaaaabbbbbccccc"])
    assert capture.excerpt(200, NO_SECRETS) == "ccccc"


class TestSecrets:
    """No part of a secret is left where a stream was cut, be it a single character of it.

    The secrets' letters are in no other part of the text.
    """

    values = st.lists(
        st.text("ßжABC", min_size=4, max_size=24) | st.just("ABC" * 30), min_size=1, max_size=3
    )
    left = re.compile("[ßжABC]")

    @classmethod
    def streams(cls, values):
        """Streams of noise with whole secrets in between."""
        parts = st.sampled_from(values) | st.text("xyz \n", max_size=12)
        return st.lists(parts, max_size=12).map("".join)

    @reproducible
    @given(st.data(), values, st.integers(1, 150))
    def test_in_the_log(self, data, values, limit):
        """Neither at the end of the beginning nor at the start of the end."""
        stream = data.draw(self.streams(values))
        sizes = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=4))
        capture = fed(limit, cut(stream.encode(), sizes))
        text = capture.text(secret(*values))
        assert not self.left.search(text)
        assert len(text) <= len(stream) * len(REDACTED) + 60

    @reproducible
    @given(st.data(), values, st.integers(1, 150), st.integers(1, 60))
    def test_in_an_excerpt(self, data, values, limit, characters):
        """Nor at the beginning of an excerpt, even if redaction made it short."""
        stream = data.draw(self.streams(values))
        sizes = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=4))
        capture = fed(limit, cut(stream.encode(), sizes))
        excerpt = capture.excerpt(characters, secret(*values))
        assert not self.left.search(excerpt)
        assert len(excerpt) <= characters

    @reproducible
    @given(st.data(), values, st.integers(1, 60))
    def test_in_a_line(self, data, values, limit):
        """Nor at the end of a line that was cut."""
        stream = data.draw(self.streams(values))
        sizes = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=4))
        splitter = LineSplitter(secret(*values), limit=limit)
        lines = [line for chunk in cut(stream.encode(), sizes) for line in splitter.feed(chunk)]
        lines += splitter.feed(b"", final=True)
        assert not any(map(self.left.search, lines))

    @pytest.mark.parametrize("offset", range(len(KEY) + 1))
    def test_a_key_across_the_gap(self, offset):
        """A key is nowhere to be seen, wherever the limit cuts it."""
        stream = b"." * (100 - offset) + KEY.encode() + b"." * 300
        text = fed(200, [stream]).text(secret(KEY))
        assert GAP.sub("", text).strip(".") in {REDACTED, ""}
        stream = b"." * 300 + KEY.encode() + b"." * (100 - offset)
        text = fed(200, [stream]).text(secret(KEY))
        assert GAP.sub("", text).strip(".") in {REDACTED, ""}

    def test_what_json_makes_of_it(self):
        """A value with quotation marks and lines isn't seen in its JSON form either."""
        value = 'first "line"\nsecond line'
        stream = b'{"key": "first \\"line\\"\\nsecond line"}'
        for limit in range(1, len(stream) + 1):
            for part in GAP.split(fed(limit, [stream]).text(secret(value)))[::2]:
                assert not re.search("fi|rst|ne|sec|ond", part.replace(REDACTED, ""))

    def test_nothing_is_redacted_where_nothing_was_cut(self):
        """A whole stream's beginning and end are no parts of anything."""
        stream = f"{KEY[-5:]} was read, and {KEY[:5]}"
        assert fed(1000, [stream.encode()]).text(secret(KEY)) == stream
        assert fed(1000, [stream.encode()]).excerpt(200, secret(KEY)) == stream
        assert LineSplitter(secret(KEY)).feed(stream.encode(), final=True) == [stream]


LINES = [
    (b"", []),
    (b"one\ntwo\n", ["one", "two"]),
    (b"one\r\ntwo\r\n", ["one", "two"]),
    (b"one\n\n \n\r\n\ttwo", ["one", "\ttwo"]),
    (b"no end", ["no end"]),
    (b"progress 1\rprogress 2\r\n", ["progress 1"]),
    ("Grüße 🌍\n€".encode(), ["Grüße 🌍", "€"]),
    (b"\xff\n\xc3", ["\ufffd", "\ufffd"]),
    ("a\u2028b\x0bc\n".encode(), ["a\u2028b\x0bc"]),
    (b"x" * 10, ["x" * 10]),
    (b"x" * 10 + b"\r\n", ["x" * 10]),
    (b"x" * 10 + b"\r\r\r\n", ["x" * 10]),
    (b"x" * 11, ["x" * 10]),
    (b"x" * 500 + b"\nshort", ["x" * 10, "short"]),
    ("ü".encode() * 500 + b"\nshort", ["ü" * 10, "short"]),
    (b"short\n" + b"x" * 500, ["short", "x" * 10]),
]


@pytest.mark.parametrize(("stream", "lines"), LINES)
@pytest.mark.parametrize("size", [1, 3, 4096])
def test_lines(stream, lines, size):
    """Trap A2. Lines come whole and without their ends; blank ones don't, long ones are cut."""
    splitter = LineSplitter(NO_SECRETS, limit=10)
    got = [line for chunk in cut(stream, [size]) for line in splitter.feed(chunk)]

    assert [*got, *splitter.feed(b"", final=True)] == lines


@reproducible
@given(ascii_pieces, st.integers(1, 20))
def test_lines_are_those_of_a_naive_model(chunks, limit):
    """Cut or whole, the lines are those that splitting the whole stream gives."""
    splitter = LineSplitter(NO_SECRETS, limit=limit)
    got = [line for chunk in chunks for line in splitter.feed(chunk)]
    got += splitter.feed(b"", final=True)
    expected = [line[:limit] for line in b"".join(chunks).decode().split("\n")]
    assert got == [line for line in expected if line.strip()]


def test_a_line_is_given_as_soon_as_it_ends():
    """A line is not held back until the next chunk comes."""
    splitter = LineSplitter(NO_SECRETS)
    assert splitter.feed(b"one\ntw") == ["one"]
    assert splitter.feed(b"o\n") == ["two"]
    assert splitter.feed(b"", final=True) == []


def test_an_endless_line_costs_no_memory():
    """Trap A4. What is beyond a line's limit is dropped as it comes."""
    splitter = LineSplitter(NO_SECRETS)
    for _ in range(100):
        assert splitter.feed(b"x" * 10_000) == []
        assert len(splitter._partial) <= LINE_LIMIT + 1
    assert splitter.feed(b"\nnext\n") == ["x" * LINE_LIMIT, "next"]


def test_a_secret_of_several_lines():
    """A value of several lines is found line by line."""
    value = "first line\nsecond line"
    splitter = LineSplitter(secret(value))
    assert splitter.feed(f"a: {value}!\n".encode()) == [f"a: {REDACTED}", f"{REDACTED}!"]
