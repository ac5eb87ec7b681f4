"""What a container engine sends: frames of streams, and answers."""

from __future__ import annotations

import json
from itertools import pairwise

from documents import VALUES, objects
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.runtimes.abc import ContainerState
from nanoclaw_trio.runtimes.answers import read_apple_states, read_ids, read_state_lines
from nanoclaw_trio.runtimes.engine_api.frames import STDERR, STDOUT, FrameParser
from nanoclaw_trio.runtimes.engine_api.replies import read_container, read_containers
from nanoclaw_trio.runtimes.engine_api.version import choose_version, read_version
from nanoclaw_trio.runtimes.images import ImageFacts, read_image

FRAMES = st.lists(st.tuples(st.sampled_from([0, STDOUT, STDERR]), st.binary(max_size=30)))

CUTS = st.lists(st.integers(0, 500), max_size=30)

STREAM = st.sampled_from([STDOUT, STDERR])


def written(frames):
    return b"".join(
        bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload
        for stream, payload in frames
    )


def cut(data, cuts):
    edges = sorted({0, len(data), *(place for place in cuts if place < len(data))})
    return [data[start:end] for start, end in pairwise(edges)]


@given(FRAMES, CUTS, STREAM)
def test_a_stream_is_heard_however_it_is_cut(frames, cuts, stream):
    """Of frames of all streams, cut anywhere, one stream's payload is heard whole, in order, and as
    soon as it is there; and between two pieces no more is kept than a part of a header."""
    parser, heard, given_so_far = FrameParser(stream), b"", b""
    for chunk in cut(written(frames), cuts):
        heard += parser.feed(chunk)
        given_so_far += chunk
        assert heard == payload_in(given_so_far, stream)
        assert len(parser._header) < 8


def payload_in(data, stream):
    """One stream's payload, as far as it is there, frame after frame."""
    payload, at = b"", 0
    while len(data) - at >= 8:
        size = int.from_bytes(data[at + 4 : at + 8], "big")
        payload += data[at + 8 : at + 8 + size] if data[at] == stream else b""
        at += 8 + size
    return payload


@given(st.lists(st.binary(max_size=40) | FRAMES.map(written), max_size=8), STREAM)
def test_what_is_no_frame_is_the_engines_fault(chunks, stream):
    """Any bytes are payload, as much as there is of it before a problem, however they come."""
    pieces, at_once = FrameParser(stream), FrameParser(stream)
    payload = b"".join(map(pieces.feed, chunks))
    assert at_once.feed(b"".join(chunks)) == payload
    assert (pieces.problem is None) == (at_once.problem is None)
    assert len(payload) <= sum(map(len, chunks))


STATES = objects(Status=st.sampled_from(["running", "exited", "Ünknown"]))

CONTAINERS = objects(
    Name=st.text(max_size=5),
    Names=st.lists(st.text(max_size=5), max_size=2),
    State=STATES | st.text(max_size=5),
    Config=objects(Labels=st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2)),
    Labels=st.dictionaries(st.text(max_size=4), st.text(max_size=4) | VALUES, max_size=2),
    configuration=objects(id=st.text(max_size=4), labels=VALUES),
    status=st.text(max_size=5),
)

DOCUMENTS = CONTAINERS | st.lists(CONTAINERS, max_size=2) | VALUES


@given(DOCUMENTS)
def test_an_engines_answer_is_understood_or_a_value_error(document):
    """Any document that an engine's API answers with is states of containers, or a ValueError."""
    for read in (read_container, lambda answer: read_containers(answer)[:1]):
        try:
            found = read(document)
        except ValueError:
            continue
        states = found if isinstance(found, tuple) else (found,)
        assert all(isinstance(state, ContainerState) for state in states)


TEXTS = st.text(max_size=60) | DOCUMENTS.map(json.dumps)


@given(TEXTS)
def test_a_clients_answer_is_understood_or_a_value_error(output):
    """Any text that an engine's client prints is what was asked for, or a ValueError; and what an
    image's inspection says that we don't understand isn't known, and no error."""
    for read in (read_ids, read_state_lines, read_apple_states):
        try:
            assert isinstance(read(output), tuple)
        except ValueError:
            continue
    assert isinstance(read_image(output), ImageFacts)


VERSIONS = objects(
    Version=st.text(max_size=5),
    ApiVersion=st.from_regex(r"[0-9]{1,2}\.[0-9]{1,3}", fullmatch=True) | st.text(max_size=5),
    MinAPIVersion=st.from_regex(r"[0-9]\.[0-9]{1,2}", fullmatch=True) | VALUES,
    Components=VALUES,
)


@given(VERSIONS | VALUES)
def test_a_version_is_chosen_or_a_value_error(document):
    """Any answer is a version that both sides speak, or a ValueError."""
    try:
        chosen = choose_version(read_version(document))
    except ValueError:
        return
    assert chosen.startswith("1.")
