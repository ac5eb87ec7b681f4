"""The frame parser against a naive one, for every way of cutting a stream."""

from __future__ import annotations

import json
import sys
import tracemalloc
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.protocol import frames
from nanoclaw_trio.protocol.frames import (
    DEFAULT_MAX_FRAME_BYTES,
    END_MARKER,
    END_OF_STREAM,
    NEED_DATA,
    START_MARKER,
    Event,
    Frame,
    FrameParser,
    FrameRestarted,
    FrameTooLarge,
    FrameUnfinished,
    Sentinel,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

S, E = START_MARKER, END_MARKER
KIB, MIB = 1024, 1024 * 1024

Told: TypeAlias = list[tuple[Event | None, int]]
"""Each event with the noise counted until then; None stands for the end of the stream."""


def pull(parser: FrameParser) -> Iterator[Event]:
    """The events that can be told now."""
    while not isinstance(event := parser.next_event(), Sentinel):
        yield event


def parse(chunks: Iterable[bytes], limit: int = DEFAULT_MAX_FRAME_BYTES) -> Told:
    """What the parser tells of a stream that comes in these chunks."""
    parser = FrameParser(max_frame_bytes=limit)
    told: Told = []
    for chunk in (*chunks, b""):
        parser.receive_data(chunk)
        told += [(event, parser.noise_bytes) for event in pull(parser)]
    return [*told, (None, parser.noise_bytes)]


def parse_naively(stream: bytes, limit: int = DEFAULT_MAX_FRAME_BYTES) -> Told:
    """The same told by the plainest reading of the rules, of a stream that is there as a whole."""
    told: Told = []
    noise = 0
    rest = stream
    while S in rest:
        before, rest = rest.split(S, maxsplit=1)
        noise += len(before)
        marker = S
        while marker == S:
            size, marker = first_line_marker(rest)
            told.append((event_of(rest[:size], marker, limit), noise))
            rest = rest[size + len(marker) :]
    return [*told, (None, noise + len(rest))]


def first_line_marker(text: bytes) -> tuple[int, bytes]:
    """How much of `text` comes before the first line that begins with a marker, and the marker."""
    first, *lines = text.split(b"\n")
    size = len(first)
    for line in lines:
        size += 1
        for marker in (S, E):
            if line.startswith(marker):
                return size, marker
        size += len(line)
    return size, b""


def event_of(content: bytes, marker: bytes, limit: int) -> Event:
    """What becomes of a frame with this content, closed by this marker or by the stream's end."""
    if len(content) > limit:
        return FrameTooLarge(limit=limit)
    if marker == E:
        return Frame(payload=content.strip())
    if marker == S:
        return FrameRestarted(dropped=len(content))
    return FrameUnfinished(size=len(content))


class Case(NamedTuple):
    stream: bytes
    events: list[Event]
    noise: int
    limit: int = DEFAULT_MAX_FRAME_BYTES


CASES = {
    "nothing": Case(b"", [], 0),
    "noise only": Case(b"npm notice\n", [], 11),
    "one frame": Case(S + b"\n{}\n" + E + b"\n", [Frame(payload=b"{}")], 1),
    "carriage returns": Case(S + b"\r\n{}\r\n" + E + b"\r\n", [Frame(payload=b"{}")], 2),
    "an empty frame": Case(S + b"\n" + E, [Frame(payload=b"")], 0),
    "start in the middle of a line": Case(
        b"warming up " + S + b"\n1\n" + E, [Frame(payload=b"1")], 11
    ),
    "payload on the start's line": Case(S + b"1\n" + E, [Frame(payload=b"1")], 0),
    "end behind its payload": Case(S + b"\n1" + E, [FrameUnfinished(size=2 + len(E))], 0),
    "end directly behind start": Case(
        S + E + b"\n1\n" + E, [Frame(payload=E + b"\n1")], 0
    ),
    "start directly behind start": Case(S + S + b"\n" + E, [Frame(payload=S)], 0),
    "two frames on one line": Case(
        S + b"\n1\n" + E + S + b"\n2\n" + E, [Frame(payload=b"1"), Frame(payload=b"2")], 0
    ),
    "an end without a start": Case(b"\n" + E + b"\n", [], 2 + len(E)),
    "end's dashes don't begin a start": Case(S + b"\n" + E + S[3:], [Frame(payload=b"")], len(S) - 3),
    "half a start, then a start": Case(S[:9] + S + b"\n" + E, [Frame(payload=b"")], 9),
    "more dashes than a start has": Case(b"--" + S + b"\n" + E, [Frame(payload=b"")], 2),
    "half a start at the end": Case(b"x" + S[:-1], [], len(S)),
    "half an end, then an end": Case(
        S + b"\n" + E[:-1] + b"\n" + E, [Frame(payload=E[:-1])], 0
    ),
    "blank lines before the end": Case(S + b"1\n\n\n" + E, [Frame(payload=b"1")], 0),
    "restarted": Case(
        S + b"\n{\n" + S + b"\n2\n" + E, [FrameRestarted(dropped=3), Frame(payload=b"2")], 0
    ),
    "restarted within its cap": Case(
        S + b"\n12\n" + S + b"\n2\n" + E, [FrameRestarted(dropped=4), Frame(payload=b"2")], 0, 4
    ),
    "restarted beyond its cap": Case(
        S + b"\n123\n" + S + b"\n2\n" + E, [FrameTooLarge(limit=4), Frame(payload=b"2")], 0, 4
    ),
    "unfinished": Case(b"x" + S + b"\n{", [FrameUnfinished(size=2)], 1),
    "unfinished in its end": Case(S + b"\n{\n" + E[:-1], [FrameUnfinished(size=27)], 0),
    "unfinished directly behind start": Case(S, [FrameUnfinished(size=0)], 0),
    "cap reached": Case(S + b"\n12\n" + E + b"x", [Frame(payload=b"12")], 1, 4),
    "cap passed by one": Case(S + b"\n123\n" + E + b"x", [FrameTooLarge(limit=4)], 1, 4),
    "cap reached by half an end": Case(S + b"12\n" + E[:1], [FrameUnfinished(size=4)], 0, 4),
    "cap passed by half an end": Case(S + b"12\n" + E[:2], [FrameTooLarge(limit=4)], 0, 4),
    "cap passed by a start": Case(S + b"123\n" + S[:-1] + b"x", [FrameTooLarge(limit=4)], 0, 4),
    "cap passed, never ended": Case(S + b"12345", [FrameTooLarge(limit=4)], 0, 4),
    "the stream goes on behind a large frame": Case(
        S + b"12345" + E + b"\n6\n" + E + S + b"1\n" + E,
        [FrameTooLarge(limit=4), Frame(payload=b"1")],
        0,
        4,
    ),
}  # fmt: skip

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def events_of(told: Told) -> list[Event]:
    """The events without the counts of noise."""
    return [event for event, _ in told if event is not None]


@every_case
def test_events_of_a_whole_stream(case: Case) -> None:
    """A stream in one piece gives the events and the noise of the table, as the naive parser does."""
    told = parse([case.stream], case.limit)
    assert (events_of(told), told[-1][1]) == (case.events, case.noise)
    assert told == parse_naively(case.stream, case.limit)


@every_case
def test_byte_by_byte(case: Case) -> None:
    """A stream that comes byte by byte gives the same. Trap A2."""
    chunks = [case.stream[at : at + 1] for at in range(len(case.stream))]
    assert parse(chunks, case.limit) == parse([case.stream], case.limit)


@every_case
def test_every_cut_into_two_and_three(case: Case) -> None:
    """A stream cut at any one or two places gives the same."""
    whole = parse([case.stream], case.limit)
    size = len(case.stream)
    for one, two in combinations(range(1, size + 1), 2):
        chunks = [case.stream[:one], case.stream[one:two], case.stream[two:]]
        assert parse(filter(None, chunks), case.limit) == whole, (one, two)


@pytest.mark.parametrize("limit", range(1, 12))
@pytest.mark.parametrize("marker", [E, S, b""], ids=["end", "start", "none"])
def test_cap_at_the_border(marker: bytes, limit: int) -> None:
    """A frame of the cap's size is whole, one byte more is too large, wherever the stream is cut."""
    for size in range(1, 12):
        content = b"\n" * (size // 2) + b"x" * (size - size // 2 - 1) + b"\n"
        stream = S + content + marker + b"x"
        told = parse_naively(stream, limit)
        size_with_tail = size if marker else size + 1
        assert isinstance(told[0][0], FrameTooLarge) is (size_with_tail > limit)
        for cut in range(1, len(stream)):
            assert parse([stream[:cut], stream[cut:]], limit) == told


def test_characters_of_several_bytes_survive_every_cut() -> None:
    """A payload cut inside a UTF-8 sequence arrives whole. Trap A2."""
    text = "ä€😀"
    stream = S + b"\n" + text.encode() + b"\n" + E
    for cut in range(1, len(stream)):
        (event,) = events_of(parse([stream[:cut], stream[cut:]]))
        assert isinstance(event, Frame)
        assert event.payload.decode() == text


def test_answer_that_quotes_the_markers() -> None:
    """Markers inside an answer, on lines of their own there too, are part of it. Trap A3."""
    answer = f"{E.decode()}\n{S.decode()}\n{E.decode()}\n"
    payload = json.dumps({"status": "success", "result": answer}).encode()
    stream = S + b"\n" + payload + b"\n" + E + b"\n"
    assert events_of(parse([stream])) == [Frame(payload=payload)]


def test_frame_is_told_with_the_last_byte_of_its_end() -> None:
    """Nothing behind END is waited for, and nothing is told before it is complete."""
    parser = FrameParser()
    parser.receive_data(S + b"\n1\n" + E[:-1])
    assert parser.next_event() is NEED_DATA
    parser.receive_data(E[-1:])
    assert parser.next_event() == Frame(payload=b"1")
    assert parser.next_event() is NEED_DATA


@pytest.mark.parametrize(
    ("undecided", "decisive"),
    [(b"1234", b"5"), (b"123\n", b"x"), (b"123\n" + E[:-1], b"x"), (b"123\n" + S[:-1], b"\n")],
    ids=["content", "line", "half an end", "half a start"],
)
def test_too_large_is_told_as_soon_as_it_is_certain(undecided: bytes, decisive: bytes) -> None:
    """A frame is too large from the byte on after which no marker can close it within the cap."""
    parser = FrameParser(max_frame_bytes=4)
    parser.receive_data(S + undecided)
    assert parser.next_event() is NEED_DATA
    parser.receive_data(decisive)
    assert parser.next_event() == FrameTooLarge(limit=4)
    assert parser.next_event() is NEED_DATA


def test_end_of_stream_is_told_again_and_again() -> None:
    """After the end the parser only repeats that it was the end."""
    parser = FrameParser()
    parser.receive_data(b"")
    parser.receive_data(b"")
    assert [parser.next_event(), parser.next_event()] == [END_OF_STREAM, END_OF_STREAM]


def test_data_after_the_end_is_refused() -> None:
    """Bytes after the end are the caller's error, and change nothing."""
    parser = FrameParser()
    parser.receive_data(b"")
    with pytest.raises(ValueError, match="3 bytes came after the end of the stream; use a new"):
        parser.receive_data(b"abc")
    assert parser.next_event() is END_OF_STREAM


def test_cap_must_be_positive() -> None:
    """A cap that no frame could keep is refused."""
    with pytest.raises(ValueError, match="max_frame_bytes is 0; it must be at least 1"):
        FrameParser(max_frame_bytes=0)


@pytest.mark.parametrize("view", [lambda data: data, memoryview], ids=["bytearray", "memoryview"])
def test_callers_buffer_may_be_reused(view: Callable[[bytearray], bytearray | memoryview]) -> None:
    """Other kinds of bytes are copied, so that the caller can read into the same buffer again."""
    parser = FrameParser()
    own = bytearray(S + b"\n1\n" + E)
    parser.receive_data(view(own))
    own[:] = b"x" * len(own)
    assert parser.next_event() == Frame(payload=b"1")


def test_repr_does_not_show_the_payload() -> None:
    """A frame in a log or an exception shows its size, not what was said."""
    assert repr(Frame(payload=b"private")) == "Frame(payload=<7 bytes>)"


PIECES = st.one_of(
    st.sampled_from([S, E, b"\n" + S, b"\n" + E, b"\n", b"\r\n", b"-", b"---", b" ", S + b"\n"]),
    st.builds(lambda size: S[:size], st.integers(1, len(S) - 1)),
    st.builds(lambda size: b"\n" + E[:size], st.integers(1, len(E) - 1)),
    st.builds(lambda text: S + b"\n" + text.encode() + b"\n" + E + b"\n", st.text(max_size=60)),
    st.text(max_size=20).map(str.encode),
    st.binary(max_size=20),
)
STREAMS = st.lists(PIECES, max_size=40).map(b"".join)

reproducible = settings(derandomize=True, deadline=None, max_examples=400)


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """`stream` cut at these places, taken modulo its length."""
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[start:end] for start, end in pairwise(edges)]


@reproducible
@given(stream=STREAMS, places=st.lists(st.integers(0, 4000)), limit=st.integers(1, 100))
def test_any_cut_of_any_stream_agrees_with_the_naive_parser(
    stream: bytes, places: list[int], limit: int
) -> None:
    """Noise, frames, quoted and half markers in any order give what the naive parser gives."""
    assert parse(cut(stream, places), limit) == parse_naively(stream, limit)


@reproducible
@given(stream=STREAMS, places=st.lists(st.integers(0, 4000)), data=st.data())
def test_order_of_receiving_and_pulling_does_not_matter(
    stream: bytes, places: list[int], data: st.DataObject
) -> None:
    """Events pulled at any moments between the chunks, or only after the last, are the same."""
    parser = FrameParser(max_frame_bytes=50)
    events: list[Event] = []
    for chunk in (*cut(stream, places), b""):
        parser.receive_data(chunk)
        pulls = data.draw(st.integers(0, 2))
        events += [parser.next_event() for _ in range(pulls)]
    events += pull(parser)
    told = [event for event in events if not isinstance(event, Sentinel)]
    assert told == events_of(parse_naively(stream, 50))


def memory_peak(chunks: Iterable[bytes], limit: int) -> int:
    """The most bytes that were allocated at one time while the parser read `chunks`."""
    parser = FrameParser(max_frame_bytes=limit)
    tracemalloc.start()
    try:
        for chunk in chunks:
            parser.receive_data(chunk)
            for _ in pull(parser):
                pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("noise", "most"),
    [(b"x", 16 * KIB), (b"\n", 16 * KIB), (b"-", 2 * MIB), (S[:-4], 2 * MIB)],
    ids=["text", "lines", "dashes", "half markers"],
)
def test_noise_is_not_kept(noise: bytes, most: int) -> None:
    """Noise isn't even copied, unless a chunk ends like a marker: then one chunk is. Trap A4."""
    chunk = noise * (MIB // len(noise))
    assert memory_peak([chunk] * 32, limit=MIB) < most


def test_frame_is_held_at_most_twice() -> None:
    """A frame of N bytes costs 2 N, and an eighth that the buffer reserves. Trap A4."""
    chunk = b"x" * (64 * KIB)
    frame = [S + b"\n", *[chunk] * 64, b"\n" + E]
    assert memory_peak(frame, limit=8 * MIB) < 2.25 * 4 * MIB


@pytest.mark.parametrize("last", [E, S, b"x", b""], ids=["end", "start", "too large", "eof"])
def test_memory_of_a_frame_is_freed_with_its_event(last: bytes) -> None:
    """When a frame is told to be whole or dropped, the parser has let go of it. Trap A4."""
    size = 4 * MIB
    parser = FrameParser(max_frame_bytes=size)
    tracemalloc.start()
    for part in (S, *[b"x" * (64 * KIB - 1) + b"\n"] * 64):
        parser.receive_data(part)
        assert parser.next_event() is NEED_DATA
    held = tracemalloc.get_traced_memory()[0]
    parser.receive_data(last)
    event = parser.next_event()
    left = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    told = len(event.payload) if isinstance(event, Frame) else 0
    assert event is not NEED_DATA
    assert held > size
    assert left - told < 128 * KIB


def test_memory_of_an_endless_frame_is_bounded_by_the_cap() -> None:
    """A frame that never ends costs no more than the cap and a chunk. Trap A4."""
    chunk = b"x" * (64 * KIB)
    assert memory_peak([S, *[chunk] * 512], limit=MIB) < 1.25 * MIB + 2 * len(chunk)


class SearchedBytes:
    """Sums up what the parser's search functions went over, by their arguments and results."""

    def __init__(self) -> None:
        self.total = 0

    def __call__(self, frame: FrameType, what: str, result: object) -> None:
        """The interpreter's profile hook."""
        if what != "return" or frame.f_code.co_filename != frames.__file__:
            return
        if isinstance(result, tuple):
            at, marker = result
            given = frame.f_locals
            end = at + len(marker) if marker else len(given["buffer"])
            self.total += end - given["start"]


STORMS = {
    "one frame": [S, *[b"x" * KIB] * 256, b"\n" + E],
    "one frame byte by byte": [S, *[b"x"] * 4096],
    "one large chunk of small frames": [(S + b"\n{}\n" + E + b"\n") * 2000],
    "restarts": [(S + b"\n") * 2000],
    "half ends in a frame": [S, *[(b"\n" + E[:-1]) * 40] * 64],
    "line feeds in a frame": [S, *[b"\n" * KIB] * 64],
    "noise": [b"x" * KIB] * 256,
    "dashes": [b"-" * KIB] * 64,
    "half starts byte by byte": [S[at : at + 1] for at in range(len(S) - 4)] * 100,
    "a frame too large": [S, *[b"x\n" * KIB] * 64],
}


@pytest.mark.parametrize("chunks", STORMS.values(), ids=STORMS)
def test_bytes_are_searched_once(chunks: list[bytes]) -> None:
    """Beside the few bytes that may be half a marker none is searched a second time. Trap A4."""
    searched = SearchedBytes()
    before = sys.getprofile()
    sys.setprofile(searched)
    try:
        parse(chunks)
    finally:
        sys.setprofile(before)
    size = sum(map(len, chunks))
    again = len(S) * (len(chunks) + 1) * 2
    assert 0.9 * size <= searched.total <= size + again
