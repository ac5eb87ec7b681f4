"""Child processes: the client programs by which we hear a container, and the runtime's commands.

Why not trio.lowlevel.open_process: it starts the child from a worker thread. Linux sends a child's
parent-death signal when the *thread* that started it ends, and an idle worker thread ends after ten
seconds: a sandbox started with --die-with-parent would die with it. Here the child is started from
Trio's own thread, without a checkpoint, so that nothing stands between the start and its owner
either (Trap A10). It costs the loop well under a millisecond.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import termios
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Final, TypeAlias

import trio
from attrs import frozen

from nanoclaw_trio.errors import RuntimeCommandFailed
from nanoclaw_trio.runtimes.abc import Container

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Ends: TypeAlias = tuple[int, int, int]
"""One end each of the pipes for standard input, output and error."""

FIRST_READ: Final = 64 * 1024
"""Bytes of a read to begin with: what a Linux pipe holds."""

LARGEST_READ: Final = 1024 * 1024
"""Bytes of a read at most: what an unprivileged process may grow a Linux pipe to
(/proc/sys/fs/pipe-max-size)."""

INT_SIZE: Final = 4
"""Bytes of C's int, in which the kernel tells how much a pipe holds."""

REAP_BOUND: Final = 5.0
"""Seconds that a killed child may take to be reaped; one in an uninterruptible wait takes more."""

COMMAND_OUTPUT_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of a runtime command's output that are kept: a list of some thousand containers."""

COMMAND_LINE_LIMIT: Final = 160
"""Characters of a command line in a message; the list of containers to inspect may be long."""

CHILDREN_UNHEARD: Final = (
    "SIGCHLD is ignored in this process, so nobody learns how a child ends: "
    "call signal.signal(signal.SIGCHLD, signal.SIG_DFL) first"
)
"""Why none is started then: each would seem to have ended with status 0."""

PIPE_DRAIN_BOUND: Final = 1.0
"""Seconds that a command's pipes may stay open after its end."""


class GrowingPipe(trio.abc.ReceiveStream):
    """The reading end of a pipe, with reads and a pipe that grow while they come back full.

    Growing all pipes from the start would use up what the system allows one user to have in pipes
    (/proc/sys/fs/pipe-user-pages-soft) with some sixty of them.
    """

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is its own from now on."""
        os.set_blocking(descriptor, False)
        self._descriptor: int | None = descriptor
        self._size = FIRST_READ

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Up to max_bytes; without it, as much as is there, up to LARGEST_READ."""
        # Why not an FdStream: it gives way, tries, waits, and tries again. This waits for what it
        # reads, which gives way too, and costs a pipe that is mostly silent half as much.
        data: bytes | None = None
        while data is None:
            await trio.lowlevel.wait_readable(self._fileno())
            data = self._read(max_bytes)
        if max_bytes is None and len(data) == self._size < LARGEST_READ:
            self._grow()
        return data

    def _read(self, size: int | None) -> bytes | None:
        """What is there; None if that is nothing after all."""
        try:
            # Asked for anew: closed meanwhile, its number may be another file's.
            return os.read(self._fileno(), size or self._size_of_next())
        except BlockingIOError:
            return None
        except OSError as error:
            raise trio.BrokenResourceError from error

    def _size_of_next(self) -> int:
        # Why not as much as may come: if little does, what is given back of the memory for it is a
        # hole in the heap (3 MB with a thousand runs), or a mapping of which a page is left for as
        # long as the bytes are kept, and mappings run out.
        there = fcntl.ioctl(self._fileno(), termios.FIONREAD, bytes(INT_SIZE))
        return min(self._size, max(1, int.from_bytes(there, sys.byteorder)))

    def _fileno(self) -> int:
        if self._descriptor is None:
            raise trio.ClosedResourceError("this pipe was closed")
        return self._descriptor

    def _grow(self) -> None:
        self._size *= 2
        if hasattr(fcntl, "F_SETPIPE_SZ"):  # pragma: no branch - macOS has no such call
            with suppress(OSError):
                fcntl.fcntl(self._fileno(), fcntl.F_SETPIPE_SZ, self._size)

    def close(self) -> None:
        """Close it. A reader that is blocked in it gets trio.ClosedResourceError."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        trio.lowlevel.notify_closing(descriptor)
        os.close(descriptor)

    async def aclose(self) -> None:
        """As :meth:`close`, and a checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()


class ChildProcess:
    """A child process in a session of its own, with a pipe for each standard stream.

    The session keeps the terminal's Ctrl-C from reaching it before it reached us.
    """

    stdin: trio.lowlevel.FdStream
    stdout: GrowingPipe
    stderr: GrowingPipe

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        inherited: Sequence[int] = (),
    ) -> None:
        """Start it. OSError if it can't be; then nothing is left open.

        `inherited` are descriptors that it has by the same numbers; here they stay the caller's.
        """
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            raise OSError(CHILDREN_UNHEARD)
        ours, theirs = _open_pipes()
        try:
            self._popen = subprocess.Popen(
                argv,
                stdin=theirs[0],
                stdout=theirs[1],
                stderr=theirs[2],
                env=dict(environment),
                start_new_session=True,
                pass_fds=inherited,
            )
        except BaseException:
            _close_all(ours)
            raise
        finally:
            _close_all(theirs)
        self.stdin = trio.lowlevel.FdStream(ours[0])
        self.stdout = GrowingPipe(ours[1])
        self.stderr = GrowingPipe(ours[2])

    @property
    def pid(self) -> int:
        """Its process id, which is its session's and its process group's too."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit status, 128 + N for a signal N; None while it runs."""
        status = self._popen.poll()
        return 128 - status if status is not None and status < 0 else status

    async def wait(self) -> int:
        """Wait for its end; the exit status. Any number of tasks may wait."""
        # Each for itself: nobody can have reaped it between the look and the opening of a pidfd,
        # which would be another process's then.
        while (status := self.exit_code) is None:
            descriptor = _open_pidfd(self.pid)
            if descriptor is None:
                await self._wait_in_thread()
                continue
            try:
                await trio.lowlevel.wait_readable(descriptor)
            finally:
                os.close(descriptor)
        return status

    async def _wait_in_thread(self) -> None:
        await trio.to_thread.run_sync(
            _wait_unreaped, self.pid, abandon_on_cancel=True, limiter=self._thread
        )

    @cached_property
    def _thread(self) -> trio.CapacityLimiter:
        # A wait that is given up leaves its thread behind, until the child's end; the next one waits
        # for that thread, and many children don't use up the threads that the disk is reached with.
        return trio.CapacityLimiter(1)

    def terminate(self) -> None:
        """Ask its whole process group to end, if it has not been reaped."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End its whole process group by force, if it has not been reaped."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.exit_code is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def aclose(self) -> None:
        """Close the streams, end it by force if it runs, and reap it, within REAP_BOUND.

        Done whole even when cancelled.
        """
        for stream in (self.stdin, self.stdout, self.stderr):
            stream.close()
        if self.exit_code is not None:
            return
        with trio.CancelScope(shield=True, deadline=trio.current_time() + REAP_BOUND):
            self.kill()
            await self.wait()


class ProcessContainer(Container):
    """A container heard through a child process: an engine's client, or the sandbox itself.

    Its exit status is the child's, and letting go of it ends the child.
    """

    def __init__(self, name: str, child: ChildProcess) -> None:
        self.name = name
        self.pid = child.pid
        self.stdin = child.stdin
        self.stdout = child.stdout
        self.stderr = child.stderr
        self._child = child

    def terminate(self) -> None:
        """Ask the child and its process group to end, if they still run."""
        self._child.terminate()

    async def wait(self) -> int:
        return await self._child.wait()

    async def aclose(self) -> None:
        await self._child.aclose()


@frozen(kw_only=True)
class CommandResult:
    """What a runtime's command did.

    Attributes:
        command: What was run, for messages.
        exit_code: Its exit status, 128 + N for a signal N.
        stdout: Its standard output, up to COMMAND_OUTPUT_LIMIT bytes; what isn't UTF-8 is replaced.
        stderr: The same of its standard error.
    """

    command: str
    exit_code: int
    stdout: str
    stderr: str


def command_line(argv: Sequence[str]) -> str:
    """A command for messages: as a shell takes it, without its program's folder, cut if long."""
    line = shlex.join([PurePath(argv[0]).name, *argv[1:]])
    return line if len(line) <= COMMAND_LINE_LIMIT else f"{line[: COMMAND_LINE_LIMIT - 1]}…"


async def run_command(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    bound: float,
    inherited: Sequence[int] = (),
) -> CommandResult:
    """Run one of a runtime's commands to its end, within `bound` seconds.

    `inherited` as with :class:`ChildProcess`.

    Why not trio.run_process: after a kill it waits without bound for the end and for the pipes.

    Raises:
        RuntimeCommandFailed: it can't be started, or hasn't ended in time. Then it was killed.
    """
    command = command_line(argv)
    try:
        child = ChildProcess(argv, environment, inherited=inherited)
    except (OSError, ValueError) as error:
        raise RuntimeCommandFailed(command, f"can't be started: {reason(error)}") from error
    try:
        with trio.move_on_after(bound):
            return await _hear_out(child, command)
    finally:
        await child.aclose()
    raise RuntimeCommandFailed(command, f"did not answer within {bound:g} s")


def reason(error: OSError | ValueError) -> str:
    """Why a child could not be started; a ValueError is about an argument, such as one with NUL."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


async def _hear_out(child: ChildProcess, command: str) -> CommandResult:
    stdout, stderr = bytearray(), bytearray()
    child.stdin.close()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_collect, child.stdout, stdout)
        nursery.start_soon(_collect, child.stderr, stderr)
        exit_code = await child.wait()
        # A grandchild may hold the pipes open after the command's end.
        nursery.cancel_scope.deadline = trio.current_time() + PIPE_DRAIN_BOUND
    return CommandResult(
        command=command,
        exit_code=exit_code,
        stdout=stdout.decode(errors="replace"),
        stderr=stderr.decode(errors="replace"),
    )


# A task doesn't inherit its parent's protection, and the stop ladder, which has it, runs commands.
@trio.lowlevel.enable_ki_protection
async def _collect(stream: GrowingPipe, kept: bytearray) -> None:
    async for chunk in stream:
        kept += chunk[: COMMAND_OUTPUT_LIMIT - len(kept)]


def _open_pidfd(pid: int) -> int | None:
    # None on macOS, under an old container engine's seccomp filter, or without free descriptors.
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _wait_unreaped(pid: int) -> None:
    # ChildProcessError: another task has reaped it meanwhile.
    with suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def _open_pipes() -> tuple[Ends, Ends]:
    with ExitStack() as opened:
        pipes = []
        for _stream in ("stdin", "stdout", "stderr"):
            pipe = os.pipe()
            opened.callback(_close_all, pipe)
            pipes.append(pipe)
        opened.pop_all()
    (stdin_read, stdin_write), (stdout_read, stdout_write), (stderr_read, stderr_write) = pipes
    return (stdin_write, stdout_read, stderr_read), (stdin_read, stdout_write, stderr_write)


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
