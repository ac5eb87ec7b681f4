"""Lines from a stream of bytes, of which none may be too long. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE_LIMIT: Final = 1024 * 1024
"""Bytes of the longest line, without its end."""


@frozen
class TooLong:
    """Stands in the place of a line that had more than `limit` bytes."""

    limit: int


class LineCutter:
    """Cuts what it is given into lines, wherever the pieces begin and end.

    Of a line that is too long nothing is kept, and the next line is a line again.
    """

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def receive_data(self, data: bytes) -> Iterator[bytes | TooLong]:
        """The lines that end in these bytes, without their ends."""
        *ended, rest = data.split(b"\n")
        for part in ended:
            self._keep(part)
            yield self._take()
        self._keep(rest)

    def receive_end(self) -> Iterator[bytes | TooLong]:
        """The line that had no end, if there is one."""
        if self._size:
            yield self._take()

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= self._limit:
            self._parts.append(part)
        else:
            self._parts.clear()

    def _take(self) -> bytes | TooLong:
        line = b"".join(self._parts) if self._size <= self._limit else TooLong(self._limit)
        self._parts, self._size = [], 0
        return line
