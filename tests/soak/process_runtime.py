"""A runtime whose containers are processes with pipes: descriptors, threads and zombies are real."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import trio

from nanoclaw_trio.environment import child_environment
from nanoclaw_trio.runtimes.abc import ContainerRuntime, ContainerState, Phase
from nanoclaw_trio.runtimes.process import ChildProcess, ProcessContainer

AGENT = Path(__file__).with_name("process_agent.py")


class ProcessRuntime(ContainerRuntime):
    """Runs `process_agent.py` for every container.

    Attributes:
        before: Faults by the name of a method, as the fake runtime's.
        children: What was started and hasn't been seen gone, by name.
    """

    name = "processes"

    def __init__(self, random, calm):
        """While the file `calm` is there, agents do nothing but echo."""
        self.before = {}
        self.children = {}
        self._labels = {}
        self._random = random
        self._calm = calm

    async def check(self):
        await self._fault("check")
        return "processes"

    async def require_image(self, image):
        await self._fault("require_image")

    async def start(self, spec):
        await self._fault("start")
        (mailbox,) = [m.host_path for m in spec.mounts if m.container_path == "/workspace/ipc"]
        environment = {
            **child_environment(),
            "SOAK_MAILBOX": str(mailbox),
            "SOAK_CALM": str(self._calm),
            "SOAK_SEED": str(self._random.getrandbits(32)),
        }
        child = ChildProcess((sys.executable, "-IS", str(AGENT)), environment)
        self.children[spec.name] = child
        self._labels[spec.name] = dict(spec.labels)
        return ProcessContainer(spec.name, child)

    async def stop(self, name, grace):
        await self._fault("stop")
        child = self._living(name)
        if child is None:
            return False
        child.terminate()
        with trio.move_on_after(grace):
            await child.wait()
            return True
        return await self._kill(name)

    async def kill(self, name):
        await self._fault("kill")
        return await self._kill(name)

    async def remove(self, name):
        await self._fault("remove")
        return await self._kill(name)

    async def inspect(self, name):
        await self._fault("inspect")
        return None if self._living(name) is None else self._state(name)

    async def list(self, labels):
        await self._fault("list")
        names = [name for name in tuple(self.children) if self._living(name) is not None]
        return tuple(self._state(n) for n in names if labels.items() <= self._labels[n].items())

    def end_some(self, names):
        """Kill containers from outside, as an operator might."""
        for name in names:
            child = self._living(name)
            if child is not None:
                child.kill()

    @property
    def containers(self):
        """The names of those that run."""
        return tuple(name for name in tuple(self.children) if self._living(name) is not None)

    async def _kill(self, name):
        child = self._living(name)
        if child is None:
            return False
        child._signal(signal.SIGKILL)
        await child.wait()
        return True

    def _living(self, name):
        child = self.children.get(name)
        if child is not None and child.exit_code is None:
            return child
        self.children.pop(name, None)
        self._labels.pop(name, None)
        return None

    def _state(self, name):
        return ContainerState(name=name, phase=Phase.RUNNING, labels=self._labels[name])

    async def _fault(self, method):
        await trio.lowlevel.checkpoint()
        if method in self.before:
            await self.before[method]()
