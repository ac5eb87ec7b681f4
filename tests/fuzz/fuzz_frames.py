"""Fuzzes the frame parser for as long as you let it: `python tests/fuzz/fuzz_frames.py --seconds 60`.

A failure ends it with hypothesis's smallest example and exit status 1. The seed it prints goes back
in with `--seed`.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise

from hypothesis import given, seed, settings
from hypothesis import strategies as st

from nanoclaw_trio.protocol.frames import (
    END_MARKER,
    START_MARKER,
    Event,
    Frame,
    FrameParser,
    Sentinel,
)

LIMIT = 200

WORDS = [START_MARKER, END_MARKER, START_MARKER[:20], b"\n", b"\r", b" ", b"-", "ä".encode(), b"{}"]
STREAMS = st.lists(st.sampled_from(WORDS) | st.binary(max_size=8), max_size=120).map(b"".join)
CUTS = st.lists(st.integers(0, 3000), max_size=60)


def parse(chunks: list[bytes]) -> tuple[list[Event], int]:
    """The events of a stream in these chunks, and its noise."""
    parser = FrameParser(max_frame_bytes=LIMIT)
    events: list[Event] = []
    for chunk in (*chunks, b""):
        parser.receive_data(chunk)
        while not isinstance(event := parser.next_event(), Sentinel):
            events.append(event)
    return events, parser.noise_bytes


def cuts_make_no_difference(stream: bytes, cuts: list[int]) -> None:
    """However a stream is cut, the events and the noise are those of the whole."""
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    chunks = [stream[start:end] for start, end in pairwise(edges)]
    assert parse(chunks) == parse([stream] if stream else [])


def payloads_survive_a_second_time(stream: bytes, _: list[int]) -> None:
    """Payloads written as frames again, each directly behind its START, are read as they were."""
    frames = [event for event in parse([stream] if stream else [])[0] if isinstance(event, Frame)]
    again = b"".join(START_MARKER + f.payload + b"\n" + END_MARKER for f in frames)
    assert parse([again] if again else []) == (frames, 0)


def main() -> None:
    """Run both claims on new examples until the time is over."""
    options = argparse.ArgumentParser(description="Fuzz the frame parser.")
    options.add_argument("--seconds", type=float, default=60.0, help="how long (default 60)")
    options.add_argument("--seed", type=int, default=0, help="where to begin (default 0)")
    chosen = options.parse_args()
    end = time.monotonic() + chosen.seconds
    number = chosen.seed
    while time.monotonic() < end:
        print(f"seed {number}", flush=True)
        for claim in (cuts_make_no_difference, payloads_survive_a_second_time):
            rounds = settings(max_examples=500, deadline=None, database=None)
            seed(number)(rounds(given(STREAMS, CUTS)(claim)))()
        number += 1


if __name__ == "__main__":
    main()
