"""Agents that are long at it: at a follow-up, at many of them, or at talking though asked to end."""

from __future__ import annotations

import trio

from nanoclaw_trio.engine.chat.prompt import format_prompt
from nanoclaw_trio.engine.runs.closing import CLOSE_GRACE, CLOSE_LIMIT
from nanoclaw_trio.engine.runs.follow_up_feed import MOST_IN_FLIGHT, take_follow_up
from nanoclaw_trio.engine.runs.taking import CONTEXT_KEPT
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.protocol.models import ContainerOutput
from nanoclaw_trio.store import messages

NAMED_AT_MOST = 64
"""Follow-ups of one query that Claude's CLI names."""


def mailbox_of(world, folder="home"):
    """Where follow-ups lie, on the host."""
    return world.settings.project_root / "data" / "ipc" / folder / "input"


async def replace_by_link(mailbox):
    """What an agent can do to its mailbox: put a link in its place, which the host doesn't follow."""

    def replace():
        mailbox.rename(mailbox.with_name("moved"))
        mailbox.symlink_to("moved")

    await in_thread(replace)


async def test_original_agent_at_a_follow_up_is_not_stopped(virtual_clock, home):
    """An agent that doesn't say which follow-ups it has answered, and works at one for longer than
    an idle one may take to end, is let finish though others wait for its place. Trap A22."""

    async def join(turn):
        await turn.container.take_follow_up()
        await turn.answer("of the prompt")
        await trio.sleep(CLOSE_GRACE + 30)
        await turn.answer("of the follow-up")
        await turn.update()

    home.agent.says_follow_ups = False
    home.agent.script["!join"] = join
    home.engine.set_limit(1)
    await home.register("other")
    await home.say("home", "!join")
    await trio.sleep(2)
    await home.say("home", "and this?")
    await trio.sleep(2)
    await home.say("other", "hello")
    await trio.sleep(CLOSE_GRACE + 60)
    assert [said.text for said in home.answers("home")] == ["of the prompt", "of the follow-up"]
    assert [said.text for said in home.answers("other")] == ["echo: hello"]
    assert len(home.agent.prompts("home")) == 1


async def test_no_more_follow_ups_than_an_agent_can_name(virtual_clock, home):
    """A query gets no more follow-ups than its agent can name as answered: nothing seems unanswered
    for ever, nothing is asked twice, and the place is free for others soon."""

    async def take_all(turn):
        names = []
        with trio.move_on_after(60):
            while True:
                names.append((await turn.container.take_follow_up()).name)
        named = tuple(names[:NAMED_AT_MOST])
        for result in (f"all of {len(names)}", None):
            output = ContainerOutput(
                status="success", result=result, new_session_id="s", follow_ups=named
            )
            await turn.container.write_output(output)

    home.agent.script["!all"] = take_all
    home.engine.set_limit(1)
    await home.register("other")
    ids = [await home.say("home", "!all")]
    await trio.sleep(1)
    for number in range(NAMED_AT_MOST + 1):
        ids.append(await home.say("home", f"message {number}"))
        await trio.sleep(0.1)
    await trio.sleep(120)
    await home.say("other", "hello")
    await trio.sleep(60)
    assert home.answers("home")[0].text == f"all of {MOST_IN_FLIGHT}"
    assert [id_ for said in home.answers("home") for id_ in said.ids] == ids
    assert len(home.agent.prompts("home")) == 1
    assert [said.text for said in home.answers("other")] == ["echo: hello"]


async def test_agent_that_goes_on_talking_is_stopped(virtual_clock, home):
    """An agent that was asked to end, and says something again and again instead, is stopped after
    CLOSE_LIMIT seconds and not before; nothing that it answered is asked again."""

    async def chatter(turn):
        await turn.answer()
        while True:
            await turn.update()
            await trio.sleep(CLOSE_GRACE / 2)

    home.agent.script["!chatter"] = chatter
    home.engine.set_limit(1)
    await home.register("other")
    await home.say("home", "!chatter")
    await trio.sleep(5)
    await home.say("other", "hello")
    await trio.sleep(CLOSE_LIMIT - 5)
    assert home.running() == ["home"]
    await trio.sleep(CLOSE_GRACE)
    assert [said.text for said in home.answers("other")] == ["echo: hello"]
    assert len(home.agent.prompts("home")) == 1


async def test_follow_up_that_cannot_be_written_lets_the_run_end(virtual_clock, home):
    """An idle run that shall make room while a follow-up is being written ends when the mailbox
    turns out to be a link, and the follow-up is the next run's."""
    await home.say("home", "hello")
    await trio.sleep(10)
    await replace_by_link(mailbox_of(home))
    # Another write to the mailbox is under way, so that this one takes its time.
    async with home.engine._dispatcher.live["home"].run._follow_ups._writing:
        await home.say("home", "are you there?")
        await trio.sleep(1)
        await home.engine.close_group("home")
        await trio.sleep(1)
    assert home.running() == ["home"]
    await trio.sleep(CLOSE_GRACE)
    assert home.fate() == {("home@chat", "m1"): 1, ("home@chat", "m2"): 1}
    assert [asked.texts for asked in home.agent.prompts("home")] == [["hello"], ["are you there?"]]


async def test_answer_of_an_agent_whose_mailbox_cannot_be_read(virtual_clock, home):
    """An original agent's answer is recorded though nobody can look which follow-ups it has taken;
    of these none counts as answered."""

    async def spoil(turn):
        await trio.sleep(5)
        await replace_by_link(turn.container.writable_path("/workspace/ipc/input"))
        await turn.answer()
        return 0

    home.agent.says_follow_ups = False
    home.agent.script["!spoil"] = spoil
    await home.say("home", "!spoil")
    await trio.sleep(2)
    await home.say("home", "and this?")
    await trio.sleep(60)
    assert [(said.text, said.ids) for said in home.platform.said] == [
        ("echo: !spoil", ("m1",)),
        ("echo: and this?", ("m2",)),
    ]
    assert len(home.agent.prompts()) == 2


async def test_chat_that_never_asks_does_not_grow(virtual_clock, world):
    """Of messages without the trigger word only the newest CONTEXT_KEPT are stored."""
    await world.start()
    await world.register("home", group={"requires_trigger": True, "trigger": "@Andy"})
    for number in range(CONTEXT_KEPT + 10):
        await world.say("home", f"chat {number}", f"c{number}")
    newest = [f"c{number}" for number in range(10, CONTEXT_KEPT + 10)]
    assert await world.waiting("home") == newest


async def test_follow_up_has_the_newest_context_alone(virtual_clock, home):
    """A follow-up has at most CONTEXT_KEPT messages that asked for nothing, however many the store
    has: an earlier version may have kept them all."""
    chat = [home.message("home", f"chat {number}") for number in range(CONTEXT_KEPT + 10)]
    question = home.message("home", "what do you say?")

    def take(tx):
        for said in (*chat, question):
            is_owed = said is question
            messages.accept(tx, said, "home", is_owed=is_owed, received_at=said.timestamp)
        return take_follow_up(
            tx, "home", chat_jid="home@chat", container="c1", name="1.json", timezone="UTC"
        )

    batch = await home.transact(take)
    assert batch.text == format_prompt([*chat[10:], question], timezone="UTC")
    assert batch.owed_ids == (question.id,)


async def test_agent_at_work_after_it_was_asked_to_end(virtual_clock, home):
    """An agent that was asked to end and is at work still isn't cut off; what it doesn't take in
    any more is asked anew."""

    async def mumble(turn):
        await trio.sleep(3)
        await turn.error("a moment")
        await trio.sleep(5)
        await turn.answer("now I have it")
        await trio.sleep(90)
        await turn.answer("and this")
        return 0

    home.agent.script["!mumble"] = mumble
    await home.say("home", "!mumble")
    await trio.sleep(1)
    await home.say("home", "and?")
    await trio.sleep(200)
    texts = [said.text for said in home.answers("home")]
    assert texts == ["now I have it", "and this", "echo: and?"]
