"""What an agent is told before its run: out of the store, into its mailbox."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import structlog
import structlog.testing
from attrs import evolve

from nanoclaw_trio.clock import VIRTUAL_EPOCH
from nanoclaw_trio.engine.tasks.snapshots import write_snapshots
from nanoclaw_trio.files import Owner
from nanoclaw_trio.protocol.models import RegisteredGroup
from nanoclaw_trio.store import chats, groups, tasks
from nanoclaw_trio.store.database import open_store
from nanoclaw_trio.store.models import Chat, Registration, Task, TaskStatus

MAIN = Registration(jid="0@chat", group=RegisteredGroup(name="Main", folder="main"), is_main=True)
FAMILY = Registration(jid="1@chat", group=RegisteredGroup(name="Family", folder="family"))
WORK = Registration(jid="2@chat", group=RegisteredGroup(name="Work", folder="work"))

PLANTS = Task(
    id="plants",
    folder="family",
    chat_jid="1@chat",
    prompt="Water the plants",
    schedule_type="cron",
    schedule_value="0 9 * * 1",
    next_run=VIRTUAL_EPOCH + timedelta(hours=9, milliseconds=250),
    created_at=VIRTUAL_EPOCH,
)
REPORT = evolve(
    PLANTS, id="report", folder="work", status=TaskStatus.PAUSED, next_run=VIRTUAL_EPOCH
)
DONE = evolve(PLANTS, id="done", status=TaskStatus.COMPLETED, next_run=None)


@pytest.fixture
async def store(settings):
    """A store with three groups, three chats and three tasks."""
    async with open_store(settings.project_root) as store:
        for registration in (MAIN, FAMILY, WORK):
            await store.transact(groups.register, registration)
        for task in (PLANTS, REPORT, DONE):
            await store.transact(tasks.add, task)
        for chat in (
            Chat(jid="3@chat", name="Neighbours"),
            Chat(jid="1@chat", name="The family", last_activity=VIRTUAL_EPOCH),
            Chat(jid="0@chat", name="Me", last_activity=VIRTUAL_EPOCH + timedelta(hours=1)),
        ):
            await store.transact(chats.note_chat, chat)
        yield store


@pytest.fixture
def read(settings):
    """A snapshot's document, from a group's mailbox."""

    def read(folder, name):
        return json.loads((settings.project_root / "data" / "ipc" / folder / name).read_text())

    return read


async def test_the_main_group_sees_all(virtual_clock, store, settings, read):
    """All tasks by the time they are due, all chats by their activity, with what is registered."""
    await write_snapshots(store, MAIN, settings=settings)
    seen = read("main", "current_tasks.json")
    assert [task["id"] for task in seen] == ["report", "plants", "done"]
    assert seen[1] == {
        "id": "plants",
        "groupFolder": "family",
        "prompt": "Water the plants",
        "schedule_type": "cron",
        "schedule_value": "0 9 * * 1",
        "status": "active",
        "next_run": "2026-01-01T09:00:00.250Z",
    }
    assert (seen[0]["status"], seen[2]["status"]) == ("paused", "completed")
    assert seen[2]["next_run"] is None
    assert read("main", "available_groups.json") == {
        "groups": [
            {
                "jid": "0@chat",
                "name": "Me",
                "lastActivity": "2026-01-01T01:00:00.000Z",
                "isRegistered": True,
            },
            {
                "jid": "1@chat",
                "name": "The family",
                "lastActivity": "2026-01-01T00:00:00.000Z",
                "isRegistered": True,
            },
            {"jid": "3@chat", "name": "Neighbours", "lastActivity": "", "isRegistered": False},
            {"jid": "2@chat", "name": "Work", "lastActivity": "", "isRegistered": True},
        ],
        "lastSync": "2026-01-01T00:00:00.000Z",
    }


async def test_another_group_sees_its_own_tasks_and_no_chats(virtual_clock, store, settings, read):
    """What other groups do, and who else is there, is none of its business."""
    await write_snapshots(store, WORK, settings=settings)
    assert [task["id"] for task in read("work", "current_tasks.json")] == ["report"]
    assert read("work", "available_groups.json")["groups"] == []


async def test_what_is_written_belongs_to_the_agent(store, settings, tmp_path, read):
    """With an owner, the files are the container user's."""
    own = tmp_path.stat()
    owner = Owner(uid=own.st_uid, gid=own.st_gid)
    await write_snapshots(store, FAMILY, settings=settings, owner=owner)
    ids = [task["id"] for task in read("family", "current_tasks.json")]
    assert ids == ["plants", "done"]


async def test_a_mailbox_that_refuses_keeps_no_run_from_starting(store, settings):
    """Trap A28. Where an agent has put a link in its mailbox's place, a warning is all."""
    ipc = settings.project_root / "data" / "ipc"
    ipc.mkdir(parents=True)
    (ipc / "family").symlink_to("/nowhere")
    with structlog.testing.capture_logs() as logs:
        await write_snapshots(store, FAMILY, settings=settings)
    (entry,) = logs
    assert (entry["event"], entry["log_level"]) == ("snapshots not written", "warning")
    assert entry["group"] == "family"
    assert str(ipc / "family") in entry["why"]


async def test_a_disk_that_refuses_keeps_no_run_from_starting(store, settings):
    """So it is where a file stands in the way of the mailbox itself."""
    (settings.project_root / "data" / "ipc").write_text("")
    with structlog.testing.capture_logs() as logs:
        await write_snapshots(store, FAMILY, settings=settings)
    assert [entry["event"] for entry in logs] == ["snapshots not written"]
