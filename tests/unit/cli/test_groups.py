"""`groups`, in memory, with a store on the disk."""

from __future__ import annotations

import json
import os
import signal
from datetime import UTC, datetime

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.cli.groups import (
    AddOptions,
    ListOptions,
    RemoveOptions,
    ShowOptions,
    add_command,
    list_command,
    remove_command,
    show_command,
)
from nanoclaw_trio.store import groups, messages, sessions, tasks
from nanoclaw_trio.store.database import open_store
from nanoclaw_trio.store.models import ChatMessage, Task
from nanoclaw_trio.workspace.claim import GroupClaim

MOMENT = datetime(2026, 2, 1, 15, 30, tzinfo=UTC)


@pytest.fixture
def options(settings):
    """The options of a plain `groups add tg:1 family` in an empty project."""
    return AddOptions(
        jid="tg:1",
        folder="family",
        name=None,
        trigger=None,
        requires_trigger=None,
        is_main=None,
        config=None,
        project=settings.project_root,
        as_json=False,
    )


@pytest.fixture
def listing(settings):
    """The options of a plain `groups list`."""
    return ListOptions(project=settings.project_root, as_json=False)


@pytest.fixture
def showing(settings):
    """The options of a plain `groups show family`."""
    return ShowOptions(folder="family", project=settings.project_root, as_json=False)


@pytest.fixture
def removal(settings):
    """The options of a plain `groups remove family`."""
    return RemoveOptions(folder="family", force=False, project=settings.project_root)


@pytest.fixture
def transact(settings):
    """Do something in the project's store."""

    async def do(function, *arguments, **keywords):
        async with open_store(settings.project_root) as store:
            return await store.transact(function, *arguments, **keywords)

    return do


@pytest.fixture
def leave_message(transact):
    """Leave a message of a group in the store."""

    async def leave(id_, folder="family", *, is_owed=True):
        message = ChatMessage(
            chat_jid="tg:1", id=id_, sender="s", sender_name="S", text="Hi", timestamp=MOMENT
        )
        await transact(messages.accept, message, folder, is_owed=is_owed, received_at=MOMENT)

    return leave


@pytest.fixture
def leave_task(transact):
    """Leave a task of a group in the store."""

    async def leave(id_="t1", folder="family"):
        task = Task(
            id=id_,
            folder=folder,
            chat_jid="tg:1",
            prompt="Water the plants",
            schedule_type="interval",
            schedule_value="60000",
            next_run=MOMENT,
            created_at=MOMENT,
        )
        assert await transact(tasks.add, task)

    return leave


class TestAdd:
    async def test_the_defaults(self, make_desk, options, transact):
        """What isn't said has a default: the folder's name, and the assistant's as a trigger."""
        desk = make_desk()
        assert await add_command(options, desk.world) == 0
        assert desk.written() == "family answers in tg:1\n"
        (registration,) = await transact(groups.registrations)
        group = registration.group
        assert (registration.jid, registration.is_main) == ("tg:1", False)
        assert (group.name, group.trigger, group.requires_trigger) == ("family", "@Andy", None)
        assert datetime.fromisoformat(group.added_at).tzinfo is not None

    async def test_all_that_can_be_said(self, make_desk, options, transact, tmp_path):
        """All options are taken over, the container's configuration among them."""
        config = tmp_path / "config.json"
        config.write_text(json.dumps({"timeout": 1000}))
        options = evolve(
            options,
            name="Family",
            trigger="hey",
            requires_trigger=False,
            is_main=True,
            config=config,
            as_json=True,
        )
        desk = make_desk()
        assert await add_command(options, desk.world) == 0
        (record,) = desk.records()
        assert record == {
            "type": "group",
            "jid": "tg:1",
            "folder": "family",
            "name": "Family",
            "trigger": "hey",
            "requiresTrigger": False,
            "isMain": True,
            "addedAt": record["addedAt"],
            "containerConfig": {"additionalMounts": [], "timeout": 1000},
        }
        registration = await transact(groups.by_folder, "family")
        assert registration.group.container_config.timeout == 1000

    async def test_again(self, make_desk, options, transact):
        """A group that is registered is changed to what is said now."""
        await add_command(options, make_desk().world)
        assert await add_command(evolve(options, name="Kin"), make_desk().world) == 0
        (registration,) = await transact(groups.registrations)
        assert registration.group.name == "Kin"

    async def test_again_without_a_word(self, make_desk, options, transact, tmp_path):
        """What isn't said of a group stays: its being main and its mounts are lost by no slip."""
        config = tmp_path / "config.json"
        config.write_text(json.dumps({"additionalMounts": [{"hostPath": "/x"}]}))
        first = evolve(options, name="Kin", trigger="hey", requires_trigger=True)
        await add_command(evolve(first, is_main=True, config=config), make_desk().world)
        (before,) = await transact(groups.registrations)
        assert await add_command(options, make_desk().world) == 0
        assert await transact(groups.registrations) == (before,)
        assert await add_command(evolve(options, is_main=False), make_desk().world) == 0
        assert await transact(groups.registrations) == (evolve(before, is_main=False),)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"jid": "tg:2"}, "the folder is chat 'tg:1'"),
            ({"folder": "friends"}, "chat 'tg:1' is group 'family'"),
            ({"folder": "../x"}, "group folder '../x' isn't allowed"),
            ({"project": "/nowhere"}, "project folder '/nowhere' isn't there"),
            ({"config": "nowhere.json"}, "nowhere.json: no such file"),
            ({"jid": ""}, "'' can't be a chat's address: it is empty"),
            ({"jid": "tg:1\n"}, "it has line breaks or control characters"),
        ],
    )
    async def test_bad_usage(self, make_desk, options, change, said, transact):
        """What can't be registered is said in one line, and nothing is changed."""
        await add_command(options, make_desk().world)
        before = await transact(groups.registrations)
        desk = make_desk()
        if "config" in change:
            change = {"config": options.project / change["config"]}
        assert await add_command(evolve(options, **change), desk.world) == 2
        (line,) = desk.said()
        assert said in line
        assert await transact(groups.registrations) == before


class TestList:
    async def test_none(self, make_desk, listing):
        """Without groups there is nothing to list."""
        desk = make_desk()
        assert await list_command(listing, desk.world) == 0
        assert (desk.written(), desk.said()) == ("", [])

    async def test_columns(self, make_desk, options, listing, leave_message):
        """Each group has a line with its chat, its trigger, and how many messages wait."""
        await add_command(evolve(options, name="The Family"), make_desk().world)
        await add_command(evolve(options, folder="me", jid="tg:9", is_main=True), make_desk().world)
        await leave_message("m1")
        await leave_message("m2", is_owed=False)
        desk = make_desk()
        assert await list_command(listing, desk.world) == 0
        assert desk.written().splitlines() == [
            "FOLDER     CHAT  NAME        TRIGGER  WAITING",
            "family     tg:1  The Family  @Andy    1",
            "me (main)  tg:9  me          -        0",
        ]

    async def test_json(self, make_desk, options, listing, leave_message):
        """The same for programs, an object a line."""
        await add_command(options, make_desk().world)
        await leave_message("m1")
        await leave_message("m2", is_owed=False)
        desk = make_desk()
        assert await list_command(evolve(listing, as_json=True), desk.world) == 0
        (record,) = desk.records()
        assert (record["type"], record["folder"], record["jid"]) == ("group", "family", "tg:1")
        assert (record["waiting"], record["owed"], record["tasks"]) == (2, 1, 0)
        assert record["hasSession"] is False

    async def test_a_store_that_cant_be_used(self, make_desk, listing):
        """A database that is none is the operator's to mend, and the error names it."""
        (listing.project / "data").mkdir()
        (listing.project / "data" / "engine.db").write_text("this is no database, is it?" * 100)
        desk = make_desk()
        assert await list_command(listing, desk.world) == 2
        assert "data/engine.db: " in desk.said()[0]

    async def test_a_name_that_steers_a_terminal(self, make_desk, options, listing):
        """A group's name, which an agent may have chosen, doesn't steer the terminal."""
        await add_command(evolve(options, name="\x1b[2J"), make_desk().world)
        desk = make_desk(stdout_is_terminal=True)
        await list_command(listing, desk.world)
        assert "␛[2J" in desk.written()

    async def test_a_signal(self, make_desk, listing):
        """Listing is ended by a signal, too."""
        desk = make_desk()
        desk.world.interruption.receive(signal.SIGTERM)
        assert await list_command(listing, desk.world) == 143


class TestShow:
    async def test_a_new_group(self, make_desk, options, showing):
        """Of a group that has done nothing yet it is known how it is registered."""
        await add_command(options, make_desk().world)
        desk = make_desk()
        assert await show_command(showing, desk.world) == 0
        lines = desk.written().splitlines()
        assert lines[:4] == [
            "folder:    family",
            "chat:      tg:1",
            "name:      family",
            "trigger:   @Andy",
        ]
        assert lines[5:] == [
            "session:   none yet",
            "waiting:   0 messages for an answer, 0 others",
            "tasks:     0",
            "run:       none now",
        ]

    async def test_a_busy_group(
        self, make_desk, options, showing, transact, leave_message, leave_task, tmp_path
    ):
        """Its configuration, session, messages, tasks and run are shown."""
        config = tmp_path / "config.json"
        config.write_text(json.dumps({"timeout": 1000}))
        await add_command(evolve(options, is_main=True, config=config), make_desk().world)
        await transact(sessions.keep_session, "family", "s1")
        await leave_message("m1")
        await leave_message("m2", is_owed=False)
        await leave_task()
        claim = GroupClaim(showing.project, "family", container="c1", moment=MOMENT)
        claim.take()
        try:
            desk = make_desk()
            assert await show_command(showing, desk.world) == 0
            json_desk = make_desk()
            assert await show_command(evolve(showing, as_json=True), json_desk.world) == 0
        finally:
            claim.release()
        lines = desk.written().splitlines()
        assert lines[0] == "folder:    family (the main group)"
        assert lines[5:] == [
            'container: {"additionalMounts":[],"timeout":1000}',
            "session:   one to go on with",
            "waiting:   1 messages for an answer, 1 others",
            "tasks:     1",
            f"run:       container c1 of process {os.getpid()}, since 2026-02-01T15:30:00.000Z",
        ]
        (record,) = json_desk.records()
        assert (record["hasSession"], record["tasks"]) == (True, 1)
        assert record["run"] == {
            "pid": os.getpid(),
            "container": "c1",
            "since": "2026-02-01T15:30:00.000Z",
        }

    async def test_json_without_a_run(self, make_desk, options, showing):
        """Without a run its key is null."""
        await add_command(options, make_desk().world)
        desk = make_desk()
        assert await show_command(evolve(showing, as_json=True), desk.world) == 0
        assert desk.records()[0]["run"] is None

    @pytest.mark.parametrize("folder", ["family", "../family"])
    async def test_no_such_group(self, make_desk, showing, folder):
        """A group that isn't registered is bad usage."""
        desk = make_desk()
        assert await show_command(evolve(showing, folder=folder), desk.world) == 2
        assert len(desk.said()) == 1


class TestRemove:
    async def test_remove(self, make_desk, options, removal, transact):
        """A group for which nothing waits is forgotten."""
        await add_command(options, make_desk().world)
        desk = make_desk()
        assert await remove_command(removal, desk.world) == 0
        assert desk.written() == "family answers no more in tg:1\n"
        assert await transact(groups.registrations) == ()

    async def test_messages_wait(self, make_desk, options, removal, transact, leave_message):
        """While messages wait it stays, and it is said what to do."""
        await add_command(options, make_desk().world)
        await leave_message("m1")
        desk = make_desk()
        assert await remove_command(removal, desk.world) == 1
        (line,) = desk.said()
        assert line.startswith("messages wait in family (1); ")
        assert len(await transact(groups.registrations)) == 1

    async def test_force(self, make_desk, options, removal, transact, leave_message):
        """Forced, it is forgotten, and what waits isn't answered when it comes back."""
        await add_command(options, make_desk().world)
        await leave_message("m0", is_owed=False)
        await leave_message("m1")
        await leave_message("m2", is_owed=False)
        assert await remove_command(evolve(removal, force=True), make_desk().world) == 0
        assert await transact(groups.registrations) == ()
        assert await transact(messages.waiting, "family") == ()

    async def test_context_alone_keeps_nothing(self, make_desk, options, removal, leave_message):
        """Messages that ask for no answer don't keep it."""
        await add_command(options, make_desk().world)
        await leave_message("m1", is_owed=False)
        assert await remove_command(removal, make_desk().world) == 0

    async def test_tasks_stay(self, make_desk, options, removal, transact, leave_task):
        """Its tasks are kept, and that is said."""
        await add_command(options, make_desk().world)
        await leave_task()
        desk = make_desk()
        assert await remove_command(removal, desk.world) == 0
        assert "its tasks are kept (1), and run again once it is registered again" in desk.written()
        assert len(await transact(tasks.tasks, "family")) == 1

    async def test_no_such_group(self, make_desk, removal):
        """A group that isn't registered can't be removed."""
        desk = make_desk()
        assert await remove_command(removal, desk.world) == 2
        assert "no group 'family' is registered" in desk.said()[0]


async def test_while_another_process_has_the_store(make_desk, options, settings):
    """The store is shared: what is changed while another one has it open is there for that one."""
    async with open_store(settings.project_root) as store:
        assert await add_command(options, make_desk().world) == 0
        with trio.fail_after(60):
            assert len(await store.transact(groups.registrations)) == 1
