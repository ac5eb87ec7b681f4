"""The two worlds: containers that are functions, and containers that are processes."""

from __future__ import annotations

from contextlib import asynccontextmanager

from fake_agent import FakeAgent
from process_runtime import ProcessRuntime

from nanoclaw_trio.testing.fake import open_fake_runtime


class World:
    """A runtime, and what can be done to it.

    Attributes:
        runtime: The runtime.
    """

    def __init__(self, runtime, *, end, calm, tidy):
        """`end`: end containers by name, from outside. `calm`: no agent misbehaves from now on.

        `tidy`: let go of what the runtime keeps for tests and a soak has no use for.
        """
        self.runtime = runtime
        self.end = end
        self.calm = calm
        self.tidy = tidy


@asynccontextmanager
async def open_fake_world(project, random):
    """Containers in this process."""
    del project
    agent = FakeAgent(random)

    def end(names):
        for name in names:
            if name in runtime.containers:
                runtime.containers[name]._end(137)

    def calm():
        agent.is_calm = True

    def tidy():
        runtime.started.clear()
        runtime._killed_for_memory.clear()

    async with open_fake_runtime(agent) as runtime:
        yield World(runtime, end=end, calm=calm, tidy=tidy)


@asynccontextmanager
async def open_process_world(project, random):
    """Containers that are children of this process."""
    calm = project.with_name("calm")
    runtime = ProcessRuntime(random, calm)
    yield World(runtime, end=runtime.end_some, calm=calm.touch, tidy=lambda: None)


WORLDS = {"fake": open_fake_world, "processes": open_process_world}
