"""From a command to the process's exit status: its streams, its signals, its failures."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import ExitStack, redirect_stderr
from typing import TYPE_CHECKING, TypeAlias

import trio
from attrs import frozen

from nanoclaw_trio.cli.progress import LiveLine, Progress
from nanoclaw_trio.cli.signals import Interruption, receive_signals
from nanoclaw_trio.cli.startup import handled_signals
from nanoclaw_trio.cli.streams import StandardError, StandardInput, StandardOutput, Streams

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    Command: TypeAlias = Callable[["World"], Awaitable[int]]


@frozen(kw_only=True)
class World:
    """What a command finds around it.

    Attributes:
        streams: The standard streams.
        interruption: What ends it before its time.
        progress: Where it says what it is at.
    """

    streams: Streams
    interruption: Interruption
    progress: Progress


def run_program(command: Command, noted: Iterable[int]) -> int:
    """Run a command on this process's streams; `noted` are signals that came before."""
    gc.enable()  # the imports are done
    return trio.run(_serve, command, noted)


async def _serve(command: Command, noted: Iterable[int]) -> int:
    stdout = StandardOutput(1)
    with ExitStack() as stack:
        stderr = _open_stderr(stack)
        streams = Streams(
            stdin=StandardInput(0),
            stdout=stdout,
            stderr=stderr,
            stdin_is_terminal=os.isatty(0),
            stdout_is_terminal=os.isatty(1),
            stderr_is_terminal=stderr.isatty(),
        )
        async with trio.open_nursery() as nursery:
            progress = _open_progress(stack, stderr, nursery)
            interruption = Interruption(streams.say, progress)
            await nursery.start(receive_signals, interruption, handled_signals(), noted)
            nursery.start_soon(_notice_lost_output, stdout, interruption)
            world = World(streams=streams, interruption=interruption, progress=progress)
            status = await command(world)
            nursery.cancel_scope.cancel()
    return status


def _open_stderr(stack: ExitStack) -> StandardError:
    file = sys.stderr
    if file is None:  # the caller closed it
        nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - the stack closes it
        file = stack.enter_context(nowhere)
    stderr = StandardError(file)
    # The logs, too, go to whatever sys.stderr is at the moment.
    stack.enter_context(redirect_stderr(stderr))
    return stderr


async def _notice_lost_output(stdout: StandardOutput, interruption: Interruption) -> None:
    await stdout.wait_reader_gone()
    interruption.output_lost()


def _open_progress(stack: ExitStack, stderr: StandardError, nursery: trio.Nursery) -> Progress:
    if not stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return Progress()
    live_line = stack.enter_context(LiveLine(stderr))
    nursery.start_soon(live_line.keep_fresh)
    return live_line
