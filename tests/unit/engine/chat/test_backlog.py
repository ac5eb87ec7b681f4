"""An agent that says more than its chat takes is held up, and nothing of it is lost."""

from __future__ import annotations

import pytest
import trio

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.chat import backlog
from nanoclaw_trio.engine.requests.intake import VISIT_LIMIT
from nanoclaw_trio.engine.runs.closing import CLOSE_LIMIT
from nanoclaw_trio.store import deliveries
from nanoclaw_trio.store.database import open_store
from nanoclaw_trio.store.models import Delivery, DeliveryKind

SAID = 40
"""Things that an agent says here, of which a few may wait."""

REQUESTS = 2 * VISIT_LIMIT + SAID
"""The same by the mailbox, of which each visit takes so many."""


@pytest.fixture
def few(monkeypatch):
    """How many things may wait to be said in a chat, here."""
    number = 5
    monkeypatch.setattr(backlog, "MOST_WAITING", number)
    return number


@pytest.fixture
def hesitant(home):
    """A platform that takes nothing until this is set."""
    ready = trio.Event()

    async def deliver(_delivery):
        await ready.wait()

    home.platform.before["deliver"] = deliver
    return ready


async def pending(world):
    return await world.transact(deliveries.count_pending)


async def flood(turn):
    """Many answers, and no moment between them."""
    for number in range(SAID):
        await turn.answer(str(number))
    await turn.update()


async def flood_with_requests(turn):
    """The same, by the mailbox."""
    jid = turn.asked.request["chatJid"]
    for number in range(REQUESTS):
        message = {"type": "message", "chatJid": jid, "text": str(number), "timestamp": "now"}
        await turn.put(f"messages/{number:03}.json", message)
    await turn.update()


async def test_a_flood_of_answers(virtual_clock, home, few, hesitant, capsys):
    """An agent's answers stay in its pipe where its chat takes none, and each is said once, in order,
    when it does."""
    home.agent.script["!flood"] = flood
    await home.say("home", "!flood")
    await trio.sleep(100)
    assert await pending(home) == few
    assert home.running() == ["home"]
    hesitant.set()
    await trio.sleep(10)
    assert [said.text for said in home.answers()] == [str(number) for number in range(SAID)]
    assert home.failures() == []
    assert len(home.agent.asked) == 1
    # One line a minute, not one for each answer.
    assert capsys.readouterr().err.count("agent says more than its chat takes") == 2


async def test_others_go_on(virtual_clock, home, few, hesitant):
    """A chat that takes nothing holds up its own agent alone."""
    await home.register("other")
    home.agent.script["!flood"] = flood

    async def deliver(delivery):
        if delivery.chat_jid == "home@chat":
            await hesitant.wait()

    home.platform.before["deliver"] = deliver
    await home.say("home", "!flood")
    await trio.sleep(10)
    for number in range(2 * few):
        await home.say("other", f"hello {number}")
        await trio.sleep(10)
    assert len(home.answers("other")) == 2 * few
    assert await pending(home) == few


async def test_a_flood_of_requests(virtual_clock, home, few, hesitant):
    """What an agent says by its mailbox stays there, and is said when its chat takes it."""
    home.agent.script["!flood"] = flood_with_requests
    await home.say("home", "!flood")
    await trio.sleep(1000)
    # A visit that has begun takes what a visit takes.
    assert await pending(home) <= few + VISIT_LIMIT
    hesitant.set()
    await trio.sleep(1000)
    said = [said.text for said in home.said(kind=DeliveryKind.MESSAGE)]
    assert said == [str(number) for number in range(REQUESTS)]


async def test_it_keeps_its_place_no_longer_than_others(virtual_clock, home, few, hesitant):
    """An agent that is held up is stopped when one that doesn't end would be: a chat that takes
    nothing for days mustn't cost a place for a container. What was written down is said."""
    home.agent.script["!flood"] = flood
    await home.say("home", "!flood")
    await trio.sleep(home.settings.idle_timeout + CLOSE_LIMIT + 100)
    assert home.running() == []
    assert await pending(home) == few
    hesitant.set()
    await trio.sleep(10)
    assert [said.text for said in home.answers()] == [str(number) for number in range(few)]
    assert home.failures() == []


async def test_shutdown_while_it_is_held_up(virtual_clock, home, few, hesitant):
    """An agent that is held up ends with its engine, and what it had said is said by the next."""
    home.agent.script["!flood"] = flood
    await home.say("home", "!flood")
    await trio.sleep(100)
    await home.kill()
    assert home.running() == []
    home.platform.before.clear()
    await home.start()
    await trio.sleep(10)
    assert [said.text for said in home.answers()][:few] == [str(number) for number in range(few)]


def said(number, text, now):
    return Delivery(
        id=str(number),
        kind=DeliveryKind.ANSWER,
        chat_jid="home@chat",
        group_folder="home",
        text=text,
        created_at=now,
    )


@pytest.mark.parametrize(
    ("number", "characters", "is_full"),
    [(0, 0, False), (4, 9, False), (5, 1, True), (1, 100, True), (2, 50, True), (2, 49, False)],
)
async def test_what_is_full(settings, few, monkeypatch, number, characters, is_full):
    """Both the number of things and their length are bounded."""
    monkeypatch.setattr(backlog, "MOST_CHARACTERS", 100)

    now = utc_now()

    def look(tx):
        for each in range(number):
            deliveries.record(tx, said(each, "é" * characters, now))
        return backlog.is_full(tx, "home@chat"), backlog.is_full(tx, "other@chat")

    async with open_store(settings.project_root) as store:
        assert await store.transact(look) == (is_full, False)
