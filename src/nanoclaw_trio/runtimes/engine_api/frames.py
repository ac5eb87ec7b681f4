"""The frames in which an engine sends a container's output, taken apart. Pure.

A frame is a header of 8 bytes and its payload: the number of the stream, three zeros, and the
payload's length as a big-endian number of 32 bits (Engine API, "Attach to a container").
"""

from __future__ import annotations

from typing import Final

HEADER: Final = 8
"""Bytes of a header."""

STDOUT: Final = 1
"""The number of standard output."""

STDERR: Final = 2
"""The number of standard error."""

STREAMS: Final = range(3)
"""All numbers; 0 is standard input, which nobody sends back."""


class FrameParser:
    """Takes bytes as they come, and gives one stream's payload as far as it has come.

    It keeps no more than a part of a header, however long a frame is. Other streams' frames are
    left out: podman sends both streams to whoever asked for one.
    """

    def __init__(self, stream: int) -> None:
        """`stream` is the number of the stream to hear."""
        self._stream = stream
        self._current = stream
        self._remaining = 0
        self._header = b""
        self.problem: str | None = None

    def feed(self, data: bytes) -> bytes:
        """The stream's payload in the next bytes, without the headers; often b"".

        Where the bytes aren't made of frames the payload ends, and `problem` says so from then on.
        That is the engine's fault, and what came before it is the container's output all the same.
        """
        view = memoryview(self._header + data if self._header else data)
        self._header = b""
        payloads = []
        position = 0
        while position < len(view) and self.problem is None:
            if not self._remaining:
                position = self._begin_frame(view, position)
            end = min(position + self._remaining, len(view))
            if self._current == self._stream:
                payloads.append(view[position:end])
            self._remaining -= end - position
            position = end
        return b"".join(payloads)

    def end(self) -> None:
        """There are no more bytes. In the middle of a frame, or of its header, that is a problem."""
        if self.problem is None and (self._remaining or self._header):
            self.problem = "the connection ended within a frame"

    def _begin_frame(self, view: memoryview, position: int) -> int:
        """Take the header at `position`, whole or in part; where its payload begins."""
        header = bytes(view[position : position + HEADER])
        if header[0] not in STREAMS or any(header[1:4]):
            self.problem = f"no frame begins with {header!r}"
            return len(view)
        if len(header) < HEADER:
            self._header = header
            return len(view)
        self._current = header[0]
        self._remaining = int.from_bytes(header[4:], "big")
        return position + HEADER
