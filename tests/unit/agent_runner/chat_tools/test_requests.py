"""From a tool's arguments to the request in the mailbox."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_agent.chat_tools.errors import InvalidRequest
from nanoclaw_agent.chat_tools.requests import (
    LARGEST_REQUEST,
    encode_request,
    name_task,
    refresh_groups,
    register_group,
    schedule_task,
    send_message,
    update_task,
)
from nanoclaw_agent.chat_tools.tasks import KnownTasks

reproducible = settings(derandomize=True, deadline=None)

ORIGIN = {"groupFolder": "family", "timestamp": "2026-02-01T14:30:00.123Z"}
KNOWN = KnownTasks(schedule_types={"task-1": "cron", "task-2": "interval"})
UNREADABLE = KnownTasks(schedule_types={"task-9": "cron"}, complete=False)

TASK = {"prompt": "Water the flowers", "schedule_type": "cron", "schedule_value": "0 9 * * *"}
GROUP = {"jid": "2@chat", "name": "Work", "folder": "work", "trigger": "@Andy"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"text": "Hello"}, {"text": "Hello"}),
        ({"text": " a\n", "sender": "Scout"}, {"text": " a\n", "sender": "Scout"}),
        ({"text": "Hello", "sender": None}, {"text": "Hello"}),
    ],
)
def test_message(make_context, now, arguments, expected):
    """A message goes to the session's own chat, its text as it is."""
    request = send_message(arguments, context=make_context(), now=now)
    assert request == {"type": "message", "chatJid": "1@chat"} | expected | ORIGIN


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "text is missing"),
        ({"text": None}, "text is missing"),
        ({"text": ""}, "text is empty"),
        ({"text": " \n"}, "text is empty"),
        ({"text": 5}, "text must be a string"),
        ({"text": "Hello", "sender": ""}, "sender is empty"),
        ({"text": "Hello", "sender": ["x"]}, "sender must be a string"),
    ],
)
def test_message_without_text(make_context, now, arguments, problem):
    """An empty message, or one from nobody, isn't sent."""
    with pytest.raises(InvalidRequest, match=problem):
        send_message(arguments, context=make_context(), now=now)


@pytest.mark.parametrize(
    ("is_main", "arguments", "expected"),
    [
        (False, {}, {"context_mode": "isolated", "targetJid": "1@chat"}),
        (False, {"context_mode": "group"}, {"context_mode": "group", "targetJid": "1@chat"}),
        (False, {"target_group_jid": "1@chat"}, {"targetJid": "1@chat"}),
        (True, {"target_group_jid": "2@chat"}, {"targetJid": "2@chat"}),
        (True, {"context_mode": "isolated"}, {"targetJid": "1@chat"}),
    ],
)
def test_scheduled_task(make_context, now, is_main, arguments, expected):
    """A task has the id it is given, its schedule, and the chat it is for."""
    context = make_context(is_main=is_main)
    request = schedule_task(TASK | arguments, context=context, now=now, task_id="task-5")
    fixed = {"type": "schedule_task", "taskId": "task-5", "createdBy": "family"}
    assert request == fixed | TASK | {"context_mode": "isolated"} | expected | ORIGIN


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"prompt": " "}, "prompt is empty"),
        ({"prompt": None}, "prompt is missing"),
        ({"schedule_type": None}, "schedule_type is missing"),
        ({"schedule_value": None}, "schedule_value is missing"),
        ({"schedule_type": "hourly"}, "'hourly' must be one of: cron, interval, once"),
        ({"schedule_type": "once"}, "must be a local date and time"),
        ({"schedule_value": "0 9 * *"}, "has 4 fields"),
        ({"context_mode": "shared"}, "'shared' must be one of: group, isolated"),
        ({"target_group_jid": ""}, "target_group_jid is empty"),
        ({"target_group_jid": "2@chat"}, "only the main group may schedule for another chat"),
        (
            {"schedule_type": "once", "schedule_value": "2026-02-01T15:29:59"},
            "it is 2026-02-01T15:30:00 in Europe/Berlin now",
        ),
    ],
)
def test_task_that_can_not_be(make_context, now, change, problem):
    """A task is checked in all its parts before anybody is asked for it."""
    with pytest.raises(InvalidRequest, match=problem):
        schedule_task(TASK | change, context=make_context(), now=now, task_id="task-5")


@pytest.mark.parametrize("kind", ["pause_task", "resume_task", "cancel_task"])
@pytest.mark.parametrize(("task_id", "known"), [("task-1", KNOWN), ("task-3", UNREADABLE)])
def test_named_task(make_context, now, kind, task_id, known):
    """A known task may be named; without the host's list any may, and the host decides."""
    arguments = {"task_id": task_id}
    request = name_task(kind, arguments, context=make_context(), now=now, known=known)
    assert request == {"type": kind, "taskId": task_id} | ORIGIN


MANY = KnownTasks(schedule_types={f"t{number}": "cron" for number in range(23)})


@pytest.mark.parametrize(
    ("arguments", "known", "problem"),
    [
        ({}, KNOWN, "task_id is missing"),
        ({"task_id": " "}, UNREADABLE, "task_id is empty"),
        ({"task_id": "x"}, KNOWN, "there is no task 'x'; the tasks are: task-1, task-2$"),
        ({"task_id": "x"}, KnownTasks(), "there is no task 'x'; no tasks are scheduled$"),
        ({"task_id": "x"}, MANY, "t18, t19, and 3 more, which list_tasks shows$"),
    ],
)
def test_unknown_task(make_context, now, arguments, known, problem):
    """An id that isn't in the host's list is answered with those that are."""
    with pytest.raises(InvalidRequest, match=problem):
        name_task("pause_task", arguments, context=make_context(), now=now, known=known)
    with pytest.raises(InvalidRequest, match=problem):
        update_task(arguments | TASK, context=make_context(), now=now, known=known)


@pytest.mark.parametrize(
    ("known", "arguments"),
    [
        (KNOWN, {"task_id": "task-1", "prompt": "Feed the cat"}),
        (KNOWN, {"task_id": "task-1", "schedule_value": "0 8 * * *"}),
        (KNOWN, {"task_id": "task-2", "schedule_value": "60000"}),
        (KNOWN, {"task_id": "task-1", "schedule_type": "interval", "schedule_value": "60000"}),
        (KNOWN, {"task_id": "task-1", "prompt": "x", "schedule_value": "0 8 * * *"}),
        (UNREADABLE, {"task_id": "task-3", "prompt": "x"}),
        (UNREADABLE, {"task_id": "task-3"} | TASK),
        (UNREADABLE, {"task_id": "task-9", "schedule_value": "0 8 * * *"}),
    ],
)
def test_update(make_context, now, known, arguments):
    """Only what is changed is in the request; a value is checked by the type the task has."""
    request = update_task(arguments, context=make_context(), now=now, known=known)
    changes = {key: value for key, value in arguments.items() if key != "task_id"}
    fixed = {"type": "update_task", "taskId": arguments["task_id"]}
    assert request == fixed | changes | ORIGIN


@pytest.mark.parametrize(
    ("known", "arguments", "problem"),
    [
        (KNOWN, {"task_id": "task-1"}, "nothing to change"),
        (KNOWN, {"task_id": "task-1", "prompt": ""}, "prompt is empty"),
        (KNOWN, {"task_id": "task-1", "schedule_value": "60000"}, "has 1 field"),
        (KNOWN, {"task_id": "task-1", "schedule_type": "once"}, "give schedule_value beside"),
        (KNOWN, {"task_id": "task-2", "schedule_value": "0 8 * * *"}, "number of milliseconds"),
        (UNREADABLE, {"task_id": "task-3", "schedule_value": "60000"}, "give schedule_type beside"),
    ],
)
def test_update_that_can_not_be(make_context, now, known, arguments, problem):
    """A change is checked in all its parts, and one of nothing is refused."""
    with pytest.raises(InvalidRequest, match=problem):
        update_task(arguments, context=make_context(), now=now, known=known)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, {}),
        ({"requires_trigger": False}, {"requiresTrigger": False}),
        (
            {"requires_trigger": True, "folder": "A-1_b"},
            {"requiresTrigger": True, "folder": "A-1_b"},
        ),
        ({"folder": "f" * 64}, {"folder": "f" * 64}),
    ],
)
def test_registration(make_context, now, arguments, expected):
    """The main group may make a chat a group."""
    request = register_group(GROUP | arguments, context=make_context(is_main=True), now=now)
    assert request == {"type": "register_group"} | GROUP | expected | ORIGIN


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"jid": ""}, "jid is empty"),
        ({"jid": None}, "jid is missing"),
        ({"name": " "}, "name is empty"),
        ({"trigger": ""}, "trigger is empty"),
        ({"folder": ""}, "folder is empty"),
        ({"folder": "../family"}, "must be 1 to 64 letters"),
        ({"folder": "-x"}, "must be 1 to 64 letters"),
        ({"folder": "é"}, "must be 1 to 64 letters"),
        ({"folder": "work\n"}, "must be 1 to 64 letters"),
        ({"folder": "f" * 65}, "must be 1 to 64 letters"),
        ({"folder": "Global"}, "'Global' is what all groups share"),
        ({"requires_trigger": "no"}, "requires_trigger must be true or false"),
    ],
)
def test_registration_that_can_not_be(make_context, now, change, problem):
    """A group needs a chat, a name, a trigger, and a folder name that is safe as one."""
    with pytest.raises(InvalidRequest, match=problem):
        register_group(GROUP | change, context=make_context(is_main=True), now=now)


def test_refresh(make_context, now):
    """The main group may have the host look for chats anew."""
    request = refresh_groups(context=make_context(is_main=True), now=now)
    assert request == {"type": "refresh_groups"} | ORIGIN


def test_only_main_administers(make_context, now):
    """Another group is told that it may neither register nor refresh, and who may."""
    with pytest.raises(InvalidRequest, match="only the main group may register groups"):
        register_group(GROUP, context=make_context(), now=now)
    with pytest.raises(InvalidRequest, match="only the main group may refresh the list"):
        refresh_groups(context=make_context(), now=now)


def test_largest_request():
    """A request of 1 MiB is written, and one of a byte more is refused. Trap A28."""
    overhead = len(encode_request({"text": ""}))
    assert len(encode_request({"text": "x" * (LARGEST_REQUEST - overhead)})) == LARGEST_REQUEST
    with pytest.raises(InvalidRequest, match=f"has {LARGEST_REQUEST + 1} bytes, and the host"):
        encode_request({"text": "x" * (LARGEST_REQUEST - overhead + 1)})
    with pytest.raises(InvalidRequest, match="split it into several"):
        encode_request({"text": "ä" * (LARGEST_REQUEST // 2)})


@reproducible
@given(st.text())
def test_any_text_is_written_as_it_is(text):
    """A text arrives unchanged, on one line."""
    data = encode_request({"text": text})
    assert json.loads(data) == {"text": text}
    assert b"\n" not in data


def test_lone_surrogate_does_not_break_a_request():
    """Half a character, which JSON allows, becomes a question mark."""
    assert json.loads(encode_request({"text": "a\ud800b"})) == {"text": "a?b"}
