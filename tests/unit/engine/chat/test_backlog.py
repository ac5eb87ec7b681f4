"""What an agent says fills no disk: of a chat so much waits, and who says more is stopped."""

from __future__ import annotations

import pytest
import trio

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.chat import backlog
from nanoclaw_trio.engine.chat.bridge import Undeliverable
from nanoclaw_trio.engine.requests import apply
from nanoclaw_trio.engine.requests.intake import VISIT_LIMIT
from nanoclaw_trio.engine.runs import hearing, leaving
from nanoclaw_trio.protocol.models import RegisteredGroup
from nanoclaw_trio.store import deliveries, groups
from nanoclaw_trio.store.models import Delivery, DeliveryKind, Registration

FEW = 10
"""Things that may wait to be said in a chat, here."""

SAID = 40
"""Things that an agent says here at a time."""

REQUESTS = 3 * FEW
"""The same by the mailbox."""


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


async def say_in(turn, chat_jid, number, text, **fields):
    """Something that an agent says by itself."""
    message = {"type": "message", "chatJid": chat_jid, "text": text, "timestamp": "now", **fields}
    await turn.put(f"messages/{number:04}.json", message)


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
    await trio.sleep(20_000)
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


async def test_room_in_one_of_two(virtual_clock, home, floods, willing):
    """Room in one chat lets its own group go on; another's waits for its own."""
    await home.register("other")
    ready = trio.Event()

    async def deliver(delivery):
        await (willing if delivery.chat_jid == "home@chat" else ready).wait()

    home.platform.before["deliver"] = deliver
    for folder in ("home", "other"):
        await home.say(folder, "!flood")
    await trio.sleep(100)
    for folder in ("home", "other"):
        await home.say(folder, "hello")
    await trio.sleep(100)
    assert [home.state_of(folder) for folder in ("home", "other")] == ["held", "held"]
    ready.set()
    await trio.sleep(100)
    assert home.answers("other")[-1].text == "echo: hello"
    assert home.state_of("home") == "held"


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
    await trio.sleep(20_000)
    said = [said.text for said in home.said()]
    assert said[:REQUESTS] == numbers(REQUESTS)
    assert said[-1] == "done"
    assert home.failures() == []


@pytest.mark.parametrize("seconds", [1, 60])
async def test_what_comes_after_a_flood(virtual_clock, home, seconds):
    """A message that comes after a flood of requests isn't given up for it: no run begins before all of
    those are said, however slow the platform is."""

    async def deliver(_delivery):
        await trio.sleep(seconds)

    home.platform.before["deliver"] = deliver
    words = iter(numbers(REQUESTS))

    async def talk_once(turn):
        await turn.answer("first")
        await trio.sleep(1)
        await say_all(turn, words)

    home.agent.script["!talk"] = talk_once
    await home.say("home", "!talk")
    await trio.sleep(5)
    await home.say("home", "hello")
    await trio.sleep(20_000)
    assert home.failures() == []
    assert [said.text for said in home.said()] == [
        "first",
        *numbers(REQUESTS),
        *(text for text in ("done", "echo: hello") if text in said_in(home, "home@chat")),
    ]
    assert said_in(home, "home@chat")[-1] == "echo: hello"
    assert len(home.agent.prompts()) == 2


async def test_what_waits_hides_nothing(virtual_clock, home, willing):
    """More requests than are looked at at a time wait for a full chat, and those behind them for other
    chats are found."""
    await home.register("main", is_main=True)

    async def talk(turn):
        for text in numbers(VISIT_LIMIT + 2 * FEW):
            await say_in(turn, "home@chat", int(text), text)
        await say_in(turn, "main@chat", 9999, "behind them")
        await turn.answer()
        await turn.update()

    home.agent.script["!talk"] = talk
    await home.say("main", "!talk")
    await trio.sleep(1000)
    assert "behind them" in said_in(home, "main@chat")
    willing.set()
    await trio.sleep(1000)
    assert said_in(home, "home@chat") == numbers(VISIT_LIMIT + 2 * FEW)


async def test_chats_that_are_made_up(virtual_clock, home):
    """Chats that no group is registered for, of which the main group's agent may name any number, have
    as much waiting as one; what waits in the mailbox is said by and by."""
    await home.register("main", is_main=True)
    made_up = {f"no{number}@chat" for number in range(SAID)}
    up = trio.Event()

    async def deliver(delivery):
        if delivery.chat_jid in made_up and not up.is_set():
            raise OSError("no such chat")

    home.platform.before["deliver"] = deliver

    async def talk(turn):
        for number, jid in enumerate(sorted(made_up)):
            await say_in(turn, jid, number, "hello")
        await say_in(turn, "x" * 2000, 9999, "hello")
        await turn.answer()
        await turn.update()

    home.agent.script["!talk"] = talk
    await home.say("main", "!talk")
    await trio.sleep(100)
    assert await pending(home) == FEW
    assert said_in(home, "main@chat") == ["echo: !talk"]
    up.set()
    await trio.sleep(10_000)
    assert {said.delivery.chat_jid for said in home.platform.said} == {*made_up, "main@chat"}


async def test_a_name_is_no_novel(virtual_clock, home, willing):
    """The name under which an agent says something takes little room, and none once it was said."""

    async def talk(turn):
        await say_in(turn, "home@chat", 1, "hello", sender="y" * 100_000)
        await turn.answer()

    home.agent.script["!talk"] = talk
    await home.say("home", "!talk")
    await trio.sleep(100)

    def senders(tx):
        return [row["sender"] for row in tx.rows("SELECT sender FROM deliveries ORDER BY seq")]

    assert await home.transact(senders) == ["y" * apply.SENDER_LIMIT, None]
    willing.set()
    await trio.sleep(100)
    assert await home.transact(senders) == [None, None]


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


def register_anew(tx):
    """Have the group answer in another chat, as a command in another process would."""
    groups.unregister(tx, "home")
    group = RegisteredGroup(name="Home", folder="home", requires_trigger=False)
    groups.register(tx, Registration(jid="new@chat", group=group))


async def test_another_chat(virtual_clock, home, floods, willing):
    """A group that is registered for another chat is held for the old one no more, whoever registered
    it. What waits from then keeps up nothing that came later."""
    await home.say("home", "!flood")
    await trio.sleep(100)
    await home.schedule("home", "a task", id="t1")
    await home.say("home", "an old question")
    await trio.sleep(100)
    assert home.state_of("home") == "held"
    await home.transact(register_anew)
    await home.engine.send_message(home.message("new", "a new question"))
    await trio.sleep(1000)
    said = said_in(home, "new@chat")
    assert sorted(said) == ["echo: a new question", "echo: a task"]


async def test_a_prompt_for_another_chat(virtual_clock, home, floods):
    """Prompts for another chat than the group's, where nothing is taken, hold up none of its own."""

    async def deliver(delivery):
        if delivery.chat_jid == "elsewhere@chat":
            raise OSError("down")

    home.platform.before["deliver"] = deliver
    for text in ("!flood", "another"):
        await home.engine.submit("home", home.prompt("home", text, chat_jid="elsewhere@chat"))
        await trio.sleep(100)
    await home.say("home", "hello")
    await home.schedule("home", "a task", id="t1")
    await trio.sleep(1000)
    assert sorted(said_in(home, "home@chat")) == ["echo: a task", "echo: hello"]


async def test_no_group_any_more(virtual_clock, home, floods, willing):
    """What waits for a group that was held, and isn't registered any more, is given up at once."""
    await home.say("home", "!flood")
    await trio.sleep(100)
    await home.say("home", "hello")
    await trio.sleep(100)
    await home.engine.unregister_group("home")
    await trio.sleep(100)
    assert await home.waiting("home") == []


async def test_a_name_that_comes_again(virtual_clock, home, monkeypatch):
    """Files of one name, one after the other, are said under ids of their own, however few of the old
    ones are known: a bridge takes the same id for the same thing."""
    monkeypatch.setattr(deliveries, "ENDED_KEPT", 1)

    async def talk(turn):
        for text in numbers(4):
            await say_in(turn, "home@chat", 1, text)
            await trio.sleep(400)
        await turn.answer()
        await turn.update()

    home.agent.script["!talk"] = talk
    await home.say("home", "!talk")
    await trio.sleep(3000)
    ids = {said.delivery.id for said in home.said(kind=DeliveryKind.MESSAGE)}
    assert len(ids) == 4


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


async def test_no_session_fills_the_store(virtual_clock, home):
    """A session's id that is longer than any isn't kept, and the one that there was stays."""
    await home.say("home", "hello")
    await trio.sleep(10)
    before = await home.session_of("home")

    async def boast(turn):
        turn.session = "x" * (hearing.SESSION_ID_LIMIT + 1)
        await turn.answer()
        await turn.update()

    home.agent.script["!boast"] = boast
    await home.say("home", "!boast")
    await trio.sleep(10)
    assert home.answers()[-1].text == "echo: !boast"
    assert await home.session_of("home") == before is not None


async def say_much(turn):
    """A long answer."""
    await turn.answer("x" * 2 * deliveries.WORDS_KEPT)
    await turn.update()


async def test_what_another_program_left(virtual_clock, home, monkeypatch):
    """However many prompts of an embedder's wait, what another program left in the mailbox is asked."""
    monkeypatch.setattr(leaving, "ADOPTED_LIMIT", 3)

    async def leave(turn):
        await trio.sleep(30)
        await turn.put("input/zz.json", {"type": "message", "text": "left"})
        await turn.answer()
        return 0

    home.agent.script["!leave"] = leave
    await home.say("home", "!leave")
    await trio.sleep(5)
    for number in range(FEW):
        await home.engine.submit("home", home.prompt("home", f"p{number}", session_id=f"s{number}"))
    await trio.sleep(1000)
    assert "left" in [asked.text for asked in home.agent.asked]


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
    group = RegisteredGroup(name="Other", folder="other")
    other = Registration(jid="other@chat", group=group)

    def look(tx):
        for each in range(number):
            deliveries.record(tx, something(str(each), "é" * ((size - brackets) // 2), now))
        groups.register(tx, other)
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
