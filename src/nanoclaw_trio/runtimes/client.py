"""An engine's client program: the containers that are heard through it, and its commands."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, TypeVar

from nanoclaw_trio.environment import child_environment
from nanoclaw_trio.errors import RuntimeCommandFailed
from nanoclaw_trio.runtimes.answers import excerpt
from nanoclaw_trio.runtimes.process import ChildProcess, ProcessContainer, run_command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nanoclaw_trio.runtimes.process import CommandResult

T = TypeVar("T")


class EngineClient:
    """The client program, looked for on the PATH at each use. It gets no secret of ours."""

    def __init__(self, executable: str, options: Sequence[str] = ()) -> None:
        """`executable` is its name, or its path; `options` come before each command."""
        self.executable = executable
        self._options = tuple(options)

    def find(self) -> str | None:
        """Its path; None if it isn't installed."""
        return shutil.which(self.executable, path=child_environment().get("PATH"))

    def attach(self, name: str, arguments: Sequence[str]) -> ProcessContainer:
        """Start it to run a container of this name. Without a checkpoint.

        OSError if it can't be started; then nothing was.
        """
        argv = [self.find() or self.executable, *self._options, *arguments]
        return ProcessContainer(name, ChildProcess(argv, child_environment()))

    async def command(self, arguments: Sequence[str], *, bound: float) -> CommandResult:
        """Run one of its commands to its end, within `bound` seconds.

        Raises:
            RuntimeCommandFailed: it can't be started, or hasn't answered in time.
        """
        argv = [self.find() or self.executable, *self._options, *arguments]
        return await run_command(argv, child_environment(), bound=bound)


def failed(result: CommandResult) -> RuntimeCommandFailed:
    """The error for a command that ended with another status than 0."""
    said = excerpt(result.stderr) or "nothing on standard error"
    return RuntimeCommandFailed(result.command, f"ended with status {result.exit_code}: {said}")


def understand(result: CommandResult, read: Callable[[str], T]) -> T:
    """A command's standard output, read. RuntimeCommandFailed if it is garbage."""
    try:
        return read(result.stdout)
    except ValueError as error:
        why = f"answered garbage ({error}): {excerpt(result.stdout)}"
        raise RuntimeCommandFailed(result.command, why) from error
