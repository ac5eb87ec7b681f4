"""What agents want of the bridge, and what becomes of it where the bridge is slow or fails."""

from __future__ import annotations

import trio

from nanoclaw_trio.engine.chat.bridge import Bridge, NoticeKind
from nanoclaw_trio.engine.parts import ERRANDS_LIMIT
from nanoclaw_trio.errors import RuntimeUnavailable


async def refresh(turn):
    """An agent of the main group that wants the chats listed, many times."""
    for number in range(int(turn.asked.text.rpartition("=")[2].split("<")[0])):
        await turn.put(f"tasks/{number:04}.json", {"type": "refresh_groups"})
    await turn.answer()
    await turn.update()


async def test_a_bridge_that_fails_to_list_its_chats_is_let_be(virtual_clock, world):
    """A bridge that can't list its chats costs no run, and is asked again by the next request."""

    async def refuse(_):
        raise ConnectionError("the platform is away")

    world.agent.script["!refresh"] = refresh
    world.platform.before["list_chats"] = refuse
    await world.start()
    await world.register("main", is_main=True)
    await world.say("main", "!refresh=1")
    await trio.sleep(30)
    assert len(world.answers("main")) == 1
    assert world.engine.statistics().counters.requests_handled == 1


async def test_errands_for_a_slow_bridge_are_bounded(virtual_clock, world, capsys):
    """An agent that asks again and again of a bridge that doesn't answer fills no memory."""

    async def hang(_):
        await trio.sleep_forever()

    world.platform.before["list_chats"] = hang
    await world.start()
    await world.register("main", is_main=True)
    tasks = world.settings.project_root / "data" / "ipc" / "main" / "tasks"
    tasks.mkdir(parents=True)
    for _ in range(ERRANDS_LIMIT + 2):
        (tasks / "1.json").write_text('{"type": "refresh_groups"}')
        await world.engine._context.intake.take_in("main")
    assert "bridge not asked" in capsys.readouterr().err
    assert world.engine.statistics().counters.requests_handled == ERRANDS_LIMIT + 2


async def test_an_operator_who_cannot_be_told(virtual_clock, world):
    """A bridge whose notice fails or hangs holds nothing up; the log has it."""

    async def refuse():
        raise RuntimeUnavailable("fake", "nobody answers", "start it")

    async def fail(_):
        raise ConnectionError("no")

    world.runtime.before["check"] = refuse
    world.platform.before["notice"] = fail
    await world.start()
    await world.register("home")
    await world.say("home", "hello")
    await trio.sleep(30)
    world.runtime.before.clear()
    await trio.sleep(60)
    kinds = [notice.kind for _, notice in world.platform.notices]
    assert kinds == [NoticeKind.RUNTIME_DOWN, NoticeKind.RUNTIME_BACK]
    assert len(world.answers("home")) == 1


async def test_a_person_who_asks_a_second_time(virtual_clock, home):
    """Hurried, what is being stopped is killed without the graces."""

    async def ignore(turn):
        with turn.container.open_sigterm_receiver():
            await trio.sleep_forever()

    home.agent.script["!ignore"] = ignore
    await home.say("home", "!ignore")
    await trio.sleep(10)
    engine, began = home.engine, trio.current_time()
    home._life.cancel()
    await trio.sleep(1)
    engine.hurry()
    await home._ended.wait()
    assert trio.current_time() - began < home.settings.grace.stop


async def test_a_group_that_is_gone_before_its_errand_is_done(virtual_clock, world):
    """A group that is unregistered while the bridge lists its chats has nobody to show them to."""

    async def unregister(_):
        await world.engine.unregister_group("main")

    world.agent.script["!refresh"] = refresh
    world.platform.before["list_chats"] = unregister
    await world.start()
    await world.register("main", is_main=True)
    await world.say("main", "!refresh=1")
    await trio.sleep(30)
    assert await world.engine.groups() == ()


async def test_a_bridge_without_a_list_of_chats(virtual_clock):
    """A bridge needs no more than a way to deliver: it then has no chats to list."""

    class Plain(Bridge):
        async def deliver(self, delivery):
            """Nothing is said."""

    assert await Plain().list_chats() == ()
