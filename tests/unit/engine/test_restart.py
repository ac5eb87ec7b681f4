"""A host that is killed at any moment: nothing is lost, and nothing is said twice."""

from __future__ import annotations

import pytest
import trio


async def test_what_was_not_answered_is_answered_after_a_restart(virtual_clock, home):
    """A message that was taken and one that was being answered are answered by the next engine."""
    home.engine.set_limit(1)
    await home.register("other")
    await home.say("home", "!slow=30")
    await home.say("other", "hello")
    await trio.sleep(10)
    await home.restart()
    await trio.sleep(100)
    assert dict(home.fate()) == {("home@chat", "m1"): 1, ("other@chat", "m2"): 1}


async def test_what_was_answered_is_not_asked_again(virtual_clock, home):
    """An answer that was recorded before the kill is said, and its message isn't asked again."""
    await home.say("home", "hello")
    await trio.sleep(10)
    await home.restart()
    await trio.sleep(1000)
    assert len(home.agent.asked) == len(home.platform.said) == 1


async def test_a_follow_up_in_flight_is_asked_once_more(virtual_clock, home):
    """A follow-up that a killed host had sent is asked again, once, and not left in the mailbox for
    another run's agent to find. Trap A22."""
    await home.say("home", "hello")
    await trio.sleep(10)
    await home.say("home", "!slow=50")
    await trio.sleep(10)
    await home.restart()
    await trio.sleep(200)
    assert [said.ids for said in home.answers()] == [("m1",), ("m2",)]
    left = home.settings.project_root / "data" / "ipc" / "home" / "input"
    assert not list(left.glob("*.json"))


async def test_a_follow_up_that_nobody_took_is_asked_once(virtual_clock, home):
    """A follow-up that lay in the mailbox as the host was killed is asked once by the next. Trap
    A22."""
    await home.say("home", "!deaf")
    await trio.sleep(10)
    await home.say("home", "do you hear?")
    await trio.sleep(10)
    await home.restart()
    await trio.sleep(10)
    assert [asked.texts for asked in home.agent.asked] == [["!deaf"], ["do you hear?"]]


async def test_a_follow_up_that_a_killed_host_left_in_the_mailbox(virtual_clock, home):
    """A follow-up's file that a host left behind, being killed with no time to take it back, is
    removed: its message is asked by the next prompt, and not by the file as well. Trap A22."""
    await home.say("home", "!deaf")
    await trio.sleep(10)
    await home.say("home", "do you hear?")
    await trio.sleep(10)
    mailbox = home.settings.project_root / "data" / "ipc" / "home" / "input"
    left = {path: path.read_bytes() for path in mailbox.glob("*.json")}
    assert len(left) == 1
    await home.kill()
    for path, content in left.items():
        path.write_bytes(content)
    await home.start()
    await trio.sleep(400)
    assert [asked.texts for asked in home.agent.asked] == [["!deaf"], ["do you hear?"]]
    assert set(home.fate().values()) == {1}


async def test_a_killed_host_costs_no_attempt(virtual_clock, home):
    """However often the host is killed, a message isn't given up for it."""
    await home.say("home", "!slow=30")
    for _ in range(10):
        await trio.sleep(10)
        await home.restart()
    await trio.sleep(100)
    assert [said.kind for said in home.platform.said] == ["answer"]


async def test_an_engine_that_is_left_and_one_that_is_killed_are_the_same(virtual_clock, home):
    """After an orderly end the next engine goes on with the same groups and sessions."""
    await home.say("home", "hello")
    await trio.sleep(1)
    await home.leave()
    await home.start()
    await home.say("home", "hello again")
    await trio.sleep(1)
    assert [asked.session for asked in home.agent.prompts()] == [None, "session-1"]


@pytest.mark.parametrize("seconds", [0, 0.25, 0.5, 1, 3, 3.5, 5, 9, 9.5])
async def test_killed_at_a_moment(virtual_clock, home, seconds):
    """A script of messages, a follow-up, a task and a message of the agent's own, cut off at a
    moment: all is answered once, in order."""

    async def talk():
        await home.say("home", "!speak", "one")
        await home.schedule("home", "water the plants", id="task")
        await trio.sleep(3)
        await home.say("home", "two", "two")
        await trio.sleep(6)
        await home.say("home", "three", "three")

    with trio.move_on_after(seconds):
        await talk()
    await home.restart()
    taken = {id_ for id_ in ("one", "two", "three") if await known(home, id_)}
    await trio.sleep(100)
    assert {id_ for _, id_ in home.fate()} == taken
    assert set(home.fate().values()) <= {1}
    assert [said.ids for said in home.answers() if said.ids] == sorted(
        (said.ids for said in home.answers() if said.ids),
        key=lambda ids: ["one", "two", "three"].index(ids[0]),
    )


async def known(world, id_):
    return await world.transact(
        lambda tx: tx.row("SELECT 1 FROM messages WHERE id = ?", id_) is not None
    )


async def test_a_store_that_is_full_loses_nothing(virtual_clock, home):
    """While the disk is full nothing is taken, and what was taken is kept; once there is room again
    all is answered once, and the engine goes on."""
    await home.register("other")
    await home.say("home", "!slow=20")
    await home.say("other", "hello")
    await trio.sleep(10)
    await home.fill_disk()
    refused = await home.refused("home", "not now")
    assert refused
    await trio.sleep(200)
    await home.free_disk()
    await trio.sleep(400)
    await home.say("home", "and now?")
    await trio.sleep(400)
    assert dict(home.fate()) == {
        ("home@chat", "m1"): 1,
        ("other@chat", "m2"): 1,
        ("home@chat", "m4"): 1,
    }


@pytest.mark.parametrize("begin", [0, 0.5, 4, 5, 9])
async def test_a_disk_that_is_full_for_a_while(virtual_clock, home, begin):
    """Whenever the disk becomes full and empty again, what was taken is answered once, and within
    minutes of there being room."""
    await home.register("other")
    taken = []

    async def talk():
        for number in range(6):
            for folder in ("home", "other"):
                text = "!speak" if number == 2 else "!slow=3"
                id_ = f"{folder}-{number}"
                if not await home.refused(folder, text, id_):
                    taken.append((f"{folder}@chat", id_))
            await trio.sleep(4)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk)
        await trio.sleep(begin)
        await home.fill_disk()
        await trio.sleep(10)
        await home.free_disk()
    await trio.sleep(400)
    assert dict(home.fate()) == dict.fromkeys(taken, 1)
    assert home.state_of("home") == "no_work" or home.running()


async def test_what_is_submitted_waits_for_the_disk(virtual_clock, home):
    """A prompt that is in memory is written down as soon as the disk has room."""
    group = (await home.registration("home")).group
    await trio.sleep(1)
    await home.fill_disk()
    home.engine.submit_nowait(group, home.prompt("home", "hello"))
    await trio.sleep(100)
    await home.free_disk()
    await trio.sleep(10)
    assert [said.text for said in home.answers()] == ["echo: hello"]
