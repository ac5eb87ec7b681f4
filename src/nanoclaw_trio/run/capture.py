"""What is kept of a stream for the run log, and its cutting into lines."""

from __future__ import annotations

import codecs
from collections import deque
from typing import Final

LINE_LIMIT: Final = 8 * 1024
"""Characters of one line of standard error that are logged."""


class Capture:
    """Keeps the first half and the last half of what fits in `limit` bytes.

    A stream's beginning tells what was started, its end why it stopped. The chunks are kept as they
    came, not copied: a GiB of noise costs what its reading costs.
    """

    def __init__(self, limit: int) -> None:
        self._half = max(1, limit // 2)
        self._head: list[bytes] = []
        self._head_size = 0
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self.dropped = 0

    @property
    def truncated(self) -> bool:
        """Whether anything was left out."""
        return self.dropped > 0

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the stream."""
        room = self._half - self._head_size
        if room > 0:
            self._head.append(chunk[:room])
            self._head_size += len(self._head[-1])
            chunk = chunk[room:]
        if chunk:
            self._feed_tail(chunk)

    def _feed_tail(self, chunk: bytes) -> None:
        self._tail.append(chunk)
        self._tail_size += len(chunk)
        while self._tail_size - len(self._tail[0]) >= self._half:
            oldest = self._tail.popleft()
            self._tail_size -= len(oldest)
            self.dropped += len(oldest)
        surplus = self._tail_size - self._half
        if surplus > 0 and len(self._tail) == 1:
            self._tail[0] = self._tail[0][surplus:]
            self._tail_size -= surplus
            self.dropped += surplus

    def text(self) -> str:
        """What was kept, decoded whole (Trap A2), with a line that says what was left out."""
        head, tail = b"".join(self._head), b"".join(self._tail)
        if not self.truncated:
            return (head + tail).decode(errors="replace")
        gap = f"\n[… {self.dropped} bytes left out …]\n"
        return head.decode(errors="replace") + gap + tail.decode(errors="replace")

    def tail(self, size: int) -> bytes:
        """The last bytes, up to `size` of them."""
        return (b"".join(self._head) + b"".join(self._tail))[-size:]


class LineSplitter:
    """Cuts a stream into lines of text, decoding as it goes (Trap A2).

    A line that is longer than LINE_LIMIT characters is given once, cut; the rest of it is dropped.
    """

    def __init__(self, overlap: int) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._limit = LINE_LIMIT + overlap
        self._partial = ""

    def feed(self, chunk: bytes, *, final: bool = False) -> list[str]:
        """The lines that this piece completes; at the end the last one too, whatever it lacks."""
        text = self._partial + self._decoder.decode(chunk, final)
        *lines, rest = text.split("\n")
        self._partial = "" if final else rest[: self._limit]
        if final:
            lines.append(rest)
        return [line[: self._limit].rstrip("\r") for line in lines if line.strip()]
