"""JSON with a long string in it, parsed in steps."""

from __future__ import annotations

from documents import check_discreet
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.protocol.json_text import parse_json
from nanoclaw_trio.protocol.large_json import LARGE, SLICE, parse_in_steps

WORDS = [b"plain words of some length ", "äöü€".encode(), "🎈".encode(), b"\\\\", b"\\n", b'\\"']
WORDS += [b"\\ud83c\\udf88", b"\\u00e4"]

WRONG = [b"", b"", b"", b"", b"\\ud83c", b'"', b"\\", b"\\u12", b"\xff", b"\xf0\x9f", b"\n", b"\0"]

BLOCKS = st.lists(st.sampled_from(WORDS) | st.binary(max_size=0), min_size=1, max_size=8).map(
    b"".join
)

FRAMES = st.sampled_from(
    [
        (b'{"status":"success","result":"', b'"}'),
        (b'{"status":"success","error":null,"result":"', b'","newSessionId":"1","followUps":[]}'),
        (b'{"a\\"b":"c\\\\","result" : "', b'", "result": "again"}'),
        (b'{"result":["', b'"]}'),
        (b'["', b'"]'),
        (b'"', b'"'),
        (b'{"', b'":1}'),
        (b'{"result":"', b'"'),
        (b'{"result":"', b'"} x'),
    ]
)

PLACES = st.sampled_from([0, 1, SLICE - 3, SLICE, SLICE + 1, 2 * SLICE - 1, LARGE])


def in_steps(data):
    """What comes of it, and in how many steps."""
    steps, generator = 0, parse_in_steps(data)
    while True:
        try:
            next(generator)
        except StopIteration as done:
            return done.value, steps
        steps += 1


@given(FRAMES, BLOCKS, st.sampled_from(WRONG), PLACES, st.integers(0, 9), st.booleans())
def test_in_steps_is_the_same_as_in_one_go(frame, block, wrong, place, shift, in_one_piece):
    """A large document, right or wrong at any place, parsed in steps is what it is when parsed in
    one go, or refused as well."""
    before, after = frame
    body = (b"x" * shift + block * (1 + (LARGE + SLICE) // max(1, len(block))))[: 2 * LARGE]
    data = before + body[:place] + wrong + body[place:] + after
    try:
        expected = parse_json(data)
    except ValueError:
        expected = None
    try:
        found, _ = in_steps(data if in_one_piece else bytearray(data))
    except ValueError as error:
        check_discreet(error)
        found = None
    assert found == expected
