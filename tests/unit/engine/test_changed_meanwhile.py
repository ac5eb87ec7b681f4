"""What runs write down, where groups, chats and tasks change meanwhile."""

from __future__ import annotations

import shutil
from datetime import timedelta

import trio
from attrs import evolve

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.runs.taking import take_task
from nanoclaw_trio.engine.tasks.changes import cancel_task, schedule_task
from nanoclaw_trio.errors import RuntimeUnavailable
from nanoclaw_trio.store import groups, task_runs, tasks


async def test_a_tasks_answer_goes_to_its_groups_chat(virtual_clock, home):
    """A task answers in the chat that its group has now, whichever it had when it was made: that
    one may be another group's by then."""
    later = "2026-01-01T00:10:00"
    task = await home.schedule("home", "tidy up", "once", later)
    registration = await home.registration("home")
    await home.engine.unregister_group("home")
    await home.engine.register_group(evolve(registration, jid="new@chat"))
    other = evolve(registration.group, folder="other")
    await home.engine.register_group(evolve(registration, group=other))
    await trio.sleep(1000)
    said = [said.delivery for said in home.platform.said]
    assert [(delivery.task_id, delivery.chat_jid) for delivery in said] == [(task.id, "new@chat")]


async def test_a_task_is_never_another_groups(virtual_clock, home):
    """A group can't take a task of another's, though it has the id that one of its own had."""
    await home.register("other")
    registration, other = await home.registration("home"), await home.registration("other")
    await home.schedule("home", "mine", id="task-1", kind="once", value="2030-01-01T00:00:00")

    def remake(tx):
        cancel_task(tx, "task-1")
        now = moment
        schedule_task(
            tx,
            id="task-1",
            registration=other,
            prompt="a secret",
            schedule_type="once",
            schedule_value="2025-01-01T00:00:00",
            context_mode="isolated",
            zone="UTC",
            now=now,
        )
        return take_task(
            tx,
            registration,
            "container",
            "task-1",
            settings=home.settings,
            owner="me",
            now=now,
            lease=60.0,
            with_session=True,
        )

    moment = utc_now()
    assert await home.transact(remake) is None


async def test_a_task_that_is_made_anew_in_its_own_run(virtual_clock, home):
    """An agent that cancels its own task and makes it anew under its id is heard to the end."""
    task = await home.schedule("home", "!slow=30 think")
    await trio.sleep(5)
    assert home.running() == ["home"]
    registration = await home.registration("home")
    moment = utc_now()

    def remake(tx):
        cancel_task(tx, task.id)
        schedule_task(
            tx,
            id=task.id,
            registration=registration,
            prompt="another",
            schedule_type="interval",
            schedule_value="86400000",
            context_mode="isolated",
            zone="UTC",
            now=moment,
        )

    await home.transact(remake)
    await trio.sleep(100)
    (said,) = home.answers("home")
    assert said.delivery.task_id == task.id
    assert (await home.task(task.id)).next_run == moment + timedelta(days=1)


async def test_two_groups_that_are_given_up_are_both_told(virtual_clock, home):
    """Ids are unique in their chat only: two chats whose groups are removed are each told."""
    await home.register("other")
    for folder in ("home", "other"):
        await home.hand_in(folder, "!hang", "1")
        await trio.sleep(1)
        await home.hand_in(folder, "and?", "2")

    def unregister(tx):
        for folder in ("home", "other"):
            groups.unregister(tx, folder)

    await home.transact(unregister)
    await home.restart()
    await trio.sleep(400)
    told = sorted((said.delivery.chat_jid, said.ids) for said in home.failures())
    assert [ids for _, ids in told] == [("1", "2"), ("1", "2")]
    assert len({jid for jid, _ in told}) == 2


async def test_what_is_long_done_is_forgotten_while_it_runs(virtual_clock, world):
    """Once a day what was done thirty days ago is deleted: a host that runs for months doesn't
    grow for that."""
    home, hours = world, 3600.0
    home.options = {"sweep_interval": 6 * hours, "reap_interval": 24 * hours}
    await home.start()
    await home.register("home")
    await home.say("home", "hello")
    task = await home.schedule("home", "once")
    await trio.sleep(86_400 * 29)
    assert await home.task(task.id) is not None
    await trio.sleep(86_400 * 3)
    assert await home.task(task.id) is None
    assert await home.transact(lambda tx: tx.number("SELECT count(*) FROM messages")) == 0
    assert await home.transact(lambda tx: tx.number("SELECT count(*) FROM deliveries")) == 0
    assert await home.transact(lambda tx: tasks.runs(tx, task.id, 10)) == ()


async def test_what_another_program_left_in_the_mailbox(virtual_clock, home):
    """A follow-up that a `chat` left in the mailbox as it crashed, and that no agent took, is a
    message of the group's from then on: it is answered."""
    inbox = home.settings.project_root / "data" / "ipc" / "home" / "input"
    inbox.mkdir(parents=True)
    left = inbox / "0000000000001-000000000-00000000.json"
    left.write_text('{"type": "message", "text": "from a chat"}')
    await home.schedule("home", "tidy up")
    await trio.sleep(60)
    texts = [said.text for said in home.answers("home")]
    assert texts == ["echo: tidy up", "echo: from a chat"]


async def test_messages_wait_for_their_group(virtual_clock, home):
    """What waits for a group that is removed and registered again is answered, and no message of
    it is given up, if no run was to be had in between."""

    async def refuse():
        raise RuntimeUnavailable("fake", "nobody answers", "start it")

    home.runtime.before["start"] = home.runtime.before["check"] = refuse
    await home.say("home", "hello")
    await trio.sleep(1)
    registration = await home.registration("home")
    await home.engine.unregister_group("home")
    await home.engine.register_group(registration)
    home.runtime.before.clear()
    await trio.sleep(60)
    assert [said.text for said in home.answers("home")] == ["echo: hello"]
    assert not home.failures()


async def test_a_bug_in_the_middle_of_a_run_is_its_own(virtual_clock, home, capsys):
    """An exception that nobody foresaw costs the run, and is tried again like any failure."""

    async def break_down():
        raise ZeroDivisionError("a bug")

    home.runtime.before["start"] = break_down
    await home.say("home", "hello")
    await trio.sleep(2)
    home.runtime.before.clear()
    await trio.sleep(30)
    assert "run failed" in capsys.readouterr().err
    assert [said.text for said in home.answers("home")] == ["echo: hello"]


async def test_a_task_that_another_host_took_over(virtual_clock, home):
    """The answer of a run whose task was taken over meanwhile isn't said: the other host's is."""
    task = await home.schedule("home", "!slow=30 think")
    await trio.sleep(5)
    owner = home.engine._context.owner
    moment = utc_now()
    await home.transact(lambda tx: task_runs.interrupt_runs_of(tx, owner, ended_at=moment))
    await home.transact(lambda tx: tasks.cancel(tx, task.id))
    await trio.sleep(100)
    assert home.answers("home") == []


async def test_a_task_that_is_not_due_is_not_taken(virtual_clock, home):
    """A task that was paused while it waited for a slot isn't begun."""
    task = await home.schedule("home", "later", "once", "2030-01-01T00:00:00")
    registration, moment = await home.registration("home"), utc_now()
    taken = await home.transact(
        lambda tx: take_task(
            tx,
            registration,
            "container",
            task.id,
            settings=home.settings,
            owner="me",
            now=moment,
            lease=60.0,
            with_session=True,
        )
    )
    assert taken is None


async def test_a_mailbox_that_cannot_be_cleaned_after_a_crash(virtual_clock, home, capsys):
    """Where a stale follow-up can't be removed, the engine opens all the same, and says so."""
    await home.say("home", "!hang")
    await trio.sleep(5)
    await home.say("home", "and?")
    await trio.sleep(5)
    await home.kill()
    inbox = home.settings.project_root / "data" / "ipc" / "home" / "input"
    shutil.rmtree(inbox)
    inbox.symlink_to("/")
    home.agent.script.clear()
    await home.start()
    await trio.sleep(60)
    assert "stale follow-ups not removed" in capsys.readouterr().err
    assert len(home.answers("home")) == 1
