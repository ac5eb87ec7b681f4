"""Prompts on their way into one CLI after another: none is lost."""

from __future__ import annotations

import gc
import warnings
from math import inf

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_agent.agents.claude.feed import Feed
from nanoclaw_agent.agents.claude.messages import user_message

reproducible = settings(derandomize=True, deadline=None)

PICTURE = {"type": "image", "source": {}}


def first_message(prompt):
    return user_message(prompt, [PICTURE])


def content(message):
    return message["message"]["content"]


def text(message):
    found = content(message)
    return found if isinstance(found, str) else found[0]["text"]


@pytest.fixture
def prompts():
    """A way to send prompts, and the prompts."""
    return trio.open_memory_channel(inf)


async def settle(function, *arguments) -> None:
    """Call a function until it can't go on, then cancel it."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(function, *arguments)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def take_messages(feed) -> list[dict]:
    """What a CLI gets that takes whatever there is, and ends while it waits for more."""
    taken: list[dict] = []
    await settle(_take, feed, taken)
    return taken


async def take(feed) -> list[str]:
    """The same, without what belongs to a message besides its text."""
    return [text(message) for message in await take_messages(feed)]


async def _take(feed, taken):
    async for message in feed.messages():
        taken.append(message)


async def test_messages_are_left_in_the_middle(prompts):
    """A CLI that ends while a message is on its way to it leaves nothing that must be closed."""
    send, receive = prompts
    send.send_nowait("one")
    messages = Feed(receive, first_message).messages()
    assert text(await anext(messages)) == "one"
    with warnings.catch_warnings(record=True) as caught:
        del messages
        gc.collect()
        await trio.lowlevel.checkpoint()
    assert caught == []


async def test_only_the_first_message_has_pictures(prompts):
    """The session's first prompt is made with them, the others are their text."""
    send, receive = prompts
    for prompt in ("one", "two"):
        send.send_nowait(prompt)
    send.close()
    feed = Feed(receive, first_message)
    assert [content(message) async for message in feed.messages()] == [
        [{"type": "text", "text": "one"}, PICTURE],
        "two",
    ]


async def test_next_cli_gets_what_is_not_answered(prompts):
    """What one was given and didn't answer is given to the next, before what comes."""
    send, receive = prompts
    feed = Feed(receive, user_message)
    send.send_nowait("one")
    assert await take(feed) == ["one"]
    assert await feed.wait()
    send.send_nowait("two")
    assert await take(feed) == ["one", "two"]
    answer_all(feed)
    send.send_nowait("three")
    assert await feed.wait()
    assert await take(feed) == ["three"]


def answer_all(feed):
    """A query ends that may have taken in all that there were."""
    feed.answered((), are_all=False)


@pytest.mark.parametrize(
    ("answered", "are_all", "left", "pending"),
    [
        ((0,), True, ["two", "three"], 2),
        ((1,), True, ["three"], 1),
        ((0, 1), True, ["three"], 1),
        ((2, 0), True, [], 0),
        ((), True, ["one", "two", "three"], 3),
        ((1,), False, [], 1),
        ((), False, [], 2),
    ],
)
async def test_what_a_query_took_in_is_answered(prompts, answered, are_all, left, pending):
    """A query answers the prompts that it names and those before them; the others are for the next
    CLI, under ids that no session has seen. What it may have taken in besides is for no other, and
    isn't known to be answered."""
    send, receive = prompts
    feed = Feed(receive, user_message)
    for prompt in ("one", "two", "three"):
        send.send_nowait(prompt)
    send.close()
    ids = [message["uuid"] async for message in feed.messages()]
    assert feed.pending == 3
    feed.answered(("unknown", *(ids[place] for place in answered)), are_all=are_all)
    assert feed.is_exhausted is (left == [])
    assert feed.pending == pending
    again = [(text(message), message["uuid"]) async for message in feed.messages()]
    assert [prompt for prompt, _ in again] == left
    assert len({*ids, *(uuid for _, uuid in again)}) == len(ids) + len(left)


async def test_what_is_not_listed_is_pending_until_a_later_one_is(prompts):
    """A turn that nobody asked for answers nothing, and the next that names a prompt all before it."""
    send, receive = prompts
    feed = Feed(receive, first_message)
    for prompt in ("one", "two"):
        send.send_nowait(prompt)
    await take(feed)
    answer_all(feed)
    send.send_nowait("three")
    feed.answered((), are_all=True)
    assert await feed.wait()
    feed.answered((), are_all=True)
    feed.preface("A note")
    assert feed.pending == 2
    send.close()
    (message,) = [message async for message in feed.messages()]
    assert text(message) == "A note"
    feed.answered((message["uuid"],), are_all=True)
    assert feed.pending == 0
    assert feed.is_exhausted


async def test_wait_takes_one_prompt_and_keeps_it(prompts):
    """The prompt that is waited for is handed out by the next CLI's messages."""
    send, receive = prompts
    feed = Feed(receive, user_message)
    send.send_nowait("one")
    assert await feed.wait()
    assert await feed.wait()
    send.close()
    assert [text(message) async for message in feed.messages()] == ["one"]


async def test_end_of_the_prompts_is_the_end(prompts):
    """With everything answered and no more prompts, there is nothing to wait for."""
    send, receive = prompts
    feed = Feed(receive, user_message)
    send.send_nowait("one")
    send.close()
    assert [text(message) async for message in feed.messages()] == ["one"]
    assert await feed.wait()
    answer_all(feed)
    assert not await feed.wait()
    assert [message async for message in feed.messages()] == []


async def test_cancelled_wait_loses_nothing(prompts):
    """A request for a prompt may be cancelled and made again."""
    send, receive = prompts
    feed = Feed(receive, user_message)
    assert await take(feed) == []
    await settle(feed.wait)
    send.send_nowait("one")
    assert await take(feed) == ["one"]


async def test_preface_is_said_before_the_first(prompts):
    """A note comes in the first unanswered message, before its text and its pictures."""
    send, receive = prompts
    feed = Feed(receive, first_message)
    feed.preface("nothing to say it before")
    for prompt in ("one", "two"):
        send.send_nowait(prompt)
    send.close()
    await take(feed)
    feed.preface("A note")
    assert [content(message) async for message in feed.messages()] == [
        [{"type": "text", "text": "A note"}, {"type": "text", "text": "one"}, PICTURE],
        "two",
    ]


STEPS = st.lists(st.sampled_from(["prompt", "cli", "answer", "listed answer", "wait"]))


@reproducible
@given(STEPS)
def test_no_order_of_things_loses_a_prompt(steps):
    """Every prompt goes to some CLI, in order, and again to each one until it is answered; until
    that is known it is pending."""
    trio.run(_follow, steps)


async def _follow(steps):
    send, receive = trio.open_memory_channel[str](inf)
    feed = Feed(receive, user_message)
    sent: list[str] = []
    unanswered: list[str] = []
    ids: list[str] = []
    answered = known = 0
    for step in steps:
        if step == "prompt":
            sent.append(str(len(sent)))
            send.send_nowait(sent[-1])
        elif step == "cli":
            unanswered = sent[answered:]
            messages = await take_messages(feed)
            assert [text(message) for message in messages] == unanswered
            ids = [message["uuid"] for message in messages]
        elif step == "answer":
            answer_all(feed)
            answered += len(unanswered)
            known = min(known + 1, answered)
            unanswered, ids = [], []
        elif step == "listed answer" and ids:
            feed.answered((ids.pop(0),), are_all=True)
            unanswered.pop(0)
            answered += 1
            known = answered
        elif step == "wait":
            await settle(feed.wait)
            unanswered = unanswered or sent[answered : answered + 1]
        assert feed.pending == answered + len(unanswered) - known
