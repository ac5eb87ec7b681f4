"""What agents and commands do to tasks: whole, or not at all and in words."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from attrs import evolve

from nanoclaw_trio.engine.tasks import changes as task_changes
from nanoclaw_trio.engine.tasks.changes import (
    PROMPT_LIMIT,
    TASK_LIMIT,
    InvalidTask,
    TaskCompleted,
    TaskExists,
    UnknownTask,
    new_id,
    next_run_after,
)
from nanoclaw_trio.engine.tasks.schedule import InvalidSchedule
from nanoclaw_trio.protocol.models import RegisteredGroup
from nanoclaw_trio.store import tasks
from nanoclaw_trio.store.connection import open_database
from nanoclaw_trio.store.models import Registration, Task, TaskStatus

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ZONE = "Europe/Berlin"
FAMILY = Registration(
    jid="1@chat", group=RegisteredGroup(name="Family", folder="family", trigger="@Andy")
)


@pytest.fixture
def call(settings):
    """Calls a function in a transaction of its own on an empty store."""
    database = open_database(settings.project_root)
    yield database.transact
    database.close()


@pytest.fixture
def schedule(call):
    """Makes a task of the family: hourly, but for what is given."""
    return partial(
        call,
        task_changes.schedule_task,
        id="t1",
        registration=FAMILY,
        prompt="Water the plants",
        schedule_type="interval",
        schedule_value="3600000",
        context_mode="isolated",
        zone=ZONE,
        now=NOW,
    )


@pytest.fixture
def stored(call):
    """The task t1 as it stands in the store."""
    return partial(call, tasks.get, "t1")


def test_a_task_is_kept_as_it_was_asked_for(schedule, stored):
    """A new task is the group's, answers in its chat, and is due by its schedule."""
    task = schedule(schedule_type="cron", schedule_value="0 9 * * *", context_mode="group")
    assert task == Task(
        id="t1",
        folder="family",
        chat_jid="1@chat",
        prompt="Water the plants",
        schedule_type="cron",
        schedule_value="0 9 * * *",
        context_mode="group",
        next_run=datetime(2026, 1, 16, 8, tzinfo=UTC),
        created_at=NOW,
    )
    assert stored() == task


def test_a_task_without_an_id_gets_one(schedule):
    """An id of ours says when it was made, and no two are the same."""
    one, other = schedule(id=None), schedule(id=None)
    assert one.id != other.id
    assert re.fullmatch(r"task-1768478400000-[0-9a-f]{8}", one.id)
    assert re.fullmatch(r"task-1768478400000-[0-9a-f]{8}", new_id(NOW))


def test_an_id_is_given_once(schedule, stored):
    """A second task under an id is refused, and the first one stays as it is."""
    first = schedule()
    with pytest.raises(TaskExists, match="there is a task 't1' already"):
        schedule(prompt="Something else")
    assert stored() == first


@pytest.mark.parametrize("task_id", ["", "two words", "a\nb", "\x1b[2J", "ä", "x" * 129])
def test_what_cannot_be_an_id_is_refused(schedule, task_id):
    """An id is of visible ASCII: it stands in terminals and logs."""
    with pytest.raises(InvalidTask, match="can't be a task's id"):
        schedule(id=task_id)


@pytest.mark.parametrize("prompt", ["", " \n"])
def test_a_blank_prompt_is_refused(schedule, call, prompt):
    """A task that says nothing can be neither made nor what another becomes."""
    with pytest.raises(InvalidTask, match="prompt is blank"):
        schedule(prompt=prompt)
    schedule()
    with pytest.raises(InvalidTask, match="prompt is blank"):
        call(task_changes.update_task, "t1", prompt=prompt, zone=ZONE, now=NOW)


def test_a_wrong_schedule_makes_no_task(schedule, stored):
    """What isn't a schedule is refused before anything is kept."""
    with pytest.raises(InvalidSchedule):
        schedule(schedule_value="5")
    assert stored() is None


def test_pause_and_resume(schedule, call, stored):
    """A paused task isn't due; resumed, it goes on with its first time to come, on its grid."""
    schedule()
    assert call(task_changes.pause_task, "t1").status is TaskStatus.PAUSED
    later = NOW + 5.5 * HOUR
    assert call(tasks.due, later) == ()
    resumed = call(task_changes.resume_task, "t1", zone=ZONE, now=later)
    assert (resumed.status, resumed.next_run) == (TaskStatus.ACTIVE, NOW + 6 * HOUR)
    assert stored() == resumed


def test_resuming_what_is_not_paused_changes_nothing(schedule, call, stored):
    """An active task that is due stays due."""
    task = schedule()
    assert call(task_changes.resume_task, "t1", zone=ZONE, now=NOW + 2 * HOUR) == task
    assert stored() == task


def test_cancelling_deletes(schedule, call, stored):
    """A cancelled task is gone, and its id may be given again."""
    task = schedule()
    assert call(task_changes.cancel_task, "t1") == task
    assert stored() is None
    schedule()


@pytest.mark.parametrize(
    ("changes", "next_run"),
    [
        ({"prompt": "Feed the cat"}, NOW + HOUR),
        ({"schedule_value": "7200000"}, NOW + 2.5 * HOUR),
        ({"schedule_type": "cron", "schedule_value": "0 18 * * *"}, NOW + 5 * HOUR),
        ({"schedule_type": "interval", "schedule_value": "3600000"}, NOW + HOUR),
        ({"prompt": "Feed the cat", "schedule_value": "60000"}, NOW + 31 * HOUR / 60),
    ],
)
def test_an_update_changes_what_it_gives(schedule, call, stored, changes, next_run):
    """The rest stays; a new schedule begins now, and one that is no other goes on."""
    task = schedule()
    updated = call(task_changes.update_task, "t1", **changes, zone=ZONE, now=NOW + HOUR / 2)
    assert updated == stored() == evolve(task, **changes, next_run=next_run)


def test_an_update_that_fits_nothing_is_refused(schedule, call, stored):
    """A type without its value, a value that isn't of the type, and nothing at all change nothing."""
    task = schedule()
    update = partial(call, task_changes.update_task, "t1", zone=ZONE, now=NOW)
    with pytest.raises(InvalidSchedule):
        update(prompt="Feed the cat", schedule_type="cron")
    with pytest.raises(InvalidSchedule):
        update(schedule_value="0 9 * * *")
    with pytest.raises(InvalidTask, match="nothing to change"):
        update()
    assert stored() == task


def test_a_new_schedule_forgets_the_failed_attempts(schedule, call, stored):
    """Attempts are those of one time that it was due; another prompt leaves them."""
    schedule()
    call(tasks.update, "t1", attempts=3)
    update = partial(call, task_changes.update_task, "t1", zone=ZONE, now=NOW)
    assert update(prompt="Feed the cat").attempts == stored().attempts == 3
    assert update(schedule_value="60000").attempts == stored().attempts == 0


def test_a_new_schedule_wakes_what_is_completed_and_not_what_is_paused(schedule, call, stored):
    """A task that has run for the last time runs again; a paused one waits to be resumed."""
    schedule(schedule_type="once", schedule_value="2026-01-15T13:30:00")
    call(tasks.update, "t1", status=TaskStatus.COMPLETED, next_run=None)
    update = partial(call, task_changes.update_task, "t1", zone=ZONE, now=NOW)
    assert update(prompt="Feed the cat").status is TaskStatus.COMPLETED
    assert update(schedule_value="2026-01-15T14:30:00").status is TaskStatus.ACTIVE
    call(task_changes.pause_task, "t1")
    assert update(schedule_value="2026-01-15T15:30:00").status is TaskStatus.PAUSED
    assert (stored().status, stored().next_run) == (TaskStatus.PAUSED, NOW + 2.5 * HOUR)


OPERATIONS = {
    "pause": task_changes.pause_task,
    "resume": partial(task_changes.resume_task, zone=ZONE, now=NOW),
    "cancel": task_changes.cancel_task,
    "update": partial(task_changes.update_task, prompt="Feed the cat", zone=ZONE, now=NOW),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_an_unknown_task_is_named(schedule, call, stored, operation):
    """An id that no task has is refused, whatever was to be done, and the others stay as they are."""
    task = schedule()
    with pytest.raises(UnknownTask, match="there is no task 't2'; list the tasks"):
        call(operation, "t2")
    assert stored() == task


@pytest.mark.parametrize("operation", ["pause", "resume"])
def test_a_completed_task_neither_rests_nor_goes_on(schedule, call, operation):
    """What has run for the last time has to be given a new schedule first."""
    schedule()
    call(tasks.update, "t1", status=TaskStatus.COMPLETED, next_run=None)
    with pytest.raises(TaskCompleted, match="give it a new schedule"):
        call(OPERATIONS[operation], "t1")


@pytest.fixture
def claimed(schedule, call):
    """That task in the hands of a run, which began ten minutes late."""
    schedule()
    began = NOW + HOUR + timedelta(minutes=10)
    return call(tasks.claim, "t1", owner="us", now=began, lease=60.0, container="c1")


@pytest.fixture
def complete(call, claimed, stored):
    """Ends that run after a while, and returns the task as it stands in the store then."""

    def end(tx, now):
        following = next_run_after(tx, claimed, zone=ZONE, now=now)
        tasks.complete(tx, "t1", "us", next_run=following)

    def complete(now=NOW + 1.5 * HOUR):
        call(end, now)
        return stored()

    return complete


def test_after_its_run_a_task_is_due_on_its_grid(complete):
    """Neither the late start nor the run moves the next one."""
    assert complete().next_run == NOW + 2 * HOUR


def test_a_schedule_given_during_a_run_stands(call, complete):
    """The end of a run doesn't skip the first time of a schedule that came while it ran."""
    now = NOW + 1.25 * HOUR
    call(task_changes.update_task, "t1", schedule_value="7200000", zone=ZONE, now=now)
    assert complete().next_run == NOW + 3.25 * HOUR


def test_a_task_made_to_run_once_more_during_its_run_does(call, complete):
    """A run's end completes only what has no other time to come."""
    value = "2026-01-15T16:00:00"
    new = {"schedule_type": "once", "schedule_value": value}
    call(task_changes.update_task, "t1", **new, zone=ZONE, now=NOW + 1.25 * HOUR)
    after = complete()
    assert (after.status, after.next_run) == (TaskStatus.ACTIVE, NOW + 3 * HOUR)


def test_a_task_paused_during_its_run_stays_paused(call, complete):
    """The run's end notes the next time, and leaves the task at rest."""
    call(task_changes.pause_task, "t1")
    after = complete()
    assert (after.status, after.next_run) == (TaskStatus.PAUSED, NOW + 2 * HOUR)


def test_a_task_cancelled_during_its_run_stays_gone(call, complete):
    """There is nothing to go on with."""
    call(task_changes.cancel_task, "t1")
    assert complete() is None


class TestLimits:
    def test_no_more_tasks_than_a_group_may_have(self, schedule, call):
        """A group with as many unfinished tasks as are allowed gets no other; other groups do."""
        for number in range(TASK_LIMIT):
            schedule(id=f"t{number}")
        with pytest.raises(InvalidTask, match="has 200 unfinished tasks already; cancel one"):
            schedule(id="more")
        assert call(tasks.get, "more") is None
        other = evolve(FAMILY, jid="2@chat", group=evolve(FAMILY.group, folder="work"))
        schedule(id="others", registration=other)
        call(task_changes.cancel_task, "t0")
        schedule(id="more")

    def test_no_completed_task_is_begun_anew_beyond_that(self, schedule, call):
        """A completed task isn't counted, and can't come back where there is no room for it."""
        schedule(id="done")
        call(tasks.update, "done", status=TaskStatus.COMPLETED, next_run=None)
        for number in range(TASK_LIMIT):
            schedule(id=f"t{number}")
        update = partial(call, task_changes.update_task, zone=ZONE, now=NOW)
        with pytest.raises(InvalidTask, match="unfinished tasks already"):
            update("done", schedule_value="60000")
        assert update("t0", schedule_value="60000").status is TaskStatus.ACTIVE

    @pytest.mark.parametrize("prompt", ["x" * (PROMPT_LIMIT + 1), "é" * (PROMPT_LIMIT // 2 + 1)])
    def test_a_prompt_that_is_too_long(self, schedule, call, prompt):
        """A task's prompt is told again at each run: it has a limit, in bytes of UTF-8."""
        schedule(prompt="x" * PROMPT_LIMIT)
        with pytest.raises(InvalidTask, match=r"is too long: .* 65536 are allowed"):
            schedule(id="t2", prompt=prompt)
        with pytest.raises(InvalidTask, match="is too long"):
            call(task_changes.update_task, "t1", prompt=prompt, zone=ZONE, now=NOW)
        assert call(tasks.get, "t2") is None
