"""When listening to a CLI ends, on a clock of its own."""

from __future__ import annotations

import pytest
import trio

pytest.importorskip("claude_agent_sdk", reason="the agent's own dependencies aren't installed")

from nanoclaw_agent.agents.claude.ending import END_GRACE, Ending
from nanoclaw_agent.agents.claude.events import QueryEnded, Resting, Said
from nanoclaw_agent.agents.claude.feed import Feed
from nanoclaw_agent.agents.claude.messages import user_message

ANSWERED = QueryEnded("s", "Hi")


@pytest.fixture
async def feed():
    """A feed that has handed out its only prompt."""
    send, receive = trio.open_memory_channel(1)
    send.send_nowait("one")
    send.close()
    feed = Feed(receive, user_message)
    assert await feed.wait()
    return feed


async def hand_out(feed) -> None:
    """Take all that there is, as a CLI does."""
    async for _ in feed.messages():
        pass


async def end_after(ending, *events) -> float:
    """Seconds until it ends after these events; an hour stands for never."""
    start = trio.current_time()
    with trio.move_on_after(3600), ending.scope:
        for event in events:
            ending.heard(event)
        await trio.sleep_forever()
    return trio.current_time() - start


@pytest.mark.parametrize(
    ("events", "seconds"),
    [
        ([Resting(is_idle=True)], END_GRACE),
        ([Resting(is_idle=False), Resting(is_idle=True)], END_GRACE),
        ([Resting(is_idle=True), Said("u")], END_GRACE),
        ([Resting(is_idle=True), Resting(is_idle=False)], 3600),
        ([Said("u")], 3600),
        ([], 3600),
    ],
)
async def test_a_cli_that_rests_is_left(autojump_clock, feed, events, seconds):
    """With everything answered and no prompt to come, a CLI that rests gets its grace; one that
    works on, or doesn't say what it does, all the time that it takes."""
    ending = Ending(feed)
    await hand_out(feed)
    feed.answered((), are_all=False)
    assert await end_after(ending, *events) == pytest.approx(seconds)


async def test_a_prompt_without_an_answer_is_waited_for(autojump_clock, feed):
    """That a CLI rests says nothing while it has a prompt that it hasn't begun with."""
    ending = Ending(feed)
    await hand_out(feed)
    assert await end_after(ending, Resting(is_idle=True)) == pytest.approx(3600)


async def test_prompts_that_may_come_are_waited_for(autojump_clock, feed):
    """A session that isn't closed goes on, however long the CLI rests."""
    ending = Ending(feed)
    feed.answered((), are_all=False)
    assert await end_after(ending, ANSWERED, Resting(is_idle=True)) == pytest.approx(3600)


async def test_the_end_of_the_prompts_is_noticed(autojump_clock):
    """A CLI that rests already is left when the session is closed."""
    send, receive = trio.open_memory_channel(0)
    feed = Feed(receive, user_message)
    ending = Ending(feed)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hand_out, feed)
        with ending.scope:
            ending.heard(Resting(is_idle=True))
            await trio.sleep(60)
            send.close()
            await trio.sleep_forever()
    assert trio.current_time() == pytest.approx(60 + END_GRACE, abs=0.1)
