"""A subscriber that says nothing about a delivery, while another one stands by."""

from __future__ import annotations

import json
from functools import partial

import pytest
import trio
import trio.testing

from nanoclaw_trio.cli.bridges.attend import attend
from nanoclaw_trio.cli.bridges.connection import UNREAD_BOUND, WORD_BOUND

LONGEST = WORD_BOUND + UNREAD_BOUND


@pytest.fixture
def subscribe(connect):
    """Connect a client that has subscribed."""

    async def subscribe_it():
        client = connect()
        assert await client.ask("subscribe") == {"type": "subscribed"}
        return client

    return subscribe_it


@pytest.fixture
def deliver(bridge, delivery, nursery):
    """Begin to deliver; the result is set once it was said."""

    def deliver_it(id_="d1"):
        done = trio.Event()

        async def work():
            await bridge.deliver(delivery(id_))
            done.set()

        nursery.start_soon(work)
        return done

    return deliver_it


@pytest.fixture
def hand_on(subscribe, deliver):
    """A first client that says nothing of a delivery, the next one that has it now, and the event."""

    async def hand_it_on():
        first, second = await subscribe(), await subscribe()
        done = deliver()
        assert (await first.hear())["id"] == "d1"
        with trio.fail_after(LONGEST + 1):
            assert (await second.hear())["id"] == "d1"
        return first, second, done

    return hand_it_on


async def test_one_that_reads_and_says_nothing(virtual_clock, hand_on, capsys):
    """It is told so and closed; what it had goes to the next one, and comes back to nobody."""
    first, second, done = await hand_on()
    assert trio.current_time() == LONGEST
    error = await first.hear()
    assert (error["type"], error["fault"]) == ("error", "client")
    assert "nothing was said about delivery 'd1' for 60 seconds" in error["problem"]
    assert await first.hear() is None
    assert not done.is_set()
    await second.say("delivered", id="d1")
    await done.wait()
    assert "silent subscriber closed" in capsys.readouterr().err


async def test_one_that_reads_nothing(virtual_clock, subscribe, deliver, bridge, engine, nursery):
    """Nor does one that doesn't even read hold anything: all chats' deliveries go to the next one."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    nursery.start_soon(partial(attend, ours, bridge=bridge, engine=engine, trigger="@Andy"))
    await theirs.send_all(b'{"type": "subscribe"}\n')
    await trio.testing.wait_all_tasks_blocked()
    second = await subscribe()
    numbers = range(200)
    done = [deliver(f"d{number}") for number in numbers]
    with trio.fail_after(LONGEST + 1):
        heard = [(await second.hear())["id"] for _ in numbers]
    assert set(heard) == {f"d{number}" for number in numbers}
    for each in heard:
        await second.say("delivered", id=each)
    for each in done:
        await each.wait()
    # When it reads at last, nothing is there that the other one has said.
    read = b"".join([chunk async for chunk in theirs])
    assert [json.loads(line)["type"] for line in read.split(b"\n")[:-1]] == ["subscribed", "error"]


async def test_while_it_is_alone(virtual_clock, subscribe, deliver):
    """A subscriber that nobody could take the place of has as long as it takes."""
    client = await subscribe()
    done = deliver()
    assert (await client.hear())["id"] == "d1"
    await trio.sleep(3600)
    assert (await client.ask("groups"))["type"] == "groups"
    await client.say("delivered", id="d1")
    await done.wait()


async def test_when_another_comes(virtual_clock, subscribe, deliver):
    """One that has long been silent, and alone, is closed soon after there is another."""
    first = await subscribe()
    deliver()
    assert (await first.hear())["id"] == "d1"
    await trio.sleep(3600)
    second = await subscribe()
    with trio.fail_after(LONGEST):
        assert (await second.hear())["id"] == "d1"
    assert (await first.hear())["type"] == "error"
    await second.say("delivered", id="d1")


async def test_a_word_that_lies_there_unread(virtual_clock, subscribe, deliver):
    """A word that came in time counts, though this process stood still and reads it later."""
    first, second = await subscribe(), await subscribe()
    done = deliver()
    assert (await first.hear())["id"] == "d1"
    await first.say("delivered", id="d1")
    virtual_clock.jump(10 * LONGEST)
    await done.wait()
    assert (await first.ask("groups"))["type"] == "groups"
    with trio.move_on_after(10 * LONGEST):
        pytest.fail(f"said twice: {await second.hear()}")


async def test_behind_a_request_that_takes_long(virtual_clock, subscribe, deliver, engine):
    """While it waits for an answer of the engine's it isn't silent: its word may stand behind."""
    first, second = await subscribe(), await subscribe()
    done = deliver()
    assert (await first.hear())["id"] == "d1"
    # As when the disk hangs.
    async with engine._context.store._lock:
        await first.say("groups")
        await first.say("delivered", id="d1")
        await trio.sleep(10 * LONGEST)
        assert not done.is_set()
    with trio.fail_after(1):
        await done.wait()
    assert (await first.hear())["type"] == "groups"
    with trio.move_on_after(10 * LONGEST):
        pytest.fail(f"said twice: {await second.hear()}")


async def test_one_that_is_slow(virtual_clock, subscribe, deliver):
    """One that says its deliveries one after the other has the whole bound for each of them."""
    first, second = await subscribe(), await subscribe()
    done = [deliver(f"d{number}") for number in range(10)]
    for _ in done:
        record = await first.hear()
        await trio.sleep(WORD_BOUND - 1)
        await first.say("delivered", id=record["id"])
    for each in done:
        await each.wait()
    with trio.move_on_after(10 * LONGEST):
        pytest.fail(f"said twice: {await second.hear()}")


async def test_words_about_others(virtual_clock, subscribe, deliver):
    """Words about later deliveries don't hold an earlier one; only what had none is handed on."""
    first, second = await subscribe(), await subscribe()
    lost = deliver("lost")
    assert (await first.hear())["id"] == "lost"
    for number in range(6):
        done = deliver(f"d{number}")
        record = await first.hear()
        await trio.sleep(10)
        await first.say("delivered", id=record["id"])
        await done.wait()
    with trio.fail_after(LONGEST - 60 + 1):
        assert (await second.hear())["id"] == "lost"
    await second.say("delivered", id="lost")
    await lost.wait()
    with trio.move_on_after(10 * LONGEST):
        pytest.fail(f"said twice: {await second.hear()}")


async def test_a_late_word(virtual_clock, hand_on):
    """A word that comes after the end is heard by nobody; only the next one's counts."""
    first, second, done = await hand_on()
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.BrokenResourceError):
        await first.say("delivered", id="d1")
    await trio.sleep(1)
    assert not done.is_set()
    await second.say("delivered", id="d1")
    await done.wait()


async def test_it_may_come_again(virtual_clock, subscribe, hand_on):
    """One that was closed may connect again, and stands by for the one that took its place."""
    *_clients, done = await hand_on()
    again = await subscribe()
    with trio.fail_after(LONGEST + 1):
        assert (await again.hear())["id"] == "d1"
    await again.say("delivered", id="d1")
    await done.wait()


async def test_what_the_engine_gave_up(virtual_clock, subscribe, deliver, bridge, delivery):
    """A delivery that isn't in its hands any more needs no word."""
    first, second = await subscribe(), await subscribe()
    with trio.move_on_after(1):
        await bridge.deliver(delivery())
    assert (await first.hear())["id"] == "d1"
    await trio.sleep(10 * LONGEST)
    done = deliver("d2")
    assert (await first.hear())["id"] == "d2"
    await first.say("delivered", id="d2")
    await done.wait()
    with trio.move_on_after(1):
        pytest.fail(f"said twice: {await second.hear()}")
