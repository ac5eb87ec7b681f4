"""The tools as the SDK serves them, called through a real MCP client."""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import trio

pytest.importorskip("claude_agent_sdk", reason="the agent's own dependencies aren't installed")

from mcp.shared.memory import create_connected_server_and_client_session

from nanoclaw_agent.chat_tools.catalogue import SEND_MESSAGE, TOOLS
from nanoclaw_agent.chat_tools.requests import LARGEST_REQUEST
from nanoclaw_agent.chat_tools.server import SERVER_NAME, _sdk_tool, make_chat_server
from nanoclaw_agent.chat_tools.tools import ChatTools

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

NAMES = [
    "send_message",
    "schedule_task",
    "list_tasks",
    "pause_task",
    "resume_task",
    "cancel_task",
    "update_task",
    "register_group",
    "refresh_groups",
]

ORIGIN = {"groupFolder": "family", "timestamp": "2026-02-01T14:30:00.123Z"}
TASK = {"prompt": "Water the flowers", "schedule_type": "interval", "schedule_value": "60000"}
GROUP = {"jid": "2@chat", "name": "Work", "folder": "work", "trigger": "@Andy"}


@asynccontextmanager
async def connected(context) -> AsyncIterator[Any]:
    """An MCP client of the server for this context."""
    server = make_chat_server(context)["instance"]
    with trio.fail_after(60):
        async with create_connected_server_and_client_session(server) as client:
            yield client


@pytest.fixture
async def session(make_context) -> AsyncIterator[Callable[..., Awaitable[tuple[str, bool]]]]:
    """Call a tool of a group's session; the answer's text, and whether it is an error."""
    async with connected(make_context()) as client:
        yield _caller(client)


@pytest.fixture
async def main_session(make_context) -> AsyncIterator[Callable[..., Awaitable[tuple[str, bool]]]]:
    """The same in the main group's session."""
    async with connected(make_context(is_main=True)) as client:
        yield _caller(client)


def _caller(client):
    async def call(name: str, /, **arguments: Any) -> tuple[str, bool]:
        result = await client.call_tool(name, arguments)
        [content] = result.content
        return content.text, bool(result.isError)

    return call


@pytest.fixture
def written(ipc) -> Callable[[], list[Any]]:
    """What lies in the mailbox for the host, in order; nothing else may lie there."""

    def read() -> list[Any]:
        paths = [path for name in ("messages", "tasks") for path in sorted((ipc / name).glob("*"))]
        assert all(path.name.endswith(".json") for path in paths)
        return [(path.parent.name, json.loads(path.read_bytes())) for path in paths]

    return read


async def test_tools_are_listed(make_context):
    """All tools have the original's names, a description, and a schema that takes nothing else."""
    config = make_chat_server(make_context())
    assert (config["type"], config["name"], SERVER_NAME) == ("sdk", "nanoclaw", "nanoclaw")
    async with connected(make_context()) as client:
        listed = (await client.list_tools()).tools
    assert [tool.name for tool in listed] == NAMES
    for tool in listed:
        jsonschema.Draft202012Validator.check_schema(tool.inputSchema)
        assert tool.inputSchema["additionalProperties"] is False
        assert set(tool.inputSchema["required"]) <= set(tool.inputSchema["properties"])
        assert all(value["description"] for value in tool.inputSchema["properties"].values())
        assert tool.description
        assert tool.annotations.readOnlyHint == (tool.name == "list_tasks")


def test_schemas_say_what_may_be_left_out():
    """The arguments of each tool, those in capitals required."""
    shown = {
        tool.name: " ".join(x.upper() if x in tool.required else x for x in tool.properties)
        for tool in TOOLS
    }
    assert shown == {
        "send_message": "TEXT sender",
        "schedule_task": "PROMPT SCHEDULE_TYPE SCHEDULE_VALUE context_mode target_group_jid",
        "list_tasks": "",
        "pause_task": "TASK_ID",
        "resume_task": "TASK_ID",
        "cancel_task": "TASK_ID",
        "update_task": "TASK_ID prompt schedule_type schedule_value",
        "register_group": "JID NAME FOLDER TRIGGER requires_trigger",
        "refresh_groups": "",
    }


async def test_messages_are_sent_in_order(session, written):
    """Each message is a file, and their names sort as they were said."""
    for text in ("one", "two", "three"):
        answer = await session("send_message", text=text, sender="Scout")
        assert answer == (
            "The message is in the host's mailbox and will be sent from there.",
            False,
        )
    message = {"type": "message", "chatJid": "1@chat", "sender": "Scout"} | ORIGIN
    assert written() == [("messages", message | {"text": text}) for text in ("one", "two", "three")]


async def test_scheduled_task_can_be_named_at_once(session, written, put_snapshot):
    """A task's id is in the answer, and good for other tools before the host has listed it."""
    put_snapshot()
    text, is_error = await session("schedule_task", **TASK)
    assert not is_error
    assert "It isn't done yet" in text
    [task_id] = re.findall(r"task-1769956200123-[0-9a-f]{8}", text)
    assert task_id in (await session("list_tasks"))[0]
    answer = await session("update_task", task_id=task_id, schedule_value="5000")
    not_yet = "It isn't done yet: the request is in its mailbox."
    assert answer == (f"The host was asked to update task {task_id}. {not_yet}", False)
    assert not (await session("cancel_task", task_id=task_id))[1]
    assert await session("list_tasks") == ("No tasks are scheduled.", False)
    fixed = {"context_mode": "isolated", "targetJid": "1@chat", "createdBy": "family"}
    name = {"taskId": task_id} | ORIGIN
    assert written() == [
        ("tasks", {"type": "schedule_task"} | TASK | fixed | name),
        ("tasks", {"type": "update_task", "schedule_value": "5000"} | name),
        ("tasks", {"type": "cancel_task"} | name),
    ]


async def test_new_schedule_type_is_remembered(session, put_snapshot, make_task):
    """After a change of type, a value is checked by the new one, though the list has the old."""
    put_snapshot(make_task())
    change = {"schedule_type": "interval", "schedule_value": "5000"}
    assert not (await session("update_task", task_id="task-1", **change))[1]
    assert not (await session("update_task", task_id="task-1", schedule_value="6000"))[1]
    text, is_error = await session("update_task", task_id="task-1", schedule_value="0 9 * * *")
    assert is_error
    assert "milliseconds" in text


@pytest.mark.parametrize("name", ["pause_task", "resume_task", "cancel_task"])
async def test_listed_task_is_changed(session, written, put_snapshot, make_task, name):
    """A task of the host's list may be paused, resumed and cancelled."""
    put_snapshot(make_task())
    text, is_error = await session(name, task_id="task-1")
    assert not is_error
    assert text.startswith(f"The host was asked to {name.split('_')[0]} task task-1.")
    assert written() == [("tasks", {"type": name, "taskId": "task-1"} | ORIGIN)]


async def test_tasks_of_others_are_not_shown(session, written, put_snapshot, make_task):
    """A group sees and names its own tasks only, even if the list has others."""
    put_snapshot(make_task(), make_task(id="task-2", groupFolder="work"))
    text, _ = await session("list_tasks")
    assert "task-1" in text
    assert "task-2" not in text
    assert await session("pause_task", task_id="task-2") == (
        "Nothing was sent: there is no task 'task-2'; the tasks are: task-1.",
        True,
    )
    assert written() == []


async def test_main_sees_all_tasks(main_session, written, put_snapshot, make_task):
    """The main group sees whose tasks there are, and may change them."""
    put_snapshot(make_task(id="task-2", groupFolder="work"))
    assert "task-2" in (await main_session("list_tasks"))[0]
    assert "group work" in (await main_session("list_tasks"))[0]
    assert not (await main_session("cancel_task", task_id="task-2"))[1]
    assert len(written()) == 1


async def test_without_a_list_the_host_decides(session, written):
    """Where no list can be read, list_tasks says so and the others send what they are asked."""
    assert await session("list_tasks") == (
        "there is no list of tasks: current_tasks.json: the host has written none.",
        True,
    )
    assert not (await session("pause_task", task_id="task-7"))[1]
    assert written() == [("tasks", {"type": "pause_task", "taskId": "task-7"} | ORIGIN)]


async def test_main_administers(main_session, written):
    """The main group may register a chat, schedule for it, and refresh the list of chats."""
    answer, _ = await main_session("register_group", **GROUP, requires_trigger=False)
    assert answer.startswith("The host was asked to register 2@chat as the group 'Work'.")
    assert not (await main_session("refresh_groups"))[1]
    assert not (await main_session("schedule_task", **TASK, target_group_jid="2@chat"))[1]
    documents = [document for _, document in written()]
    assert documents[0] == {"type": "register_group", "requiresTrigger": False} | GROUP | ORIGIN
    assert documents[1] == {"type": "refresh_groups"} | ORIGIN
    assert documents[2]["targetJid"] == "2@chat"


@pytest.mark.parametrize(
    ("name", "arguments", "problem"),
    [
        ("send_message", {}, "'text' is a required property"),
        ("send_message", {"text": " "}, "Nothing was sent: text is empty"),
        ("send_message", {"text": "x", "chat_jid": "2@chat"}, "'chat_jid' was unexpected"),
        ("send_message", {"text": "x" * LARGEST_REQUEST}, "the host reads at most 1048576"),
        ("schedule_task", TASK | {"schedule_type": "daily"}, "'daily' is not one of"),
        ("schedule_task", TASK | {"schedule_value": 60000}, "60000 is not of type 'string'"),
        ("schedule_task", TASK | {"schedule_value": "1h"}, "must be a number of milliseconds"),
        ("schedule_task", TASK | {"context_mode": "x"}, "'x' is not one of"),
        ("schedule_task", TASK | {"target_group_jid": "2@chat"}, "only the main group"),
        ("update_task", {"task_id": "task-1"}, "nothing to change"),
        ("register_group", GROUP, "only the main group may register groups"),
        ("refresh_groups", {}, "only the main group may refresh the list of groups"),
        ("speak", {}, "Tool 'speak' not found"),
    ],
)
async def test_mistake_is_explained_and_nothing_written(session, written, name, arguments, problem):
    """A call that can't be carried out is an error whose text says why."""
    text, is_error = await session(name, **arguments)
    assert is_error
    assert problem in text
    assert written() == []


async def test_disk_that_refuses_is_an_answer(session, ipc):
    """When the mailbox can't be written the model is told that nothing was sent."""
    ipc.write_text("no directory")
    assert await session("send_message", text="Hello") == (
        "Nothing was sent: the mailbox can't be written: Not a directory.",
        True,
    )


async def test_cancelled_call_sends_nothing(make_context, written):
    """A call that is cancelled before its turn leaves nothing in the mailbox."""
    handler = ChatTools(make_context()).handlers()["send_message"]
    with trio.CancelScope() as scope:
        scope.cancel()
        await _sdk_tool(SEND_MESSAGE, handler).handler({"text": "Hello"})
    assert scope.cancelled_caught
    assert written() == []
