"""JSON in steps: the same as in one, whatever the document, and with pauses where it is long."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nanoclaw_trio.protocol.json_text import parse_json
from nanoclaw_trio.protocol.large_json import LARGE, SLICE, parse_in_steps

reproducible = settings(derandomize=True, deadline=None, max_examples=60)

UNITS = ["x", "prose, a line\n", '\\"', "ä", "中", "😀", "\\", '"', "\x00", "\ud83d", "a😀\\"]


def run(data):
    """What the steps amount to, and how many pauses there were."""
    steps = parse_in_steps(data)
    pauses = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value, pauses
        pauses += 1


def outcome(parse, data):
    """A value, or an error's text."""
    try:
        return parse(data)
    except ValueError as error:
        return f"ValueError: {error}"


def in_steps(data):
    """The value alone."""
    return run(data)[0]


def long_text(unit):
    """A text that is large however it is written."""
    return unit * (2 * LARGE // len(unit))


@pytest.mark.parametrize("kind", [bytes, bytearray])
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit != "\ud83d"])
def test_a_long_answer(unit, ascii_only, kind):
    """A long string is the same in steps, whatever its characters and however they are escaped."""
    document = {"status": "success", "result": long_text(unit), "newSessionId": 's"1\\'}
    data = kind(json.dumps(document, ensure_ascii=ascii_only).encode())
    assert in_steps(data) == document


def test_there_are_pauses():
    """Nobody is held up for longer than a slice takes."""
    _, pauses = run(json.dumps({"result": "x" * (8 * SLICE)}).encode())
    assert pauses >= 7


def test_a_small_document_has_no_pauses():
    """What is quick anyway is done at once."""
    assert run(b'{"result":"x"}') == ({"result": "x"}, 0)


LONG = b"x" * (LARGE + SLICE)

ODD = {
    "a string alone": b'"%b"' % LONG,
    "a key": b'{"%b":1}' % LONG,
    "in an array": b'["%b"]' % LONG,
    "within": b'{"a":{"b":"%b"}}' % LONG,
    "twice the same key": b'{"a":"%b","a":"short"}' % LONG,
    "two": b'{"a":"%b","b":"%b"}' % (LONG, LONG),
    "numbers": b"[%b1]" % (b"1," * LARGE),
    "many strings": b"[%b1]" % (b'"ab",' * LARGE),
    "no end": b'{"a":"%b' % LONG,
    "nothing but its beginning": b'{"a":"' + LONG[: 4 * SLICE + 7],
    "a line feed in it": b'{"a":"%b\n%b"}' % (LONG, LONG),
    "half an escape at its end": b'{"a":"%b\\"}' % LONG,
    "an unknown escape": b'{"a":"%b\\x"}' % LONG,
    "half a pair": b'{"a":"%b\\ud83d"}' % LONG,
    "no UTF-8": b'{"a":"%b\xff"}' % LONG,
    "something behind": b'{"a":"%b"} x' % LONG,
    "nothing but backslashes": b'{"a":"%b"}' % (b"\\\\" * LARGE),
    "nothing but quotation marks": b'{"a":"%b"}' % (b'\\"' * LARGE),
    "no JSON": b"x" * (2 * LARGE),
    "a comma too many": b'{"a":"%b",}' % LONG,
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
def test_whatever_it_is(data):
    """Every document, right or wrong, is what the parser makes of it whole."""
    assert outcome(in_steps, data) == outcome(parse_json, data)


@reproducible
@given(
    st.lists(st.sampled_from([*UNITS, "\\u", "\\ud83d", "\\ude00", "\\n"]), min_size=1, max_size=9),
    st.integers(0, 7),
)
@example(["\\ud83d", "\\ude00"], 3)
def test_cuts_anywhere(units, shift):
    """Wherever a slice ends among escapes and wide characters, the whole is the same."""
    text = "y" * shift + "".join(units) * (LARGE // len("".join(units)) + 1)
    data = f'{{"result":"{text}"}}'.encode(errors="surrogatepass")
    assert outcome(in_steps, data) == outcome(parse_json, data)
