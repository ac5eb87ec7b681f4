"""What groups use of the API, counted from what passes by. Pure.

The counts are read from the API's answers: `usage` of a message, or of the events `message_start`
and `message_delta` of a stream, whose numbers grow
(https://docs.anthropic.com/en/api/messages-streaming).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import orjson
from attrs import evolve, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

BODY_LIMIT: Final = 1024 * 1024
"""Bytes of the longest document that is read for its counts; of a longer one none are taken. An
answer of the API is a tenth of it."""

LINE_LIMIT: Final = 64 * 1024
"""Bytes of the longest line of a stream that is read for its counts. Those that have any are short."""

MOST_TOKENS: Final = 2**40
"""More than any request has: a number above it is no count."""

Event: TypeAlias = Literal["requests", "errors", "failures", "refused"]

_FIELDS: Final = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
}


@frozen(kw_only=True)
class ApiUsage:
    """What a group has used of the API since the proxy was opened: numbers that only grow.

    Attributes:
        requests: Requests that were passed on.
        errors: Those that the API answered with a status from 400 on.
        failures: Those that it didn't answer, or not to the end.
        refused: Requests that the proxy answered itself, and didn't pass on.
        input_tokens: Tokens of prompts, without those of the cache.
        output_tokens: Tokens of answers.
        cache_read_tokens: Tokens of prompts that came from the cache.
        cache_write_tokens: Tokens of prompts that were put there.
    """

    requests: int = 0
    errors: int = 0
    failures: int = 0
    refused: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0


class UsageTally:
    """Counts by group; it outlives a group's runs."""

    def __init__(self) -> None:
        self._usage: dict[str, ApiUsage] = defaultdict(ApiUsage)

    def count(self, folder: str, event: Event) -> None:
        """One more of a group's."""
        usage = self._usage[folder]
        self._usage[folder] = evolve(usage, **{event: getattr(usage, event) + 1})

    def add_tokens(self, folder: str, tokens: Mapping[str, int]) -> None:
        """The tokens of one answer, by the names that ApiUsage has for them."""
        usage = self._usage[folder]
        sums = {name: getattr(usage, name) + count for name, count in tokens.items()}
        self._usage[folder] = evolve(usage, **sums)

    def of(self, folder: str) -> ApiUsage:
        """What a group has used up to now."""
        return self._usage.get(folder, ApiUsage())


class NoTokens:
    """Of an answer that has no counts, or none that can be read."""

    def feed(self, chunk: bytes) -> None:
        """Take note of the next bytes of the answer."""

    def tokens(self) -> Mapping[str, int]:
        """The counts as far as they were seen."""
        return {}


class DocumentTokens(NoTokens):
    """Reads the counts of a message that comes as one JSON document."""

    def __init__(self) -> None:
        self._body = bytearray()
        self._is_too_long = False

    def feed(self, chunk: bytes) -> None:
        """Keep the next bytes, up to the limit."""
        self._is_too_long |= len(self._body) + len(chunk) > BODY_LIMIT
        if self._is_too_long:
            self._body.clear()
        else:
            self._body += chunk

    def tokens(self) -> Mapping[str, int]:
        """The counts; none of a document that isn't whole."""
        match _parse(bytes(self._body)):
            case {"type": "message", "usage": {**usage}}:
                return _counts(usage)
        return {}


class StreamTokens(NoTokens):
    """Reads the counts of a message that comes as server-sent events, one on a line."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._is_too_long = False
        self._seen: dict[str, int] = {}

    def feed(self, chunk: bytes) -> None:
        """Read the lines that end in the next bytes, and keep what begins, up to the limit."""
        *ends, rest = chunk.split(b"\n")
        for piece in ends:
            self._keep(piece)
            self._end_line()
        self._keep(rest)

    def _keep(self, piece: bytes) -> None:
        self._is_too_long |= len(self._line) + len(piece) > LINE_LIMIT
        if self._is_too_long:
            self._line.clear()
        else:
            self._line += piece

    def _end_line(self) -> None:
        # In a text of the model's the quotation marks would have backslashes before them.
        if self._line.startswith(b"data:") and b'"usage"' in self._line:
            self._read(bytes(self._line[len(b"data:") :]))
        self._line.clear()
        self._is_too_long = False

    def _read(self, text: bytes) -> None:
        match _parse(text):
            case {"type": "message_start", "message": {"usage": {**usage}}}:
                self._seen |= _counts(usage)
            case {"type": "message_delta", "usage": {**usage}}:
                # What it repeats is a sum up to there, and replaces what was said before.
                self._seen |= _counts(usage)

    def tokens(self) -> Mapping[str, int]:
        """The counts up to now; of a stream that was cut off, too."""
        return self._seen


def tokens_of(content_type: bytes) -> NoTokens:
    """What reads the counts of an answer with this Content-Type."""
    kind = content_type.partition(b";")[0].strip().lower()
    if kind == b"text/event-stream":
        return StreamTokens()
    return DocumentTokens() if kind == b"application/json" else NoTokens()


def _parse(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _counts(usage: Mapping[Any, Any]) -> dict[str, int]:
    found = {ours: usage.get(theirs) for theirs, ours in _FIELDS.items()}
    return {
        name: count
        for name, count in found.items()
        if type(count) is int and 0 <= count <= MOST_TOKENS
    }
