"""What is kept of a stream for the run log, and its cutting into lines."""

from __future__ import annotations

import codecs
from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nanoclaw_trio.workspace.secrets import Secrets

LINE_LIMIT: Final = 8 * 1024
"""Characters of one line of standard error that are logged."""

SMALL: Final = 512
"""Bytes up to which chunks are joined: an agent that writes byte by byte would cost fifty bytes of
memory for each."""

MOST_BYTES: Final = 4
"""Bytes of one character in UTF-8, at most."""

REPLACEMENT: Final = "\ufffd"
"""What the parts of a cut character are decoded to."""


class Capture:
    """Keeps the first half and the last half of what fits in `limit` bytes, at least 1.

    A stream's beginning tells what was started, its end why it stopped. The chunks are kept as they
    came, not copied: a GiB of noise costs what its reading costs. As only whole ones are dropped,
    up to half as much again may be held in memory.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._head_limit = limit // 2
        self._tail_limit = limit - self._head_limit
        self._head: list[bytes] = []
        # Made when it is needed: an empty deque takes 600 bytes, and there are two streams a run.
        self._tail: deque[bytes] | None = None
        self._tail_size = 0
        self._size = 0

    @property
    def dropped(self) -> int:
        """Bytes that were left out."""
        return max(0, self._size - self._limit)

    @property
    def truncated(self) -> bool:
        """Whether anything was left out."""
        return self.dropped > 0

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the stream."""
        room = max(0, self._head_limit - self._size)
        self._size += len(chunk)
        if room > 0:
            _append(self._head, chunk[:room])
        if len(chunk) > room:
            self._feed_tail(chunk[room:][-self._tail_limit :])

    def _feed_tail(self, chunk: bytes) -> None:
        if self._tail is None:
            self._tail = deque()
        _append(self._tail, chunk)
        self._tail_size += len(chunk)
        while self._tail_size - len(self._tail[0]) >= self._tail_limit:
            self._tail_size -= len(self._tail.popleft())

    def text(self, secrets: Secrets) -> str:
        """What was kept, decoded whole (Trap A2), with a line that says what was left out.

        It is redacted in here, since only here it is known where a secret may have been cut.
        """
        head, tail = b"".join(self._head), self._joined_tail()
        if not self.truncated:
            return secrets.redact((head + tail).decode(errors="replace"))
        gap = f"\n[… {self.dropped} bytes left out …]\n"
        before = head.decode(errors="replace").rstrip(REPLACEMENT)
        return secrets.redact(before, cut_end=True) + gap + _redact_ending(tail, secrets)

    def excerpt(self, characters: int, secrets: Secrets) -> str:
        """The last characters, up to so many, without white space around; redacted."""
        if not self._size:
            return ""
        ending, is_whole = self._ending(MOST_BYTES * (characters + secrets.longest))
        if is_whole:
            text = secrets.redact(ending.decode(errors="replace"))
        else:
            text = _redact_ending(ending, secrets)
        return text.strip()[-characters:]

    def last_line(self, size: int) -> bytes | None:
        """The last line that isn't blank; None unless all of it is in the last `size` bytes kept.

        The half of a line could be taken for a line of its own.
        """
        ending, is_whole = self._ending(size)
        _, newline, line = ending.rstrip().rpartition(b"\n")
        return line if newline or is_whole else None

    def _ending(self, size: int) -> tuple[bytes, bool]:
        """The last bytes, up to `size`, and whether that is the whole stream. No gap is in them."""
        chunks = chain(reversed(self._tail or ()), () if self.truncated else reversed(self._head))
        size = min(size, self._tail_limit) if self.truncated else size
        ending = _join_last(chunks, size)
        return ending, len(ending) == self._size

    def _joined_tail(self) -> bytes:
        return b"".join(self._tail or ())[-self._tail_limit :]


def _join_last(backwards: Iterable[bytes], size: int) -> bytes:
    """The last bytes of chunks, of which the last comes first; no more of them are joined."""
    needed: list[bytes] = []
    missing = size
    for chunk in backwards:
        needed.append(chunk)
        missing -= len(chunk)
        if missing <= 0:
            break
    return b"".join(reversed(needed))[-size:]


def _append(chunks: deque[bytes] | list[bytes], chunk: bytes) -> None:
    if chunks and len(chunks[-1]) + len(chunk) <= SMALL:
        chunks[-1] += chunk
    else:
        chunks.append(chunk)


def _redact_ending(ending: bytes, secrets: Secrets) -> str:
    text = ending.decode(errors="replace").lstrip(REPLACEMENT)
    return secrets.redact(text, cut_start=True)


class LineSplitter:
    """Cuts a stream into lines of text, decoded as it goes (Trap A2), and redacted.

    A line that is longer than `limit` characters is given once, cut; the rest of it is dropped.
    """

    def __init__(self, secrets: Secrets, *, limit: int = LINE_LIMIT) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._secrets = secrets
        self._limit = limit
        self._partial = ""

    def feed(self, chunk: bytes, *, final: bool = False) -> list[str]:
        """The lines that this piece completes; at the end the last one too, whatever it lacks."""
        text = self._partial + self._decoder.decode(chunk, final)
        *lines, rest = text.split("\n")
        # One more than the limit: it tells that the line was longer.
        self._partial = "" if final else rest[: self._limit + 1]
        if final:
            lines.append(rest)
        return [self._finish(line.rstrip("\r")) for line in lines if line.strip()]

    def _finish(self, line: str) -> str:
        return self._secrets.redact(line[: self._limit], cut_end=len(line) > self._limit)
