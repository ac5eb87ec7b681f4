"""What an agent may ask of the host: the models, and what isn't one of them."""

from __future__ import annotations

import json
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.mailbox.requests import (
    KINDS,
    MESSAGES,
    TASKS,
    CancelTask,
    PauseTask,
    RefreshGroups,
    RegisterGroup,
    ResumeTask,
    ScheduleTask,
    SendMessage,
    UpdateTask,
    decode_request,
)
from nanoclaw_trio.protocol.models import AdditionalMount, ContainerConfig

reproducible = settings(derandomize=True, deadline=None)

MESSAGE = {"type": "message", "chatJid": "a@chat", "text": "hi"}
SCHEDULE = {
    "type": "schedule_task",
    "prompt": "water the plants",
    "schedule_type": "cron",
    "schedule_value": "0 9 * * *",
    "targetJid": "a@chat",
}
REGISTER = {
    "type": "register_group",
    "jid": "b@chat",
    "name": "Work",
    "folder": "work",
    "trigger": "@Andy",
}


def encode(document: object) -> bytes:
    """A file's content."""
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("directory", "document", "request_"),
    [
        (MESSAGES, MESSAGE, SendMessage(chat_jid="a@chat", text="hi")),
        (
            MESSAGES,
            MESSAGE | {"sender": "Ada"},
            SendMessage(chat_jid="a@chat", text="hi", sender="Ada"),
        ),
        (
            TASKS,
            SCHEDULE,
            ScheduleTask(
                prompt="water the plants",
                schedule_type="cron",
                schedule_value="0 9 * * *",
                target_jid="a@chat",
                context_mode="isolated",
            ),
        ),
        (
            TASKS,
            SCHEDULE | {"taskId": "t1", "context_mode": "group", "schedule_type": "once"},
            ScheduleTask(
                prompt="water the plants",
                schedule_type="once",
                schedule_value="0 9 * * *",
                target_jid="a@chat",
                context_mode="group",
                task_id="t1",
            ),
        ),
        (TASKS, {"type": "pause_task", "taskId": "t1"}, PauseTask(task_id="t1")),
        (TASKS, {"type": "resume_task", "taskId": "t1"}, ResumeTask(task_id="t1")),
        (TASKS, {"type": "cancel_task", "taskId": "t1"}, CancelTask(task_id="t1")),
        (TASKS, {"type": "update_task", "taskId": "t1"}, UpdateTask(task_id="t1")),
        (
            TASKS,
            {
                "type": "update_task",
                "taskId": "t1",
                "prompt": "p",
                "schedule_type": "interval",
                "schedule_value": "60000",
            },
            UpdateTask(task_id="t1", prompt="p", schedule_type="interval", schedule_value="60000"),
        ),
        (TASKS, {"type": "refresh_groups"}, RefreshGroups()),
        (
            TASKS,
            REGISTER,
            RegisterGroup(jid="b@chat", name="Work", folder="work", trigger="@Andy"),
        ),
        (
            TASKS,
            REGISTER
            | {
                "requiresTrigger": False,
                "containerConfig": {
                    "additionalMounts": [{"hostPath": "~/docs", "readonly": False}],
                    "timeout": 60000,
                },
            },
            RegisterGroup(
                jid="b@chat",
                name="Work",
                folder="work",
                trigger="@Andy",
                requires_trigger=False,
                container_config=ContainerConfig(
                    additional_mounts=(AdditionalMount(host_path="~/docs", readonly=False),),
                    timeout=60000,
                ),
            ),
        ),
    ],
)
def test_each_request_is_read(directory: str, document: object, request_: object) -> None:
    """Each request of the format becomes its model, with the format's defaults."""
    assert decode_request(directory, encode(document)) == request_


@pytest.mark.parametrize("directory", [MESSAGES, TASKS])
def test_every_kind_has_a_type_of_its_own(directory: str) -> None:
    """No two types of requests are read as the same model."""
    assert len(set(KINDS[directory].values())) == len(KINDS[directory])


def test_what_says_who_asks_is_not_read() -> None:
    """A forged groupFolder or isMain, and a key that a newer agent writes, are as if not there."""
    forged = {"groupFolder": "main", "isMain": True, "createdBy": "main", "mood": [{}]}
    for directory, document in ((MESSAGES, MESSAGE), (TASKS, SCHEDULE), (TASKS, REGISTER)):
        plain = decode_request(directory, encode(document))
        assert decode_request(directory, encode(document | forged)) == plain


def test_absent_values_may_be_null() -> None:
    """Null in the place of what may be left out is the same as leaving it out."""
    nulls = {"requiresTrigger": None, "containerConfig": None}
    assert decode_request(TASKS, encode(REGISTER | nulls)) == decode_request(
        TASKS, encode(REGISTER)
    )
    assert decode_request(MESSAGES, encode(MESSAGE | {"sender": None})) == SendMessage(
        chat_jid="a@chat", text="hi"
    )


def test_sender_without_a_name_costs_no_message() -> None:
    """An empty sender is no reason to lose the text."""
    request = decode_request(MESSAGES, encode(MESSAGE | {"sender": ""}))
    assert request == SendMessage(chat_jid="a@chat", text="hi", sender="")


def test_half_an_emoji_costs_only_itself() -> None:
    """A text with half a surrogate pair is read with U+FFFD in its place."""
    request = decode_request(MESSAGES, encode(MESSAGE | {"text": "so \ud83d"}))
    assert isinstance(request, SendMessage)
    assert request.text == "so \ufffd"


@pytest.mark.parametrize(
    ("directory", "content", "problem"),
    [
        (MESSAGES, b"", "not JSON: "),
        (MESSAGES, b'{"type"', "not JSON: "),
        (MESSAGES, b"\xff", "not JSON: "),
        (MESSAGES, b"[" * 10_000, "not JSON: "),
        (TASKS, b'{"a":' * 100_000, "more than 20000 values"),
        (TASKS, b"NaN", "not JSON: "),
        (MESSAGES, b"[]", "not an object @ $"),
        (MESSAGES, b"null", "not an object @ $"),
        (TASKS, b'"refresh_groups"', "not an object @ $"),
        (TASKS, b"{}", "required field missing @ $.type"),
        (MESSAGES, encode(SCHEDULE), "not one of message @ $.type"),
        (TASKS, encode(MESSAGE), "not one of schedule_task, pause_task, "),
        (TASKS, b'{"type":["refresh_groups"]}', "not one of schedule_task, "),
        (TASKS, b'{"type":null}', "not one of schedule_task, "),
        (MESSAGES, encode(MESSAGE | {"text": 5}), "not a string @ $.text"),
        (MESSAGES, encode(MESSAGE | {"text": None}), "not a string @ $.text"),
        (MESSAGES, encode(MESSAGE | {"text": ""}), "empty @ $.text"),
        (MESSAGES, encode(MESSAGE | {"chatJid": ""}), "empty @ $.chatJid"),
        (MESSAGES, encode(MESSAGE | {"sender": 5}), "not a string @ $.sender"),
        (MESSAGES, b'{"type":"message","text":"hi"}', "required field missing @ $.chatJid"),
        (TASKS, encode(SCHEDULE | {"schedule_type": "daily"}), "not one of cron, interval, once"),
        (TASKS, encode(SCHEDULE | {"schedule_value": 60000}), "not a string @ $.schedule_value"),
        (TASKS, encode(SCHEDULE | {"context_mode": "own"}), "not one of group, isolated"),
        (TASKS, encode(SCHEDULE | {"targetJid": ["a"]}), "not a string @ $.targetJid"),
        (TASKS, encode(SCHEDULE | {"taskId": ""}), "empty @ $.taskId"),
        (TASKS, encode(SCHEDULE | {"prompt": ""}), "empty @ $.prompt"),
        (TASKS, b'{"type":"pause_task"}', "required field missing @ $.taskId"),
        (TASKS, b'{"type":"update_task","taskId":"t","prompt":""}', "empty @ $.prompt"),
        (TASKS, encode(REGISTER | {"trigger": ""}), "empty @ $.trigger"),
        (TASKS, encode(REGISTER | {"folder": 7}), "not a string @ $.folder"),
        (TASKS, encode(REGISTER | {"requiresTrigger": "no"}), "not true or false @"),
        (TASKS, encode(REGISTER | {"containerConfig": []}), "not an object @ $.containerConfig"),
        (
            TASKS,
            encode(REGISTER | {"containerConfig": {"additionalMounts": [{}]}}),
            "required field missing @ $.containerConfig.additionalMounts[0].hostPath",
        ),
        (
            TASKS,
            encode(REGISTER | {"containerConfig": {"timeout": 0}}),
            "less than 1 @ $.containerConfig.timeout",
        ),
        (
            TASKS,
            encode(REGISTER | {"containerConfig": {"timeout": 10**30}}),
            "not a whole number @ $.containerConfig.timeout",
        ),
        (TASKS, encode(REGISTER | {"jid": "", "name": ""}), "empty @ $.jid; empty @ $.name"),
    ],
)
def test_what_is_no_request_is_refused_with_the_path(
    directory: str, content: bytes, problem: str
) -> None:
    """Whatever doesn't fit is a ValueError that says what is wrong and where."""
    with pytest.raises(ValueError) as caught:
        decode_request(directory, content)
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize(
    "document",
    [
        MESSAGE | {"type": "canary"},
        MESSAGE | {"text": ["canary"]},
        MESSAGE | {"text": "canary", "chatJid": ""},
        {"type": "message", "text": "canary"},
    ],
)
def test_refusal_has_nothing_of_the_content(document: object) -> None:
    """The error's text goes into a log: nothing of what the agent wrote is in it."""
    with pytest.raises(ValueError) as caught:
        decode_request(MESSAGES, encode(document))
    assert "canary" not in "".join(traceback.format_exception(caught.value))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
KEYS = sorted({*MESSAGE, *SCHEDULE, *REGISTER, "sender", "taskId", "context_mode"})
TYPES = ["message", *KINDS[TASKS]]
documents = st.builds(
    lambda kind, fields: {"type": kind, **fields},
    st.sampled_from(TYPES) | values,
    st.dictionaries(
        st.sampled_from([*KEYS, "containerConfig", "requiresTrigger"]), values, max_size=8
    ),
)


def outcome(directory: str, content: bytes) -> None:
    """Decode; only a ValueError may come out."""
    try:
        request = decode_request(directory, content)
    except ValueError:
        return
    assert type(request) in KINDS[directory].values()


@reproducible
@given(st.sampled_from([MESSAGES, TASKS]), st.binary())
def test_any_bytes_are_a_request_or_a_value_error(directory: str, content: bytes) -> None:
    """No bytes make the decoder raise anything but a ValueError."""
    outcome(directory, content)


@reproducible
@given(st.sampled_from([MESSAGES, TASKS]), documents | values)
def test_any_document_is_a_request_or_a_value_error(directory: str, document: object) -> None:
    """No JSON document makes the decoder raise anything but a ValueError."""
    outcome(directory, encode(document))
