"""JSON text: what is taken, what is refused, and that both parsers mean the same."""

from __future__ import annotations

import json
import traceback

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nanoclaw_trio.protocol.json_text import dump_json, parse_json

reproducible = settings(derandomize=True, deadline=None)

numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | st.text()
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)

# Pieces of which JSON is made, so that arbitrary text is JSON often enough to be worth comparing.
pieces = st.sampled_from(
    [
        *'{}[]:,"\\ \n\t01-+.eEx\x00\x1f\x7f\xa0\ufeff\u2028é😀',
        '"a"',
        '"a":',
        "\\n",
        "\\u0041",
        "\\ud83d\\ude00",
        "\\ud83d",
        "\\uDE00",
        "\\\\ud800",
        "null",
        "true",
        "false",
        "NaN",
        "Infinity",
        "-Infinity",
        "12",
        "-0",
        "1e5",
        "0.1",
        "1e999",
        "123456789012345678901234567890",
    ]
)


texts = st.text() | st.lists(pieces).map("".join) | json_values.map(json.dumps)


def read_by_the_standard_library(text: str) -> object:
    """The value with half pairs replaced; ValueError where JSON ends."""
    value = json.loads(text, parse_int=whole, parse_float=finite, parse_constant=refuse)
    return without_halves(value)


def whole(text: str) -> float:
    """An int within 64 bits, a float beyond."""
    return int(text) if -(2**63) <= int(text) < 2**64 else finite(text)


def finite(text: str) -> float:
    """A float that isn't infinite."""
    if float(text) in (float("inf"), float("-inf")):
        raise ValueError(text)
    return float(text)


def refuse(name: str) -> None:
    """NaN and Infinity aren't JSON."""
    raise ValueError(name)


def without_halves(value: object) -> object:
    """U+FFFD for each lone surrogate, one character at a time."""
    match value:
        case str():
            return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in value)
        case list():
            return [without_halves(item) for item in value]
        case dict():
            return {without_halves(key): without_halves(item) for key, item in value.items()}
        case _:
            return value


def outcome_of(parse: object, source: object) -> str:
    """What came of it, down to the type: 1, 1.0 and true are three things, 0.0 and -0.0 two."""
    try:
        return repr(parse(source))  # type: ignore[operator]
    except ValueError:
        return "refused"


@reproducible
@given(json_values)
def test_any_value_survives_the_way_there_and_back(value: object) -> None:
    """What is written as JSON is read as the same value, on one line or indented."""
    assert repr(parse_json(dump_json(value))) == repr(value)
    assert repr(parse_json(dump_json(value, indent=True))) == repr(value)
    assert b"\n" not in dump_json(value)


@reproducible
@given(texts)
@example('["\\ud83d", 1e999]')
@example('["\\ud83d", 123456789012345678901234567890]')
@example('["\\\\ud83d"]')
@example('"\\ud83d\\ud83d\\ude00\\ude00"')
@example('{"\\ud83d": 1, "\\ude00": 2}')
@example('["\\ud83d", NaN]')
@example("\ufeff1")
def test_reads_as_the_standard_library_does(text: str) -> None:
    """For any text, JSON or not, the value or the refusal is the standard library's."""
    assert outcome_of(parse_json, text.encode()) == outcome_of(read_by_the_standard_library, text)


@reproducible
@given(st.binary() | st.lists(st.binary(max_size=2) | pieces.map(str.encode)).map(b"".join))
@example(b'"\xff"')
@example(b'"\\ud83d\xff"')
def test_any_bytes_are_a_value_or_a_value_error(data: bytes) -> None:
    """Whatever an agent writes, nothing but a ValueError comes of it."""
    assert outcome_of(parse_json, data)


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"a\ud83d", "a\ufffd"),
        (r"\ud83db", "\ufffdb"),
        (r"\uDE00\uD83D", "\ufffd\ufffd"),
        (r"\ud83d\ud83d\ude00", "\ufffd😀"),
        (r"\ud83d\ude00 \ud83d", "😀 \ufffd"),
        (r"\\ud83d", r"\ud83d"),
        (r"é\u0000\ud83d", "é\x00\ufffd"),
    ],
)
def test_half_a_surrogate_pair_becomes_one_replacement(escaped: str, text: str) -> None:
    """Half an emoji costs that half, not the answer around it; whole ones stay whole."""
    assert parse_json(f'["{escaped}"]'.encode()) == [text]
    assert parse_json(f'{{"{escaped}": {{"{escaped}": 1.5}}}}'.encode()) == {text: {text: 1.5}}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not JSON: "),
        (b"NaN", "not JSON: "),
        (b"[-Infinity]", "not JSON: "),
        (b"[1e999]", "not JSON: "),
        (rb'["\ud83d", NaN]', "not JSON: NaN"),
        (rb'["\ud83d", -Infinity]', "not JSON: -Infinity"),
        (rb'["\ud83d", 1e999]', "not JSON: "),
        (rb'["\ud83d", ' + b"9" * 5000 + b"]", "not JSON: "),
        (rb'"\ud83d ', "not JSON: Unterminated string starting"),
        (b'"\\ud83d\x01"', "not JSON: Invalid control character"),
        (b'"\\ud83d\xff"', "not JSON: not UTF-8 at byte 7"),
        (b'"\xff"', "not JSON: "),
        (b'{"a": 1} trailing', "not JSON: "),
        (b"'a'", "not JSON: "),
    ],
)
def test_what_is_not_json_is_said_so(data: bytes, problem: str) -> None:
    """A refusal says what is wrong, in one line."""
    with pytest.raises(ValueError) as caught:
        parse_json(data)
    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("prefix", [b"", rb'["\ud83d",', rb'{"\ud83d":1,"a":'])
@pytest.mark.parametrize("unit", [b"[", b'{"a":', b"[["])
def test_deep_nesting_is_a_clean_refusal(prefix: bytes, unit: bytes) -> None:
    """100,000 brackets exhaust no stack: they are refused as any other text that isn't JSON."""
    with pytest.raises(ValueError, match=r"^not JSON: "):
        parse_json(prefix + unit * 100_000)


def test_nesting_that_is_closed_again_is_refused_as_well() -> None:
    """What would be JSON but for its depth is refused by the way around half pairs too."""
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(b"[" * 100_000 + rb'"\ud83d"' + b"]" * 100_000)


@pytest.mark.parametrize(
    "data",
    [
        b'{"key": "canary-4711", }',
        rb'{"key": "canary-4711\ud83d", }',
        rb'{"key": "canary-4711\ud83d", "n": NaN}',
        b'{"key": "canary-4711\\ud83d\xff"}',
        rb'["\ud83d", "canary-4711", ' + b"[" * 100_000,
    ],
)
def test_refusal_holds_nothing_of_the_document(data: bytes) -> None:
    """The error, whatever preceded it, and the traceback's text are free of the document."""
    with pytest.raises(ValueError) as caught:
        parse_json(data)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "canary" not in repr(error)
    assert "canary" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("indent", [False, True])
@pytest.mark.parametrize("text", ["\ud83d", "a\udfff\ud800b", "é\ud83d", "key\udcff"])
def test_half_a_pair_is_written_as_an_escape(text: str, indent) -> None:
    """Text that UTF-8 can't hold is written all the same, and read with the half replaced."""
    data = dump_json({"text": text}, indent=indent)
    assert data.isascii()
    assert json.loads(data) == {"text": text}
    assert parse_json(data) == {"text": without_halves(text)}


def test_ordinary_text_is_written_as_utf_8() -> None:
    """Without half pairs text is written as it is; NUL as the escape that JSON asks for."""
    assert dump_json({"text": "é😀\0\n"}) == '{"text":"é😀\\u0000\\n"}'.encode()


@pytest.mark.parametrize("value", [b"canary-4711", {"canary-4711"}])
def test_what_json_has_no_word_for_is_a_type_error(value: object) -> None:
    """Something that isn't JSON's is the programmer's mistake, and its content stays unsaid."""
    with pytest.raises(TypeError) as caught:
        dump_json({"key": value})
    assert caught.value.__context__ is None
    assert "canary" not in "".join(traceback.format_exception(caught.value))
