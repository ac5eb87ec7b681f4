"""What is to be said reaches the chat, in order, once, whatever the bridge does."""

from __future__ import annotations

import gc
import json
from itertools import pairwise

import pytest
import trio

from nanoclaw_trio.engine.chat.bridge import Undeliverable
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.store.models import Delivery


def attempts(world, jid="home@chat"):
    return [at for at, delivery in world.platform.attempts if delivery.chat_jid == jid]


def failing_for(jid, error=None):
    async def fail(delivery):
        if delivery.chat_jid == jid:
            raise error or OSError("no connection")

    return fail


def deliveries_in_memory():
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, Delivery)]


async def test_a_bridge_that_fails_is_tried_again(virtual_clock, home):
    """What the bridge doesn't take is tried again after 5, 10, 20 … and then each 300 s, for as long
    as it takes."""
    home.platform.before["deliver"] = failing_for("home@chat")
    await home.say("home", "hello")
    await trio.sleep(2000)
    times = attempts(home)
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps == [5, 10, 20, 40, 80, 160, 300, 300, 300, 300, 300]
    home.platform.before.clear()
    await trio.sleep(301)
    assert [said.ids for said in home.answers()] == [("m1",)]
    assert len(home.agent.asked) == 1


async def test_a_chats_order_is_kept(virtual_clock, home):
    """While one thing can't be said, nothing that comes after it in that chat is; other chats go
    on."""
    await home.register("other")
    home.platform.before["deliver"] = failing_for("home@chat")
    for text in ("one", "two", "three"):
        await home.say("home", text)
        await trio.sleep(5)
    await home.say("other", "hello")
    await trio.sleep(100)
    assert [said.text for said in home.answers()] == ["echo: hello"]
    home.platform.before.clear()
    await trio.sleep(301)
    assert [said.text for said in home.answers("home")] == ["echo: one", "echo: two", "echo: three"]


async def test_the_delay_begins_anew_with_the_next(virtual_clock, home):
    """Each delivery that fails waits 5 s at first, whatever the one before it needed."""
    left = {"m1": 3, "m2": 1}

    async def fail(delivery):
        (id_,) = delivery.in_reply_to
        if left[id_]:
            left[id_] -= 1
            raise OSError("no connection")

    home.platform.before["deliver"] = fail
    await home.say("home", "one")
    await trio.sleep(2)
    await home.say("home", "two")
    await trio.sleep(100)
    assert attempts(home) == [0, 5, 15, 35, 35, 40]


async def test_what_can_never_be_said_is_given_up(virtual_clock, home, capsys):
    """What is undeliverable isn't tried again, and what comes after it is said."""
    home.platform.before["deliver"] = failing_for("home@chat", Undeliverable("the chat is gone"))
    await home.say("home", "one")
    await trio.sleep(2)
    home.platform.before.clear()
    await home.say("home", "two")
    await trio.sleep(2)
    assert [said.ids for said in home.answers()] == [("m2",)]
    assert len(attempts(home)) == 2
    (entry,) = await home.events("undeliverable")
    assert entry.fields["why"] == "the chat is gone"
    await home.restart()
    await trio.sleep(1000)
    assert len(attempts(home)) == 2


async def test_a_bridge_that_hangs_holds_its_own_chat_only(virtual_clock, home):
    """A delivery that never returns holds up nothing but its chat: neither runs nor other chats."""

    async def hang(delivery):
        if delivery.chat_jid == "home@chat":
            await trio.sleep_forever()

    home.platform.before["deliver"] = hang
    await home.register("other")
    await home.say("home", "one")
    await trio.sleep(5)
    await home.say("home", "two")
    await home.say("other", "hello")
    await trio.sleep(5)
    assert [said.text for said in home.platform.said] == ["echo: hello"]
    assert len(home.agent.asked) == 3


async def test_what_was_not_said_is_said_by_the_next_engine(virtual_clock, home):
    """What the bridge hadn't taken when the host was killed is said after the next start, under the
    same id, and nothing is said twice."""

    async def hang(_):
        await trio.sleep_forever()

    home.platform.before["deliver"] = hang
    await home.say("home", "one")
    await trio.sleep(5)
    await home.say("home", "two")
    await trio.sleep(5)
    await home.kill()
    home.platform.before.clear()
    await home.start()
    await trio.sleep(5)
    assert [said.ids for said in home.answers()] == [("m1",), ("m2",)]
    ids = [delivery.id for _, delivery in home.platform.attempts]
    assert ids[0] == ids[1] != ids[2]


async def test_nothing_is_said_twice_for_want_of_a_note(virtual_clock, home):
    """A kill right after the bridge took something doesn't have it said again: that it was taken is
    noted first."""

    async def kill_soon(_):
        home._life.cancel()

    home.platform.before["deliver"] = kill_soon
    await home.say("home", "hello")
    await trio.sleep(5)
    home.platform.before.clear()
    await home.start()
    await trio.sleep(5)
    assert len(home.platform.said) == 1


@pytest.mark.parametrize("number", [1, 12])
async def test_deliveries_of_one_chat_never_overlap(virtual_clock, home, number):
    """A slow bridge is given one thing at a time in each chat, in order."""
    inside = 0

    async def slow(_):
        nonlocal inside
        inside += 1
        assert inside == 1
        await trio.sleep(3)
        inside -= 1

    home.platform.before["deliver"] = slow
    group = (await home.registration("home")).group
    for index in range(number):
        # A session of its own makes each a run of its own.
        prompt = home.prompt("home", f"prompt {index}", session_id=f"s{index}")
        home.engine.submit_nowait(group, prompt)
    await trio.sleep(5 + 4 * number)
    assert [said.text for said in home.answers()] == [f"echo: prompt {i}" for i in range(number)]


async def test_more_than_fits_into_memory(virtual_clock, home):
    """However much waits for a chat, one thing of it is in memory; all is said, in order."""
    home.platform.before["deliver"] = failing_for("home@chat")
    texts = [str(number) for number in range(41)]
    directory = home.settings.project_root / "data" / "ipc" / "home" / "messages"
    directory.mkdir(parents=True)
    for name, text in enumerate(texts):
        request = {"type": "message", "chatJid": "home@chat", "text": text}
        (directory / f"{name:02}.json").write_text(json.dumps(request))
    await trio.sleep(60)
    await home.restart()
    home.platform.attempts.clear()
    await trio.sleep(60)
    assert [one.text for one in await in_thread(deliveries_in_memory)] == ["0"]
    home.platform.before.clear()
    await trio.sleep(301)
    assert [said.text for said in home.said("home")] == texts


async def test_a_note_that_the_disk_refuses_is_made_later(virtual_clock, home):
    """What was said while its note could not be made is noted once there is room, so that the next
    engine doesn't say it again; and what waits behind it is said."""

    async def fill(_):
        await home.fill_disk()

    home.platform.before["deliver"] = fill
    await home.say("home", "hello")
    await trio.sleep(1)
    home.platform.before.clear()
    await home.free_disk()
    await trio.sleep(10)
    await home.restart()
    await trio.sleep(10)
    assert len(home.platform.said) == len(home.platform.attempts) == 1
