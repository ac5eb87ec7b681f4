"""An engine's client while it builds: what it says, its end, and how it is ended."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.background import open_background_nursery, start_protected
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.runtimes.build_progress import LineReader
from nanoclaw_trio.runtimes.proc import children_of, read_process, send_signal
from nanoclaw_trio.runtimes.process import PIPE_DRAIN_BOUND

if TYPE_CHECKING:
    from collections.abc import Callable

    from nanoclaw_trio.runtimes.proc import Process
    from nanoclaw_trio.runtimes.process import ProcessContainer

STOP_GRACE: Final = 10.0
"""Seconds for the client to end a build by itself, before it is killed."""


async def run_build(
    client: ProcessContainer, hear: Callable[[str], object], *, grace: float = STOP_GRACE
) -> int:
    """Hand on each line that the client says, until its end; its exit status.

    What `hear` raises goes on as it is. On every way out the client has ended: cancelled, it is
    asked to end the build, first the innermost of its processes and after half of `grace` all of
    them, and killed after `grace` seconds.
    """
    ended = False
    try:
        status = await _hear_out(client, hear)
        ended = True
    finally:
        if not ended:
            await _stop(client, grace)  # noqa: ASYNC102 - it shields itself, within a bound
        await client.aclose()  # noqa: ASYNC102 - so does this
    return status


async def _hear_out(client: ProcessContainer, hear: Callable[[str], object]) -> int:
    sender, receiver = trio.open_memory_channel[str](0)
    async with open_background_nursery() as nursery:
        start_protected(nursery, client.stdin.aclose)
        with sender:
            for stream in (client.stdout, client.stderr):
                start_protected(nursery, _pass_on, stream, sender.clone())
        with trio.CancelScope() as listening:
            start_protected(nursery, _stop_listening, client, listening)
            async for line in receiver:
                hear(line)
        return await client.wait()


async def _pass_on(stream: trio.abc.ReceiveStream, sender: trio.MemorySendChannel[str]) -> None:
    reader = LineReader()
    with sender:
        async for chunk in stream:
            for line in reader.receive_data(bytes(chunk)):
                await sender.send(line)
        for line in reader.close():
            await sender.send(line)


async def _stop_listening(client: ProcessContainer, listening: trio.CancelScope) -> None:
    await client.wait()
    # A grandchild may hold the pipes open after the client's end.
    listening.deadline = trio.current_time() + PIPE_DRAIN_BOUND


async def _stop(client: ProcessContainer, grace: float) -> None:
    with trio.CancelScope(shield=True, deadline=trio.current_time() + grace):
        async with open_background_nursery() as nursery:
            for stream in (client.stdout, client.stderr):
                start_protected(nursery, _drain, stream)
            with trio.move_on_after(grace / 2):
                if await in_thread(ask_innermost, client.pid, abandon_on_cancel=True):
                    await client.wait()
            client.terminate()
            await client.wait()


async def _drain(stream: trio.abc.ReceiveStream) -> None:
    # A client that is stuck in writing to a full pipe would end nothing.
    async for _ in stream:
        pass


def ask_innermost(leader: int | None) -> bool:
    """Ask the innermost processes of the client's process group to end; whether one was asked.

    Podman that is asked itself ends at once, and leaves the step that runs behind. Its child that
    waits for the step ends that first; podman then cleans up and says that the build failed. So it
    is with docker, whose child is the builder.
    """
    asked = False
    if sys.platform == "linux" and leader is not None:  # pragma: no branch - macOS has no /proc
        with suppress(OSError):
            for process in innermost_processes(leader):
                asked = send_signal(process, signal.SIGTERM) or asked
    return asked


def innermost_processes(leader: int) -> tuple[Process, ...]:
    """The processes of a process group that have no child in it.

    OSError if /proc doesn't show them.
    """
    found: list[Process] = []
    generation = [process for process in (read_process(leader),) if process and not process.over]
    while generation:
        children = children_of(process.pid for process in generation)
        below = [child for child in children if _group_of(child.pid) == leader]
        parents = {child.parent for child in below}
        found += [process for process in generation if process.pid not in parents]
        generation = below
    return tuple(found)


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:  # pragma: no cover - it ended since it was listed
        return None
