"""Leaving an engine: what is still answered, and what is left for the next one. Trap A25."""

from __future__ import annotations

import trio


async def test_leaving_waits_for_the_answers(virtual_clock, home):
    """On leaving, what runs and what waits is answered and delivered first."""
    home.engine.set_limit(1)
    await home.register("other")
    await home.say("home", "!slow=10")
    await home.say("other", "!slow=10")
    await home.leave()
    assert [said.ids for said in home.answers()] == [("m1",), ("m2",)]
    assert 20 <= trio.current_time() <= 25


async def test_leaving_at_once_answers_too(virtual_clock, world):
    """An engine that is left as soon as it has taken a message answers it, though the runtime had
    not even been asked."""
    async with world.open() as world.engine:
        await world.register("home")
        await world.say("home", "hello")
    assert [said.ids for said in world.answers()] == [("m1",)]


async def test_leaving_at_once_answers_what_an_earlier_engine_left(virtual_clock, home):
    """An engine that is left at once still does what it found."""
    await home.say("home", "!slow=30")
    await trio.sleep(1)
    await home.kill()
    async with home.open() as home.engine:
        pass
    assert [said.ids for said in home.answers()] == [("m1",)]


async def test_an_idle_container_ends_at_once(virtual_clock, home):
    """A container that waits for follow-ups isn't waited for until its idle timeout."""
    await home.say("home", "hello")
    await trio.sleep(10)
    await home.leave()
    assert trio.current_time() < 12


async def test_draining_is_bounded(virtual_clock, world):
    """What isn't answered within the bound is stopped, and left for the next engine."""
    world.options["drain_timeout"] = 20
    await world.start()
    await world.register("home")
    await world.say("home", "!slow=100")
    await trio.sleep(1)
    await world.leave()
    assert 21 <= trio.current_time() <= 45
    assert not world.runtime.containers
    await world.start()
    await trio.sleep(200)
    assert [said.ids for said in world.answers()] == [("m1",)]


async def test_a_retry_is_not_waited_for(virtual_clock, home):
    """A group that backs off is left for the next engine."""
    await home.say("home", "!fail")
    await trio.sleep(1)
    await home.leave()
    assert trio.current_time() < 4


async def test_a_runtime_that_is_down_is_not_waited_for(virtual_clock, home):
    """What can't be started is left for the next engine."""

    async def fail():
        raise OSError("nobody answers")

    await home.say("home", "hello")
    await trio.sleep(1)
    home.runtime.before = {"check": fail, "start": fail}
    home.runtime.images = set()
    await home.register("other")
    await home.say("other", "hello")
    await trio.sleep(1)
    await home.leave()
    assert trio.current_time() < 10


async def test_a_bridge_that_fails_is_not_waited_for(virtual_clock, home):
    """What the bridge doesn't take is left for the next engine, however much there is of it."""

    async def fail(_):
        raise OSError("no connection")

    home.platform.before["deliver"] = fail
    await home.say("home", "one")
    await trio.sleep(1)
    await home.say("home", "two")
    await trio.sleep(1)
    await home.leave()
    assert trio.current_time() < 10
    home.platform.before.clear()
    await home.start()
    await trio.sleep(1)
    assert [said.ids for said in home.answers()] == [("m1",), ("m2",)]


async def test_submissions_in_memory_are_waited_for(virtual_clock, home):
    """What was submitted without waiting is written down and answered before the end."""
    group = (await home.registration("home")).group
    for number in range(10):
        home.engine.submit_nowait(group, home.prompt("home", f"prompt {number}"))
    await home.leave()
    assert sum(home.fate().values()) == 10


async def test_draining_may_be_called_and_cancelled(virtual_clock, home):
    """A drain that is cancelled may be called again, and ends as soon as all is quiet."""
    await home.say("home", "!slow=30")
    await trio.sleep(1)
    with trio.move_on_after(5):
        await home.engine.drain()
    await home.engine.drain()
    assert len(home.answers()) == 1
    await home.engine.drain()


async def test_a_drain_misses_no_end(virtual_clock, home):
    """However the moment falls at which the last thing ends, the drain notices it."""
    for number in range(30):
        await home.say("home", f"message {number}")
        for _ in range(number * 3):
            await trio.lowlevel.checkpoint()
        before = trio.current_time()
        await home.leave()
        assert trio.current_time() - before < 5
        await home.start()
