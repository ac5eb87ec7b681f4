"""The way to the runtime, where a probe sees less than a start, and where one start is tried."""

from __future__ import annotations

import trio

from nanoclaw_trio.engine.chat.bridge import NoticeKind
from nanoclaw_trio.engine.runs.closing import CLOSE_GRACE
from nanoclaw_trio.errors import ImageMissing, StartFailed

HOUR = 3600.0


def kinds(world):
    return [notice.kind for _, notice in world.platform.notices]


async def test_probe_that_sees_less_than_a_start(virtual_clock, home):
    """Where each start says that the image is missing, and each probe that it is there, the operator
    is told a few times in an hour and not without end; messages wait, and are answered."""
    starts = []

    async def miss():
        starts.append(trio.current_time())
        raise ImageMissing("agent", "fake", "pull it")

    home.runtime.before["start"] = miss
    await home.say("home", "hello")
    await trio.sleep(HOUR)
    assert kinds(home) == [
        NoticeKind.RUNTIME_DOWN,
        NoticeKind.RUNTIME_BACK,
        NoticeKind.RUNTIME_DOWN,
    ]
    assert len(starts) > HOUR / 100
    home.runtime.before.clear()
    await trio.sleep(100)
    assert kinds(home)[3:] == [NoticeKind.RUNTIME_BACK]
    assert [said.text for said in home.platform.said] == ["echo: hello"]


async def test_probes_are_trusted_again_after_a_start(virtual_clock, home):
    """An outage ends with the first probe that finds all there, without a start, and so does the
    next one if a container has run between the two."""
    for number in range(1, 3):
        home.runtime.images = set()
        await home.register("other")
        await home.say("other", "hello")
        await trio.sleep(2)
        assert home.engine.statistics().runtime_state == "down"
        await home.engine.unregister_group("other")
        home.runtime.images = None
        await trio.sleep(100)
        assert home.engine.statistics().runtime_state == "up"
        assert kinds(home) == [NoticeKind.RUNTIME_DOWN, NoticeKind.RUNTIME_BACK] * number
        await home.say("home", "hello")
        await trio.sleep(20)
    assert len(home.answers("home")) == 2


async def test_idle_run_makes_room_for_its_own_task_while_one_start_is_tried(virtual_clock, world):
    """Where the one start to be tried is a task's, its group's idle run gives way to it, though
    there is no idle timeout: or all others would wait for ever."""
    folders = ("a", "b", "c")

    async def fail():
        raise StartFailed("container", "no space left on device")

    await world.start(idle_timeout=None)
    await world.register("home", *folders)
    await world.say("home", "hello")
    await trio.sleep(10)
    world.runtime.before["start"] = fail
    for folder in folders:
        await world.say(folder, "hello")
    await trio.sleep(1)
    assert world.engine.statistics().runtime_state == "down"
    for folder in folders:
        await world.engine.unregister_group(folder)
    world.runtime.before.clear()
    await trio.sleep(400)
    assert world.engine.statistics().runtime_state == "probing"
    assert world.running() == ["home"]
    task = await world.schedule("home", "water the plants")
    await trio.sleep(CLOSE_GRACE)
    assert [said.delivery.task_id for said in world.answers("home")] == [None, task.id]
    assert world.engine.statistics().runtime_state == "up"
