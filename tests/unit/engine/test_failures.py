"""When agents fail: retries and their back-off, what is given up, and sessions."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio

from nanoclaw_trio.protocol.models import ContainerOutput
from nanoclaw_trio.store import messages
from nanoclaw_trio.store.models import DeliveryKind

RETRIES = (5, 10, 20, 40, 80)


def starts(world, folder="home"):
    return [asked.at for asked in world.agent.prompts(folder)]


def failing(times):
    """A behaviour that fails so often, and then echoes."""
    left = times

    async def behave(turn):
        nonlocal left
        if left:
            left -= 1
            return 1
        await turn.answer()
        await turn.update()
        return None

    return behave


async def test_retries_come_after_5_10_20_40_and_80_seconds(virtual_clock, home):
    """A message whose runs fail is asked again after exactly 5, 10, 20, 40 and 80 s, and never
    after that; its chat is told once, with the message. Trap A23."""
    id_ = await home.say("home", "!fail")
    await trio.sleep(1000)
    ends = await home.events("run_ended")
    times = starts(home)
    assert len(times) == len(ends) == 6
    assert [round(after - before, 6) for before, after in pairwise(times)] == [*RETRIES]
    (said,) = home.platform.said
    assert (said.kind, said.ids, said.delivery.chat_jid) == (
        DeliveryKind.FAILURE,
        (id_,),
        "home@chat",
    )
    assert [message.text for message in said.delivery.messages] == ["!fail"]
    assert "exited with code 1" in said.text
    assert home.state_of("home") == "no_work"


@pytest.mark.parametrize("failures", range(6))
async def test_a_retry_that_succeeds_ends_it(virtual_clock, home, failures):
    """After up to five failures a message is answered, once, and the next starts at once."""
    home.agent.script["flaky"] = failing(failures)
    await home.say("home", "flaky")
    await trio.sleep(sum(RETRIES[:failures]) + 1)
    assert [said.kind for said in home.platform.said] == [DeliveryKind.ANSWER]
    await home.engine.close_group("home")
    await trio.sleep(1)
    before = trio.current_time()
    await home.say("home", "and now?")
    await trio.sleep(1)
    assert starts(home)[-1] == before


async def test_after_giving_up_the_group_goes_on(virtual_clock, home):
    """What comes after a message that was given up is asked at once, and answered."""
    await home.say("home", "!fail")
    await trio.sleep(1000)
    await home.say("home", "hello")
    await trio.sleep(1)
    assert [said.kind for said in home.platform.said] == ["failure", "answer"]


async def test_new_messages_do_not_end_a_back_off(virtual_clock, home):
    """Messages that come during a back-off wait for its end. Trap A23."""
    home.agent.script["flaky"] = failing(2)
    await home.say("home", "flaky")
    for _ in range(4):
        await trio.sleep(1)
        await home.say("home", "hurry up")
    await trio.sleep(30)
    assert starts(home) == [0, 5, 15]
    (said,) = home.platform.said
    assert said.ids == ("m1", "m2", "m3", "m4", "m5")


async def test_a_message_that_came_later_has_all_its_attempts(virtual_clock, home):
    """When a message is given up, one that came during its retries still has attempts, and isn't
    given up with it."""
    home.agent.script = {"both": failing(7), **home.agent.script}
    await home.say("home", "both")
    await trio.sleep(100)
    await home.say("home", "later")
    await trio.sleep(1000)
    assert [(said.kind, said.ids) for said in home.platform.said] == [
        (DeliveryKind.FAILURE, ("m1",)),
        (DeliveryKind.ANSWER, ("m2",)),
    ]


async def test_a_back_off_holds_no_slot(virtual_clock, home):
    """While a group backs off, its slot is another's. Trap T7."""
    home.engine.set_limit(1)
    await home.register("other")
    await home.say("home", "!fail")
    await trio.sleep(1)
    await home.say("other", "hello")
    await trio.sleep(1)
    assert [said.text for said in home.platform.said] == ["echo: hello"]
    assert home.state_of("home") == "backing_off"


async def test_nothing_is_asked_again_after_its_answer(virtual_clock, home):
    """A failing exit after the answer is no reason to ask again. Trap B9."""
    await home.say("home", "!crash")
    await trio.sleep(1000)
    assert [said.kind for said in home.platform.said] == [DeliveryKind.ANSWER]
    assert len(home.agent.asked) == 1


async def test_a_follow_up_that_fails_after_an_answer_is_asked_again_at_once(virtual_clock, home):
    """The answer that was given stays; the follow-up that the agent failed at is asked again."""
    await home.say("home", "hello")
    await trio.sleep(10)
    home.agent.script["flaky"] = failing(1)
    await home.say("home", "flaky")
    await trio.sleep(2)
    assert [said.text for said in home.platform.said] == ["echo: hello", "echo: flaky"]
    assert len(home.runtime.started) == 2


async def test_a_follow_up_that_always_fails_is_given_up(virtual_clock, home):
    """A follow-up that each run fails at is reported in the end, and what was answered before it
    is not asked again."""
    await home.say("home", "hello")
    await trio.sleep(10)
    await home.say("home", "!fail")
    await trio.sleep(1000)
    assert [(said.kind, said.ids) for said in home.platform.said] == [
        (DeliveryKind.ANSWER, ("m1",)),
        (DeliveryKind.FAILURE, ("m2",)),
    ]


async def test_a_follow_up_that_no_agent_took_loses_no_attempt(virtual_clock, home):
    """Follow-ups that the agent left in its mailbox are the next run's prompt. Trap A22."""
    await home.say("home", "!leave")
    await trio.sleep(2)
    await home.say("home", "one")
    await trio.sleep(1)
    await home.say("home", "two")
    await trio.sleep(10)
    assert [asked.texts for asked in home.agent.prompts()] == [["!leave"], ["one", "two"]]
    assert len(home.answers()) == 2
    assert set(home.fate().values()) == {1}


async def test_an_agent_that_reports_an_error_is_closed_and_asked_again(virtual_clock, home):
    """An agent that reports an error and lives on is closed, and its message is asked again after
    the back-off; nothing of the error is said as an answer."""
    await home.say("home", "!report")
    await trio.sleep(1000)
    assert len(starts(home)) == 6
    (said,) = home.platform.said
    assert said.kind is DeliveryKind.FAILURE


async def test_a_hanging_agent_is_stopped_and_given_up_in_the_end(virtual_clock, world):
    """An agent that never answers is stopped when its deadline passes, and the message is asked
    again so often and no more. Trap B7."""
    await world.start(container_timeout=60, idle_timeout=30)
    await world.register("home")
    await world.say("home", "!hang")
    await trio.sleep(2000)
    assert len(starts(world)) == 6
    (said,) = world.platform.said
    assert said.kind is DeliveryKind.FAILURE
    assert "timed out after 60000 ms" in said.text


async def test_a_deaf_agent_is_stopped_after_its_grace(virtual_clock, home):
    """An idle agent that was asked to end and doesn't is stopped after a minute; others have its
    place then, and what it has answered isn't asked again."""
    home.engine.set_limit(1)
    await home.register("other")
    await home.say("home", "!deaf")
    await trio.sleep(10)
    await home.say("other", "hello")
    await trio.sleep(500)
    assert [(said.at, said.ids) for said in home.platform.said] == [(0, ("m1",)), (70, ("m2",))]


async def test_an_agent_at_work_is_not_stopped_for_others(virtual_clock, home):
    """An agent that is asked to end in the middle of its work has the time that it needs."""
    home.engine.set_limit(1)
    await home.register("other")
    await home.say("home", "hello")
    await trio.sleep(10)
    await home.say("home", "!slow=200")
    await trio.sleep(1)
    await home.say("other", "hello")
    await trio.sleep(300)
    assert [said.text for said in home.answers()] == [
        "echo: hello",
        "echo: !slow=200",
        "echo: hello",
    ]


async def chatter(turn):
    """Answer, and then say nothing again and again, without a word about what came meanwhile."""
    await turn.answer()
    while True:
        await turn.container.write_output(
            ContainerOutput(status="success", result=None, new_session_id="s", follow_ups=())
        )
        await trio.sleep(5)


@pytest.mark.parametrize("restart", [False, True])
async def test_an_agent_that_never_names_its_follow_up_keeps_no_place(virtual_clock, home, restart):
    """One that talks on and on, and never says that its follow-up is answered, is asked to end when
    others have waited for the time that it may be silent, and stopped after as much again; what it
    left is asked again."""
    home.agent.script["!chatter"] = chatter
    home.engine.set_limit(1)
    await home.register("other")
    await home.say("home", "!chatter")
    await trio.sleep(5)
    await home.say("home", "and this?")
    await trio.sleep(5)
    await home.say("other", "hello")
    await trio.sleep(home.settings.container_timeout * 2 - 10)
    assert home.running() == ["home"]
    await trio.sleep(30)
    assert [said.text for said in home.answers("other")] == ["echo: hello"]
    if restart:
        await home.restart()
    await trio.sleep(100)
    assert [said.text for said in home.answers("home")] == ["echo: !chatter", "echo: and this?"]


async def test_a_task_that_talks_on_and_on_keeps_no_place(virtual_clock, home):
    """A task's run ends, however often its agent says something after the result."""
    home.agent.script["!chatter"] = chatter
    await home.schedule("home", "!chatter")
    await trio.sleep(home.settings.container_timeout - 10)
    assert home.running() == ["home"]
    await trio.sleep(700)
    assert home.running() == []


@pytest.mark.parametrize("restart", [False, True])
async def test_the_session_goes_on(virtual_clock, home, restart):
    """A group's next run resumes its session, in this engine and in the next."""
    await home.say("home", "hello")
    await trio.sleep(1)
    await home.engine.close_group("home")
    await trio.sleep(1)
    if restart:
        await home.restart()
    await home.say("home", "hello again")
    await trio.sleep(1)
    assert [asked.session for asked in home.agent.prompts()] == [None, "session-1"]


async def test_the_session_of_a_failed_run_is_not_kept(virtual_clock, home):
    """A session id that came with an error is forgotten. Trap B8."""
    await home.say("home", "hello")
    await trio.sleep(1)
    await home.engine.close_group("home")
    await trio.sleep(1)

    async def lose_the_thread(turn):
        turn.session = "broken"
        await turn.error("no idea")
        return 1

    home.agent.script["lose"] = lose_the_thread
    await home.say("home", "lose")
    await trio.sleep(2)
    assert await home.session_of("home") == "session-1"


async def test_a_stale_session_is_left_out_once(virtual_clock, home):
    """A session that the agent says isn't there is left out of the next attempt, whose own takes
    its place. Trap B8."""
    await home.say("home", "hello")
    await trio.sleep(1)
    await home.engine.close_group("home")
    await trio.sleep(1)
    await home.say("home", "!stale")
    await trio.sleep(10)
    assert [asked.session for asked in home.agent.prompts()] == [None, "session-1", None]
    assert [said.text for said in home.answers()] == ["echo: hello", "echo: !stale"]
    assert await home.session_of("home") == "session-2"


async def test_a_session_that_was_not_the_reason_stays(virtual_clock, home):
    """If it fails without its session too, the session wasn't the reason, and is gone on with."""
    await home.say("home", "hello")
    await trio.sleep(1)
    await home.engine.close_group("home")
    await trio.sleep(1)

    async def blame_the_session(turn):
        await turn.error("session not found, or so it seems")
        return 1

    home.agent.script["blame"] = blame_the_session
    await home.say("home", "blame")
    await trio.sleep(1000)
    sessions = [asked.session for asked in home.agent.prompts()][1:]
    # Left out of each second attempt.
    assert sessions == ["session-1", None, "session-1", None, "session-1", None]
    assert await home.session_of("home") == "session-1"


async def test_the_last_attempt_is_made_without_the_session(virtual_clock, home):
    """Whatever an agent fails of, the last attempt leaves the session out: it may be the reason."""
    await home.say("home", "hello")
    await trio.sleep(1)
    await home.engine.close_group("home")
    await trio.sleep(1)

    async def choke(turn):
        if turn.asked.session:
            return 1
        await turn.answer()
        await turn.update()
        return None

    home.agent.script["choke"] = choke
    await home.say("home", "choke")
    await trio.sleep(1000)
    assert [asked.session for asked in home.agent.prompts()][1:] == ["session-1"] * 5 + [None]
    assert [said.ids for said in home.answers()] == [("m1",), ("m2",)]


async def test_attempts_are_counted_across_restarts(virtual_clock, home):
    """How often a message was tried is on the disk: a host that restarts doesn't try for ever."""
    await home.say("home", "!fail")
    await trio.sleep(6)
    assert len(starts(home)) == 2
    await home.restart()
    await trio.sleep(1000)
    assert len(starts(home)) == 6
    assert [said.kind for said in home.platform.said] == [DeliveryKind.FAILURE]


async def test_out_of_memory_is_named(virtual_clock, home):
    """A chat is told that the agent ran out of memory, not a number. Trap B10."""

    async def swell(turn):
        await trio.lowlevel.checkpoint()
        turn.container.run_out_of_memory()

    home.agent.script["swell"] = swell
    await home.say("home", "swell")
    await trio.sleep(1000)
    (said,) = home.failures()
    assert "memory" in said.text


async def test_what_is_submitted_for_another_chat_is_reported_there(virtual_clock, home):
    """A prompt that is given up is reported in the chat that it names, where its answer belonged."""
    prompt = home.prompt("home", "!fail", chat_jid="elsewhere@chat")
    id_ = await home.engine.submit("home", prompt)
    await trio.sleep(1000)
    (said,) = home.failures()
    assert (said.delivery.chat_jid, said.ids) == ("elsewhere@chat", (id_,))


async def test_frames_that_cannot_be_read_lose_no_message(virtual_clock, home):
    """An agent that writes nonsense between its markers has failed, and is asked again."""
    times = 0

    async def stammer(turn):
        nonlocal times
        times += 1
        if times == 1:
            nonsense = b"---NANOCLAW_OUTPUT_START---\nwhat?\n---NANOCLAW_OUTPUT_END---\n"
            await turn.container.stdout.send_all(nonsense)
            return 0
        await turn.answer()
        await turn.update()
        return None

    home.agent.script["stammer"] = stammer
    await home.say("home", "stammer")
    await trio.sleep(100)
    assert [said.ids for said in home.platform.said] == [("m1",)]
    assert times == 2


async def test_an_agent_that_says_nothing_and_exits_well_is_asked_again(virtual_clock, home):
    """Exit status 0 without a word is no answer."""
    calls = []

    async def mute(turn):
        calls.append(turn)
        return 0

    home.agent.script["mute"] = mute
    await home.say("home", "mute")
    await trio.sleep(1000)
    assert len(calls) == 6
    assert len(home.failures()) == 1


async def test_one_groups_failures_are_no_others(virtual_clock, home):
    """A group whose agent always fails delays no other group's answers."""
    await home.register("other")
    await home.say("home", "!fail")
    for _ in range(10):
        await home.say("other", "hello")
        await trio.sleep(30)
    assert len(home.answers("other")) == 10


async def test_what_lay_in_the_mailbox_of_a_failed_run_has_all_its_attempts(virtual_clock, home):
    """A follow-up that the agent never took before it failed isn't counted as tried. Trap A22."""

    async def fail_late(turn):
        await trio.sleep(3)
        return 1

    home.agent.script["late"] = fail_late
    await home.say("home", "late")
    await trio.sleep(1)
    await home.say("home", "and this?")
    await trio.sleep(3)
    stored = await home.transact(messages.waiting, "home")
    assert [(entry.message.id, entry.attempts) for entry in stored] == [("m1", 1), ("m2", 0)]
