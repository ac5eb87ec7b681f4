"""How an engine begins and ends, whatever the way out."""

from __future__ import annotations

import sqlite3

import pytest
import trio
import trio.testing

from nanoclaw_trio.background import open_background_nursery
from nanoclaw_trio.engine.engine import SUBMISSION_LIMIT
from nanoclaw_trio.engine.open_engine import open_engine
from nanoclaw_trio.errors import (
    EngineClosed,
    EngineRunning,
    GroupUnknown,
    InvalidContainerInput,
    InvalidFile,
    InvalidGroupFolder,
    ProjectNotFound,
)
from nanoclaw_trio.store.groups import GroupConflict
from nanoclaw_trio.store.models import Chat


class Injected(Exception):
    """Raised by a test."""


async def test_a_second_engine_is_refused(virtual_clock, home):
    """A project has one engine: the second names who has it. Trap B1."""
    with pytest.raises(EngineRunning):
        async with home.open():
            pytest.fail("there are two")
    await home.leave()
    await home.start()
    await home.say("home", "hello")
    await trio.sleep(1)
    assert len(home.answers()) == 1


async def test_a_project_that_is_not_there(virtual_clock, world, tmp_path):
    """No project, no engine; nothing is made."""
    settings = world.settings.with_values(project_root=tmp_path / "nowhere")
    with pytest.raises(ProjectNotFound):
        async with open_engine(settings, runtime=world.runtime, bridge=world.platform):
            pytest.fail("there is no project")
    assert not (tmp_path / "nowhere").exists()


async def test_a_store_that_is_broken(virtual_clock, world):
    """A database that can't be read is named, and no second attempt is needed to open a good one."""
    data = world.settings.project_root / "data"
    data.mkdir()
    (data / "engine.db").write_text("this is no database, however long one looks at it\n" * 100)
    with pytest.raises(InvalidFile, match=r"engine\.db"):
        async with world.open():
            pytest.fail("the database is broken")
    (data / "engine.db").unlink()
    await world.start()


async def raise_in_block(world, work, error):
    """Open an engine, have it do some work, and raise."""
    async with world.open() as world.engine:
        await world.register("home")
        if work:
            await world.say("home", work)
            await trio.sleep(1)
        raise error


@pytest.mark.parametrize("work", ["", "hello", "!slow=1000", "!hang"])
async def test_the_callers_exception_comes_out_as_it_is(virtual_clock, world, work):
    """What the caller's block raises comes out, itself and in no group, and no container is left,
    whatever goes on. Trap T4."""
    error = Injected()
    with pytest.raises(Injected) as caught:
        await raise_in_block(world, work, error)
    assert caught.value is error
    assert error.__context__ is None
    assert not world.runtime.containers


async def test_leaving_by_an_exception_does_not_drain(virtual_clock, world):
    """An exception ends the engine at once; what wasn't answered is the next engine's."""
    with pytest.raises(Injected):
        await raise_in_block(world, "!slow=30", Injected())
    assert trio.current_time() < 30
    await world.start()
    await trio.sleep(100)
    assert [said.ids for said in world.answers()] == [("m1",)]


async def test_failures_in_the_background_do_not_come_out(virtual_clock, world):
    """Whatever the bridge and the runtime raise, the caller's block goes on and ends well."""

    async def fail(_=None):
        raise ZeroDivisionError("a defect of the bridge's")

    for method in ("deliver", "set_typing", "notice", "list_chats", "group_registered"):
        world.platform.before[method] = fail
    async with world.open() as world.engine:
        await world.register("home")
        await world.say("home", "!speak")
        await trio.sleep(10)
        for method in ("check", "start", "stop", "inspect", "list"):
            world.runtime.before[method] = fail
        await world.say("home", "!fail")
        await trio.sleep(300)
        world.platform.before.clear()
        world.runtime.before.clear()
        await trio.sleep(1000)
    assert set(world.fate().values()) == {1}
    assert len(world.fate()) == 2


async def test_a_defect_in_a_background_task_is_logged_and_the_task_begun_again(
    virtual_clock, world, capsys
):
    """A background task that fails of a defect is begun again, and nothing is lost by it."""
    real, failed = world.runtime.check, []

    async def broken():
        if not failed:
            failed.append(True)
            raise ZeroDivisionError("a defect of the runtime's")
        return await real()

    world.runtime.check = broken
    await world.start()
    await world.register("home")
    await world.say("home", "hello")
    await trio.sleep(10)
    assert len(world.answers()) == 1
    assert "background task failed" in capsys.readouterr().err


async def test_a_closed_engine_takes_nothing(virtual_clock, world):
    """After its block, and while it drains, an engine refuses messages, so that nobody thinks they
    were taken."""
    await world.start()
    engine = world.engine
    await world.register("home")
    await world.say("home", "!slow=30")
    await trio.sleep(1)
    group = (await world.registration("home")).group
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.leave)
        await trio.sleep(1)
        with pytest.raises(EngineClosed):
            await engine.send_message(world.message("home", "too late"))
        with pytest.raises(EngineClosed):
            await engine.submit("home", world.prompt("home", "too late"))
        with pytest.raises(EngineClosed):
            engine.submit_nowait(group, world.prompt("home", "too late"))
    with pytest.raises((EngineClosed, trio.ClosedResourceError)):
        await engine.send_message(world.message("home", "much too late"))


async def test_groups_are_registered_and_listed(virtual_clock, home):
    """Groups come and go: a conflict is refused, and nothing is half done."""
    await home.register("other")
    assert [r.folder for r in await home.engine.groups()] == ["home", "other"]
    await home.register("main", group={}, is_main=True)
    with pytest.raises(GroupConflict):
        await home.register("second", group={}, is_main=True)
    with pytest.raises(InvalidGroupFolder):
        await home.register("../etc")
    assert await home.engine.unregister_group("other") is True
    assert await home.engine.unregister_group("other") is False
    assert [r.folder for r in await home.engine.groups()] == ["home", "main"]


async def test_unregistering_ends_the_container_after_its_query(virtual_clock, home):
    """A group that is unregistered in the middle of its work still gives its answer, and then no
    more; its container ends."""
    await home.say("home", "!slow=30")
    await trio.sleep(1)
    await home.engine.unregister_group("home")
    await trio.sleep(100)
    assert len(home.answers()) == 1
    assert not home.running()


async def test_submissions_are_checked(virtual_clock, home):
    """A prompt for an unknown group, or one that names another group, is the caller's error."""
    with pytest.raises(GroupUnknown):
        await home.engine.submit("nobody", home.prompt("nobody", "hello"))
    with pytest.raises(InvalidContainerInput):
        await home.engine.submit("home", home.prompt("other", "hello"))
    group = (await home.registration("home")).group
    home.engine.submit_nowait(group, home.prompt("other", "logged"))
    home.engine.submit_nowait(group, home.prompt("home", "hello"))
    await trio.sleep(1)
    assert [said.text for said in home.answers()] == ["echo: hello"]


async def test_too_many_submissions_at_once(virtual_clock, home):
    """What can't be kept in memory is refused at once."""
    group = (await home.registration("home")).group
    # One more is in the hands of the task that writes them down.
    for number in range(SUBMISSION_LIMIT + 1):
        home.engine.submit_nowait(group, home.prompt("home", f"prompt {number}"))
    with pytest.raises(trio.WouldBlock):
        home.engine.submit_nowait(group, home.prompt("home", "one too many"))
    await home.kill()


async def test_chats_are_noted(virtual_clock, home):
    """What the bridge tells of a chat is shown to the main group's agent."""
    await home.register("main", group={}, is_main=True)
    await home.engine.note_chat(Chat(jid="club@chat", name="The club"))
    await home.say("main", "hello")
    await trio.sleep(1)
    shown = home.settings.project_root / "data" / "ipc" / "main" / "available_groups.json"
    assert "The club" in shown.read_text()


async def test_statistics_are_a_picture_of_all(virtual_clock, home):
    """The statistics show who runs, who waits and what was counted."""
    home.engine.set_limit(1)
    await home.register("other")
    await home.say("home", "!slow=30")
    await trio.sleep(1)
    await home.say("other", "hello")
    picture = await home.engine.refresh_statistics()
    assert (picture.running, picture.waiting, picture.limit) == (1, 1, 1)
    assert {g.folder: g.state for g in picture.groups} == {"home": "running", "other": "waiting"}
    assert (picture.counters.messages_accepted, picture.runtime_state) == (2, "up")
    await trio.sleep(100)
    assert picture.running == 1
    assert home.engine.statistics().counters.answers == 2


class AtStep(trio.abc.Instrument):
    """Cancels when tasks have been given the nth turn since it was armed."""

    def __init__(self, step, scope):
        self.left = step
        self.scope = scope

    def before_task_step(self, task):
        """Called by Trio before each turn of each task."""
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()


async def script(world):
    """A message, a follow-up, and a leave."""
    async with world.open() as world.engine:
        await world.register("home")
        await world.engine.send_message(world.message("home", "one", id_="one"))
        await trio.sleep(1)
        await world.engine.send_message(world.message("home", "two", id_="two"))
        await trio.sleep(1)
        await world.engine.close_group("home")
        await world.engine.send_message(world.message("home", "three", id_="three"))


async def test_cancelled_at_any_step_it_leaves_nothing_and_loses_nothing(virtual_clock, world):
    """Cancelled at any turn of any of its tasks, an engine leaves no container and no thread, and
    the next one answers what it took, once. Trap A25."""
    root = world.settings.project_root
    step, reached = 0, True
    while reached:
        # Each step would take minutes; the numbers are coprime with what repeats itself.
        step += 89
        world.settings = world.settings.with_values(project_root=root / str(step))
        world.settings.project_root.mkdir()
        world.platform.said.clear()
        tasks = trio.lowlevel.current_statistics().tasks_living
        scope = trio.CancelScope()
        instrument = AtStep(step, scope)
        trio.lowlevel.add_instrument(instrument)
        try:
            with scope:
                await script(world)
        finally:
            trio.lowlevel.remove_instrument(instrument)
        reached = instrument.left <= 0
        assert not world.runtime.containers
        assert trio.testing.active_thread_count() == 0
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        taken = kept(root / str(step) / "data" / "engine.db")
        async with world.open() as world.engine:
            await trio.sleep(10)
        assert dict(world.fate()) == {("home@chat", id_): 1 for id_ in taken}
        examination = await world.examine()
        assert not examination.violations
    assert step > 500


def kept(path):
    """The ids of all messages in a store, whatever their state."""
    if not path.exists():
        return []
    connection = sqlite3.connect(path)
    try:
        return [id_ for (id_,) in connection.execute("SELECT id FROM messages")]
    except sqlite3.OperationalError:
        return []
    finally:
        connection.close()


async def test_a_cancelled_call_is_done_whole_or_not_at_all(virtual_clock, home):
    """A message whose handing-in is cancelled is in the store and will be answered, or it isn't."""
    await trio.sleep(10)
    for number in range(40):
        with trio.CancelScope() as scope:
            async with open_background_nursery() as nursery:
                nursery.start_soon(cancel_after_checkpoints, scope, number)
                await home.say("home", "hello", f"c{number}")
    await trio.sleep(100)
    taken = kept(home.settings.project_root / "data" / "engine.db")
    assert len(taken) > 0
    assert dict(home.fate()) == {("home@chat", id_): 1 for id_ in taken}


async def cancel_after_checkpoints(scope, number):
    for _ in range(number):
        await trio.lowlevel.checkpoint()
    scope.cancel()
