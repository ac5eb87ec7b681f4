"""An engine whose runtime fails as fault plans say, until it doesn't any more: all is answered then.

`NANOCLAW_FAULTS=START:COUNT` plays those seeds, and a plan's own text in it that plan.
"""

from __future__ import annotations

import os
from collections import defaultdict

import pytest
import trio
from hypothesis import HealthCheck, given
from hypothesis import settings as example_settings

from nanoclaw_trio.engine.journal.invariants import describe
from nanoclaw_trio.testing.fault_runtime import open_faulty_runtime
from nanoclaw_trio.testing.fault_strategies import fault_plans
from nanoclaw_trio.testing.faults import (
    FaultPlan,
    parse_plan,
    plan_each_fault,
    read_plans,
    replayable,
)

SEEDS = range(12)
"""Those that are played each time."""

EXAMPLES = 8
"""Plans that hypothesis tries."""

PLANS = read_plans(os.environ.get("NANOCLAW_FAULTS"), default=SEEDS)

TEST = "tests/unit/engine/test_faulty_runtime.py::test_an_engine_whose_runtime_fails_as_seeds_say"

FOLDERS = ("a", "b", "c")

WORDS = ("hello", "!slow=3", "!crash", "again", "!leave", "!fail")
"""What is said in each chat, one after the other."""

FAULTY_FOR = 120.0
"""Seconds until the faults end."""

PATIENCE = 4000.0
"""Seconds after that, for all to be answered or told as failed."""

NO_RUNS = [plan for plan in plan_each_fault() if plan.faults[-1].command in {"version", "ps"}]
"""Each fault of the commands that no run calls."""

FOUND = (
    # The engine asked for the image, and was never answered: it asked no more.
    "image inspect#2x4=hang-after, ps#1=restart-live",
    # The same of which containers there are.
    "ps#1x9=hang",
)
"""Plans that something was wrong with once."""


async def scenario(world, plan, folders):
    """Groups are talked to while things go wrong, and afterwards; then all must be well.

    What was called while things went wrong.
    """
    inner = world.runtime
    async with open_faulty_runtime(inner, plan) as runtime:
        world.runtime, world.agent.longest_poll = runtime, 8.0
        await world.start(container_timeout=60.0, idle_timeout=20.0)
        await world.register(*folders)
        sent = defaultdict(list)
        for words in WORDS:
            for folder in folders:
                sent[folder].append(await world.say(folder, words))
            await trio.sleep(FAULTY_FOR / len(WORDS))
        called, runtime.plan = {*runtime.calls}, FaultPlan()
        await until_settled(world, sent)
        await check(world, sent)
        for folder in folders:
            sent[folder].append(await world.say(folder, "are you there?"))
        await until_settled(world, sent)
        assert {said.text for said in world.answers()} >= {"echo: are you there?"}
        await check(world, sent)
        await world.leave()
        assert not inner.containers
    return called


async def until_settled(world, sent):
    """Until each message was answered or told as failed, and nobody is in doubt."""
    with trio.move_on_after(PATIENCE):
        while not is_settled(world, sent):  # noqa: ASYNC110 - many things are waited for
            await trio.sleep(5)
        return
    pytest.fail(f"{dict(fates(world))} of {dict(sent)}; {world.engine.statistics()}")


def is_settled(world, sent):
    """Whether nothing is waited for any more; of a start that is to be tried nobody knows yet."""
    number = sum(map(len, fates(world).values()))
    is_up = world.engine.statistics().runtime_state != "down"
    return is_up and number >= sum(map(len, sent.values()))


def fates(world):
    """The messages that were answered or told as failed, in the order of that, by group."""
    found = defaultdict(list)
    for said in world.said():
        found[said.delivery.group_folder] += said.ids
    return found


async def check(world, sent):
    """Each message has one fate, in order; the journal shows no promise broken."""
    assert fates(world) == sent
    examination = await world.examine()
    assert not examination.violations, describe(examination.violations)


def play(in_world, plan, capsys):
    """Play a plan. What the worlds before have logged is forgotten."""
    capsys.readouterr()
    with replayable(plan, TEST):
        in_world(lambda world: scenario(world, plan, FOLDERS))


def test_an_engine_whose_runtime_fails_as_seeds_say(in_world, capsys):
    """Trap A23. Whatever goes wrong with the runtime for two minutes: each message is answered once
    or told as failed, in order, no group is left in quarantine, and no container is left."""
    for plan in PLANS:
        play(in_world, plan, capsys)


@pytest.mark.parametrize("plan", NO_RUNS, ids=str)
def test_each_fault_of_what_no_run_calls(in_world, plan):
    """The same for one group, with each fault of the commands that an engine alone calls, and it
    does come to it; unit/run/test_faulty_runtime.py has the rest."""
    called = in_world(lambda world: scenario(world, plan, FOLDERS[:1]))
    assert plan.faults[-1].command in called


@example_settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(plan=fault_plans())
def test_an_engine_whose_runtime_fails_in_any_way(in_world, capsys, plan):
    """The same, for the plans that hypothesis finds, the smallest that fails first."""
    play(in_world, plan, capsys)


@pytest.mark.parametrize("text", FOUND)
def test_what_was_found_once(in_world, capsys, text):
    """A plan that showed a defect shows none any more."""
    play(in_world, parse_plan(text), capsys)
