"""Whole runs against a `docker` in which seeds choose what goes wrong: real processes, real time.

`NANOCLAW_FAULTS=START:COUNT` plays other seeds, or as many as one likes; a plan's own text in it
plays that plan.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import trio
from attrs import frozen

from nanoclaw_trio.run.open_run import run_container_agent
from nanoclaw_trio.runtimes.docker import DockerRuntime
from nanoclaw_trio.settings import GracePeriods, Settings
from nanoclaw_trio.testing.docker_stand_in import (
    Scenario,
    kill_containers,
    known_containers,
    living_containers,
    write_docker_stand_in,
)
from nanoclaw_trio.testing.faults import read_plans, replayable

TEST = "tests/unit/run/test_faulty_docker.py::test_a_run_whose_docker_fails_as_seeds_say"

SEEDS = range(24)
"""Those that are played each time."""

AT_ONCE = 6
"""Worlds that are played at a time: most of their time they wait."""

GRACE = GracePeriods(
    start=3.0, close=0.05, stop=0.2, command=1.0, settle=0.5, drain=0.5, log=5.0, conclude=10.0
)

GUARD = 240
"""Seconds; it guards against a hang and measures nothing."""

FRAME = """---NANOCLAW_OUTPUT_START---
{"status":"success","result":"RESULT","newSessionId":"s"}
---NANOCLAW_OUTPUT_END---
"""

ANSWER = "".join(f"printf '%s' '{FRAME.replace('RESULT', text)}'\n" for text in ("one", "two"))

AGENTS = {
    "ends": f"cat >/dev/null\n{ANSWER}",
    "fails": f"cat >/dev/null\n{ANSWER} exit 3",
    "stays": f"cat >/dev/null\n{ANSWER} exec sleep 600",
    "stubborn": f"trap '' TERM\n{ANSWER} while :; do sleep 600; done",
    "silent": "exec sleep 600",
}

PLANS = read_plans(os.environ.get("NANOCLAW_FAULTS"), default=SEEDS)


@frozen(kw_only=True)
class FaultyWorld:
    """A plan, and a project of its own for the run that it is played to."""

    plan: object
    directory: Path

    @property
    def docker(self):
        """Where the stand-in is."""
        return self.directory / "docker"

    @property
    def agent(self):
        """What the container runs, chosen by the plan's text: so that the text says it all."""
        names = sorted(AGENTS)
        return AGENTS[names[zlib.crc32(str(self.plan).encode()) % len(names)]]

    def settings(self):
        """Of an empty project, for an agent that is soon silent for too long."""
        project = self.directory / "project"
        project.mkdir(parents=True)
        return Settings(
            project_root=project,
            allowlist_path=self.directory / "allowlist.json",
            timezone="UTC",
            container_timeout=0.4,
            idle_timeout=None,
            grace=GRACE,
        )

    async def play(self, group, container_input):
        """Run the agent once, and check what is promised of that."""
        settings, heard = self.settings(), []
        program = write_docker_stand_in(
            self.docker, Scenario(agent=("sh", "-c", self.agent), faults=self.plan.faults)
        )

        async def on_output(output):
            heard.append(output.result)

        try:
            result = await run_container_agent(
                group,
                container_input,
                settings=settings,
                runtime=DockerRuntime(settings, executable=str(program)),
                on_output=on_output,
            )
            self.check(result, heard)
            if result.gone:
                await self.all_processes_end()
        finally:
            kill_containers(self.docker)
            await self.all_processes_end()

    def check(self, result, heard):
        """The receipt is true, and what was heard is what was said, in order and once."""
        assert heard == ["one", "two"][: len(heard)]
        if result.gone:
            assert known_containers(self.docker) == (), result.receipt
            assert living_containers(self.docker) == (), result.receipt

    async def all_processes_end(self):
        """Wait until no client and no container of this world runs."""
        with trio.fail_after(30):
            while processes(self.docker):  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.02)


def processes(directory):
    """The processes that have to do with this stand-in."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        if str(directory).encode() in command:
            found.append(command)
    return found


async def test_a_run_whose_docker_fails_as_seeds_say(tmp_path, group, container_input):
    """Trap A7. Whatever goes wrong with docker's commands, a run has an end and a true receipt,
    hands out what was said in order, and leaves no process behind but what it tells of."""
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def play(number, plan):
        world = FaultyWorld(plan=plan, directory=tmp_path / str(number))
        async with limiter:
            with replayable(plan, TEST):
                await world.play(group, container_input)

    with trio.fail_after(GUARD + 10 * len(PLANS)):
        async with trio.open_nursery() as nursery:
            for number, plan in enumerate(PLANS):
                nursery.start_soon(play, number, plan)
