"""Cuts an agent's standard output into frames: bytes in, events out, no input or output here.

A frame is what stands between two markers (wire-formats 2)::

    ---NANOCLAW_OUTPUT_START---
    {"status":"success","result":"Hello","newSessionId":"6f1c"}
    ---NANOCLAW_OUTPUT_END---

The rules, which hold for the whole stream and therefore for every way of cutting it into chunks:

- Outside of a frame START opens one wherever it stands, also in the middle of a line. All other
  bytes there are noise: counted, never kept.
- Inside a frame a marker counts only where it begins a line, that is directly behind a line feed.
  Anywhere else it is content, so an answer may quote both markers: JSON on one line can't hold a
  line feed. The rest of START's own line begins no line: an END or a START directly behind a
  START is content.
- END closes the frame. Directly behind it is outside again, even on the same line.
- A START that begins a line inside a frame abandons that frame and opens the next: the agent
  died, or was interrupted, in the middle of an answer.
- A frame's size is the number of bytes between its two markers, line feeds included. A frame
  whose size passes the cap is dropped, and its END looked for without keeping a byte.

Each START that opens a frame leads to exactly one of `Frame`, `FrameTooLarge`, `FrameRestarted`
and `FrameUnfinished`.

How the time stays linear: a chunk is searched where it lies. What is kept of it is the open frame,
or the few bytes at its end that may be the beginning of a marker, and the next search begins with
those. So a byte is searched once, except for the beginning of a marker, which is looked at again
with what follows it.
"""

from __future__ import annotations

import re
from collections import deque
from enum import Enum, auto
from typing import Final, TypeAlias

from attrs import field, frozen

START_MARKER: Final = b"---NANOCLAW_OUTPUT_START---"
END_MARKER: Final = b"---NANOCLAW_OUTPUT_END---"

DEFAULT_MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
"""The cap on a frame unless a setting raises it: far above an answer that a chat could show."""


class Sentinel(Enum):
    """The two answers of `FrameParser.next_event` that tell nothing of a frame."""

    NEED_DATA = auto()
    END_OF_STREAM = auto()


NEED_DATA: Final = Sentinel.NEED_DATA
"""All that was received is dealt with: read more and give it to `FrameParser.receive_data`."""

END_OF_STREAM: Final = Sentinel.END_OF_STREAM
"""The stream is over and everything in it was told."""


def _sized(payload: bytes | bytearray) -> str:
    return f"<{len(payload)} bytes>"


@frozen(kw_only=True)
class Frame:
    """A whole frame.

    Its repr has the payload's size only: a payload may have megabytes, and is a person's chat.
    """

    payload: bytes | bytearray = field(repr=_sized)
    """The bytes between the markers without the white space around them; not decoded."""


@frozen(kw_only=True)
class FrameTooLarge:
    """The open frame passed the cap and was dropped; the stream goes on."""

    limit: int
    """The cap in bytes. The frame's own size can't be told here: its end may never come."""


@frozen(kw_only=True)
class FrameRestarted:
    """A START began a line inside the open frame: that frame was dropped, the next one is open."""

    dropped: int
    """The dropped frame's size in bytes."""


@frozen(kw_only=True)
class FrameUnfinished:
    """The stream ended inside a frame, which was dropped."""

    size: int
    """What had arrived of the frame, in bytes."""


Event: TypeAlias = Frame | FrameTooLarge | FrameRestarted | FrameUnfinished | Sentinel


class _State(Enum):
    OUTSIDE = auto()
    INSIDE = auto()
    SKIPPING = auto()


_Buffer: TypeAlias = bytes | bytearray

_LINE_MARKER: Final = re.compile(b"\n(" + START_MARKER + b"|" + END_MARKER + b")")
_LINE_MARKER_PREFIX: Final = b"\n---NANOCLAW_OUTPUT_"
"""What both begin with: to look for bytes is several times quicker than for an expression."""

_EDGE: Final = 4096
"""Bytes of a payload's ends that are looked at together for white space."""


def _beginnings(*markers: bytes) -> frozenset[bytes]:
    """Every incomplete form of `markers`."""
    return frozenset(marker[:size] for marker in markers for size in range(1, len(marker)))


_START_BEGINNINGS: Final = _beginnings(START_MARKER)
_LINE_BEGINNINGS: Final = _beginnings(b"\n" + START_MARKER, b"\n" + END_MARKER)
_LONGEST_BEGINNING: Final = len(START_MARKER)


def _find_beginning(buffer: _Buffer, start: int, beginnings: frozenset[bytes]) -> int:
    """Where at the end of `buffer` an incomplete marker begins, or the end if none does."""
    for at in range(max(start, len(buffer) - _LONGEST_BEGINNING), len(buffer)):
        if bytes(buffer[at:]) in beginnings:
            return at
    return len(buffer)


def _find_start(buffer: _Buffer, start: int) -> tuple[int, bytes]:
    """The first START from `start` on, and the marker.

    Without one: where an incomplete START may begin, and nothing.
    """
    at = buffer.find(START_MARKER, start)
    if at >= 0:
        return at, START_MARKER
    return _find_beginning(buffer, start, _START_BEGINNINGS), b""


def _find_line_marker(buffer: _Buffer, start: int) -> tuple[int, bytes]:
    """The line feed before the first marker that begins a line from `start` on, and the marker.

    Without one: where an incomplete one may begin, and nothing.
    """
    # One expression for both markers: to look for each by itself would search the whole chunk for
    # an END that isn't there again after every START.
    at = buffer.find(_LINE_MARKER_PREFIX, start)
    found = _LINE_MARKER.search(buffer, at) if at >= 0 else None
    if found:
        return found.start(), found[1]
    return _find_beginning(buffer, start, _LINE_BEGINNINGS), b""


def _strip_in_place(payload: bytearray) -> None:
    """Remove white space at both ends without a copy of what lies between."""
    while len(kept := (tail := payload[-_EDGE:]).rstrip()) < len(tail):
        del payload[len(payload) - len(tail) + len(kept) :]
    while len(kept := (head := payload[:_EDGE]).lstrip()) < len(head):
        del payload[: len(head) - len(kept)]


class FrameParser:
    """Finds the frames in one stream of bytes; see the module's text for the rules.

    Give it what was read with `receive_data`, then call `next_event` until it has no more to tell::

        parser.receive_data(chunk)
        while not isinstance(event := parser.next_event(), Sentinel):
            ...

    It holds the chunks that it was given since the last `NEED_DATA`, and besides these no more than
    the open frame, up to `max_frame_bytes` and one chunk. A frame that came in several chunks is
    handed out as the bytearray that it was gathered in, and is the caller's from then on.

    Raises:
        ValueError: `max_frame_bytes` is less than 1. The caller's fault.
    """

    def __init__(self, *, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> None:
        if max_frame_bytes < 1:
            raise ValueError(f"max_frame_bytes is {max_frame_bytes}; it must be at least 1")
        self.max_frame_bytes: Final = max_frame_bytes
        # None while there is none: an empty deque takes 600 bytes, and there is a parser a run.
        self._chunks: deque[bytes] | None = None
        self._closed = False
        self._state = _State.OUTSIDE
        # A chunk as it came, with offsets into it; or a bytearray when what was left of the chunks
        # before had to be kept and grows.
        self._buffer: _Buffer = b""
        self._start = 0
        self._searched = 0
        self._noise_bytes = 0

    @property
    def noise_bytes(self) -> int:
        """How many bytes outside of frames were seen, among them the line feed behind each END.

        The same at each event however the stream was cut. At `NEED_DATA` it lacks the few bytes
        that may still become a START.
        """
        return self._noise_bytes

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the stream; no bytes at all mean that the stream is over.

        Raises:
            ValueError: bytes came after the end of the stream. The caller's fault.
        """
        chunk = bytes(data)
        if not chunk:
            self._closed = True
        elif self._closed:
            raise ValueError(
                f"{len(chunk)} bytes came after the end of the stream; "
                "use a new FrameParser for a new stream"
            )
        elif self._chunks is None:
            self._chunks = deque([chunk])
        else:
            self._chunks.append(chunk)

    def next_event(self) -> Event:
        """The next thing that the received bytes tell. Never raises for what an agent wrote."""
        while True:
            event = self._read_on()
            if event is not None:
                return event

    def _read_on(self) -> Event | None:
        if self._state is _State.OUTSIDE:
            return self._read_noise()
        if self._state is _State.INSIDE:
            return self._read_frame()
        return self._skip_frame()

    def _read_noise(self) -> Event | None:
        at, marker = _find_start(self._buffer, self._start)
        at = self._decided_until(at, marker)
        self._noise_bytes += at - self._start
        if marker:
            self._go_on(_State.INSIDE, at + len(marker))
            return None
        self._go_on(_State.OUTSIDE, at)
        return self._take_chunk()

    def _read_frame(self) -> Event | None:
        at, marker = _find_line_marker(self._buffer, self._searched)
        at = self._decided_until(at, marker)
        # A line feed belongs to the frame, whatever the bytes behind it turn out to be.
        size = min(at + 1, len(self._buffer)) - self._start
        if size > self.max_frame_bytes:
            self._go_on(_State.SKIPPING, at)
            return FrameTooLarge(limit=self.max_frame_bytes)
        if marker:
            return self._close_frame(size, marker)
        if self._at_end():
            self._go_on(_State.OUTSIDE, at)
            return FrameUnfinished(size=size)
        self._searched = at
        return self._take_chunk()

    def _close_frame(self, size: int, marker: bytes) -> Frame | FrameRestarted:
        end = self._start + size
        if marker == START_MARKER:
            self._go_on(_State.INSIDE, end + len(marker))
            return FrameRestarted(dropped=size)
        return Frame(payload=self._take_payload(end, end + len(marker)))

    def _take_payload(self, end: int, behind: int) -> bytes | bytearray:
        """What lies up to `end`, and go on outside, `behind`."""
        start, buffer = self._start, self._buffer
        self._go_on(_State.OUTSIDE, behind)
        if isinstance(buffer, bytes):
            return buffer[start:end].strip()
        # Handed out as it is: each copy of a large one costs as much as its reading has.
        del buffer[end:]
        del buffer[:start]
        _strip_in_place(buffer)
        return buffer

    def _skip_frame(self) -> Event | None:
        at, marker = _find_line_marker(self._buffer, self._start)
        at = self._decided_until(at, marker)
        if marker:
            state = _State.INSIDE if marker == START_MARKER else _State.OUTSIDE
            self._go_on(state, at + 1 + len(marker))
            return None
        self._go_on(_State.SKIPPING, at)
        return self._take_chunk()

    def _at_end(self) -> bool:
        return self._closed and not self._chunks

    def _decided_until(self, at: int, marker: bytes) -> int:
        """`at`, or the buffer's end where nothing comes any more that could complete a marker."""
        return len(self._buffer) if self._at_end() and not marker else at

    def _go_on(self, state: _State, at: int) -> None:
        """Read on in `state` from offset `at`, and let go of what lies before it."""
        # Not `del buffer[:at]`: a growing buffer exists for one frame, what follows is a chunk.
        if isinstance(self._buffer, bytearray):
            self._buffer = bytes(memoryview(self._buffer)[at:])
            at = 0
        self._state = state
        self._start = self._searched = at

    def _take_chunk(self) -> Sentinel | None:
        """Put the next chunk behind what is undecided, or say why there is none."""
        self._keep_undecided()
        if not self._chunks:
            self._chunks = None
            return END_OF_STREAM if self._closed else NEED_DATA
        chunk = self._chunks.popleft()
        if self._buffer:
            self._buffer += chunk
        else:
            self._buffer = chunk
        return None

    def _keep_undecided(self) -> None:
        """Reduce the buffer to what isn't decided yet: the open frame, or an incomplete marker."""
        if isinstance(self._buffer, bytes):
            self._buffer = bytearray(memoryview(self._buffer)[self._start :])
            self._searched -= self._start
            self._start = 0
