"""When the store, or what it is reached by, doesn't do what it should."""

from __future__ import annotations

import pytest
import trio

from nanoclaw_trio.engine.chat.outbox import NOTE_BOUND
from nanoclaw_trio.engine.engine import SUBMISSION_RETRIES
from nanoclaw_trio.engine.supervision import STORE_DELAY
from nanoclaw_trio.store import deliveries, tasks
from nanoclaw_trio.store.models import DeliveryKind, TaskStatus

TELLING_COLUMNS = {
    "deliveries": "in_reply_to",
    "groups": "registered_group",
    "messages": "seq",
    "tasks": "schedule_type",
}
"""A column by which the rows of a table are told from all others'."""


@pytest.fixture
def reading(world):
    """Makes the reading of a table fail with an exception that no store raises, as a thread that
    can't be started does: `reading.break_(table)`, `reading.mend()`."""

    class Reading:
        def __init__(self):
            self.failures = 0

        def break_(self, table):
            connection, column = self._connection, TELLING_COLUMNS[table]
            self._factory = connection.row_factory

            def make_row(cursor, values):
                if column in [name for name, *_ in cursor.description]:
                    self.failures += 1
                    raise RuntimeError("can't start new thread")
                return self._factory(cursor, values)

            connection.row_factory = make_row

        def mend(self):
            self._connection.row_factory = self._factory

        @property
        def _connection(self):
            return world.engine._context.store._database._connection

    return Reading()


async def test_busy_store_has_nothing_said_twice(virtual_clock, home):
    """A delivery that the bridge took while the store was busy for longer than NOTE_BOUND is noted
    as soon as the store is free, and isn't said again, also not with what comes after it."""
    store = home.engine._context.store

    async def hold(task_status):
        async with store._lock:
            task_status.started()
            await trio.sleep(NOTE_BOUND + 5)

    async with trio.open_nursery() as nursery:

        async def make_busy(_):
            home.platform.before.clear()
            await nursery.start(hold)

        home.platform.before["deliver"] = make_busy
        await home.say("home", "one")
        await trio.sleep(2 * NOTE_BOUND + 10)
    assert await home.transact(deliveries.count_pending) == 0
    await home.say("home", "two")
    await trio.sleep(20)
    assert [said.text for said in home.platform.said] == ["echo: one", "echo: two"]
    assert home.engine.statistics().counters.delivered == 2


@pytest.mark.parametrize("table", ["groups", "messages"])
async def test_a_bug_at_a_runs_beginning_is_its_own(virtual_clock, home, reading, table):
    """An exception that nobody expects, while a run's group or its messages are read, leaves the
    other runs alone, and the group is tried again soon."""
    await home.register("other")
    await home.say("other", "!slow=20")
    await trio.sleep(1)
    await home.say("home", "hello")
    reading.break_(table)
    await trio.sleep(1)
    reading.mend()
    assert reading.failures
    assert home.running() == ["other"]
    await trio.sleep(100)
    assert home.fate() == {("other@chat", "m1"): 1, ("home@chat", "m2"): 1}
    assert len(home.agent.asked) == 2


async def test_a_bug_at_a_tasks_beginning_is_its_own(virtual_clock, home, reading):
    """The same of a task that is to be read for its run."""
    await home.register("other")
    await home.say("other", "!slow=20")
    await trio.sleep(1)
    task = await home.schedule("home", "water the plants")
    # The scheduler has looked, and the task's run is about to.
    while home.state_of("home") == "no_work":
        await trio.lowlevel.checkpoint()
    reading.break_("tasks")
    await trio.sleep(1)
    reading.mend()
    assert reading.failures
    await trio.sleep(60)
    assert [said.delivery.task_id for said in home.answers("home")] == [task.id]
    assert len(home.answers("other")) == 1
    assert len(home.agent.asked) == 2


async def test_an_outbox_goes_on_after_any_failure(virtual_clock, home, reading):
    """What waits for a chat is said after an exception that nobody expects, though nothing else
    comes for that chat."""
    reading.break_("deliveries")
    await home.say("home", "hello")
    await trio.sleep(0.5)
    reading.mend()
    assert reading.failures
    assert home.platform.said == []
    await trio.sleep(10)
    assert [said.text for said in home.platform.said] == ["echo: hello"]


async def test_a_submission_survives_any_failure(virtual_clock, home, reading):
    """What was submitted without waiting is written down after an exception that nobody expects,
    and the engine drains."""
    group = (await home.registration("home")).group
    reading.break_("groups")
    home.engine.submit_nowait(group, home.prompt("home", "hello"))
    await trio.sleep(1)
    reading.mend()
    assert reading.failures
    await trio.sleep(10)
    assert [said.text for said in home.answers()] == ["echo: hello"]
    await home.leave()


async def test_a_submission_that_can_never_be_written(virtual_clock, home, capsys):
    """One that meets with a bug each time, here since it is of a wrong type, is given up after a
    while; what comes after it is answered, and the engine drains."""
    group = (await home.registration("home")).group
    home.engine.submit_nowait(group, home.prompt("home", object()))
    home.engine.submit_nowait(group, home.prompt("home", "hello"))
    await trio.sleep(STORE_DELAY * (SUBMISSION_RETRIES + 1))
    assert "submission given up" in capsys.readouterr().err
    assert [said.text for said in home.answers()] == ["echo: hello"]
    await home.leave()


async def test_a_bug_at_a_runs_end_is_its_own(virtual_clock, home, reading):
    """An exception that nobody expects, while what a run left is put back, leaves the other runs
    alone; what it left is put back later, and asked again."""
    fails = True

    async def fail_once(turn):
        nonlocal fails
        if not fails:
            return await turn.answer()
        fails = False
        reading.break_("messages")
        return 1

    home.agent.script["!once"] = fail_once
    await home.register("other")
    await home.say("other", "!slow=20")
    await home.say("home", "!once")
    await trio.sleep(3)
    reading.mend()
    assert reading.failures
    assert home.running() == ["other"]
    await trio.sleep(100)
    assert home.fate() == {("other@chat", "m1"): 1, ("home@chat", "m2"): 1}
    assert len(home.agent.asked) == 3


@pytest.mark.parametrize(("kind", "value"), [("interval", "60000"), ("cron", "* * * * *")])
@pytest.mark.parametrize(
    ("prompt", "said"), [("water!", DeliveryKind.ANSWER), ("!fail", DeliveryKind.FAILURE)]
)
async def test_a_task_without_a_schedule_is_completed(
    virtual_clock, home, kind, value, prompt, said
):
    """A task whose schedule isn't one any more, since somebody changed the database, ends with its
    next run, answered or given up, and its group goes on."""
    task = await home.schedule("home", prompt, kind, value)
    await home.transact(lambda tx: tasks.update(tx, task.id, schedule_value="whenever"))
    await trio.sleep(1000)
    assert [one.kind for one in home.platform.said] == [said]
    stored = await home.task(task.id)
    assert (stored.status, stored.next_run) == (TaskStatus.COMPLETED, None)
    await home.say("home", "hello")
    await trio.sleep(20)
    assert home.platform.said[-1].text == "echo: hello"
