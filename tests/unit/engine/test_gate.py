"""When no container can be started: the runtime is down, the image is gone, starts fail."""

from __future__ import annotations

import pytest
import trio

from nanoclaw_trio.engine.chat.bridge import NoticeKind
from nanoclaw_trio.errors import RuntimeUnavailable, StartFailed
from nanoclaw_trio.store.models import DeliveryKind


@pytest.fixture
def outage(world):
    """Makes the runtime fail: `outage.begin()`, `outage.end()`."""

    class Outage:
        def __init__(self):
            self.asked = []

        async def _refuse(self):
            self.asked.append(trio.current_time())
            raise RuntimeUnavailable("fake", "nobody answers", "start it")

        def begin(self, *methods):
            for method in methods or ("check", "start", "stop", "kill", "remove", "list"):
                world.runtime.before[method] = self._refuse

        def end(self):
            world.runtime.before.clear()

    return Outage()


def kinds(world):
    return [notice.kind for _, notice in world.platform.notices]


async def test_a_runtime_that_is_down_at_the_start_is_waited_for(virtual_clock, world, outage):
    """Messages are taken while the runtime is down; the operator is told once, and once when it is
    back; then all are answered. It is asked after 5, 10, 20, 40 s and then each minute. Trap B3."""
    outage.begin("check")
    await world.start()
    await world.register("home")
    await world.say("home", "hello")
    await trio.sleep(300)
    assert world.engine.statistics().runtime_state == "down"
    assert not world.runtime.started
    assert outage.asked == [0, 5, 15, 35, 75, 135, 195, 255]
    outage.end()
    await trio.sleep(61)
    assert kinds(world) == [NoticeKind.RUNTIME_DOWN, NoticeKind.RUNTIME_BACK]
    assert "nobody answers" in world.platform.notices[0][1].text
    assert [said.text for said in world.platform.said] == ["echo: hello"]
    assert world.engine.statistics().runtime_state == "up"


async def test_a_runtime_that_goes_down_costs_no_attempts(virtual_clock, home, outage):
    """While the runtime is down nothing is counted, however long; then all is answered."""
    await home.register("other")
    outage.begin("check", "start")
    await home.say("home", "hello")
    await home.say("other", "hello")
    await trio.sleep(10_000)
    assert kinds(home) == [NoticeKind.RUNTIME_DOWN]
    outage.end()
    await trio.sleep(61)
    assert kinds(home) == [NoticeKind.RUNTIME_DOWN, NoticeKind.RUNTIME_BACK]
    assert [said.kind for said in home.platform.said] == [DeliveryKind.ANSWER] * 2
    assert len(home.agent.asked) == 2


async def test_an_image_that_is_gone_is_said_once(virtual_clock, home):
    """A pruned image is reported once, with how to get it, not again and again. Trap B4."""
    home.runtime.images = set()
    await home.register("other")
    await home.say("home", "hello")
    await home.say("other", "hello")
    await trio.sleep(1000)
    assert kinds(home) == [NoticeKind.RUNTIME_DOWN]
    assert "add it to `images`" in home.platform.notices[0][1].text
    home.runtime.images = None
    await trio.sleep(61)
    assert kinds(home) == [NoticeKind.RUNTIME_DOWN, NoticeKind.RUNTIME_BACK]
    assert len(home.answers()) == 2


async def test_three_starts_that_fail_in_a_row_stop_all(virtual_clock, home):
    """Starts that fail for a reason that nobody knows are everybody's matter from the third on: one
    at a time is tried until one succeeds, and then all go on."""
    starts = []

    async def fail():
        starts.append(trio.current_time())
        raise StartFailed("container", "no space left on device")

    home.runtime.before["start"] = fail
    folders = ["a", "b", "c", "d", "e", "f"]
    home.engine.set_limit(1)
    await home.register(*folders)
    for folder in folders:
        await home.say(folder, "hello")
    await trio.sleep(4)
    assert len(starts) == 3
    assert kinds(home) == [NoticeKind.RUNTIME_DOWN]
    await trio.sleep(26)
    assert len(starts) == 5
    home.runtime.before.clear()
    await trio.sleep(200)
    assert kinds(home) == [NoticeKind.RUNTIME_DOWN, NoticeKind.RUNTIME_BACK]
    assert len(home.answers()) == 6


async def test_one_groups_failing_starts_are_given_up(virtual_clock, home):
    """A group whose own mount is gone, so that its starts fail, is told in the end; the others are
    answered meanwhile."""

    async def fail_for_home():
        if any(run.folder == "home" and run.run is None for run in live().values()):
            raise StartFailed("container", "the source of a mount is gone")

    def live():
        return home.engine._dispatcher.live

    home.runtime.before["start"] = fail_for_home
    await home.register("other")
    await home.say("home", "hello")
    for _ in range(100):
        await trio.sleep(10)
        if not live():
            await home.say("other", "hello")
    await trio.sleep(1000)
    assert [said.kind for said in home.said("home")] == [DeliveryKind.FAILURE]
    assert len(home.fate()) == len(home.said())


async def test_what_runs_goes_on_while_nothing_can_be_started(virtual_clock, home, outage):
    """Containers that run are served while the runtime starts no others: they take follow-ups, and
    nobody ends them to make room."""
    home.engine.set_limit(1)
    await home.register("other")
    await home.say("home", "!slow=20")
    await trio.sleep(1)
    outage.begin("start", "check")
    home.engine.set_limit(2)
    await home.say("other", "hello")
    await trio.sleep(1)
    home.engine.set_limit(1)
    await home.say("home", "still there?")
    await trio.sleep(100)
    assert len(home.answers("home")) == 2
    outage.end()
    await trio.sleep(100)
    assert len(home.answers("other")) == 1


async def test_tasks_wait_for_the_runtime(virtual_clock, home, outage):
    """A task that is due while the runtime is down runs once when it is back."""
    outage.begin("check", "start")
    task = await home.schedule("home", "water the plants")
    await trio.sleep(1000)
    outage.end()
    await trio.sleep(100)
    assert [said.delivery.task_id for said in home.answers()] == [task.id]
    assert not home.failures()


@pytest.mark.parametrize("fault", ["raises", "hangs"])
async def test_a_notice_that_fails_holds_nothing(virtual_clock, home, outage, fault):
    """A bridge that raises or hangs when the operator is to be told keeps nothing from going on."""

    async def misbehave(_):
        if fault == "raises":
            raise OSError("no connection")
        await trio.sleep_forever()

    home.platform.before["notice"] = misbehave
    outage.begin("check", "start")
    await home.say("home", "hello")
    await trio.sleep(100)
    outage.end()
    await trio.sleep(200)
    assert kinds(home) == [NoticeKind.RUNTIME_DOWN, NoticeKind.RUNTIME_BACK]
    assert len(home.answers()) == 1


async def test_a_runtime_that_flaps_is_reported_each_time_once(virtual_clock, home, outage):
    """Each outage is told of once at its beginning and once at its end, and loses nothing."""
    for number in range(5):
        outage.begin("check", "start")
        await home.say("home", f"message {number}")
        await trio.sleep(100)
        outage.end()
        await trio.sleep(100)
        await home.engine.close_group("home")
        await trio.sleep(1)
    assert kinds(home) == [NoticeKind.RUNTIME_DOWN, NoticeKind.RUNTIME_BACK] * 5
    assert set(home.fate().values()) == {1}
    assert len(home.fate()) == 5
