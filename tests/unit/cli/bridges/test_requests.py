"""What a client may say, and what it is told where it can't."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.cli.bridges.requests import (
    REQUESTS,
    InvalidRequest,
    Request,
    chat_message,
    decode_request,
    group_wish,
    told_chats,
)
from nanoclaw_trio.engine.requests.registrations import GroupWish
from nanoclaw_trio.protocol.converters import camel_case
from nanoclaw_trio.protocol.models import AdditionalMount, ContainerConfig

NOW = datetime(2026, 2, 1, tzinfo=UTC)

MESSAGE = {
    "type": "message",
    "chatJid": "tg:1",
    "id": "m1",
    "sender": "tg:7",
    "senderName": "Ann",
    "text": "Hello",
}


def decode(**document):
    """A request, from its keys."""
    return decode_request(json.dumps(document).encode())


def refusal(*arguments, call=decode, **keywords):
    """What is wrong with a request."""
    with pytest.raises(InvalidRequest) as caught:
        call(*arguments, **keywords)
    return str(caught.value), caught.value.ref


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        (None, NOW),
        ("2026-02-01T15:30:00Z", datetime(2026, 2, 1, 15, 30, tzinfo=UTC)),
        ("2026-02-01T16:30:00.5+01:00", datetime(2026, 2, 1, 15, 30, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_message(written, moment):
    """A message without a timestamp was said now."""
    message = chat_message(decode(**MESSAGE, **({"timestamp": written} if written else {})), NOW)
    assert message.timestamp == moment
    assert (message.chat_jid, message.id, message.text) == ("tg:1", "m1", "Hello")
    assert (message.sender, message.sender_name) == ("tg:7", "Ann")


@pytest.mark.parametrize(
    "written", ["yesterday", "2026-02-01T15:30:00", "2026-02-30T00:00:00Z", ""]
)
def test_a_time_that_is_none(written):
    """A time needs its zone, and the path to one that has none is said."""
    request = decode(**MESSAGE, timestamp=written, ref="r1")
    assert refusal(request, NOW, call=chat_message) == (
        "not a time with its zone, such as 2026-02-01T15:30:00Z @ $.timestamp",
        "r1",
    )


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({}, "required field missing @ $.type"),
        ({"type": 1}, "not a string @ $.type"),
        ({"type": "message", "ref": 1}, "not a string @ $.ref"),
        ({"type": "subscribe", "extra": 1}, None),
        ({**MESSAGE, "text": 1}, "not a string @ $.text"),
        ({key: MESSAGE[key] for key in MESSAGE if key != "chatJid"}, "missing @ $.chatJid"),
        ({"type": "chats", "chats": [{"jid": "a"}]}, "missing @ $.chats[0].name"),
        ({"type": "undeliverable", "id": "d1"}, "missing @ $.why"),
        ({"type": "register", "jid": "a", "folder": "b", "isMain": 1}, "not true or false @ $.isM"),
    ],
)
def test_what_does_not_fit(document, problem):
    """What is wrong is said with the path to it; keys that nobody knows are let be."""
    if problem is None:
        decode(**document)
    else:
        assert problem in refusal(**document)[0]


def test_an_unknown_type_is_told_all_that_there_are():
    """A type that there is none of is answered with those that there are, and with its ref."""
    problem, ref = refusal(type="shout", ref="r1")
    assert problem == f"not one of {', '.join(REQUESTS)} @ $.type"
    assert ref == "r1"


@pytest.mark.parametrize("line", [b"", b"{", b"\xff", b"[]", b'"message"', b"null"])
def test_what_is_no_object(line):
    """A line that is no JSON object is refused, and nothing of it is repeated."""
    with pytest.raises(InvalidRequest):
        decode_request(line)


@given(st.binary(max_size=64))
def test_anything_at_all(line):
    """Whatever a client sends is a request, or is refused."""
    with suppress(InvalidRequest):
        assert isinstance(decode_request(line), Request)


def test_register():
    """What isn't said of a group is left open: it stays as it was, or has a default."""
    wish = group_wish(decode(type="register", jid="tg:1", folder="f"))
    assert wish == GroupWish(jid="tg:1", folder="f")


def test_register_in_full():
    """All that can be said of a group is taken over."""
    request = decode(
        type="register",
        jid="tg:1",
        folder="f",
        name="Family",
        trigger="hey",
        requiresTrigger=True,
        isMain=True,
        containerConfig={"additionalMounts": [{"hostPath": "/x"}], "timeout": 5},
    )
    assert group_wish(request) == GroupWish(
        jid="tg:1",
        folder="f",
        name="Family",
        trigger="hey",
        requires_trigger=True,
        is_main=True,
        container_config=ContainerConfig(
            additional_mounts=(AdditionalMount(host_path="/x"),), timeout=5
        ),
    )


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"additionalMount": []}, "unknown key 'additionalMount' @ $.containerConfig"),
        ({"timeout": 0}, "less than 1 @ $.containerConfig.timeout"),
        (
            {"additionalMounts": [{}]},
            "required field missing @ $.containerConfig.additionalMounts[0].hostPath",
        ),
    ],
)
def test_a_configuration_that_does_not_fit(config, problem):
    """A container's configuration is read strictly: a misspelt mount would just be missing."""
    request = decode(type="register", jid="a", folder="b", containerConfig=config, ref="r1")
    assert refusal(request, call=group_wish) == (problem, "r1")


def test_chats():
    """A chat has an address, a name, and perhaps a time when it was heard from last."""
    told = [
        {"jid": "a", "name": "A"},
        {"jid": "b", "name": "B", "lastActivity": "2026-02-01T00:00Z"},
    ]
    first, second = told_chats(decode(type="chats", chats=told))
    assert (first.jid, first.name, first.last_activity) == ("a", "A", None)
    assert second.last_activity == NOW


def test_a_chat_with_a_time_that_is_none():
    """The path leads to the chat whose time it is."""
    told = [{"jid": "a", "name": "A"}, {"jid": "b", "name": "B", "lastActivity": "now"}]
    problem, _ = refusal(decode(type="chats", chats=told), call=told_chats)
    assert problem.endswith("@ $.chats[1].lastActivity")


@pytest.mark.parametrize("written", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_beyond_the_calendar(written):
    """A moment that can't be written in every zone is refused, of chats as of messages."""
    told = [{"jid": "a", "name": "A", "lastActivity": written}]
    problem, _ = refusal(decode(type="chats", chats=told), call=told_chats)
    assert problem == "not a time in the years 2 to 9998 @ $.chats[0].lastActivity"
    problem, _ = refusal(decode(**MESSAGE, timestamp=written), NOW, call=chat_message)
    assert problem == "not a time in the years 2 to 9998 @ $.timestamp"


@pytest.mark.parametrize("name", REQUESTS)
def test_every_request_is_in_the_table(name):
    """docs/socket has a row for each request, with all of its keys."""
    page = Path(__file__).parents[4] / "docs" / "socket.md"
    table = page.read_text().partition("## From the client")[2].partition("\n## ")[0]
    row = re.search(rf"^\| `{name}` \| (.*?) \|", table, re.MULTILINE)
    assert row is not None
    keys = {
        camel_case(field.name) + ("?" if field.default is not attrs.NOTHING else "")
        for field in attrs.fields(REQUESTS[name])
        if field.name not in {"type", "ref"}
    }
    written = row[1].partition(": an array of")[0]
    assert {a + b for a, b in re.findall(r"`(\w+)`(\??)", written)} == keys
