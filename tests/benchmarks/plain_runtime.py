"""A runtime without isolation: what it costs to run an agent, less what a sandbox costs.

For benchmarks alone. Its containers are child processes; it keeps the promises of a runtime as far
as the run asks for them.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import trio

from nanoclaw_trio.runtimes.abc import GROUP_LABEL, ContainerRuntime, ContainerState, Phase
from nanoclaw_trio.runtimes.process import ChildProcess, ProcessContainer

ENVIRONMENT = {"PATH": os.defpath}
"""What its agents get, as little as a sandbox's."""


class PlainRuntime(ContainerRuntime):
    """Starts a command for every run."""

    name = "plain"

    def __init__(self, lives, command):
        """`lives` gets the seconds from each container's start until it was found gone; `command`
        says what to start for a group's folder."""
        self.lives = lives
        self.command = command
        self.children = {}
        self.started = {}

    async def check(self):
        return "plain processes"

    async def require_image(self, image):
        pass

    async def start(self, spec):
        self.started[spec.name] = time.perf_counter()
        child = ChildProcess(self.command(spec.labels[GROUP_LABEL]), ENVIRONMENT)
        self.children[spec.name] = child
        return ProcessContainer(spec.name, child)

    async def stop(self, name, grace):
        return await self._end(name, signal.SIGTERM, grace)

    async def kill(self, name):
        return await self._end(name, signal.SIGKILL, 5)

    async def remove(self, name):
        return await self.kill(name)

    async def inspect(self, name):
        child = self.children.get(name)
        if child is None or child.exit_code is not None:
            if self.children.pop(name, None) is not None:
                self.lives.append(time.perf_counter() - self.started.pop(name))
            return None
        return ContainerState(name=name, phase=Phase.RUNNING)

    async def list(self, labels):
        return ()

    async def _end(self, name, number, grace):
        child = self.children.get(name)
        if child is None:
            return False
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with trio.move_on_after(grace):
            await child.wait()
        return True
