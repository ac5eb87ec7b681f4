"""Follow-ups on their way into a running container, and what stands in their way."""

from __future__ import annotations

import trio

from nanoclaw_trio.engine.runs.follow_up_feed import MOST_IN_FLIGHT


async def test_more_follow_ups_than_may_be_in_flight(virtual_clock, home):
    """Messages beyond those that an agent is given at a time follow as soon as it has answered
    some, in their order."""
    count = 2 * MOST_IN_FLIGHT + 3
    await home.say("home", "!slow=10")
    await trio.sleep(1)
    ids = []
    for number in range(count):
        ids.append(await home.say("home", f"message {number}"))
        await trio.sleep(0.01)
    await trio.sleep(10 + count)
    assert [id_ for said in home.answers() for id_ in said.ids] == ["m1", *ids]
    assert len(home.runtime.started) == 1


async def test_a_mailbox_that_takes_nothing(virtual_clock, home):
    """A follow-up that can't be written, the agent having spoilt its mailbox, is the next run's, and
    soon: it loses no attempt and doesn't wait for the idle timeout."""

    async def spoil(turn):
        await turn.answer()
        await turn.update()
        mailbox = turn.container.writable_path("/workspace/ipc/input")
        await trio.to_thread.run_sync(lambda: (mailbox.rmdir(), mailbox.write_text("mine")))
        await trio.sleep_forever()

    home.agent.script["spoil"] = spoil
    await home.say("home", "spoil")
    await trio.sleep(2)
    await home.say("home", "do you hear?")
    await trio.sleep(2)
    mailbox = home.settings.project_root / "data" / "ipc" / "home" / "input"
    if mailbox.is_file():
        mailbox.unlink()
    await trio.sleep(100)
    assert [said.ids for said in home.platform.said] == [("m1",), ("m2",)]
    assert not home.failures()


async def test_a_store_that_fails_for_a_while_delays_follow_ups(virtual_clock, home):
    """Messages that can't be marked as sent while the disk is full go into the container when it
    has room again, without waiting for its end."""
    await home.say("home", "hello")
    await trio.sleep(10)
    message = home.message("home", "and now?")
    await home.engine.send_message(message)
    await home.fill_disk()
    await trio.sleep(20)
    await home.free_disk()
    await trio.sleep(20)
    assert [said.ids for said in home.answers()] == [("m1",), (message.id,)]
    assert len(home.runtime.started) == 1
