"""Whole runs with a runtime in which anything may go wrong, on the virtual clock: many worlds, each
the same each time.

`NANOCLAW_FAULTS=START:COUNT` plays those seeds, and a plan's own text in it that plan.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
from hypothesis import HealthCheck, given
from hypothesis import settings as example_settings

from nanoclaw_trio.background import open_background_nursery
from nanoclaw_trio.protocol.models import ContainerInput, ContainerOutput, RegisteredGroup
from nanoclaw_trio.run.open_run import run_container_agent
from nanoclaw_trio.run.stop import StopLadder
from nanoclaw_trio.settings import GracePeriods, Settings
from nanoclaw_trio.testing.clock import VirtualClock
from nanoclaw_trio.testing.fake import open_fake_runtime
from nanoclaw_trio.testing.fault_runtime import FaultyRuntime
from nanoclaw_trio.testing.fault_strategies import fault_plans
from nanoclaw_trio.testing.faults import (
    ALL_CALLS,
    COMMANDS,
    FaultPlan,
    plan_each_fault,
    read_plans,
    replayable,
)

SEEDS = range(60)
"""Those that are played each time, with each of the agents."""

EXAMPLES = 60
"""Plans that hypothesis tries, with each of the agents."""

PLANS = read_plans(os.environ.get("NANOCLAW_FAULTS"), default=SEEDS)

TEST = "tests/unit/run/test_faulty_runtime.py::test_runs_whose_runtime_fails_as_seeds_say"

GRACE = GracePeriods()

TIMEOUT = 100.0

GROUP = RegisteredGroup(name="Family", folder="family")

INPUT = ContainerInput(prompt="Hello", group_folder="family", chat_jid="a@test", is_main=False)


async def answer(container):
    """Two answers."""
    await container.read_input()
    for text in ("one", "two"):
        output = ContainerOutput(status="success", result=text, new_session_id="s")
        await container.write_output(output)


async def fail(container):
    """Two answers, and a failing exit."""
    await answer(container)
    return 3


async def stay(container):
    """Two answers, and no end."""
    await answer(container)
    await trio.sleep_forever()


async def resist(container):
    """The same, whatever signal comes."""
    with container.open_sigterm_receiver():
        await stay(container)


AGENTS = (answer, fail, stay, resist)

OPPOSITES = (fail, resist)
"""Of these one ends by itself, so that it is asked why, and one only by force."""

NO_RUNS = frozenset({"version", "ps"})
"""The commands that no run calls: an engine does, and unit/engine/test_faulty_runtime.py."""


class TimedRuntime(FaultyRuntime):
    """It remembers how long each call of the stop ladder was waited for."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.waits = []

    @contextmanager
    def _timed(self, rung):
        begin = trio.current_time()
        try:
            yield
        finally:
            self.waits.append((rung, trio.current_time() - begin))

    async def stop(self, name, grace):
        with self._timed("stop"):
            return await super().stop(name, grace)

    async def kill(self, name):
        with self._timed("kill"):
            return await super().kill(name)

    async def remove(self, name):
        with self._timed("remove"):
            return await super().remove(name)

    async def inspect(self, name):
        with self._timed("inspect"):
            return await super().inspect(name)


async def play(plan, agent, settings):
    """Run an agent once in a world of this plan, and check what is promised; what was called."""
    heard = []

    async def on_output(output):
        heard.append(output.result)

    async with open_fake_runtime(agent) as inner, open_background_nursery() as nursery:
        runtime = TimedRuntime(inner, plan, nursery)
        result = await run_container_agent(
            GROUP, INPUT, settings=settings, runtime=runtime, on_output=on_output
        )
        took, called = trio.current_time(), {*runtime.calls}
        check_receipt(result, inner)
        check_bounds(runtime.waits, took, result)
        runtime.plan = FaultPlan()
        # What may live on is ended once the faults are over.
        receipt = await StopLadder(runtime, result.container, grace=GRACE).descend(None)
        assert receipt.container not in inner.containers
    assert heard == ["one", "two"][: len(heard)]
    return called


def check_receipt(result, inner):
    """No container is left but one that is told of."""
    assert not result.gone or result.container not in inner.containers, result


def check_bounds(waits, took, result):
    """Each rung ended within its bound, and so did the whole."""
    for rung, seconds in waits:
        extra = GRACE.stop if rung == "stop" else 0.0
        assert seconds <= GRACE.command + extra, (rung, seconds, result)
    ladder = StopLadder(None, "", grace=GRACE).bound
    assert took <= GRACE.start + TIMEOUT + GRACE.close + 2 * ladder + GRACE.conclude, result


def play_with(agents, plan, capsys):
    """Each of these agents in a world of its own; the commands that were called in one of them.

    What the worlds before have logged is forgotten.
    """
    memory, called = Path("/dev/shm"), set()
    capsys.readouterr()
    with replayable(plan, TEST):
        for agent in agents:
            with TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
                settings = Settings(
                    project_root=Path(directory),
                    allowlist_path=Path(directory, "allowlist.json"),
                    timezone="UTC",
                    container_timeout=TIMEOUT,
                    idle_timeout=None,
                )
                called |= trio.run(play, plan, agent, settings, clock=VirtualClock())
    return called


def test_runs_whose_runtime_fails_as_seeds_say(capsys):
    """Trap A7. Whatever goes wrong with a runtime, a run has an end within its bounds, a true
    receipt, and hands out what was said in order."""
    for plan in PLANS:
        play_with(AGENTS, plan, capsys)


@pytest.mark.parametrize("calls", [1, ALL_CALLS])
@pytest.mark.parametrize("command", sorted({*COMMANDS} - NO_RUNS))
def test_runs_with_each_fault(capsys, command, calls):
    """Trap A7. The same, for each fault of each command that a run calls, once and each time; and
    the run does come to it."""
    for plan in plan_each_fault(calls=calls):
        if plan.faults[-1].command == command:
            assert command in play_with(OPPOSITES, plan, capsys), plan


@example_settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(plan=fault_plans())
def test_runs_whose_runtime_fails_in_any_way(capsys, plan):
    """Trap A7. The same, for the plans that hypothesis finds, the smallest that fails first."""
    play_with(AGENTS, plan, capsys)
