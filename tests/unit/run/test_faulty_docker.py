"""Whole runs against a `docker` in which seeds choose what goes wrong: real processes, real time.

`NANOCLAW_FAULTS=START:COUNT` plays other seeds, or as many as one likes; a plan's own text in it
plays that plan.
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from pathlib import Path

import trio
from attrs import evolve, frozen

from nanoclaw_trio.errors import RuntimeCommandFailed, RuntimeUnavailable
from nanoclaw_trio.run.open_run import run_container_agent
from nanoclaw_trio.runtimes.docker import DockerRuntime
from nanoclaw_trio.settings import GracePeriods, Settings
from nanoclaw_trio.testing.docker_stand_in import (
    Scenario,
    kill_containers,
    known_containers,
    living_containers,
    read_calls,
    write_docker_stand_in,
)
from nanoclaw_trio.testing.faults import COMMANDS, FaultKind, parse_plan, read_plans, replayable

TEST = "tests/unit/run/test_faulty_docker.py::test_a_run_whose_docker_fails_as_seeds_say"

SEEDS = range(24)
"""Those that are played each time."""

AT_ONCE = 6
"""Worlds that are played at a time: most of their time they wait."""

GRACE = GracePeriods(
    start=3.0, close=0.05, stop=0.2, command=1.0, drain=0.5, log=5.0, conclude=10.0
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

STOPPED = ("stays", "stubborn", "silent")

AGENTS_FOR = {"stop": STOPPED, "kill": STOPPED, "rm": STOPPED, "events": ("fails",)}
"""The agents for which a run calls a command; the others are called for all of them."""

PLANS = read_plans(os.environ.get("NANOCLAW_FAULTS"), default=SEEDS)


ONE_OF_EACH = (
    "version#1=garbage",
    "image inspect#1=slow",
    "image inspect#1=refuse",
    "run#1=cut",
    "run#1=abandon",
    "run#1=die-after",
    "run#1=restart-exited",
    "container inspect#1=pretend",
    "container inspect#1=restart-live",
    "stop#1=hang-after",
    "stop#1=restart",
    "stop#1x99=fail, kill#1=flip",
    "stop#1x99=fail, kill#1x99=fail, rm#1=die",
    "events#1=hang",
    "ps#1=fail-after",
)
"""Each command and each kind of fault. All the pairs would take too long with real processes: the
virtual clock has them."""


@frozen(kw_only=True)
class FaultyWorld:
    """A plan, and a project of its own for the run that it is played to.

    Attributes:
        plan: What goes wrong.
        directory: Where all is.
        silence: Seconds after which an agent that says nothing is stopped.
        settle: Seconds that a start which is under way is waited for then.
    """

    plan: object
    directory: Path
    silence: float = 0.4
    settle: float = 0.5

    @property
    def docker(self):
        """Where the stand-in is."""
        return self.directory / "docker"

    @property
    def agent(self):
        """What the container runs, chosen by the plan's text: so that the text says it all.

        With it the run comes to the plan's last fault, if anything does.
        """
        names = AGENTS_FOR.get(self.plan.faults[-1].command) or sorted(AGENTS)
        return AGENTS[names[zlib.crc32(str(self.plan).encode()) % len(names)]]

    def settings(self):
        """Of an empty project."""
        project = self.directory / "project"
        project.mkdir(parents=True)
        return Settings(
            project_root=project,
            allowlist_path=self.directory / "allowlist.json",
            timezone="UTC",
            container_timeout=self.silence,
            idle_timeout=None,
            grace=evolve(GRACE, settle=self.settle),
        )

    async def play(self, group, container_input):
        """Run the agent once, and check what is promised of that."""
        settings, heard = self.settings(), []
        program = write_docker_stand_in(
            self.docker, Scenario(agent=("sh", "-c", self.agent), faults=self.plan.faults)
        )
        runtime = DockerRuntime(settings, executable=str(program))

        async def on_output(output):
            heard.append(output.result)

        try:
            await check_version(runtime)
            result = await run_container_agent(
                group, container_input, settings=settings, runtime=runtime, on_output=on_output
            )
            self.check(result, heard)
            await self.check_list(runtime)
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

    async def check_list(self, runtime):
        """If it is said which containers there are, as an engine asks later, none is missing."""
        with suppress(RuntimeCommandFailed):
            listed = {state.name for state in await runtime.list({})}
            assert listed >= {*living_containers(self.docker)}

    def called(self):
        """The commands that were called."""
        words = [" ".join(call.argv) for call in read_calls(self.docker)]
        return {
            name for name in COMMANDS if any(f"{line} ".startswith(f"{name} ") for line in words)
        }

    async def all_processes_end(self):
        """Wait until no client and no container of this world runs."""
        with trio.fail_after(30):
            while processes(self.docker):  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.02)


async def check_version(runtime):
    """If the engine's version is told, as before a first run, it is the version."""
    with suppress(RuntimeUnavailable):
        assert "28.0.0-stand-in" in await runtime.check()


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


async def play_all(worlds, group, container_input):
    """Play them, some at a time."""
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def play(world):
        async with limiter:
            with replayable(world.plan, TEST):
                await world.play(group, container_input)

    with trio.fail_after(GUARD + 10 * len(worlds)):
        async with trio.open_nursery() as nursery:
            for world in worlds:
                nursery.start_soon(play, world)


async def test_a_run_whose_docker_fails_as_seeds_say(tmp_path, group, container_input):
    """Trap A7. Whatever goes wrong with docker's commands, a run has an end and a true receipt,
    hands out what was said in order, and leaves no process behind but what it tells of."""
    worlds = [
        FaultyWorld(plan=plan, directory=tmp_path / str(number))
        for number, plan in enumerate(PLANS)
    ]
    await play_all(worlds, group, container_input)


def test_one_of_each_is_each():
    """The plans of the next test have each command, and each kind of fault."""
    faults = [fault for text in ONE_OF_EACH for fault in parse_plan(text).faults]
    assert {fault.command for fault in faults} == {*COMMANDS}
    assert {fault.kind for fault in faults} == {*FaultKind}


async def test_a_run_with_one_fault_of_each(tmp_path, group, container_input):
    """Trap A7. The same, where each command and each kind of fault does come up."""
    worlds = []
    for number, text in enumerate(ONE_OF_EACH):
        world = FaultyWorld(plan=parse_plan(text), directory=tmp_path / str(number), settle=GUARD)
        # Why an agent ended is asked only if nobody ended it.
        worlds.append(evolve(world, silence=GUARD) if "events" in text else world)
    await play_all(worlds, group, container_input)
    for world in worlds:
        assert world.plan.faults[-1].command in world.called(), world.plan
