"""A journal on the disk: appended to, rotated by size, and read with what was rotated."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack, contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, Final

from nanoclaw_trio.engine.journal.events import begins_session, decode_line
from nanoclaw_trio.errors import InvalidFile
from nanoclaw_trio.files import open_directory

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterator
    from pathlib import Path

    from nanoclaw_trio.engine.journal.events import JournalEntry
    from nanoclaw_trio.files import Directory

MAX_BYTES: Final = 16 * 1024 * 1024
"""The size from which on a journal's file is rotated."""

KEEP: Final = 4
"""How many rotated files there are at most: journal.1.jsonl is the youngest, journal.4.jsonl goes."""

TORN: Final = b" (torn)\n"
"""What ends a line that was left without its end: no JSON, even where only its newline lacks."""

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Readable, for the last byte that is there."""


def rotated_name(path: Path, number: int) -> str:
    """`journal.1.jsonl` for `journal.jsonl` and 1; the file's own name for 0."""
    return f"{path.stem}.{number}{path.suffix}" if number else path.name


class JournalFile:
    """Where lines are appended to. It opens the file anew each time: anybody may remove it."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._mutex = Lock()

    def append(self, lines: deque[bytes]) -> None:
        """Append lines, each with one write, and take each away from the left once it is there.

        Blocking as the disk is. It may be called from several threads, of which one writes and the
        others wait. Nothing but this may take from `lines` meanwhile; more may be added.

        Raises:
            OSError: the disk refuses; the lines that are left were not written.
        """
        with self._mutex, open_directory(self._path.parent, create=True) as directory:
            # Not "while there are lines": one that was added just now isn't one too many.
            while not self._append_until_full(directory, lines):
                self._rotate(directory)

    def _append_until_full(self, directory: Directory, lines: deque[bytes]) -> bool:
        """Whether there was room for all of them."""
        with _open_to_append(directory, self._path.name) as descriptor:
            size = _mend(descriptor)
            while lines:
                if not self._belongs_here(lines[0], size):
                    return False
                _write(descriptor, lines[0])
                size += len(lines.popleft())
        return True

    def _belongs_here(self, line: bytes, size: int) -> bool:
        # A session's first line never begins a rotated file. So a journal that begins with one is
        # a whole journal, and what is unknown in it was never noted.
        return size == 0 or size + len(line) <= self._max_bytes or begins_session(line)

    def _rotate(self, directory: Directory) -> None:
        for number in reversed(range(KEEP)):
            with suppress(FileNotFoundError):
                old, new = rotated_name(self._path, number), rotated_name(self._path, number + 1)
                directory.rename(old, new)


@contextmanager
def _open_to_append(directory: Directory, name: str) -> Iterator[int]:
    descriptor = os.open(name, _FLAGS, 0o600, dir_fd=directory.descriptor)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _mend(descriptor: int) -> int:
    """End a line that was torn, so that the next one stands for itself; the file's size."""
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    _write(descriptor, TORN)
    return size + len(TORN)


def _write(descriptor: int, line: bytes) -> None:
    if os.write(descriptor, line) < len(line):
        raise OSError(errno.ENOSPC, "there was room for a part of a line only")


def read_journal(path: Path) -> Iterator[JournalEntry]:
    """The entries of a journal, the oldest first, those of the rotated files among them.

    A line that a killed process left torn is passed over. An engine may write meanwhile: what it
    writes later may be missing, and nothing comes twice. No journal is an empty one. Blocking.

    Raises:
        InvalidFile: a line is JSON and no entry.
        OSError, UnsafePath: a file can't be read.
    """
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(open_directory(path.parent))
        except FileNotFoundError:
            return
        for name, file in reversed(_open_all(directory, path, stack)):
            yield from _entries(path.with_name(name), file)


def _open_all(directory: Directory, path: Path, stack: ExitStack) -> list[tuple[str, BinaryIO]]:
    # The youngest first: rotated meanwhile, a file is met twice, which can be told; the other way
    # round it would be missed.
    opened: dict[tuple[int, int], tuple[str, BinaryIO]] = {}
    for number in range(KEEP + 1):
        name = rotated_name(path, number)
        with suppress(FileNotFoundError):
            file = stack.enter_context(directory.open_file(name))
            status = os.fstat(file.fileno())
            opened.setdefault((status.st_dev, status.st_ino), (name, file))
    return list(opened.values())


def _entries(path: Path, file: BinaryIO) -> Iterator[JournalEntry]:
    for number, line in enumerate(file, start=1):
        try:
            entry = decode_line(line, f"{path.name}:{number}") if line.endswith(b"\n") else None
        except ValueError as error:
            remedy = "it isn't the journal's, or another version's; move the file away"
            raise InvalidFile(path, f"line {number} is no entry: {error}", remedy) from None
        if entry is not None:
            yield entry
