"""What looks like an outage, and isn't: one group's trouble is no other group's."""

from __future__ import annotations

import pytest
import trio

from nanoclaw_trio.errors import RuntimeUnavailable, StartFailed
from nanoclaw_trio.store.models import DeliveryKind

NO_ENGINE = 125


async def lie(turn):
    """An agent that ends as the client of an engine does that isn't there."""
    return NO_ENGINE


@pytest.fixture
async def liars(world):
    """An engine whose agents, on `!lie`, end as if the runtime were down."""
    world.agent.script["!lie"] = lie
    world.runtime.explanations[NO_ENGINE] = RuntimeUnavailable("fake", "no engine", "start it")
    await world.start()
    await world.register("home", "other")
    return world


async def test_an_agents_words_are_no_outage(virtual_clock, liars):
    """A client passes its agent's exit status and words on. Before they count as the runtime's, it
    is asked: an agent can't switch it off for everybody, and its messages are given up in the end."""
    await liars.say("home", "!lie")
    for number in range(20):
        await liars.say("other", f"hello {number}")
        await trio.sleep(20)
    assert not liars.platform.notices
    (failure,) = liars.failures("home")
    assert failure.kind is DeliveryKind.FAILURE
    assert len(liars.agent.prompts("home")) == 6
    assert len(liars.answers("other")) == 20


async def test_a_runtime_that_went_down_is_believed(virtual_clock, liars):
    """The same end, while the runtime doesn't answer: it is an outage, and costs no attempt."""

    async def refuse():
        raise RuntimeUnavailable("fake", "no engine", "start it")

    liars.runtime.before["check"] = refuse
    await liars.say("home", "!lie")
    await trio.sleep(300)
    assert liars.engine.statistics().runtime_state == "down"
    assert len(liars.agent.prompts("home")) == 1
    liars.runtime.before.clear()
    liars.agent.script["!lie"] = liars.agent.script["!silent"]
    await trio.sleep(100)
    assert [len(liars.agent.prompts("home")), len(liars.platform.notices)] == [2, 2]


async def test_one_groups_failing_starts_open_nothing(virtual_clock, world):
    """A group whose starts fail, however often, holds up no other group."""
    world.runtime.explanations[126] = StartFailed("c", "its mount is gone")

    async def unstartable(turn):
        return 126

    world.agent.script["!start"] = unstartable
    await world.start()
    await world.register("home", "other")
    await world.say("home", "!start")
    await trio.sleep(400)
    await world.say("other", "hello")
    await trio.sleep(10)
    assert not world.platform.notices
    assert [said.text for said in world.answers("other")] == ["echo: hello"]
    assert len(world.failures("home")) == 1


async def test_clients_that_are_refused_have_started_nothing(virtual_clock, world):
    """A client that ends at once, as its engine refuses, is no sign that containers start: three
    groups with that open the breaker, and it stays open until a container really runs."""
    world.runtime.explanations[126] = StartFailed("c", "no such network")

    async def unstartable(turn):
        await trio.sleep(1)
        return 126

    world.agent.script["!start"] = unstartable
    await world.start()
    folders = ["one", "two", "three", "four"]
    await world.register(*folders)
    for folder in folders:
        await world.say(folder, "!start")
    await trio.sleep(60)
    assert [str(notice.kind) for _, notice in world.platform.notices] == ["runtime_down"]
    world.agent.script["!start"] = world.agent.script["!silent"]
    await trio.sleep(600)
    kinds = [str(notice.kind) for _, notice in world.platform.notices]
    assert kinds == ["runtime_down", "runtime_back"]
    assert not [folder for folder in folders if await world.waiting(folder)]
