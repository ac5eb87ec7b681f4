"""JSON in steps: the same as in one, whatever the document, and with pauses where it is long."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nanoclaw_trio.protocol.converters import MOST_ENTRIES
from nanoclaw_trio.protocol.json_text import parse_json
from nanoclaw_trio.protocol.large_json import (
    LARGE,
    LONG,
    MOST_VALUES,
    SHORT,
    SLICE,
    parse_at_once,
    parse_in_steps,
)

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
    """A value, or that there is none."""
    try:
        return parse(data)
    except ValueError:
        return ValueError


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


TEXT = b"x" * (LARGE + SLICE)

ODD = {
    "a string alone": b'"%b"' % TEXT,
    "a key": b'{"%b":1}' % TEXT,
    "in an array": b'["%b"]' % TEXT,
    "within": b'{"a":{"b":"%b"}}' % TEXT,
    "twice the same key": b'{"a":"%b","a":"short"}' % TEXT,
    "two": b'{"a":"%b","b":"%b"}' % (TEXT, TEXT),
    "behind many others": b'{"a":[%b"%b"],"b":1}' % (b'"a\\"b",' * 999, TEXT),
    "some that are just long": b"[%b1]" % (b'"%b",' % (b"x" * LONG) * 99),
    "deep within": b"[" * 300 + b'"%b"' % TEXT + b"]" * 300,
    "no end": b'{"a":"%b' % TEXT,
    "nothing but its beginning": b'{"a":"' + TEXT[: 4 * SLICE + 7],
    "a line feed in it": b'{"a":"%b\n%b"}' % (TEXT, TEXT),
    "half an escape at its end": b'{"a":"%b\\"}' % TEXT,
    "an unknown escape": b'{"a":"%b\\x"}' % TEXT,
    "half a pair": b'{"a":"%b\\ud83d"}' % TEXT,
    "no UTF-8": b'{"a":"%b\xff"}' % TEXT,
    "something behind": b'{"a":"%b"} x' % TEXT,
    "nothing but backslashes": b'{"a":"%b"}' % (b"\\\\" * LARGE),
    "nothing but quotation marks": b'{"a":"%b"}' % (b'\\"' * LARGE),
    "no JSON": b"x" * (2 * LARGE),
    "nothing but halves of pairs": b'{"a":"%b"}' % (b"\\ud83d" * LARGE),
    "pairs": b'{"a":"y%b"}' % (b"\\ud83d\\ude00" * LARGE),
    "half an escape": b'{"a":"%b\\u12"}' % TEXT,
    "a backslash at its end": b'{"a":"%b\\' % TEXT,
    "wide characters without a beginning": b'{"a":"%b"}' % (b"\x80" * (2 * LARGE)),
    "a comma too many": b'{"a":"%b",}' % TEXT,
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
def test_whatever_it_is(data):
    """Every document, right or wrong, is what the parser makes of it whole."""
    assert outcome(in_steps, data) == outcome(parse_json, data)


HOSTILE = {
    "lists": b"[],",
    "objects": b'{"":1},',
    "numbers": b"1,",
    "strings": b'"ab",',
    "brackets": b"[",
    "quotation marks": b'"',
    "strings that seem to go on": b'"\\\\",',
}


@pytest.mark.parametrize("escape", [b"", b"\\ud800"])
@pytest.mark.parametrize("size", [LARGE // 2, 16 * LARGE])
@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
def test_a_document_that_is_millions_of_values(unit, size, escape):
    """What would keep all others waiting, and fill memory, is refused before it is parsed."""
    head = b'{"status":"success","result":"%b","x":[' % escape
    data = head + unit * (size // len(unit)) + b"0]}"
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"^more than "):
            in_steps(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * LARGE


def test_no_value_too_many():
    """As many values as are allowed are taken, and of a short document all that it has room for."""
    most = [0] * (MOST_VALUES - 1)
    spaced = {"separators": (", " + " " * 9, ":")}
    assert in_steps(json.dumps({"a": most}, **spaced).encode()) == {"a": most}
    with pytest.raises(ValueError, match=f"more than {MOST_VALUES} values"):
        in_steps(json.dumps({"a": [*most, 0]}, **spaced).encode())
    assert in_steps(b"[%b1]" % (b"1," * (SHORT // 2 - 2))) == [1] * (SHORT // 2 - 1)


def test_as_many_follow_ups_as_are_allowed():
    """The longest array that an output may have isn't too much."""
    names = [f"{number}-a-name-of-some-length.json" for number in range(MOST_ENTRIES)]
    document = {"status": "success", "result": "x", "newSessionId": "1", "followUps": names}
    assert in_steps(json.dumps(document).encode()) == document


def test_much_besides_its_long_strings():
    """What a document has besides its long strings is parsed in one go, and so it is bounded."""
    row = [["x" * (LONG - 4)], ["y" * (2 * LONG)]]
    assert in_steps(json.dumps(row * 50).encode()) == row * 50
    with pytest.raises(ValueError, match="besides its long strings"):
        in_steps(json.dumps(row * 100).encode())


@pytest.mark.parametrize("size", [SHORT, LARGE - 99, 16 * LARGE])
@pytest.mark.parametrize("text", ["1,2,3\n", '[{"a": [1, 2]}, \\n]', "def f(x=[]): {}, 'ä'\n"])
def test_text_that_looks_like_values(text, size):
    """An answer of nothing but commas and brackets is text: there is no bound but the frame's."""
    document = {"status": "success", "result": text * (size // (len(text) + 9))}
    assert in_steps(json.dumps(document).encode()) == document
    assert parse_at_once(json.dumps(document, ensure_ascii=False).encode()) == document


@pytest.mark.parametrize(
    "unit", [r"\n", r"\\", r"\"", r"\u4e2d", r"\ud83d\ude00", r"\ud83d", "ä中😀"]
)
def test_no_step_is_long(unit):
    """Whatever it is written with, a text is decoded a slice at a time, and joined in the end."""
    data = f'{{"result":"y{unit * (4 * LARGE // len(unit.encode()))}"}}'.encode()
    steps = parse_in_steps(data)
    made = [count_bytes(steps)]
    while made[-1] is not None:
        made.append(count_bytes(steps))
    *slices, _joined, _end = made
    assert len(slices) >= 4 * LARGE // SLICE
    assert max(slices) < 16 * SLICE


def count_bytes(steps):
    """The bytes that were taken for a step, at most; None for none."""
    tracemalloc.start()
    try:
        next(steps)
        return tracemalloc.get_traced_memory()[1]
    except StopIteration:
        return None
    finally:
        tracemalloc.stop()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


@reproducible
@given(values, st.sampled_from([unit for unit in UNITS if unit != "\ud83d"]), st.booleans())
def test_a_long_string_anywhere(document, unit, ascii_only):
    """A document with long strings at any place, as keys too, is the same in steps."""
    long = unit * (LARGE // len(unit))
    whole = [document, {long: document, "a": [long, document]}, long]
    data = json.dumps(whole, ensure_ascii=ascii_only).encode()
    assert in_steps(data) == whole


@reproducible
@given(values, st.sampled_from(["", " " * SHORT]))
def test_any_document_that_is_not_large(document, space):
    """A document that isn't large is what the parser makes of it."""
    data = space.encode() + json.dumps(document).encode()
    assert repr(in_steps(data)) == repr(parse_json(data))


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
