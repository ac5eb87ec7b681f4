"""What is measured, of ours. Each is a process of its own: `python workloads.py AGENT NAME WORD...`.

Prints JSON as bare.c does: wall and CPU seconds, those of the agents included, of the workload
itself, without the imports and a first run; that run's peak of resident KiB and the whole process's;
the seconds from each container's start until it was known to be gone, together; and milliseconds from
an agent's write to the caller's code at p50 and p99.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import trio
from figures import Workloads, project_home
from plain_runtime import PlainRuntime

from nanoclaw_trio import ContainerInput, RegisteredGroup, Settings, run_container_agent
from nanoclaw_trio.cli.heap import keep_one_heap
from nanoclaw_trio.logs import configure_logging
from nanoclaw_trio.workspace.prepare import prepare_workspace

MIB = 1024 * 1024


class Host(Workloads):
    """A project whose agents are one program."""

    def __init__(self, directory, agent):
        super().__init__()
        self._agent = agent
        self._settings = Settings(
            project_root=Path(directory), log_level="error", max_frame_bytes=65 * MIB
        )
        self.lives = []
        self._words = {}
        self._runtime = PlainRuntime(self.lives, self._command)

    def _command(self, folder):
        return (self._agent, *self._words[folder])

    def prepare(self, groups):
        """Make the workspaces of so many groups: theirs are there when they are asked anything."""
        for index in range(groups):
            prepare_workspace(_group(index), is_main=False, settings=self._settings)

    async def run(self, *words, index=0, pause=0):
        """One run, with a consumer that takes so many seconds for an output."""
        group = _group(index)
        self._words[group.folder] = words
        question = ContainerInput(
            prompt="", group_folder=group.folder, chat_jid="benchmark", is_main=False
        )

        async def take(output):
            self.note(output.result)
            if pause:
                await trio.sleep(pause)

        result = await run_container_agent(
            group,
            question,
            settings=self._settings,
            runtime=self._runtime,
            on_output=take,
        )
        assert result.status == "success", result

    async def measure(self, name, words):
        """Of its lives, those of the workload itself: the first run's isn't in it."""
        figures = await super().measure(name, words)
        return {**figures, "lives": sum(self.lives[1:])}

    async def slow_consumer(self, milliseconds, size, *words):
        """Twenty that chat, and one that floods a consumer that is slow."""
        async with trio.open_nursery() as nursery:
            for index in range(20):
                nursery.start_soon(self.run_numbered, index, words)
            nursery.start_soon(self._run_flood, str(size), float(milliseconds) / 1000)

    async def _run_flood(self, size, pause):
        await self.run("flood", "500", size, index=20, pause=pause)


def _group(index):
    return RegisteredGroup(name="Benchmark", folder=f"benchmark{index}")


async def measure(agent, name, words):
    """Run a workload; its figures."""
    with tempfile.TemporaryDirectory(dir=project_home()) as directory:
        host = Host(directory, agent)
        host.prepare(1 if name == "sequence" else 21 if name != "crowd" else int(words[0]))
        return await host.measure(name, words)


if __name__ == "__main__":
    configure_logging("error")
    keep_one_heap()
    print(json.dumps(trio.run(measure, sys.argv[1], sys.argv[2], sys.argv[3:])))
