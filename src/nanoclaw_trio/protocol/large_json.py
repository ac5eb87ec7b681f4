"""JSON with one long string in it, parsed in steps: others have work to do meanwhile.

An answer of 32 MiB keeps a parser busy for tens of milliseconds, in one go and with the
interpreter's lock held, so that a thread would be of no use. What is large in it is one string. That
string is cut into slices, each decoded by itself, and the rest of the document is parsed with a word
in its place. What is left to be done in one go is to join the slices.

A slice ends where no escape and no character is cut: behind six bytes without a backslash, which is
what the longest escape has, half of a surrogate pair, and before a byte that begins a character.
Where anything is out of the ordinary the document is parsed whole, so that errors are that parser's.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any, Final

import orjson

from nanoclaw_trio.protocol.json_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Generator

LARGE: Final = 1024 * 1024
"""Bytes from which on a document is parsed in steps; up to there it takes some milliseconds."""

SLICE: Final = 256 * 1024
"""Bytes of a step: a fraction of a millisecond."""

MOST_STRINGS: Final = 64
"""That are passed over in search of the long one: an output has about ten."""

_CUT_WINDOW: Final = 4096

_REST_OF_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_CUT: Final = re.compile(rb"[^\\]{6}(?=[^\x80-\xbf])", re.DOTALL)


def parse_in_steps(data: bytes | bytearray) -> Generator[None, None, Any]:
    """As `parse_json`, with a pause for others at each `yield`."""
    if len(data) > LARGE:
        start = _find_long_string(data)
        parsed = None if start is None else (yield from _parse_around(data, start))
        if parsed is not None:
            return parsed
    return parse_json(data)


def _find_long_string(data: bytes | bytearray) -> int | None:
    """Where the first string of more than a slice begins, behind its quotation mark."""
    at = 0
    for _ in range(MOST_STRINGS):
        start = data.find(b'"', at) + 1
        if start == 0:
            return None
        rest = _REST_OF_STRING.match(data, start, start + SLICE)
        if rest is None:
            return start
        at = rest.end()
    return None


def _parse_around(
    data: bytes | bytearray, start: int
) -> Generator[None, None, dict[str, Any] | None]:
    """The document whose long string begins at `start`; None where that isn't simply a value."""
    pieces: list[str] = []
    end = yield from _decode_string(data, start, pieces)
    if end is None:
        return None
    word = secrets.token_hex(16)
    around = (data[: start - 1], b'"', word.encode(), b'"', data[end:])
    rest = _parse_or_none(b"".join(around))
    if not isinstance(rest, dict) or word not in rest.values():
        return None
    # Joined once: a string that grows is copied anew each time where the heap has no room behind it.
    text = "".join(pieces)
    return {key: text if value == word else value for key, value in rest.items()}


def _decode_string(
    data: bytes | bytearray, at: int, pieces: list[str]
) -> Generator[None, None, int | None]:
    """Decode the string's pieces from `at` on; where it ends, or None if it can't be said."""
    while (stop := _find_cut(data, at)) is not None:
        # With the string's end in it this is no string, and with half an escape neither.
        piece = _parse_or_none(b"".join((b'"', data[at:stop], b'"')))
        if piece is None:
            break
        pieces.append(piece)
        at = stop
        yield
    rest = _REST_OF_STRING.match(data, at, at + SLICE)
    last = None if rest is None else _parse_or_none(b"".join((b'"', rest[0])))
    if rest is None or last is None:
        return None
    pieces.append(last)
    return rest.end()


def _find_cut(data: bytes | bytearray, at: int) -> int | None:
    """Where the next slice may end; None if that can't be said, or the document ends before."""
    limit = at + SLICE
    cut = _CUT.search(data, limit - _CUT_WINDOW, limit) if limit < len(data) else None
    return cut and cut.end()


def _parse_or_none(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
