"""What agents ask of the host reaches the store: each request once, and only what they may ask."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import evolve

from nanoclaw_trio.background import open_background_nursery
from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.requests import apply
from nanoclaw_trio.engine.requests.intake import Intake
from nanoclaw_trio.engine.requests.taken_in import TakenIn
from nanoclaw_trio.errors import InvalidGroupFolder
from nanoclaw_trio.files import MAILBOX_FILE_LIMIT
from nanoclaw_trio.protocol.models import AdditionalMount, ContainerConfig, RegisteredGroup
from nanoclaw_trio.store import deliveries, groups, requests, tasks
from nanoclaw_trio.store.connection import StoreFailed
from nanoclaw_trio.store.database import open_store
from nanoclaw_trio.store.models import Delivery, DeliveryKind, Registration, TaskStatus
from nanoclaw_trio.workspace.secrets import REDACTED

GUARD = 60

MAIN = Registration(
    jid="main@chat",
    group=RegisteredGroup(
        name="Main", folder="main", trigger="@Andy", added_at="2025-01-01T00:00:00.000Z"
    ),
    is_main=True,
)
FAMILY = Registration(jid="family@chat", group=RegisteredGroup(name="Family", folder="family"))
WORK = Registration(jid="work@chat", group=RegisteredGroup(name="Work", folder="work"))

SCHEDULE = {
    "type": "schedule_task",
    "taskId": "t1",
    "prompt": "water the plants",
    "schedule_type": "interval",
    "schedule_value": "60000",
    "targetJid": "family@chat",
}
REGISTER = {
    "type": "register_group",
    "jid": "new@chat",
    "name": "New",
    "folder": "new",
    "trigger": "@Andy",
}


KEY = "sk-canary-4711"


def say(text, chat_jid="family@chat", **fields):
    """The document of a message."""
    return {"type": "message", "chatJid": chat_jid, "text": text, **fields}


@pytest.fixture
async def store(settings):
    """A store that knows three groups, the first of them the main one."""
    async with open_store(settings.project_root) as store:
        for registration in (MAIN, FAMILY, WORK):
            await store.transact(groups.register, registration)
        yield store


@pytest.fixture
def told():
    """What the intake told of, visit by visit."""
    return []


@pytest.fixture
def intake(store, settings, told):
    """An intake of that store."""
    return Intake(store, settings, tell=told.append)


@pytest.fixture
def ipc_root(settings):
    """data/ipc."""
    return settings.project_root / "data" / "ipc"


@pytest.fixture
def put(ipc_root):
    """Put a document, or bytes, into a group's mailbox: `put("family/messages/1.json", …)`."""

    def put(name, content):
        path = ipc_root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return put


@pytest.fixture
def aside(ipc_root):
    """The names in data/ipc/errors."""
    return lambda: names_in(ipc_root / "errors")


def names_in(directory):
    """The names of all entries, sorted; none if it isn't there."""
    return sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []


async def said(store):
    """The texts that are to be said, in order, with their chats."""
    return [(one.chat_jid, one.text) for one in await store.transact(deliveries.pending)]


async def known_tasks(store):
    """All tasks by their ids."""
    return {task.id: task for task in await store.transact(tasks.tasks)}


class TestMessages:
    async def test_message_becomes_a_delivery(self, intake, store, put, told, virtual_clock):
        """It is to be said once, in the group's name, under an id that tells its file and that no
        other of that name has; the file goes."""
        path = put("family/messages/1.json", say("hi", sender="Ada", groupFolder="main"))
        taken = await intake.take_in("family")
        assert taken == TakenIn(folder="family", done=1, chats=frozenset({"family@chat"}))
        assert told == [taken]
        (delivery,) = await store.transact(deliveries.pending)
        assert re.fullmatch(r"family/messages/1\.json~[0-9a-f]{16}", delivery.id)
        assert delivery == (
            Delivery(
                id=delivery.id,
                kind=DeliveryKind.MESSAGE,
                chat_jid="family@chat",
                group_folder="family",
                text="hi",
                sender="Ada",
                created_at=utc_now(),
            )
        )
        assert not path.exists()

    async def test_order_is_that_of_the_names_and_messages_come_first(self, intake, store, put):
        """Whatever the order in which they were written."""
        put("family/tasks/0.json", SCHEDULE | {"prompt": "p"})
        for number in (3, 1, 2):
            put(f"family/messages/{number}.json", say(str(number)))
        taken = await intake.take_in("family")
        assert [text for _, text in await said(store)] == ["1", "2", "3"]
        assert (taken.done, taken.tasks_changed) == (4, True)

    @pytest.mark.parametrize(
        ("folder", "chat_jid", "allowed"),
        [
            ("main", "family@chat", True),
            ("main", "nobody@chat", True),
            ("family", "family@chat", True),
            ("family", "work@chat", False),
            ("family", "main@chat", False),
            ("family", "nobody@chat", False),
        ],
    )
    async def test_who_may_write_where(
        self, intake, store, put, aside, folder, chat_jid, allowed, capsys
    ):
        """The main group anywhere, others in their own chat, whatever a file says of its sender; a
        refused message is logged without its text, and consumed."""
        path = put(
            f"{folder}/messages/1.json", say("canary", chat_jid, groupFolder="main", isMain=True)
        )
        taken = await intake.take_in(folder)
        assert (taken.done, taken.refused, taken.broken) == (int(allowed), int(not allowed), 0)
        assert await said(store) == ([(chat_jid, "canary")] if allowed else [])
        assert not path.exists()
        assert aside() == []
        logged = capsys.readouterr().err
        assert ("request refused" in logged) is not allowed
        assert "canary" not in logged

    async def test_refusals_do_not_fill_the_log(self, virtual_clock, intake, put, capsys):
        """What a group asks again and again that it may not is told of once a minute, with how
        often; another group's by itself."""
        for number in range(90):
            for folder in ("family", "work"):
                put(f"{folder}/messages/{number}.json", say("canary", "main@chat"))
                await intake.take_in(folder)
            await trio.sleep(1)
        logged = re.findall(r'"request refused" group=(\w+) .*count=(\d+)', capsys.readouterr().err)
        assert logged == [("family", "1"), ("work", "1"), ("family", "60"), ("work", "60")]

    async def test_sender_without_a_name_is_none(self, intake, store, put):
        """An empty name is no name to speak under."""
        put("family/messages/1.json", say("hi", sender=""))
        await intake.take_in("family")
        (delivery,) = await store.transact(deliveries.pending)
        assert delivery.sender is None

    async def test_later_file_of_the_same_name_is_another_message(self, intake, store, put):
        """An agent that gives each of its files one name loses none by it."""
        for text in ("first", "second", "third"):
            put("family/messages/out.json", say(text))
            assert (await intake.take_in("family")).done == 1
        assert [text for _, text in await said(store)] == ["first", "second", "third"]
        ids = {one.id for one in await store.transact(deliveries.pending)}
        assert len(ids) == 3

    async def test_names_are_forgotten_with_the_next_visit(self, intake, store, put):
        """The store doesn't grow with the files that were there."""
        for number in range(3):
            put(f"family/messages/{number}.json", say("hi"))
        await intake.take_in("family")
        put("family/messages/4.json", say("hi"))
        await intake.take_in("family")
        assert await store.transact(requests.handled, "family") == ("messages/4.json",)

    async def test_names_of_an_earlier_engine_are_forgotten(self, intake, store, put, settings):
        """What an engine noted before it ended is forgotten by the next one, too."""
        put("family/messages/1.json", say("hi"))
        await intake.take_in("family")
        put("family/messages/1.json", say("again"))
        (settings.project_root / "data" / "ipc" / "family" / "messages" / "1.json").unlink()
        put("family/messages/2.json", say("there"))
        await Intake(store, settings).take_in("family")
        assert await store.transact(requests.handled, "family") == ("messages/2.json",)

    async def test_file_that_was_handled_before_a_crash_is_only_deleted(
        self, intake, store, put, told
    ):
        """One that is noted was carried out: it isn't again."""
        await store.transact(requests.note_handled, "family", "messages/1.json")
        path = put("family/messages/1.json", say("hi"))
        assert await intake.take_in("family") == TakenIn(folder="family")
        assert told == []
        assert await said(store) == []
        assert not path.exists()


class TestTasks:
    async def test_task_is_scheduled(self, intake, store, put, virtual_clock):
        """With the id, the schedule and the chat that were asked for; isolated unless said."""
        put("family/tasks/1.json", SCHEDULE)
        taken = await intake.take_in("family")
        assert taken == TakenIn(folder="family", done=1, tasks_changed=True)
        task = (await known_tasks(store))["t1"]
        assert (task.folder, task.chat_jid) == ("family", "family@chat")
        assert (task.prompt, task.context_mode) == ("water the plants", "isolated")
        assert task.next_run is not None

    async def test_task_without_an_id_is_given_one(self, intake, store, put):
        """As the original's agents ask for it."""
        document = {key: value for key, value in SCHEDULE.items() if key != "taskId"}
        for number in (1, 2):
            put(f"family/tasks/{number}.json", document)
        await intake.take_in("family")
        assert len(await known_tasks(store)) == 2

    @pytest.mark.parametrize(
        ("folder", "target", "result"),
        [
            ("main", "family@chat", "done"),
            ("main", "nobody@chat", "broken"),
            ("family", "family@chat", "done"),
            ("family", "work@chat", "refused"),
            ("family", "nobody@chat", "refused"),
        ],
    )
    async def test_who_may_schedule_for_whom(self, intake, store, put, folder, target, result):
        """The main group for every registered group, others for themselves; the task is the target's."""
        put(f"{folder}/tasks/1.json", SCHEDULE | {"targetJid": target, "groupFolder": "main"})
        taken = await intake.take_in(folder)
        assert getattr(taken, result) == 1
        assert taken.done + taken.refused + taken.broken == 1
        owners = [task.folder for task in (await known_tasks(store)).values()]
        assert owners == (["family"] if result == "done" else [])

    @pytest.mark.parametrize(
        ("document", "status"),
        [
            ({"type": "pause_task"}, TaskStatus.PAUSED),
            ({"type": "resume_task"}, TaskStatus.ACTIVE),
            ({"type": "cancel_task"}, None),
            ({"type": "update_task", "prompt": "new"}, TaskStatus.ACTIVE),
            (
                {"type": "update_task", "schedule_type": "cron", "schedule_value": "0 9 * * *"},
                TaskStatus.ACTIVE,
            ),
        ],
        ids=["pause", "resume", "cancel", "update", "reschedule"],
    )
    @pytest.mark.parametrize(
        ("folder", "result"), [("family", "done"), ("main", "done"), ("work", "refused")]
    )
    async def test_who_may_change_which_task(
        self, intake, store, put, aside, document, status, folder, result
    ):
        """Each change, by the task's own group, by the main group, and by another one."""
        put("family/tasks/1.json", SCHEDULE)
        await intake.take_in("family")
        before = await known_tasks(store)
        put(f"{folder}/tasks/2.json", document | {"taskId": "t1", "groupFolder": "family"})
        taken = await intake.take_in(folder)
        assert (getattr(taken, result), taken.tasks_changed) == (1, result == "done")
        after = await known_tasks(store)
        if result == "refused":
            assert after == before
        else:
            assert ("t1" in after) is (status is not None)
            assert all(task.status is status for task in after.values())
            assert after["t1"].prompt == document.get("prompt", "water the plants") if after else 1
        assert aside() == []

    async def test_paused_task_goes_on(self, intake, store, put):
        """What was paused by a file is resumed by one."""
        put("family/tasks/1.json", SCHEDULE)
        put("family/tasks/2.json", {"type": "pause_task", "taskId": "t1"})
        await intake.take_in("family")
        assert (await known_tasks(store))["t1"].status is TaskStatus.PAUSED
        put("family/tasks/3.json", {"type": "resume_task", "taskId": "t1"})
        await intake.take_in("family")
        assert (await known_tasks(store))["t1"].status is TaskStatus.ACTIVE


class TestGroups:
    async def test_main_group_registers_a_group(self, intake, store, put, virtual_clock):
        """It is registered now, never as a main group, with the mounts that are asked for: whether
        it gets them is the allowlist's word at each run."""
        config = {"additionalMounts": [{"hostPath": "/etc"}], "timeout": 60000}
        wishes = {"isMain": True, "is_main": True, "requiresTrigger": False}
        put("main/tasks/1.json", REGISTER | wishes | {"containerConfig": config})
        taken = await intake.take_in("main")
        expected = Registration(
            jid="new@chat",
            group=RegisteredGroup(
                name="New",
                folder="new",
                trigger="@Andy",
                added_at="2026-01-01T00:00:00.000Z",
                requires_trigger=False,
                container_config=ContainerConfig(
                    additional_mounts=(AdditionalMount(host_path="/etc"),), timeout=60000
                ),
            ),
        )
        assert taken.registered == (expected,)
        assert taken.groups_changed
        assert await store.transact(groups.by_jid, "new@chat") == expected

    async def test_group_that_is_registered_anew_keeps_what_is_not_said(self, intake, store, put):
        """Its own trigger rule and mounts stay where the request is silent on them, and so does
        its being the main group: a file neither makes nor unmakes that."""
        document = REGISTER | {"jid": "main@chat", "folder": "main", "name": "Boss"}
        put("main/tasks/1.json", document | {"isMain": False})
        await intake.take_in("main")
        boss = await store.transact(groups.by_folder, "main")
        assert boss == evolve(MAIN, group=evolve(MAIN.group, name="Boss"))
        put("main/tasks/2.json", document | {"containerConfig": {"timeout": 5}})
        put("main/tasks/3.json", document | {"requiresTrigger": True})
        put("main/tasks/4.json", document | {"trigger": "@Bob"})
        await intake.take_in("main")
        boss = await store.transact(groups.by_folder, "main")
        assert boss.is_main
        assert boss.group.requires_trigger
        assert boss.group.container_config == ContainerConfig(timeout=5)
        assert boss.group.trigger == "@Bob"

    async def test_so_many_groups_and_no_more(self, intake, store, put, aside, monkeypatch):
        """An agent registers no group beyond a limit, or with more than a registration takes: the
        store is on a disk that all groups share. One that there is can be changed."""
        known = await store.transact(groups.count)
        monkeypatch.setattr(apply, "GROUPS_LIMIT", known + 1)
        for number in range(3):
            document = {"jid": f"{number}@chat", "folder": f"new{number}"}
            put(f"main/tasks/{number}.json", REGISTER | document)
        put("main/tasks/3.json", REGISTER | {"jid": "0@chat", "folder": "new0", "name": "Changed"})
        long = {"jid": "0@chat", "folder": "new0", "name": "x" * apply.REGISTRATION_LIMIT}
        put("main/tasks/4.json", REGISTER | long)
        taken = await intake.take_in("main")
        assert (taken.done, taken.broken) == (2, 3)
        assert len(aside()) == 3
        assert await store.transact(groups.count) == known + 1
        registration = await store.transact(groups.by_jid, "0@chat")
        assert registration.group.name == "Changed"

    @pytest.mark.parametrize(
        ("config", "refused"),
        [
            ({"network": "host"}, True),
            ({"network": "default"}, True),
            ({"readOnly": False}, True),
            ({"memory": 2**40}, True),
            ({"memory": 2**20}, False),
            ({"timeout": 9}, True),
            ({"readOnly": True, "timeout": 5}, False),
        ],
    )
    async def test_no_agent_widens_a_groups_confinement(
        self, intake, store, put, aside, config, refused
    ):
        """What the operator said of a group's confinement holds against the main group's agent: it
        may narrow that, can't widen it, and doesn't end it by leaving it out."""
        held = ContainerConfig(network="none", memory=2**30, timeout=7)
        family = evolve(FAMILY, group=evolve(FAMILY.group, container_config=held))
        await store.transact(groups.register, family)
        document = REGISTER | {"jid": "family@chat", "folder": "family", "containerConfig": config}
        put("main/tasks/1.json", document)
        taken = await intake.take_in("main")
        assert (taken.refused, taken.done) == ((1, 0) if refused else (0, 1))
        assert aside() == []
        after = (await store.transact(groups.by_folder, "family")).group.container_config
        if refused:
            assert after == held
        else:
            assert after.network == "none"
            assert after.memory == config.get("memory", 2**30)
            assert after.timeout == config.get("timeout", 7)
            assert after.read_only is config.get("readOnly")

    async def test_no_agent_gives_a_new_group_a_network(self, intake, store, put):
        """A group that an agent registers has the settings' confinement, or a narrower one."""
        for name, config in enumerate(({"network": "host"}, {"network": "none"})):
            put(f"main/tasks/{name}.json", REGISTER | {"containerConfig": config})
        taken = await intake.take_in("main")
        assert (taken.refused, taken.done) == (1, 1)
        new = await store.transact(groups.by_folder, "new")
        assert new.group.container_config == ContainerConfig(network="none")

    async def test_main_group_has_the_chats_listed(self, intake, put):
        """refresh_groups changes nothing here: who took it in asks the bridge."""
        put("main/tasks/1.json", {"type": "refresh_groups"})
        assert await intake.take_in("main") == TakenIn(folder="main", done=1, list_chats=True)

    @pytest.mark.parametrize("document", [REGISTER, {"type": "refresh_groups"}])
    async def test_no_other_group_may(self, intake, store, put, aside, document):
        """Another group's request is refused, whatever it says of itself."""
        put("family/tasks/1.json", document | {"isMain": True, "groupFolder": "main"})
        assert await intake.take_in("family") == TakenIn(folder="family", refused=1)
        assert len(await store.transact(groups.registrations)) == 3
        assert aside() == []


BROKEN = {
    "not JSON": (b"{", "not JSON"),
    "unknown type": ({"type": "canary"}, "not one of"),
    "wrong type": (SCHEDULE | {"prompt": 5}, "not a string @ $.prompt"),
    "deep": (b"[" * 10_000, "not JSON"),
    "many values": (b"[" * 500_000, "more than 20000 values"),
    "too large": (b" " * (2 * MAILBOX_FILE_LIMIT), "larger than"),
    "bad schedule": (SCHEDULE | {"schedule_value": "soon"}, "soon"),
    "far schedule": (SCHEDULE | {"schedule_value": "9" * 5000}, ""),
    "year zero": (SCHEDULE | {"schedule_type": "once", "schedule_value": "0000-0-0"}, ""),
    "end of time": (
        SCHEDULE | {"schedule_type": "once", "schedule_value": "9999-12-31T23:59:59"},
        "",
    ),
    "bad id": (SCHEDULE | {"taskId": "a b"}, "can't be a task's id"),
    "taken id": (SCHEDULE | {"taskId": "known"}, "there is a task"),
    "unknown task": ({"type": "pause_task", "taskId": "unknown"}, "there is no task"),
    "nothing to update": ({"type": "update_task", "taskId": "known"}, "nothing to change"),
    "bad folder": (REGISTER | {"folder": "../etc"}, "isn't allowed"),
    "reserved folder": (REGISTER | {"folder": "global"}, "isn't allowed"),
    "errors folder": (REGISTER | {"folder": "Errors"}, "isn't allowed"),
    "foreign chat": (REGISTER | {"jid": "family@chat"}, "can't be registered"),
    "foreign folder": (REGISTER | {"folder": "family"}, "can't be registered"),
    "main's chat": (REGISTER | {"jid": "main@chat"}, "can't be registered"),
    "long jid": (REGISTER | {"jid": "x" * 900_000, "folder": "family"}, "be a chat's address"),
}


class TestBroken:
    @pytest.mark.parametrize("name", [name for name in BROKEN if name != "end of time"])
    async def test_what_can_not_be_handled_is_set_aside(
        self, intake, store, put, aside, ipc_root, name, capsys
    ):
        """It is moved with its content, the log says why in a line of bounded length, nothing half
        done stays, and what comes after it is done."""
        content, problem = BROKEN[name]
        put("main/tasks/0.json", SCHEDULE | {"taskId": "known"})
        put("main/tasks/1.json", content)
        put("main/tasks/2.json", SCHEDULE | {"taskId": "later"})
        taken = await intake.take_in("main")
        assert (taken.done, taken.refused, taken.broken) == (2, 0, 1)
        assert sorted(await known_tasks(store)) == ["known", "later"]
        assert len(await store.transact(groups.registrations)) == 3
        assert aside() == ["main-1.json"]
        assert names_in(ipc_root / "main" / "tasks") == []
        logged = capsys.readouterr().err
        assert problem in logged
        assert "canary" not in logged
        assert max(map(len, logged.splitlines())) < 2000

    async def test_end_of_time_is_scheduled_or_set_aside(self, intake, store, put):
        """The last second that there is trips nobody."""
        put("main/tasks/1.json", BROKEN["end of time"][0])
        taken = await intake.take_in("main")
        assert taken.done + taken.broken == 1

    async def test_unknown_task_is_no_refusal_for_others(self, intake, put, aside):
        """A task that isn't there is nobody's."""
        put("family/tasks/1.json", {"type": "cancel_task", "taskId": "unknown"})
        assert await intake.take_in("family") == TakenIn(folder="family", broken=1)
        assert aside() == ["family-1.json"]

    async def test_mistake_of_ours_does_not_hold_up_what_comes_after(
        self, store, settings, put, aside, capsys
    ):
        """What trips over a bug, here over settings that nobody checked, is kept in errors/ and not
        tried again and again."""
        put(
            "family/tasks/1.json",
            SCHEDULE | {"schedule_type": "cron", "schedule_value": "* * * * *"},
        )
        put("family/tasks/2.json", SCHEDULE | {"schedule_value": "60000"})
        intake = Intake(store, evolve(settings, timezone="Nowhere/Nothing"))
        taken = await intake.take_in("family")
        assert (taken.done, taken.broken) == (1, 1)
        assert aside() == ["family-1.json"]
        assert "level=error" in capsys.readouterr().err

    @pytest.mark.parametrize("kind", ["fifo", "directory", "link", "name"])
    async def test_what_is_no_file_is_set_aside(self, intake, put, aside, ipc_root, tmp_path, kind):
        """A pipe isn't waited for, a link isn't followed, a name that isn't UTF-8 trips nobody.
        Trap A28."""
        put("family/messages/2.json", say("hi"))
        path = ipc_root / "family" / "messages" / "1.json"
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "directory":
            path.mkdir()
        elif kind == "link":
            (tmp_path / "host-file").write_text(json.dumps(say("the host's")))
            path.symlink_to(tmp_path / "host-file")
        else:
            path.with_name(os.fsdecode(b"\xff.json")).write_text(json.dumps(say("hi")))
        with trio.fail_after(GUARD):
            taken = await intake.take_in("family")
        assert (taken.done, taken.broken) == (1, 1)
        assert len(aside()) == 1

    async def test_link_in_the_place_of_messages_is_set_aside(
        self, intake, put, aside, ipc_root, tmp_path
    ):
        """Nothing behind it is read or deleted; tasks/ is taken in all the same. Trap A28."""
        outside = put("../../../outside/1.json", say("the host's"))
        put("family/tasks/1.json", SCHEDULE)
        (ipc_root / "family" / "messages").symlink_to(outside.parent)
        taken = await intake.take_in("family")
        assert (taken.done, taken.broken) == (1, 1)
        assert aside() == ["family-messages"]
        assert outside.exists()

    @pytest.mark.parametrize("name", ["a\nb\x1b[2J.json", "x" * 250 + ".json", "é" * 125 + ".json"])
    async def test_any_name_can_be_a_requests(self, intake, store, put, name, ipc_root):
        """Control characters and 255 bytes are taken, noted and forgotten as any other name."""
        put(f"family/messages/{name}", say("hi"))
        assert (await intake.take_in("family")).done == 1
        assert await store.transact(requests.handled, "family") == (f"messages/{name}",)
        assert names_in(ipc_root / "family" / "messages") == []


class CountThreads(trio.abc.Instrument):
    """How many worker threads there were at most."""

    def __init__(self):
        self.most = 0

    def before_task_step(self, task):
        """Called by Trio before each turn of each task."""
        self.most = max(self.most, trio.testing.active_thread_count())


class TestVisit:
    async def test_empty_mailbox(self, intake, told):
        """Where nothing waits nothing comes of it, and nobody is told."""
        taken = await intake.take_in("family")
        assert not taken
        assert told == []

    async def test_unregistered_group_is_left_alone(self, intake, put, ipc_root, told):
        """Not even what is broken or no file is touched in a directory of nobody's."""
        put("nobody/messages/1.json", say("hi"))
        put("nobody/messages/2.json", b"{")
        (ipc_root / "nobody" / "tasks").symlink_to("/etc")
        assert not await intake.take_in("nobody")
        assert names_in(ipc_root / "nobody" / "messages") == ["1.json", "2.json"]
        assert (ipc_root / "nobody" / "tasks").is_symlink()
        assert told == []

    async def test_group_that_is_removed_during_a_visit(self, intake, store, put, ipc_root):
        """From then on its files stay."""
        for number in range(5):
            put(f"family/messages/{number}.json", say("hi"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(intake.take_in, "family")
            while not await said(store):
                pass
            await store.transact(groups.unregister, "family")
        left = len(names_in(ipc_root / "family" / "messages"))
        assert left + len(await said(store)) == 5
        assert left > 0

    async def test_folder_that_no_group_has_is_the_callers_fault(self, intake):
        """A name that could lead elsewhere is refused before anything is looked at."""
        with pytest.raises(InvalidGroupFolder):
            await intake.take_in("../work")

    async def test_no_more_than_the_limit_at_once(self, store, settings, put):
        """Of a flood each visit takes a part of each directory, until nothing is left."""
        for number in range(5):
            put(f"family/messages/{number}.json", say(str(number)))
            put(f"family/tasks/{number}.json", SCHEDULE | {"taskId": f"t{number}"})
        intake = Intake(store, settings, visit_limit=2)
        visits = [await intake.take_in("family") for _ in range(4)]
        assert [(taken.done, taken.has_more) for taken in visits] == [
            (4, True),
            (4, True),
            (2, False),
            (0, False),
        ]
        assert [text for _, text in await said(store)] == list("01234")

    async def test_two_visits_to_one_mailbox_follow_one_another(self, intake, store, put):
        """Many who ask at once have each file taken once, in order, and one works at a time."""
        for number in range(5):
            put(f"family/messages/{number}.json", say(str(number)))
        watcher = CountThreads()
        trio.lowlevel.add_instrument(watcher)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(intake.take_in, "family")
        trio.lowlevel.remove_instrument(watcher)
        assert [text for _, text in await said(store)] == list("01234")
        assert watcher.most == 1

    async def test_file_that_vanishes_is_no_matter(self, intake, store, put, ipc_root):
        """An agent may take back what it said."""
        for number in range(20):
            put(f"family/messages/{number:02}.json", say("hi"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(intake.take_in, "family")
            while not await said(store):
                pass
            for number in range(10, 20):
                (ipc_root / "family" / "messages" / f"{number:02}.json").unlink(missing_ok=True)
        assert names_in(ipc_root / "family" / "messages") == []
        assert 1 <= len(await said(store)) < 20


async def limit_pages(store, pages):
    """Let the database grow no further than this; no further than it is, if that is more."""
    await store.transact(lambda tx: tx.number(f"PRAGMA max_page_count = {pages}"))


class TestFailures:
    async def test_store_that_is_full(self, intake, store, put, told):
        """StoreFailed goes to who asked; what was taken in before is told of, the rest stays, and
        is taken in once the store can."""
        put("family/messages/1.json", say("hi"))
        path = put("family/messages/2.json", say("x" * 500_000))
        await limit_pages(store, 60)
        with pytest.raises(StoreFailed):
            await intake.take_in("family")
        assert [taken.done for taken in told] == [1]
        assert path.exists()
        await limit_pages(store, 1_000_000)
        assert (await intake.take_in("family")).done == 1
        assert [len(text) for _, text in await said(store)] == [2, 500_000]

    async def test_disk_that_refuses_to_be_read(self, intake, store, put, capsys):
        """A mailbox that can't be opened just now is a warning, and is taken in later."""
        import resource

        path = put("family/messages/1.json", say("hi"))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            taken = await intake.take_in("family")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert not taken
        assert path.exists()
        assert "mailbox can't be used" in capsys.readouterr().err
        assert (await intake.take_in("family")).done == 1

    async def test_disk_that_refuses_to_delete(self, settings, capsys):
        """A file that was carried out and can't be deleted isn't carried out again, and is deleted
        when it can be; nobody visits it without end meanwhile."""
        with unprivileged_project(settings) as (theirs, lock, unlock):
            async with open_store(theirs.project_root) as store:
                await store.transact(groups.register, FAMILY)
                messages = theirs.project_root / "data" / "ipc" / "family" / "messages"
                messages.mkdir(parents=True)
                for number in range(3):
                    (messages / f"{number}.json").write_text(json.dumps(say("hi")))
                intake = Intake(store, theirs, visit_limit=2)
                lock(messages)
                first = await intake.take_in("family")
                second = await intake.take_in("family")
                unlock()
                assert (first.done, first.has_more) == (2, True)
                assert (second.done, second.has_more) == (0, False)
                assert len(names_in(messages)) == 3
                assert "mailbox can't be used" in capsys.readouterr().err
                await intake.take_in("family")
                await intake.take_in("family")
                assert names_in(messages) == []
                assert len(await said(store)) == 3

    async def test_unreadable_keys_lose_no_request(self, intake, store, settings, put, capsys):
        """Where nobody knows which keys there are, requests wait until the .env can be read."""
        dotenv = settings.project_root / ".env"
        dotenv.write_bytes(b"\xff")
        path = put("family/messages/1.json", say(f"the key is {KEY}"))
        assert not await intake.take_in("family")
        assert path.exists()
        assert "requests wait for the .env" in capsys.readouterr().err
        dotenv.write_text(f"ANTHROPIC_API_KEY={KEY}\n")
        await intake.take_in("family")
        assert await said(store) == [("family@chat", f"the key is {REDACTED}")]

    async def test_a_key_that_was_replaced_is_redacted_on(self, intake, store, settings, put):
        """An agent that was started with a key may quote it after the .env has another."""
        dotenv = settings.project_root / ".env"
        for number, key in enumerate((KEY, "sk-another")):
            dotenv.write_text(f"ANTHROPIC_API_KEY={key}\n")
            put(f"family/messages/{number}.json", say(f"the key is {KEY}"))
            await intake.take_in("family")
        assert await said(store) == [("family@chat", f"the key is {REDACTED}")] * 2

    async def test_closed_store_is_said(self, settings, put):
        """An engine that has let go of its store loses no request by it."""
        async with open_store(settings.project_root) as store:
            await store.transact(groups.register, FAMILY)
        path = put("family/messages/1.json", say("hi"))
        with pytest.raises(trio.ClosedResourceError):
            await Intake(store, settings).take_in("family")
        assert path.exists()


@contextmanager
def unprivileged_project(settings):
    """Settings of a project whose host is an ordinary user, and how to take a directory from him."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory to somebody else")
    place = Path(tempfile.mkdtemp())
    os.chown(place, 1000, 1000)

    def lock(directory):
        directory.chmod(0o755)
        os.seteuid(1000)

    def unlock():
        os.seteuid(0)

    try:
        yield evolve(settings, project_root=place), lock, unlock
    finally:
        os.seteuid(0)
        shutil.rmtree(place)


class AtStep(trio.abc.Instrument):
    """Does something when tasks have been given the nth turn."""

    def __init__(self, step, action):
        self.left = step
        self.action = action

    def before_task_step(self, task):
        """Called by Trio before each turn of each task."""
        self.left -= 1
        if self.left == 0:
            self.action()


async def test_cancelled_at_every_step_each_is_done_once_and_told_of(store, settings, put, aside):
    """Wherever a visit is cancelled, what it had carried out was told of, and the next visit does
    the rest and nothing again."""
    finished = False
    for step in count(1):
        if finished:
            break
        told = []
        intake = Intake(store, settings, tell=told.append)
        put(f"family/messages/{step}-1.json", say(f"{step} first"))
        put(f"family/messages/{step}-2.json", b"broken")
        put(f"family/messages/{step}-3.json", say(f"{step} second"))
        with trio.CancelScope() as scope:
            instrument = AtStep(step, scope.cancel)
            trio.lowlevel.add_instrument(instrument)
            try:
                await intake.take_in("family")
            finally:
                trio.lowlevel.remove_instrument(instrument)
        finished = instrument.left > 0
        mine = [text for _, text in await said(store) if text.startswith(f"{step} ")]
        assert sum(taken.done for taken in told) == len(mine)
        await intake.take_in("family")
        mine = [text for _, text in await said(store) if text.startswith(f"{step} ")]
        assert mine == [f"{step} first", f"{step} second"]
        assert len(aside()) == step
    assert step > 10


KILLED = """
import json, os, signal, sys
from itertools import count
from pathlib import Path

import trio
from nanoclaw_trio.engine.requests.intake import Intake
from nanoclaw_trio.protocol.models import RegisteredGroup
from nanoclaw_trio.settings import Settings
from nanoclaw_trio.store import deliveries, groups, tasks
from nanoclaw_trio.store.database import open_store
from nanoclaw_trio.store.models import Registration

FAMILY = Registration(jid="family@chat", group=RegisteredGroup(name="Family", folder="family"))
SCHEDULE = {
    "type": "schedule_task", "prompt": "p", "schedule_type": "interval",
    "schedule_value": "60000", "targetJid": "family@chat",
}


class KillAt(trio.abc.Instrument):
    def __init__(self, step):
        self.left = step

    def before_task_step(self, task):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


async def prepare(root):
    async with open_store(root) as store:
        await store.transact(groups.register, FAMILY)


async def take_in(root, step):
    async with open_store(root) as store:
        intake = Intake(store, Settings(project_root=root, timezone="UTC"))
        instrument = KillAt(step)
        trio.lowlevel.add_instrument(instrument)
        await intake.take_in("family")
        trio.lowlevel.remove_instrument(instrument)


async def look(root):
    async with open_store(root) as store:
        said = [one.text for one in await store.transact(deliveries.pending)]
        return said, len(await store.transact(tasks.tasks))


def in_child(function, *arguments):
    pid = os.fork()
    if pid == 0:
        trio.run(function, *arguments)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


for step in count(1):
    root = Path(sys.argv[1]) / str(step)
    mailbox = root / "data" / "ipc" / "family"
    for name in ("messages", "tasks"):
        (mailbox / name).mkdir(parents=True)
    in_child(prepare, root)
    for name, document in (("messages/1", {"type": "message", "chatJid": "family@chat", "text": "1"}),
                           ("messages/2", {"type": "message", "chatJid": "family@chat", "text": "2"}),
                           ("messages/3", {}), ("tasks/1", SCHEDULE)):
        (mailbox / f"{name}.json").write_text(json.dumps(document))
    killed = in_child(take_in, root, step)
    in_child(take_in, root, 0)
    left = [path.name for path in mailbox.rglob("*.json")]
    aside = [path.name for path in (mailbox.parent / "errors").iterdir()]
    print(json.dumps([killed, *trio.run(look, root), left, aside]), flush=True)
    if not killed:
        break
"""
"""Takes a mailbox in, killed at each of its steps in turn, and then once more in a new process."""


def test_killed_at_every_step_each_is_done_once(tmp_path):
    """SIGKILL between reading, commit and deletion neither loses a request nor does it twice."""
    argv = [sys.executable, "-c", KILLED, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [killed for killed, *_ in results].count(False) == 1
    assert len(results) > 10
    for _, *rest in results:
        assert rest == [["1", "2"], 1, [], ["family-3.json"]]


class TestLoop:
    async def test_each_interval_under_a_virtual_clock(
        self, store, settings, put, told, virtual_clock
    ):
        """At once, and then each ten seconds, all registered groups' mailboxes are looked into."""
        put("family/messages/1.json", say("1"))
        put("nobody/messages/1.json", say("1"))
        moments = []
        intake = Intake(
            store, settings, tell=lambda taken: moments.append((trio.current_time(), taken.folder))
        )
        async with open_background_nursery() as nursery:
            nursery.start_soon(intake.run)
            await trio.sleep(3)
            put("work/messages/1.json", say("2", "work@chat"))
            put("main/messages/1.json", say("3", "work@chat"))
            await trio.sleep(22)
            put("work/messages/2.json", say("4", "work@chat"))
            await trio.sleep(10)
        assert moments == [(0, "family"), (10, "main"), (10, "work"), (30, "work")]
        assert trio.testing.active_thread_count() == 0

    async def test_request_is_noticed_without_a_sweep(self, store, settings, put):
        """On the kernel's word a message is there long before the next look into all mailboxes;
        so it is from a group that was registered meanwhile."""
        put("family/messages/1.json", say("first"))
        for name in ("main/tasks/.keep", "new/messages/.keep"):
            put(name, b"")
        send, receive = trio.open_memory_channel(100)

        async def seen(folder):
            with trio.fail_after(GUARD):
                while (taken := await receive.receive()).folder != folder:
                    pass
            return taken

        intake = Intake(store, settings, tell=send.send_nowait, sweep_interval=1_000_000)
        async with open_background_nursery() as nursery:
            nursery.start_soon(intake.run)
            await seen("family")
            put("family/messages/2.json", say("second"))
            assert (await seen("family")).chats == {"family@chat"}
            put("main/tasks/1.json", REGISTER)
            await seen("main")
            put("new/messages/1.json", say("third", "new@chat"))
            await seen("new")
        assert [text for _, text in await said(store)] == ["first", "second", "third"]

    async def test_look_again_is_now(self, store, settings, put, told, virtual_clock):
        """Who changed the groups himself has all mailboxes looked into without waiting."""
        intake = Intake(store, settings, tell=told.append)
        async with open_background_nursery() as nursery:
            nursery.start_soon(intake.run)
            await trio.sleep(1)
            put("family/messages/1.json", say("hi"))
            intake.look_again()
            await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(0.01)
            assert [taken.folder for taken in told] == ["family"]

    async def test_flood_delays_nobody_else(self, store, settings, put, told, virtual_clock):
        """Ten thousand files of one group are taken part by part, and others come in between."""
        messages = put("family/messages/00000.json", say("flood")).parent
        for number in range(1, 10_000):
            (messages / f"{number:05}.json").hardlink_to(messages / "00000.json")
        put("work/messages/1.json", say("hi", "work@chat"))
        heard = trio.Event()

        def tell(taken):
            told.append(taken)
            if taken.folder == "work":
                heard.set()

        intake = Intake(store, settings, tell=tell)
        async with open_background_nursery() as nursery:
            nursery.start_soon(intake.run)
            with trio.fail_after(GUARD):
                await heard.wait()
        assert [(taken.folder, taken.done) for taken in told[:2]] == [("family", 100), ("work", 1)]
        assert told[0].has_more

    async def test_flood_is_taken_in_without_waiting(
        self, store, settings, put, told, virtual_clock
    ):
        """What a visit left is taken by the next one, at once and not with the next look."""
        for number in range(25):
            put(f"family/messages/{number:02}.json", say(str(number)))
        intake = Intake(store, settings, tell=told.append, visit_limit=10)
        async with open_background_nursery() as nursery:
            nursery.start_soon(intake.run)
            await trio.sleep(1)
        assert [taken.done for taken in told] == [10, 10, 5]

    async def test_store_that_fails_is_tried_again(
        self, store, settings, put, told, virtual_clock, capsys
    ):
        """The loop logs what a visit failed with, and goes on."""
        put("family/messages/1.json", say("x" * 500_000))
        await limit_pages(store, 60)
        intake = Intake(store, settings, tell=told.append)
        async with open_background_nursery() as nursery:
            nursery.start_soon(intake.run)
            await trio.sleep(5)
            assert told == []
            assert "mailbox can't be taken in" in capsys.readouterr().err
            await limit_pages(store, 1_000_000)
            await trio.sleep(6)
        assert [taken.done for taken in told] == [1]

    async def test_mailboxes_that_can_not_be_looked_into(
        self, store, settings, put, told, virtual_clock, ipc_root, capsys
    ):
        """Where data/ipc itself is out of order the loop says so, and looks again."""
        ipc_root.parent.mkdir(exist_ok=True)
        ipc_root.write_text("no directory")
        intake = Intake(store, settings, tell=told.append)
        async with open_background_nursery() as nursery:
            nursery.start_soon(intake.run)
            await trio.sleep(5)
            assert "mailboxes can't be looked into" in capsys.readouterr().err
            ipc_root.unlink()
            put("family/messages/1.json", say("hi"))
            await trio.sleep(6)
        assert [taken.done for taken in told] == [1]


def test_what_followed_is_added_up():
    """Two visits' results are one: the counts added, the rest joined, and what is left is the later's."""
    first = TakenIn(folder="main", done=1, chats=frozenset({"a"}), list_chats=True, has_more=True)
    later = TakenIn(
        folder="main", refused=2, broken=3, chats=frozenset({"b"}), registered=(FAMILY,)
    )
    assert first.followed_by(later) == TakenIn(
        folder="main",
        done=1,
        refused=2,
        broken=3,
        chats=frozenset({"a", "b"}),
        registered=(FAMILY,),
        list_chats=True,
    )
    assert TakenIn(folder="main", has_more=True)
    assert not TakenIn(folder="main")
