"""JSON that an agent wrote, parsed in steps: others have work to do meanwhile.

An answer of 32 MiB keeps a parser busy for tens of milliseconds, in one go and with the
interpreter's lock held, so that a thread would be of no use. What is large in it is one string, or a
few. Each long string is cut into slices, each decoded by itself, and what is left of the document is
parsed with words in their places. What is left to be done in one go is to join the slices.

What is left is small where somebody answers, and a few million lists where somebody wants the host to
stand still: it is parsed only if it is of a reasonable size and has no more values than anybody has use
for. What is in strings, long or short, is text, and no structure.

A slice ends where no escape and no character is cut, nor a pair of escapes that means one character.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any, Final, TypeVar

from nanoclaw_trio.protocol.converters import MOST_ENTRIES
from nanoclaw_trio.protocol.json_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

T = TypeVar("T")

SHORT: Final = 32 * 1024
"""Bytes up to which a document is parsed as it is: it has no room for many values."""

LARGE: Final = 1024 * 1024
"""Bytes from which on a document is parsed in steps; up to there it takes some milliseconds. What it
has besides its long strings may be as much."""

LONG: Final = 16 * 1024
"""Bytes of a string from which on it is decoded by itself, in a large document."""

SLICE: Final = 256 * 1024
"""Bytes of a step: a fraction of a millisecond."""

MOST_VALUES: Final = 2 * MOST_ENTRIES
"""Of a document that isn't short: an output has about ten, and may have as many as its array."""

_CUT_WINDOW: Final = 64

_CONTINUATION: Final = range(0x80, 0xC0)
"""The bytes of a character of UTF-8 behind its first one, of which there are three at most."""

_STRINGS: Final = re.compile(rb'(?:[^"]*+"[^"\\]*+(?:\\.[^"\\]*+)*+")*+', re.DOTALL)
_INSIDE: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)

# An escape for the first half of a pair counts as whole when what follows it can be seen.
_WHOLE_CHARACTERS: Final = re.compile(
    rb"(?<!\\)(?:"
    rb"[^\\]|\\[^u]|\\u(?![dD][89abAB])[^\\]{4}"
    rb"|\\u[dD][89abAB][^\\]{2}(?=.{6})(?:\\u[dD][c-fC-F][^\\]{2})?"
    rb")*+",
    re.DOTALL,
)


def parse_at_once(data: bytes | bytearray) -> Any:
    """As :func:`parse_in_steps`, without a pause: for a thread, and what is of a mebibyte at most."""
    return run_out(parse_in_steps(data))


def run_out(steps: Generator[None, None, T]) -> T:
    """What these steps come to, without a pause between them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def parse_in_steps(data: bytes | bytearray) -> Generator[None, None, Any]:
    """As `parse_json`, with a pause for others at each `yield`.

    Raises:
        ValueError: it isn't JSON, or has more in it than anybody has use for.
    """
    texts: dict[str, str] = {}
    rest = (yield from _take_out(data, texts)) if len(data) > LARGE else data
    if len(rest) > SHORT and not _has_few_values(rest):
        raise ValueError(f"more than {MOST_VALUES} values")
    document = parse_json(rest)
    return _put_in(document, texts) if texts else document


def _take_out(
    data: bytes | bytearray, texts: dict[str, str]
) -> Generator[None, None, bytes | bytearray]:
    """The document with a word for each long string; which word stands for which is in `texts`."""
    rest = bytearray()
    at = begin = 0
    while (start := (yield from _find_long_string(data, begin))) is not None:
        pieces: list[str] = []
        end = yield from _decode_string(data, start, pieces)
        word = secrets.token_hex(16)
        # Joined once: a string that grows is copied anew each time where the heap has no room behind it.
        texts[word] = "".join(pieces)
        rest += data[at:start] + word.encode()
        _require_little(len(rest))
        at, begin = end, end + 1
    _require_little(len(rest) + len(data) - at)
    return rest + data[at:]


def _require_little(size: int) -> None:
    if size > LARGE:
        raise ValueError(f"more than {LARGE} bytes besides its long strings")


def _find_long_string(data: bytes | bytearray, at: int) -> Generator[None, None, int | None]:
    """Where the next one begins, behind its quotation mark; None if none does in what is taken."""
    end = at + LARGE
    while at < end:
        passed = _end_of(_STRINGS, data, at, at + LONG)
        if passed == at:
            passed = data.find(b'"', at)
            if passed < 0:
                return None
            if passed == at:
                return at + 1
        at = passed
        yield
    return None


def _decode_string(
    data: bytes | bytearray, at: int, pieces: list[str]
) -> Generator[None, None, int]:
    """Decode the string's pieces from `at` on; where it ends, before its quotation mark."""
    while True:
        limit = at + SLICE
        end = _find_end(data, at, limit)
        stop = _find_cut(data, at, limit) if end is None else end
        pieces.append(parse_json(b"".join((b'"', data[at:stop], b'"'))))
        if end is not None:
            return end
        at = stop
        yield


def _find_end(data: bytes | bytearray, at: int, limit: int) -> int | None:
    """Where the string's quotation mark is, if it comes before the limit."""
    is_last = limit >= len(data)
    # To look for a byte is several times quicker than for an expression.
    if not is_last and data.find(b'"', at, limit + 1) < 0:
        return None
    end = _end_of(_INSIDE, data, at, limit)
    if data[end : end + 1] == b'"':
        return end
    if is_last:
        raise ValueError("not JSON: a string without an end")
    return None


def _find_cut(data: bytes | bytearray, at: int, limit: int) -> int:
    """Where a slice from `at` on may end, at `limit` or some bytes before."""
    found = _WHOLE_CHARACTERS.search(data, limit - _CUT_WINDOW, limit)
    if found is None:
        # Nothing but backslashes. Two are one character.
        slice_ = data[at:limit]
        return limit - (len(slice_) - len(slice_.rstrip(b"\\"))) % 2
    stop = found.end()
    while data[stop] in _CONTINUATION and stop > limit - 3:
        stop -= 1
    return stop


def _end_of(pattern: re.Pattern[bytes], data: bytes | bytearray, at: int, limit: int) -> int:
    """Where a match from `at` on ends, of a pattern that matches nothing as well."""
    found = pattern.match(data, at, limit)
    return at if found is None else found.end()


def _has_few_values(data: bytes | bytearray) -> bool:
    bare = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Each string is a value, or the key of one.
    if bare.count(b'"') > 2 * 2 * MOST_VALUES:
        return False
    structure = b"".join(bare.split(b'"')[::2])
    return sum(map(structure.count, (b",", b"[", b"{"))) <= MOST_VALUES


def _put_in(document: Any, texts: Mapping[str, str]) -> Any:
    """The document with texts for words. In place, and not by recursion: it may be nested deeply."""
    root = [document]
    nodes: list[Any] = [root]
    for node in nodes:
        if isinstance(node, dict):
            filled = {texts.get(key, key): _fill(value, texts) for key, value in node.items()}
            node.clear()
            node.update(filled)
            children = node.values()
        else:
            node[:] = (_fill(value, texts) for value in node)
            children = node
        nodes.extend(child for child in children if isinstance(child, dict | list))
    return root[0]


def _fill(value: Any, texts: Mapping[str, str]) -> Any:
    return texts.get(value, value) if isinstance(value, str) else value
