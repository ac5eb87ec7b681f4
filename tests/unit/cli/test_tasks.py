"""`tasks`, in memory, with a store on the disk."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve

from nanoclaw_trio.cli.tasks import (
    AddOptions,
    ChangeOptions,
    ListOptions,
    RunsOptions,
    add_command,
    cancel_command,
    list_command,
    pause_command,
    resume_command,
    runs_command,
    schedule_of,
)
from nanoclaw_trio.protocol.models import RegisteredGroup
from nanoclaw_trio.store import groups, tasks
from nanoclaw_trio.store.database import open_store
from nanoclaw_trio.store.models import Registration, TaskRunStatus, TaskStatus

NOON = datetime(2026, 2, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def options(settings):
    """The options of a plain `tasks add family "Water the plants" --every 60`."""
    return AddOptions(
        group="family",
        prompt="Water the plants",
        cron=None,
        every=60.0,
        at=None,
        context="isolated",
        project=settings.project_root,
        as_json=False,
    )


@pytest.fixture
def listing(settings):
    """The options of a plain `tasks list`."""
    return ListOptions(group=None, project=settings.project_root, as_json=False)


@pytest.fixture
def transact(settings):
    """Do something in the project's store."""

    async def do(function, *arguments, **keywords):
        async with open_store(settings.project_root) as store:
            return await store.transact(function, *arguments, **keywords)

    return do


@pytest.fixture
async def family(transact):
    """The group `family` is registered."""
    group = RegisteredGroup(name="Family", folder="family")
    await transact(groups.register, Registration(jid="tg:1", group=group))


@pytest.fixture
def add(make_desk, options, family):
    """Add a task; its id."""

    async def add_it(**change):
        desk = make_desk()
        assert await add_command(evolve(options, **change), desk.world) == 0
        return desk.written().strip()

    return add_it


@pytest.fixture
def change(make_desk, settings):
    """Change a task by a command; the exit status and the desk."""

    async def change_it(command, task_id):
        desk = make_desk()
        options = ChangeOptions(task_id=task_id, project=settings.project_root)
        return await command(options, desk.world), desk

    return change_it


@pytest.mark.parametrize(
    ("given", "schedule"),
    [
        ({"cron": "0 9 * * 1-5"}, ("cron", "0 9 * * 1-5")),
        ({"every": 60.0}, ("interval", "60000")),
        ({"every": 1.5}, ("interval", "1500")),
        ({"at": "2026-02-01T15:30:00"}, ("once", "2026-02-01T15:30:00")),
    ],
)
def test_schedule_of(options, given, schedule):
    """What is said on the command line becomes what the protocol has."""
    assert schedule_of(evolve(options, **{"every": None, **given})) == schedule


class TestAdd:
    async def test_add(self, virtual_clock, make_desk, options, transact, family):
        """The task's id is all that is on standard output; when it runs is said besides."""
        desk = make_desk()
        assert await add_command(options, desk.world) == 0
        task = await transact(tasks.get, desk.written().strip())
        assert (task.folder, task.chat_jid, task.prompt) == ("family", "tg:1", options.prompt)
        assert (task.schedule_type, task.schedule_value) == ("interval", "60000")
        assert task.context_mode == "isolated"
        assert desk.said() == ["it runs next at 2026-01-01 00:01:00 UTC"]

    async def test_json(self, virtual_clock, make_desk, options, family):
        """The same for programs, as one object."""
        desk = make_desk()
        options = evolve(options, as_json=True, every=None, cron="0 9 * * *", context="group")
        assert await add_command(options, desk.world) == 0
        (record,) = desk.records()
        assert record == {
            "type": "task",
            "id": record["id"],
            "groupFolder": "family",
            "chatJid": "tg:1",
            "prompt": "Water the plants",
            "scheduleType": "cron",
            "scheduleValue": "0 9 * * *",
            "contextMode": "group",
            "status": "active",
            "nextRun": "2026-01-01T09:00:00.000Z",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "attempts": 0,
        }

    async def test_local_time(
        self, virtual_clock, make_desk, options, monkeypatch, transact, family
    ):
        """Times are meant and shown in the settings' zone."""
        monkeypatch.setenv("TZ", "Europe/Berlin")
        desk = make_desk()
        await add_command(evolve(options, every=None, at="2026-02-01T15:30:00"), desk.world)
        task = await transact(tasks.get, desk.written().strip())
        assert task.next_run == datetime(2026, 2, 1, 14, 30, tzinfo=UTC)
        assert desk.said() == ["it runs next at 2026-02-01 15:30:00 CET"]

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"group": "friends"}, "no group 'friends' is registered"),
            ({"prompt": " "}, "the prompt is empty"),
            ({"every": None, "cron": "0 9 * *"}, "cron schedule '0 9 * *'"),
            ({"every": None, "at": "tomorrow"}, "once schedule 'tomorrow'"),
            ({"every": 0.001}, "interval schedule '1'"),
            ({"project": "/nowhere"}, "project folder '/nowhere'"),
        ],
    )
    async def test_bad_usage(self, make_desk, options, change, said, transact, family):
        """What can't be scheduled is said in one line, and nothing is scheduled."""
        desk = make_desk()
        assert await add_command(evolve(options, **change), desk.world) == 2
        (line,) = desk.said()
        assert said in line
        assert await transact(tasks.tasks) == ()


class TestList:
    async def test_columns(self, virtual_clock, make_desk, add, listing, monkeypatch):
        """Each task has a line, with its next run in the settings' zone."""
        monkeypatch.setenv("TZ", "Europe/Berlin")
        first = await add()
        second = await add(every=None, cron="0 9 * * *", context="group", prompt="x" * 100)
        third = await add(every=None, at="2026-02-01T15:30:00", prompt="one\ntwo")
        desk = make_desk()
        assert await list_command(listing, desk.world) == 0
        heading, *rows = desk.written().splitlines()
        assert " ".join(heading.split()) == "ID GROUP STATUS NEXT RUN SCHEDULE CONTEXT PROMPT"
        assert [" ".join(row.split()) for row in rows] == [
            f"{first} family active 2026-01-01 01:01:00 CET every 60 s isolated Water the plants",
            f"{second} family active 2026-01-01 09:00:00 CET 0 9 * * * group {'x' * 59}…",
            f"{third} family active 2026-02-01 15:30:00 CET once isolated one two",
        ]

    async def test_json(self, make_desk, add, listing):
        """The same for programs, an object a line."""
        task_id = await add()
        desk = make_desk()
        assert await list_command(evolve(listing, as_json=True), desk.world) == 0
        (record,) = desk.records()
        assert (record["type"], record["id"]) == ("task", task_id)

    async def test_of_a_group(self, make_desk, add, listing, family):
        """Those of one group, and of one that has none."""
        await add()
        desk = make_desk()
        assert await list_command(evolve(listing, group="family"), desk.world) == 0
        assert len(desk.written().splitlines()) == 2

    async def test_a_group_without_tasks(self, make_desk, listing, family):
        """A group that has none has an empty list."""
        desk = make_desk()
        assert await list_command(evolve(listing, group="family"), desk.world) == 0
        assert desk.written() == ""

    async def test_a_group_that_was_removed(self, make_desk, add, listing, transact):
        """Tasks of a group that was removed are shown still."""
        await add()
        await transact(groups.unregister, "family")
        desk = make_desk()
        assert await list_command(evolve(listing, group="family"), desk.world) == 0
        assert len(desk.written().splitlines()) == 2

    async def test_no_such_group(self, make_desk, listing):
        """A name that no group has is bad usage."""
        desk = make_desk()
        assert await list_command(evolve(listing, group="famly"), desk.world) == 2
        assert "no group 'famly' is registered" in desk.said()[0]

    async def test_a_signal(self, make_desk, listing):
        """Listing is ended by a signal, too."""
        desk = make_desk()
        desk.world.interruption.receive(signal.SIGINT)
        assert await list_command(listing, desk.world) == 130


class TestChanges:
    async def test_pause_and_resume(self, virtual_clock, add, change, transact):
        """A task that is paused waits until it is resumed."""
        task_id = await add()
        status, desk = await change(pause_command, task_id)
        assert (status, desk.written()) == (0, f"{task_id} waits until it is resumed\n")
        assert (await transact(tasks.get, task_id)).status is TaskStatus.PAUSED
        status, desk = await change(resume_command, task_id)
        assert (status, desk.written()) == (0, f"{task_id} runs next at 2026-01-01 00:01:00 UTC\n")
        assert (await transact(tasks.get, task_id)).status is TaskStatus.ACTIVE

    async def test_cancel(self, add, change, transact):
        """A task that is cancelled is gone."""
        task_id = await add()
        status, desk = await change(cancel_command, task_id)
        assert (status, desk.written()) == (0, f"{task_id} is removed\n")
        assert await transact(tasks.tasks) == ()

    @pytest.mark.parametrize("command", [pause_command, resume_command, cancel_command])
    async def test_no_such_task(self, change, command):
        """A task that isn't there is bad usage."""
        status, desk = await change(command, "t9")
        assert status == 2
        assert "there is no task 't9'" in desk.said()[0]


def ran(tx, task_id, *, failed):
    """A run of the task, an hour after it was due."""
    now = NOON + timedelta(hours=1)
    tasks.update(tx, task_id, next_run=NOON)
    assert tasks.claim(tx, task_id, owner="o", now=now, lease=60.0, container="c1")
    tasks.release(tx, task_id, "o", failed=failed, ended_at=now, detail="no\nluck")


class TestRuns:
    @pytest.fixture
    def runs(self, make_desk, settings):
        """List the runs of a task; the exit status and the desk."""

        async def list_them(task_id, *, limit=20, as_json=False):
            desk = make_desk()
            options = RunsOptions(
                task_id=task_id, limit=limit, project=settings.project_root, as_json=as_json
            )
            return await runs_command(options, desk.world), desk

        return list_them

    async def test_columns(self, add, runs, transact):
        """Each run has a line: when it was due, when it ran, and how it went."""
        task_id = await add()
        await transact(ran, task_id, failed=True)
        status, desk = await runs(task_id)
        assert status == 0
        _, row = desk.written().splitlines()
        assert " ".join(row.split()) == (
            "2026-02-01 12:00:00 UTC 2026-02-01 13:00:00 UTC 2026-02-01 13:00:00 UTC error c1 no luck"
        )

    async def test_json_and_limit(self, add, runs, transact):
        """The same for programs, the newest first, as many as are asked for."""
        task_id = await add()
        for failed in (True, False):
            await transact(ran, task_id, failed=failed)
        status, desk = await runs(task_id, limit=1, as_json=True)
        assert status == 0
        (record,) = desk.records()
        assert record == {
            "type": "task_run",
            "taskId": task_id,
            "scheduledFor": "2026-02-01T12:00:00.000Z",
            "startedAt": "2026-02-01T13:00:00.000Z",
            "endedAt": "2026-02-01T13:00:00.000Z",
            "status": TaskRunStatus.INTERRUPTED.value,
            "container": "c1",
            "detail": "no\nluck",
        }

    async def test_none_yet(self, add, runs):
        """A task that never ran has an empty list."""
        status, desk = await runs(await add())
        assert (status, desk.written()) == (0, "")

    async def test_of_a_task_that_was_cancelled(self, add, runs, transact):
        """How the runs of a task went is known after it was cancelled, too."""
        task_id = await add()
        await transact(ran, task_id, failed=True)
        await transact(tasks.cancel, task_id)
        status, desk = await runs(task_id)
        assert (status, len(desk.written().splitlines())) == (0, 2)

    async def test_no_such_task(self, runs):
        """A task that never was is bad usage."""
        status, desk = await runs("t9")
        assert status == 2
        assert "there is no task 't9'" in desk.said()[0]
