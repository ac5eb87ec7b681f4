"""Tasks in the engine: they run at their times, once, in containers that are closed soon after."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio

from nanoclaw_trio.clock import VIRTUAL_EPOCH
from nanoclaw_trio.protocol.models import RegisteredGroup
from nanoclaw_trio.store import tasks
from nanoclaw_trio.store.models import Registration, TaskRunStatus, TaskStatus

HOUR = 3600.0


def at(seconds):
    """A time on the virtual clock as agents write it, in UTC."""
    return (VIRTUAL_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


async def runs_of(world, id_):
    return await world.transact(tasks.runs, id_, 100)


def said_at(world):
    return [said.at for said in world.answers()]


async def test_a_task_runs_at_its_time(virtual_clock, home):
    """A task that is to run once runs at its time, in its chat, and is completed."""
    task = await home.schedule("home", "water the plants", value=at(HOUR))
    await trio.sleep(2 * HOUR)
    (said,) = home.answers()
    assert (said.at, said.text, said.delivery.task_id) == (HOUR, "echo: water the plants", task.id)
    assert (await home.task(task.id)).status is TaskStatus.COMPLETED
    (run,) = await runs_of(home, task.id)
    assert (run.status, run.detail) == (TaskRunStatus.SUCCESS, "echo: water the plants")


@pytest.mark.parametrize(
    ("kind", "value"), [("interval", str(int(HOUR * 1000))), ("cron", "0 * * * *")]
)
async def test_a_recurring_task_runs_each_time(virtual_clock, home, kind, value):
    """Hour by hour, on the hour: neither start nor run moves what follows."""
    await home.schedule("home", "!slow=100", kind, value)
    await trio.sleep(5 * HOUR + 200)
    assert said_at(home) == [HOUR * n + 100 for n in range(1, 6)]


async def test_a_tasks_container_is_closed_soon(virtual_clock, home):
    """Ten seconds after a task's result its container is closed, whatever the idle timeout."""
    await home.schedule("home", "water the plants")
    await trio.sleep(100)
    ((asked_to_end, _),) = home.agent.ends
    assert 10 <= asked_to_end <= 10.5


async def test_a_last_word_of_a_task_is_said_too(virtual_clock, home):
    """What an agent says within those ten seconds is delivered."""

    async def twice(turn):
        await turn.answer("first")
        await turn.update()
        await trio.sleep(5)
        await turn.answer("second")
        await turn.update()

    home.agent.script["twice"] = twice
    await home.schedule("home", "twice")
    await trio.sleep(100)
    assert [said.text for said in home.answers()] == ["first", "second"]
    assert len(home.agent.asked) == 1


async def test_messages_do_not_go_into_a_tasks_container(virtual_clock, home):
    """What people say while a task runs waits for a run of its own."""
    await home.schedule("home", "!slow=20")
    await trio.sleep(1)
    await home.say("home", "hello")
    await trio.sleep(100)
    assert not home.agent.follow_ups()
    assert [said.text for said in home.answers()] == ["echo: !slow=20", "echo: hello"]


@pytest.mark.parametrize(("mode", "session"), [("group", "session-1"), ("isolated", None)])
async def test_a_task_runs_in_the_conversation_or_apart(virtual_clock, home, mode, session):
    """In `group` a task goes on with the group's session, in `isolated` it has one of its own, which
    isn't kept."""
    await home.say("home", "hello")
    await trio.sleep(1)
    await home.schedule("home", "water the plants", context_mode=mode)
    await trio.sleep(20)
    assert [asked.session for asked in home.agent.prompts()] == [None, session]
    assert await home.session_of("home") == "session-1"


async def test_a_task_that_fails_is_tried_again_and_then_left_out_this_time(virtual_clock, home):
    """A task has the same retries as a message; then its chat is told, and it comes again at its
    next time."""
    task = await home.schedule("home", "!fail", "interval", str(int(HOUR * 1000)))
    await trio.sleep(HOUR + 1000)
    times = [asked.at for asked in home.agent.prompts()]
    assert [time - HOUR for time in times] == [0, 5, 15, 35, 75, 155]
    (said,) = home.failures()
    assert said.delivery.task_id == task.id
    home.agent.script["!fail"] = home.agent.script["!silent"]
    await trio.sleep(HOUR)
    assert len(home.agent.prompts()) == 7
    assert {run.status for run in await runs_of(home, task.id)} == {
        TaskRunStatus.ERROR,
        TaskRunStatus.SUCCESS,
    }


async def test_a_task_is_not_run_again_after_its_answer(virtual_clock, home):
    """A failing exit after a task's result is no reason to run it again. Trap B9."""
    await home.schedule("home", "!crash")
    await trio.sleep(1000)
    assert len(home.agent.asked) == len(home.answers()) == 1
    assert not home.failures()


async def test_messages_do_not_pass_a_task_that_backs_off(virtual_clock, home):
    """While a group's task backs off, its messages wait, too; they are answered after it."""
    await home.schedule("home", "!fail")
    await trio.sleep(1)
    await home.say("home", "hello")
    await trio.sleep(3)
    assert not home.answers()
    await trio.sleep(1000)
    assert len(home.answers()) == 1
    assert len(home.failures()) == 1


async def test_a_missed_task_runs_once(virtual_clock, home):
    """What was due while no engine ran is made up for by one run, whenever one starts."""
    await home.schedule("home", "water the plants", "interval", str(int(HOUR * 1000)))
    await home.kill()
    await trio.sleep(10 * HOUR + 100)
    await home.start()
    await trio.sleep(HOUR)
    assert said_at(home) == [10 * HOUR + 100, 11 * HOUR]


async def test_a_task_cut_off_by_a_kill_is_due_still(virtual_clock, home):
    """A task whose host was killed runs again after the next start, and its broken run is noted."""
    task = await home.schedule("home", "!slow=100")
    await trio.sleep(10)
    await home.restart()
    await trio.sleep(200)
    assert len(home.answers()) == 1
    statuses = [run.status for run in await runs_of(home, task.id)]
    assert statuses == [TaskRunStatus.SUCCESS, TaskRunStatus.INTERRUPTED]


async def test_a_task_that_runs_longer_than_its_lease_is_nobody_elses(virtual_clock, home):
    """A lease is renewed for as long as the task runs."""
    await home.schedule("home", "!slow=1000")
    await trio.sleep(1500)
    assert len(home.agent.asked) == len(home.answers()) == 1


async def test_an_agent_schedules_a_task(virtual_clock, home):
    """A task that an agent asks for runs at its time."""

    async def plan(turn):
        request = {
            "type": "schedule_task",
            "prompt": "water the plants",
            "schedule_type": "once",
            "schedule_value": at(HOUR),
            "targetJid": turn.asked.request["chatJid"],
        }
        await turn.put("tasks/1.json", request)
        await turn.answer()
        await turn.update()

    home.agent.script["!plan"] = plan
    await home.say("home", "!plan it")
    await trio.sleep(2 * HOUR)
    assert [(said.at, said.text) for said in home.answers()] == [
        (0, "echo: !plan it"),
        (HOUR, "echo: water the plants"),
    ]


async def test_an_agent_cancels_a_task_that_runs(virtual_clock, home):
    """A task that is cancelled while it runs still says its answer, and never comes again."""
    task = await home.schedule("home", "stop it", "interval", str(int(HOUR * 1000)))

    async def stop_it(turn):
        await turn.put("tasks/1.json", {"type": "cancel_task", "taskId": task.id})
        await turn.answer()
        await turn.update()

    home.agent.script["stop it"] = stop_it
    await trio.sleep(5 * HOUR)
    assert said_at(home) == [HOUR]
    assert await home.task(task.id) is None


async def test_a_cancelled_task_that_waits_does_not_run(virtual_clock, home):
    """A task that is cancelled while it waits for its group's container doesn't run."""
    await home.say("home", "!slow=100")
    await trio.sleep(1)
    task = await home.schedule("home", "water the plants")
    await trio.sleep(1)
    await home.transact(tasks.cancel, task.id)
    await trio.sleep(200)
    assert len(home.answers()) == 1
    assert home.state_of("home") == "no_work"


async def test_the_main_groups_agent_registers_a_group(virtual_clock, home):
    """A group that the main group's agent registers is told to the bridge, and answers at once."""
    await home.register("main", group={}, is_main=True)
    request = {
        "type": "register_group",
        "jid": "club@chat",
        "name": "The club",
        "folder": "club",
        "trigger": "@Andy",
        "requiresTrigger": False,
    }

    async def register(turn):
        await turn.put("tasks/1.json", request)
        await turn.answer()
        await turn.update()

    home.agent.script["register"] = register
    await home.say("home", "register it")
    await trio.sleep(5)
    assert not home.platform.registered
    assert home.engine.statistics().counters.requests_refused == 1
    await home.say("main", "register it")
    await trio.sleep(5)
    assert [r.folder for r in home.platform.registered] == ["club"]
    await home.say("club", "hello")
    await trio.sleep(5)
    assert len(home.answers("club")) == 1


async def test_the_main_groups_agent_asks_for_the_chats(virtual_clock, home):
    """The chats that the bridge lists are shown to the main group's agent."""
    from nanoclaw_trio.store.models import Chat

    await home.register("main", group={}, is_main=True)
    home.platform.chats = (Chat(jid="club@chat", name="The club"),)

    async def refresh(turn):
        await turn.put("tasks/1.json", {"type": "refresh_groups"})
        await turn.answer()
        await turn.update()

    home.agent.script["refresh"] = refresh
    await home.say("main", "refresh")
    await trio.sleep(5)
    shown = home.settings.project_root / "data" / "ipc" / "main" / "available_groups.json"
    assert "The club" in shown.read_text()


async def test_a_refused_request_is_consumed(virtual_clock, home):
    """What a group may not ask for is refused, said nowhere, and not tried again."""
    await home.register("other")

    async def meddle(turn):
        message = {"type": "message", "chatJid": "other@chat", "text": "psst", "timestamp": "now"}
        await turn.put("messages/1.json", message)
        await turn.answer()
        await turn.update()

    home.agent.script["meddle"] = meddle
    await home.say("home", "meddle")
    await trio.sleep(400)
    assert [said.text for said in home.platform.said] == ["echo: meddle"]
    assert home.engine.statistics().counters.requests_refused == 1


async def test_a_task_of_an_unregistered_group_waits(virtual_clock, home):
    """A task whose group is gone doesn't run, and runs once when the group is there again."""
    task = await home.schedule("home", "water the plants", value=at(HOUR))
    await home.engine.unregister_group("home")
    await trio.sleep(2 * HOUR)
    assert not home.agent.asked
    group = RegisteredGroup(name="Home", folder="home", requires_trigger=False)
    await home.engine.register_group(Registration(jid="home@chat", group=group))
    await trio.sleep(HOUR)
    assert [said.delivery.task_id for said in home.answers()] == [task.id]


async def test_a_bridge_that_cannot_be_told_is_told_of_the_next(virtual_clock, home):
    """A bridge that raises when it is told of a new group is told of the next one all the same, and
    the group answers."""
    await home.register("main", group={}, is_main=True)

    async def register(turn):
        name = turn.asked.texts[0].removeprefix("!register ")
        request = {
            "type": "register_group",
            "jid": f"{name}@chat",
            "name": name,
            "folder": name,
            "trigger": "@Andy",
            "requiresTrigger": False,
        }
        await turn.put(f"tasks/{name}.json", request)
        await turn.answer()
        await turn.update()

    async def fail(_):
        raise OSError("no connection")

    home.agent.script["!register"] = register
    home.platform.before["group_registered"] = fail
    await home.say("main", "!register club")
    await trio.sleep(5)
    home.platform.before.clear()
    await home.say("main", "!register choir")
    await trio.sleep(5)
    assert [registration.folder for registration in home.platform.registered] == ["choir"]
    await home.say("club", "hello")
    await trio.sleep(5)
    assert len(home.answers("club")) == 1
