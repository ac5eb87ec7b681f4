"""What an agent says fills no disk: of a chat so much waits, and who says more is stopped."""

from __future__ import annotations

import pytest
import trio

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.chat import backlog
from nanoclaw_trio.engine.chat.bridge import Undeliverable
from nanoclaw_trio.engine.requests.intake import VISIT_LIMIT
from nanoclaw_trio.engine.runs import leaving
from nanoclaw_trio.protocol.models import RegisteredGroup
from nanoclaw_trio.store import deliveries
from nanoclaw_trio.store.models import Delivery, DeliveryKind, Registration

FEW = 10
"""Things that may wait to be said in a chat, here."""

SAID = 40
"""Things that an agent says here at a time."""

REQUESTS = 2 * VISIT_LIMIT + SAID
"""The same by the mailbox, of which each visit takes so many."""


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Few things may wait to be said in a chat."""
    monkeypatch.setattr(backlog, "MOST_WAITING", FEW)


@pytest.fixture
def willing(home):
    """A platform that takes nothing in the chat of `home` until this is set."""
    willing = trio.Event()

    async def deliver(delivery):
        if delivery.chat_jid == "home@chat":
            await willing.wait()

    home.platform.before["deliver"] = deliver
    return willing


async def pending(world):
    """How much is in the store and not said."""
    return await world.transact(deliveries.count_pending)


def group_of(world):
    """What the statistics say of the group."""
    (group,) = world.engine.statistics().groups
    return group


def said_in(world, chat_jid):
    """The words that a chat has heard."""
    return [said.text for said in world.platform.said if said.delivery.chat_jid == chat_jid]


def numbers(stop):
    """The words of that many things."""
    return [str(number) for number in range(stop)]


async def flood(turn):
    """Many answers, and no moment between them."""
    for text in numbers(SAID):
        await turn.answer(text)
    await turn.update()


async def say_in(turn, chat_jid, number, text):
    """Something that an agent says by itself."""
    message = {"type": "message", "chatJid": chat_jid, "text": text, "timestamp": "now"}
    await turn.put(f"messages/{number:03}.json", message)


async def flood_with_requests(turn):
    """Many things said by the mailbox, then an answer."""
    await say_all(turn, numbers(REQUESTS))


async def say_all(turn, words):
    """Numbers said by the mailbox, then an answer."""
    for text in words:
        await say_in(turn, turn.asked.request["chatJid"], int(text), text)
    await turn.answer("done")
    await turn.update()


@pytest.fixture
def floods(home):
    """Agents that say too much when they are told to."""
    home.agent.script["!flood"] = flood
    home.agent.script["!requests"] = flood_with_requests


async def test_a_flood_of_answers(virtual_clock, home, floods, willing, capsys):
    """An agent that says more than its chat takes is stopped; what was taken of it is said, in order,
    and what it has answered isn't asked again."""
    await home.say("home", "!flood")
    await trio.sleep(1000)
    assert await pending(home) == FEW
    assert home.running() == []
    assert capsys.readouterr().err.count("agent stopped") == 1
    willing.set()
    await trio.sleep(1000)
    assert [said.text for said in home.answers()] == numbers(FEW)
    assert home.failures() == []
    assert len(home.agent.asked) == 1


async def test_nothing_starts_for_a_full_chat(virtual_clock, home, floods, willing):
    """While its chat takes nothing, a group's messages and tasks wait, without a container and without
    a failure; when there is room again, all of them are answered."""
    await home.say("home", "!flood")
    await trio.sleep(100)
    await home.say("home", "hello")
    await home.schedule("home", "a task", id="t1")
    await trio.sleep(10_000)
    assert len(home.agent.asked) == 1
    group = group_of(home)
    assert (group.state, group.full_chat, group.failures) == ("held", "home@chat", 0)
    willing.set()
    await trio.sleep(1000)
    assert home.state_of("home") != "held"
    assert group_of(home).full_chat is None
    answers = [said.text for said in home.answers()][FEW:]
    assert sorted(answers) == ["echo: a task", "echo: hello"]
    assert home.failures() == []


async def test_what_did_not_fit_is_asked_again(virtual_clock, home, willing):
    """A task whose answer didn't fit, since its agent had said too much by then, is asked again when
    there is room."""
    words = iter(numbers(FEW))

    async def talk(turn):
        for text in words:
            await say_in(turn, "home@chat", int(text), text)
        await turn.answer()
        await turn.update()

    home.agent.script["!talk"] = talk
    await home.schedule("home", "!talk task", id="t1")
    await trio.sleep(100)
    assert await pending(home) == FEW
    assert home.running() == []
    willing.set()
    await trio.sleep(1000)
    assert [said.text for said in home.answers()] == ["echo: !talk task"]
    assert len(home.agent.asked) == 2
    assert home.failures() == []


async def test_no_more_often_than_others(virtual_clock, home, floods):
    """A message whose agent says too much each time, before its answer, is given up as others are."""
    await home.say("home", "!requests")
    await trio.sleep(50_000)
    assert len(home.agent.asked) == 6
    (failure,) = home.failures()
    assert "too much waits to be said in its chat" in failure.text


async def test_others_go_on(virtual_clock, home, floods, willing):
    """A chat that takes nothing holds up its own group alone."""
    await home.register("other")
    await home.say("home", "!flood")
    await trio.sleep(10)
    for number in range(2 * FEW):
        await home.say("other", f"hello {number}")
        await trio.sleep(10)
    assert len(home.answers("other")) == 2 * FEW
    assert await pending(home) == FEW


async def test_a_flood_of_requests(virtual_clock, home, floods, willing):
    """What an agent says by its mailbox stays there, in its order, and what it says after it doesn't
    come before it."""
    words = iter(numbers(REQUESTS))

    async def talk_once(turn):
        await say_all(turn, words)

    home.agent.script["!requests"] = talk_once
    await home.say("home", "!requests")
    await trio.sleep(1000)
    assert await pending(home) == FEW
    willing.set()
    await trio.sleep(50_000)
    said = [said.text for said in home.said()]
    assert said[:REQUESTS] == numbers(REQUESTS)
    assert said[-1] == "done"
    assert home.failures() == []


async def test_other_requests_go_on(virtual_clock, home, willing):
    """Where a chat is full, what else an agent asks for is done, and what it says in other chats is
    said."""
    await home.register("main", is_main=True)

    async def ask(turn):
        for number, text in enumerate(numbers(SAID)):
            await say_in(turn, "home@chat", number, text)
        await say_in(turn, "main@chat", 999, "hello")
        task = {
            "type": "schedule_task",
            "prompt": "later",
            "schedule_type": "once",
            "schedule_value": "2060-01-01T00:00:00",
            "targetJid": "main@chat",
        }
        await turn.put("tasks/1.json", task)
        await turn.answer()
        await turn.update()

    home.agent.script["!ask"] = ask
    await home.say("main", "!ask")
    await trio.sleep(1000)
    assert await pending(home) == FEW
    assert said_in(home, "main@chat") == ["hello", "echo: !ask"]
    (task,) = await home.engine.tasks.list()
    assert task.prompt == "later"
    willing.set()
    await trio.sleep(1000)
    assert said_in(home, "home@chat") == numbers(SAID)


async def test_another_chat(virtual_clock, home, floods, willing):
    """A group that is registered for another chat is held for the old one no more."""
    await home.say("home", "!flood")
    await trio.sleep(100)
    await home.schedule("home", "a task", id="t1")
    await trio.sleep(100)
    assert home.state_of("home") == "held"
    group = RegisteredGroup(name="Home", folder="home", requires_trigger=False)
    await home.engine.unregister_group("home")
    await home.engine.register_group(Registration(jid="new@chat", group=group))
    await trio.sleep(100)
    assert said_in(home, "new@chat") == ["echo: a task"]


async def test_the_next_engine(virtual_clock, home, floods, willing):
    """An engine that finds a full chat starts nothing for it until there is room."""
    await home.say("home", "!flood")
    await trio.sleep(100)
    await home.say("home", "hello")
    await home.kill()
    await home.start()
    await trio.sleep(1000)
    assert len(home.agent.asked) == 1
    assert home.state_of("home") == "held"
    willing.set()
    await trio.sleep(1000)
    assert [said.text for said in home.answers()] == [*numbers(FEW), "echo: hello"]


async def test_drain(virtual_clock, home, floods, willing):
    """What waits for a full chat holds no engine up that is to end."""
    await home.say("home", "!flood")
    await trio.sleep(100)
    await home.say("home", "hello")
    with trio.fail_after(1000):
        await home.leave()


async def test_room_that_is_there_already(virtual_clock, home, floods, willing):
    """A chat that has said all by the time that its group waits for it is no reason to wait."""
    await home.say("home", "!flood")
    await trio.sleep(1)
    # Its container takes longer to end than all that waits takes to be said.
    willing.set()
    await trio.sleep(100)
    await home.say("home", "hello")
    await trio.sleep(100)
    assert home.answers()[-1].text == "echo: hello"


async def test_what_was_said_takes_no_room(virtual_clock, home, floods):
    """Of what was said or answered only its name is kept, so that a platform that takes all of it at
    once fills no disk either; of what can't be said, its beginning."""
    await home.say("home", "a question")
    await trio.sleep(10)

    async def refuse(_delivery):
        raise Undeliverable("the chat is gone")

    home.platform.before["deliver"] = refuse
    home.agent.script["!long"] = say_much
    await home.say("home", "!long")
    await trio.sleep(10)

    def look(tx):
        said = [tuple(row) for row in tx.rows("SELECT text, in_reply_to, messages FROM deliveries")]
        asked = [tuple(row) for row in tx.rows("SELECT text, prompt FROM messages")]
        return said, asked

    said, asked = await home.transact(look)
    assert said == [("", "[]", "[]"), ("x" * deliveries.WORDS_KEPT, "[]", "[]")]
    assert asked == [("", None), ("", None)]


async def say_much(turn):
    """A long answer."""
    await turn.answer("x" * 2 * deliveries.WORDS_KEPT)
    await turn.update()


async def test_an_agent_that_asks_itself(virtual_clock, home, monkeypatch, capsys):
    """An agent that fills its own mailbox with follow-ups has a few of them asked, not all."""
    monkeypatch.setattr(leaving, "ADOPTED_LIMIT", 3)

    async def ask_itself(turn):
        for number in range(SAID):
            await turn.put(f"input/{number:03}.json", {"type": "message", "text": f"own {number}"})
        await turn.answer()
        return 0

    home.agent.script["!itself"] = ask_itself
    await home.say("home", "!itself")
    await trio.sleep(1000)
    own = [asked.text for asked in home.agent.asked if asked.text.startswith("own")]
    assert own == ["own 0\n\nown 1\n\nown 2"]
    err = capsys.readouterr().err
    assert "follow-ups dropped" in err
    assert str(SAID - 3) in err


ROWS = [
    # number, size of each in bytes, is full, has room
    (0, 0, False, True),
    (5, 10, False, True),
    (6, 10, False, False),
    (9, 10, False, False),
    (10, 10, True, False),
    (1, 500, False, True),
    (1, 502, False, False),
    (1, 1000, True, False),
    (2, 500, True, False),
]


@pytest.mark.parametrize(("number", "size", "is_full", "has_room"), ROWS)
async def test_what_is_full(
    virtual_clock, home, willing, monkeypatch, number, size, is_full, has_room
):
    """Both the number of things and their bytes together are bounded, of each chat; runs begin up to
    half of that."""
    brackets = len("[]")
    monkeypatch.setattr(backlog, "MOST_BYTES", 1000)

    now = utc_now()

    def look(tx):
        for each in range(number):
            deliveries.record(tx, something(str(each), "é" * ((size - brackets) // 2), now))
        backlog.require_room(tx, "other@chat")
        return is_refused(tx), backlog.has_room_for_run(tx, "home@chat")

    assert await home.transact(look) == (is_full, has_room)


def something(id_, text, now):
    """What is to be said in the chat of `home`."""
    return Delivery(
        id=id_,
        kind=DeliveryKind.ANSWER,
        chat_jid="home@chat",
        group_folder="home",
        text=text,
        created_at=now,
    )


def is_refused(tx):
    """Whether no more may wait in the chat of `home`."""
    try:
        backlog.require_room(tx, "home@chat")
    except backlog.ChatFull:
        return True
    return False
