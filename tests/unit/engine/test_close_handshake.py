"""Sending, closing, exiting and restarting in any order: each message is answered once, in order.

Trap A22: a follow-up that was written behind `_close`, or that the agent left, is neither stranded
nor asked of somebody else.
"""

from __future__ import annotations

import re

import trio
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

SAY = st.tuples(
    st.just("say"),
    # What the agent does when it is asked this.
    st.sampled_from(["", "!slow=1.25", "!crash", "!leave", "!deaf", "!once", "!report-once"]),
)
WAIT = st.tuples(st.just("wait"), st.sampled_from([0, 0.25, 0.5, 1, 2, 5, 6, 30]))
CLOSE = st.tuples(st.just("close"), st.none())
RESTART = st.tuples(st.just("restart"), st.none())
TASK = st.tuples(st.just("task"), st.none())
STEPS = st.tuples(st.just("steps"), st.integers(1, 60))
ACTIONS = st.lists(st.one_of(SAY, SAY, WAIT, STEPS, CLOSE, TASK, RESTART), min_size=2, max_size=14)


def once(behave):
    """A behaviour that fails at each message the first time, and echoes it the second."""
    seen = set()

    async def first_time(turn):
        numbers = set(re.findall(r"#\d+", turn.asked.text))
        is_new = not numbers <= seen
        seen.update(numbers)
        if is_new:
            return await behave(turn)
        await turn.answer()
        await turn.update()
        return None

    return first_time


async def fail(turn):
    await turn.complain("it went wrong")
    return 1


async def report(turn):
    await turn.error("the model is overloaded")


async def act(world, actions):
    """Do all of it; the texts of the messages that were taken, by their ids."""
    taken = {}
    for action, detail in actions:
        match action:
            case "say":
                text = f"#{len(taken)} {detail}".strip()
                taken[await world.say("home", text)] = text
            case "wait":
                await trio.sleep(detail)
            case "steps":
                for _ in range(detail):
                    await trio.lowlevel.checkpoint()
            case "close":
                await world.engine.close_group("home")
            case "task":
                await world.schedule("home", "water the plants")
            case "restart":
                await world.restart()
    return taken


@hypothesis_settings(max_examples=40, deadline=None, derandomize=True)
@given(actions=ACTIONS, is_ours=st.booleans())
@example(actions=[("say", ""), ("wait", 1), ("close", None), ("say", "")], is_ours=True)
@example(actions=[("say", ""), ("wait", 0.5), ("say", "!crash"), ("say", "")], is_ours=True)
@example(actions=[("say", "!leave"), ("wait", 1), ("say", "!leave"), ("wait", 5)], is_ours=False)
@example(actions=[("say", "!deaf"), ("wait", 1), ("say", ""), ("restart", None)], is_ours=True)
def test_each_message_is_answered_once_and_in_order(in_world, actions, is_ours):
    """Whatever is sent, closed, ended and restarted in whatever order, each message that was taken
    is answered once, in the order of their coming, by an agent that was asked it. Trap A22."""

    async def scenario(world):
        world.agent.script = {
            "!once": once(fail),
            "!report-once": once(report),
            **world.agent.script,
        }
        world.agent.says_follow_ups = is_ours
        await world.start(idle_timeout=20, container_timeout=200)
        await world.register("home")
        taken = await act(world, actions)
        await trio.sleep(2000)
        answered = [id_ for said in world.answers() for id_ in said.ids]
        assert answered == list(taken)
        if is_ours:
            for said in world.answers():
                assert all(taken[id_] in said.text for id_ in said.ids)
        assert not world.failures()
        assert len([s for s in world.answers() if s.delivery.task_id]) == count(actions, "task")
        assert world.state_of("home") == "no_work"

    in_world(scenario)


def count(actions, name):
    return sum(action == name for action, _ in actions)


@hypothesis_settings(max_examples=20, deadline=None, derandomize=True)
@given(
    gaps=st.lists(st.integers(0, 80), min_size=1, max_size=5),
    before_close=st.integers(0, 120),
)
def test_sending_while_the_container_closes(in_world, gaps, before_close):
    """Messages that are sent at any moment of a container's closing are answered once, and in
    order: none is stranded behind `_close`. Trap A22."""

    async def scenario(world):
        await world.start(idle_timeout=20)
        await world.register("home")
        await world.say("home", "hello")
        await trio.sleep(5)
        await world.engine.close_group("home")
        for _ in range(before_close):
            await trio.lowlevel.checkpoint()
        for gap in gaps:
            await world.say("home", "more")
            for _ in range(gap):
                await trio.lowlevel.checkpoint()
        await trio.sleep(100)
        answered = [id_ for said in world.answers() for id_ in said.ids]
        assert answered == [f"m{number}" for number in range(1, len(gaps) + 2)]

    in_world(scenario)
