"""What a group's people notice: their messages are answered, in their chat, in order, once."""

from __future__ import annotations

import pytest
import trio

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.chat.reception import Reception
from nanoclaw_trio.errors import InputError
from nanoclaw_trio.store.models import DeliveryKind
from nanoclaw_trio.workspace.claim import GroupClaim


async def test_a_message_is_answered_in_its_chat(virtual_clock, home):
    """A message is answered once, in its own chat, by its own group, and the answer says to what."""
    id_ = await home.say("home", "hello")
    await trio.sleep(1)
    (said,) = home.platform.said
    assert (said.text, said.ids, said.kind) == ("echo: hello", (id_,), DeliveryKind.ANSWER)
    assert (said.delivery.chat_jid, said.delivery.group_folder) == ("home@chat", "home")


async def test_messages_that_wait_go_together(virtual_clock, home):
    """Messages that come while their group waits for a slot are one prompt, in their order, and
    get one answer."""
    home.engine.set_limit(1)
    await home.register("other")
    await home.say("other", "!slow=30")
    await trio.sleep(1)
    ids = [await home.say("home", text) for text in ("one", "two", "three")]
    await trio.sleep(60)
    (said,) = home.answers("home")
    assert (said.text, said.ids) == ("echo: one | two | three", tuple(ids))


async def test_context_goes_along(virtual_clock, world):
    """What nobody asked the assistant goes along with the next message that does, and isn't
    answered by itself; the answer names the message that asked."""
    await world.start()
    await world.register("home", group={"requires_trigger": None})
    _, reception = await world.hand_in("home", "lovely weather")
    assert reception is Reception.CONTEXT
    await trio.sleep(100)
    assert not world.agent.asked
    asking, reception = await world.hand_in("home", "@Andy is it?")
    assert reception is Reception.ACCEPTED
    await world.say("home", "what a day")
    await trio.sleep(100)
    (said,) = world.answers()
    assert (said.text, said.ids) == ("echo: lovely weather | @Andy is it?", (asking,))


async def test_a_message_handed_in_twice_is_taken_once(virtual_clock, home):
    """A message that the bridge hands in again, in this engine or the next, is answered once."""
    await home.say("home", "hello", "m")
    assert await home.hand_in("home", "hello", "m") == ("m", Reception.DUPLICATE)
    await trio.sleep(1)
    assert await home.hand_in("home", "hello", "m") == ("m", Reception.DUPLICATE)
    await home.restart()
    assert await home.hand_in("home", "hello", "m") == ("m", Reception.DUPLICATE)
    await trio.sleep(10_000)
    assert len(home.platform.said) == len(home.agent.asked) == 1


async def test_an_unregistered_chat_gets_no_answer(virtual_clock, home):
    """A message in a chat that no group answers in is not kept."""
    assert (await home.hand_in("nobody", "hello"))[1] is Reception.UNREGISTERED
    await trio.sleep(1)
    assert not home.agent.asked


async def test_a_message_that_cannot_be_taken_is_refused(virtual_clock, home):
    """A message that no prompt could hold is the caller's error, and nothing is kept of it."""
    with pytest.raises(InputError):
        await home.say("home", "x" * 10_000_000)
    assert await home.waiting("home") == []


async def test_follow_ups_go_into_the_running_container(virtual_clock, home):
    """A message that comes while the group's container runs goes into it, at work or idle."""
    await home.say("home", "!slow=10")
    await trio.sleep(5)
    await home.say("home", "while you work")
    await trio.sleep(60)
    await home.say("home", "while you wait")
    await trio.sleep(60)
    assert [a.texts for a in home.agent.follow_ups()] == [["while you work"], ["while you wait"]]
    assert len(home.runtime.started) == 1
    assert [said.ids for said in home.answers()] == [("m1",), ("m2",), ("m3",)]


async def test_follow_ups_of_an_agent_that_names_none(virtual_clock, home):
    """An agent of the original's, which doesn't say what it has answered, is served too."""
    home.agent.says_follow_ups = False
    await home.say("home", "one")
    await trio.sleep(5)
    await home.say("home", "two")
    await trio.sleep(5)
    assert [said.ids for said in home.answers()] == [("m1",), ("m2",)]
    await trio.sleep(500)
    assert home.state_of("home") == "no_work"


async def test_idle_closes_after_the_idle_timeout(virtual_clock, world):
    """A container is closed when exactly IDLE_TIMEOUT has passed since its last answer."""
    world.agent.poll = 1 / 8
    await world.start(idle_timeout=20)
    await world.register("home")
    await world.say("home", "one")
    await trio.sleep(15)
    await world.say("home", "two")
    await trio.sleep(50)
    ((asked_to_end, _),) = world.agent.ends
    answered = world.answers()[-1].at
    # The agent looks so often; it can't have looked before.
    assert answered + 20 <= asked_to_end <= answered + 20 + 1 / 8
    assert world.state_of("home") == "no_work"


async def test_without_an_idle_timeout_nothing_is_closed(virtual_clock, world):
    """Where no idle timeout is set, a container waits for as long as nobody needs its place."""
    world.agent.longest_poll = 600
    await world.start(idle_timeout=None, container_timeout=10_000_000)
    await world.register("home")
    await world.say("home", "one")
    await trio.sleep(80_000)
    assert world.running() == ["home"]
    await world.say("home", "two")
    await trio.sleep(1000)
    assert len(world.answers()) == 2


async def test_a_waiting_task_closes_an_idle_container_at_once(virtual_clock, home):
    """A task that is due ends its group's idle container, and runs in one of its own."""
    await home.say("home", "hello")
    await trio.sleep(100)
    await home.schedule("home", "water the plants")
    await trio.sleep(2)
    assert [a.text for a in home.agent.prompts()][1:] == ["water the plants"]
    assert home.agent.ends[0][0] <= 101


async def test_a_task_waits_for_an_answer_under_way(virtual_clock, home):
    """A task that is due while an answer is under way neither cuts it off nor overtakes it."""
    await home.say("home", "!slow=100")
    await trio.sleep(10)
    await home.schedule("home", "water the plants")
    await trio.sleep(200)
    assert [said.ids for said in home.answers()] == [("m1",), ()]


async def test_no_follow_up_goes_behind_a_waiting_task(virtual_clock, home):
    """While a task waits for its group's container to end, messages wait for the run after it."""
    await home.say("home", "!slow=100")
    await trio.sleep(10)
    await home.schedule("home", "water the plants")
    await trio.sleep(10)
    await home.say("home", "and now?")
    await trio.sleep(300)
    assert not home.agent.follow_ups()
    assert [said.text for said in home.answers()] == [
        "echo: !slow=100",
        "echo: water the plants",
        "echo: and now?",
    ]


async def test_the_longest_idle_makes_room(virtual_clock, home):
    """When a group waits and no slot is free, the container that has been idle longest is closed,
    and no other."""
    home.engine.set_limit(2)
    await home.register("first", "second", "third")
    for folder in ("first", "second"):
        await home.say(folder, "hello")
        await trio.sleep(10)
    await home.say("third", "hello")
    await trio.sleep(2)
    assert home.running() == ["second", "third"]
    assert len(home.answers()) == 3


async def test_never_more_containers_than_the_cap(virtual_clock, home):
    """However many groups have messages, no more containers than the cap are there at a time, and
    all are answered."""
    home.engine.set_limit(3)
    folders = [f"group{number}" for number in range(12)]
    await home.register(*folders)
    most = 0

    async def slow(turn):
        nonlocal most
        most = max(most, len(home.runtime.containers))
        await trio.sleep(10)
        await turn.answer()
        await turn.update()

    home.agent.script["hello"] = slow
    for folder in folders:
        await home.say(folder, "hello")
    await trio.sleep(100)
    assert most == 3
    assert sorted(said.delivery.group_folder for said in home.answers()) == sorted(folders)


async def test_groups_are_served_in_the_order_of_their_coming(virtual_clock, home):
    """Who came first is served first, and a busy group doesn't take its own slot again before
    those that wait. Trap A24."""
    home.engine.set_limit(1)
    await home.register("a", "b", "c")
    await home.say("a", "!slow=10")
    await trio.sleep(1)
    for folder in ("b", "a", "c", "b"):
        await home.say(folder, "!slow=10")
    await trio.sleep(200)
    assert [a.folder for a in home.agent.prompts()] == ["a", "b", "a", "c"] or [
        a.folder for a in home.agent.prompts()
    ] == ["a", "b", "c", "a"]


async def test_the_limit_may_change(virtual_clock, home):
    """A higher limit shows at once; a lower one ends containers as they become idle; below 1 it is
    refused, and the old one stays."""
    await home.register("a", "b", "c")
    home.engine.set_limit(1)
    for folder in ("a", "b", "c"):
        await home.say(folder, "!slow=10")
    await trio.sleep(1)
    assert home.running() == ["a"]
    home.engine.set_limit(3)
    await trio.sleep(1)
    assert sorted(home.running()) == ["a", "b", "c"]
    with pytest.raises(InputError):
        home.engine.set_limit(0)
    home.engine.set_limit(1)
    await trio.sleep(30)
    assert len(home.running()) <= 1
    assert len(home.answers()) == 3


async def test_one_run_per_group(virtual_clock, home):
    """Messages and tasks of one group never have two containers at a time."""
    most = 0

    async def watch(turn):
        nonlocal most
        most = max(most, home.running().count("home"))
        await trio.sleep(3)
        await turn.answer()
        await turn.update()

    home.agent.script = {"work": watch}
    for number in range(10):
        await home.say("home", f"work {number}")
        await home.schedule("home", f"work as task {number}")
        await trio.sleep(number)
    await trio.sleep(1000)
    assert most == 1
    assert len(home.answers()) == 20 or set(home.fate().values()) == {1}


async def test_a_group_that_another_process_has_is_tried_again(virtual_clock, home):
    """A group that another process has claimed is tried again, at first after 5 s, and that counts
    as no attempt. Trap B2."""
    claim = GroupClaim(home.settings.project_root, "home", container="other", moment=utc_now())
    claim.take()
    await home.say("home", "hello")
    # More refusals than there would be attempts.
    await trio.sleep(5 + 10 + 20 + 40 + 80 + 160 + 300 + 1)
    claim.release()
    assert not home.platform.said
    await trio.sleep(301)
    (said,) = home.platform.said
    assert said.kind is DeliveryKind.ANSWER


async def test_a_prompt_of_ones_own_making_is_asked_as_it_is(virtual_clock, home):
    """What is submitted is asked word for word, and answered in the chat that it names."""
    prompt = home.prompt("home", "say <b>this</b>", chat_jid="elsewhere@chat")
    id_ = await home.engine.submit("home", prompt)
    await trio.sleep(1)
    assert [a.text for a in home.agent.asked] == ["say <b>this</b>"]
    (said,) = home.answers()
    assert (said.ids, said.delivery.chat_jid) == ((id_,), "elsewhere@chat")


@pytest.mark.parametrize(
    "fields",
    [{"session_id": "other"}, {"chat_jid": "elsewhere@chat"}, {"is_scheduled_task": True}],
    ids=str,
)
async def test_what_needs_a_run_of_its_own_does_not_wait_for_the_idle_timeout(
    virtual_clock, home, fields
):
    """A prompt that can't be a follow-up ends its group's idle container, rather than wait until
    that is closed for idleness."""
    await home.say("home", "hello")
    await trio.sleep(100)
    await home.engine.submit("home", home.prompt("home", "in my own session", **fields))
    await trio.sleep(2)
    assert [a.text for a in home.agent.prompts()][1:] == ["in my own session"]


async def test_submitting_without_waiting(virtual_clock, home):
    """What is submitted without waiting is answered as all else."""
    group = (await home.registration("home")).group
    home.engine.submit_nowait(group, home.prompt("home", "hello"))
    await trio.sleep(1)
    assert [said.text for said in home.answers()] == ["echo: hello"]


async def test_typing_is_shown_while_the_agent_works(virtual_clock, home):
    """The chat sees that the assistant is at work from the start of a query to its answer."""
    await home.say("home", "!slow=10")
    await trio.sleep(20)
    await home.say("home", "!slow=10")
    await trio.sleep(20)
    (first, second) = home.answers()
    assert [is_typing for _, _, is_typing in home.platform.typing] == [True, False, True, False]
    assert home.platform.typing[1][0] == first.at
    assert home.platform.typing[3][0] == second.at


@pytest.mark.parametrize("fault", ["raises", "hangs"])
@pytest.mark.parametrize("seconds", [3, 12])
async def test_typing_that_fails_holds_nothing(virtual_clock, home, fault, seconds):
    """A bridge whose typing raises or hangs delays neither answers nor other groups' turns."""

    async def misbehave(_):
        if fault == "raises":
            raise OSError("no connection")
        await trio.sleep_forever()

    home.platform.before["set_typing"] = misbehave
    home.engine.set_limit(1)
    await home.register("other")
    await home.say("home", f"!slow={seconds}")
    await home.say("other", "hello")
    await trio.sleep(seconds + 2)
    first, second = home.answers()
    assert first.at == seconds
    # The agent looks for the end twice a second.
    assert second.at <= seconds + 0.5


async def test_an_agents_own_message_comes_before_its_answer(virtual_clock, home):
    """What an agent says in the middle of its work is delivered before the answer that follows, and
    counted."""
    await home.say("home", "!speak")
    await trio.sleep(1)
    assert [(said.kind, said.text) for said in home.platform.said] == [
        (DeliveryKind.MESSAGE, "I am at it"),
        (DeliveryKind.ANSWER, "echo: !speak"),
    ]
    assert home.engine.statistics().counters.agent_messages == 1


async def test_internal_parts_are_not_said(virtual_clock, home):
    """What an agent marks as internal isn't said; an answer that is nothing else is no answer, and
    its message isn't asked again."""

    async def think(turn):
        await turn.answer("<internal>nothing to say</internal>")
        await turn.update()

    home.agent.script["think"] = think
    await home.say("home", "think")
    await trio.sleep(500)
    assert not home.platform.said
    assert len(home.agent.asked) == 1


async def test_a_query_without_an_answer_settles_its_messages(virtual_clock, home):
    """A query that ends without a word is not asked again."""
    await home.say("home", "!silent")
    await trio.sleep(500)
    assert not home.platform.said
    assert len(home.agent.asked) == 1
    assert home.engine.statistics().counters.messages_settled == 1
