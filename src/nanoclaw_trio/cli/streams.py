"""The standard streams: asynchronous where they may block for long, and safe where they fail."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import select
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TextIO

import trio
from attrs import frozen

from nanoclaw_trio.cli.terminal import neutralize, one_line

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM: Final = "nanoclaw-trio"

READ_SIZE: Final = 64 * 1024
"""Bytes of a read: what a Linux pipe holds."""

PATIENCE: Final = 0.5
"""Seconds for which a reader of standard error may keep everything waiting."""

PIECE: Final = 1000
"""Characters, of up to four bytes: a pipe with any room has 4096 (PIPE_BUF)."""

_READER_GONE: Final = (errno.EPIPE, errno.EIO, errno.ENXIO)
"""A pipe without a reader, and a terminal that was closed."""


@frozen(kw_only=True)
class Streams:
    """A command's standard streams.

    Attributes:
        stdin: b"" at its end.
        stdout: trio.BrokenResourceError when nobody reads it; OSError if it can't be written.
        stderr: Never fails, and never lets a control character through to a terminal.
    """

    stdin: trio.abc.ReceiveStream
    stdout: trio.abc.SendStream
    stderr: io.TextIOBase
    stdin_is_terminal: bool = False
    stdout_is_terminal: bool = False
    stderr_is_terminal: bool = False

    def say(self, text: str) -> None:
        """One line on standard error."""
        self.stderr.write(f"{PROGRAM}: {one_line(text)}\n")


class StandardInput(trio.abc.ReceiveStream):
    """A descriptor to read from, in a thread: files, pipes and terminals alike.

    Why not a non-blocking descriptor: the flag would hold for the shell's, too. A cancelled read
    goes on in its thread, and what it reads is lost.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What is there, as soon as anything is; b"" at the end. OSError if it can't be read."""
        return await trio.to_thread.run_sync(
            self._read, max_bytes or READ_SIZE, abandon_on_cancel=True
        )

    def _read(self, max_bytes: int) -> bytes:
        while True:
            # A shell or a parent may have left the descriptor non-blocking, for itself, too.
            with suppress(BlockingIOError):
                return os.read(self._descriptor, max_bytes)
            select.select([self._descriptor], [], [])

    async def aclose(self) -> None:
        """Nothing: the descriptor is the process's."""
        await trio.lowlevel.checkpoint()


class StandardOutput(trio.abc.SendStream):
    """A descriptor to write to, in a thread: a reader that takes its time stops no other task.

    A cancelled write goes on in its thread, and the next one waits for its end.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._one_at_a_time = trio.CapacityLimiter(1)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of it.

        Raises:
            trio.BrokenResourceError: nobody reads it any more.
            OSError: it can't be written, as on a full disk.
        """
        try:
            await trio.to_thread.run_sync(
                self._write, bytes(data), abandon_on_cancel=True, limiter=self._one_at_a_time
            )
        except OSError as error:
            if error.errno in _READER_GONE:
                raise trio.BrokenResourceError("nobody reads standard output") from None
            raise

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                # As with the input; the reader takes its time.
                select.select([], [self._descriptor], [])

    async def wait_send_all_might_not_block(self) -> None:
        """Nothing: a write waits by itself."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Nothing: the descriptor is the process's."""
        await trio.lowlevel.checkpoint()

    async def wait_reader_gone(self) -> None:
        """Wait until the reader of a pipe has closed it; for ever where that can't be told.

        So that an agent isn't left at work for hours whose answers have nobody to read them.
        """
        if sys.platform == "linux" and _is_writing_end(self._descriptor):
            # The writing end of a pipe is never readable; what ends this is the reader's leaving.
            await trio.lowlevel.wait_readable(self._descriptor)
        else:
            await trio.sleep_forever()


def _is_writing_end(descriptor: int) -> bool:
    # A named pipe that a shell opened for reading too (`exec 3<>pipe`) is readable by what we write.
    access = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode) and access == os.O_WRONLY


class Unfailing(io.TextIOBase):
    """A text file whose writes don't fail where nobody reads it any more, nor wait for who doesn't.

    Standard error may lose its terminal (SIGHUP) or its reader at any time, or be held (Ctrl-S, a
    pager that nobody scrolls), and words for nobody must not keep a container from being stopped.
    What isn't taken within PATIENCE is lost, and so is all behind it until there is room again; how
    much that was is said then.
    """

    encoding = "utf-8"

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lost = 0

    def write(self, text: str) -> int:
        """Write text, and see that it is out."""
        with suppress(OSError, ValueError):
            if self._lost and self._has_room(0):
                self._lost, lost = 0, self._lost
                self._put(f"\n{PROGRAM}: nobody read here for a while: {lost} messages are lost\n")
            # No piece is more than a pipe or a terminal takes at once where it takes anything.
            pieces = (text[at : at + PIECE] for at in range(0, len(text), PIECE))
            if self._lost or not all(self._put(piece) for piece in pieces):
                self._lost += 1
        return len(text)

    def _put(self, piece: str) -> bool:
        if not self._has_room(PATIENCE):
            return False
        self._file.write(piece)
        self._file.flush()
        return True

    def _has_room(self, seconds: float) -> bool:
        try:
            descriptor = self._file.fileno()
        except OSError:
            # A file of Python's own.
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        return bool(poll.poll(seconds * 1000))

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._file.isatty()


class StandardError(io.TextIOBase):
    """Standard error, for all that is logged and said.

    Attributes:
        file: What it writes to, unprotected.
        above: Writes text above a live line, as long as there is one.
    """

    def __init__(self, file: TextIO) -> None:
        self.file = Unfailing(file)
        self.above: Callable[[str], object] | None = None
        self._is_terminal = self.file.isatty()

    def write(self, text: str) -> int:
        """Write text, without control characters if it is a terminal."""
        shown = neutralize(text) if self._is_terminal else text
        if self.above is not None:
            self.above(shown)
        else:
            self.file.write(shown)
        return len(text)

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._is_terminal
