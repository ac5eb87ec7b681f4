"""Replies as JSON and as server-sent events."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.testing.messages_api import ApiError, Text, ToolUse
from nanoclaw_trio.testing.messages_api.events import (
    Message,
    claimed_tokens,
    document,
    error_document,
    event_stream,
    flatten,
)


def message(*contents):
    return Message(id="msg_1", model="m", contents=contents, input_tokens=7)


def ids():
    return (f"toolu_{number}" for number in itertools.count(1))


def read_events(pieces):
    """The documents of the events, each of which is one piece."""
    for piece in pieces:
        name, data, *rest = piece.decode().split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert rest == ["", ""]
        yield event


def assemble(events):
    """The message that a client makes of the events."""
    for event in events:
        match event:
            case {"type": "message_start"}:
                whole = event["message"]
            case {"type": "content_block_start"}:
                assert event["index"] == len(whole["content"])
                whole["content"].append(event["content_block"])
                partial = ""
            case {"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}:
                whole["content"][event["index"]]["text"] += text
            case {"type": "content_block_delta", "delta": {"type": "input_json_delta"}}:
                partial += event["delta"]["partial_json"]
            case {"type": "content_block_stop"} if partial:
                whole["content"][event["index"]]["input"] = json.loads(partial)
            case {"type": "message_delta"}:
                whole |= event["delta"]
                whole["usage"] |= event["usage"]
    return whole


def test_text_is_streamed_as_the_reference_has_it():
    """The events of a text come in the reference's order, and the text in a few pieces."""
    events = list(read_events(event_stream(message(Text("Hello")))))
    assert [event["type"] for event in events] == [
        "message_start",
        "ping",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert [e["delta"]["text"] for e in events if "index" in e and "delta" in e] == [
        "He",
        "ll",
        "o",
    ]
    assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}


def test_whole_message_is_as_the_reference_has_it():
    """The document of a message has every field that clients look for."""
    assert json.loads(document(message(ToolUse("Bash", {"command": "ls"}, id="toolu_1")))) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}}
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 7,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 19,
        },
    }


VALUES = st.text() | st.integers(-(2**53), 2**53) | st.none() | st.lists(st.booleans())
TEXTS = st.builds(Text, st.text())
TOOL_USES = st.builds(ToolUse, st.text(), st.dictionaries(st.text(), VALUES), st.none() | st.text())


@given(st.lists(TEXTS | TOOL_USES, max_size=4))
def test_stream_is_the_document_in_pieces(reply):
    """A client that puts the events together has the same as one that asked for the document."""
    whole = message(*flatten(reply, ids()))
    assert assemble(read_events(event_stream(whole))) == json.loads(document(whole))


@pytest.mark.parametrize(
    ("reply", "blocks"),
    [
        (Text("a"), (Text("a"),)),
        ([Text("a"), Text("b")], (Text("a"), Text("b"))),
        (ToolUse("Bash", {}), (ToolUse("Bash", {}, id="toolu_1"),)),
        (ToolUse("Bash", {}, id="mine"), (ToolUse("Bash", {}, id="mine"),)),
        (ToolUse("Bash", {}, text="so"), (Text("so"), ToolUse("Bash", {}, id="toolu_1"))),
        (
            (ToolUse("A", {}), ToolUse("B", {})),
            (ToolUse("A", {}, id="toolu_1"), ToolUse("B", {}, id="toolu_2")),
        ),
    ],
)
def test_reply_becomes_blocks(reply, blocks):
    """What is said before a tool use is a block of its own, and each tool use gets an id."""
    assert flatten(reply, ids()) == blocks


@pytest.mark.parametrize("reply", ["hi", [Text("a"), "b"], [ApiError(400)], None])
def test_what_is_no_reply_is_refused(reply):
    """A model that answers with something else fails, whatever it is."""
    with pytest.raises(TypeError):
        flatten(reply, ids())


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ([Text("a")], None),
        ([Text("a"), Text("b", input_tokens=9)], 9),
        ([Text("a", input_tokens=0)], 0),
        ([ToolUse("A", {})], None),
    ],
)
def test_size_of_the_request_can_be_claimed(contents, expected):
    """A text may say how large the request was."""
    assert claimed_tokens(contents) == expected


def test_error_is_as_the_reference_has_it():
    """An error's document has its kind, its message and the request's id."""
    assert json.loads(error_document(ApiError(429, message="slow down"), "req_1")) == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "slow down"},
        "request_id": "req_1",
    }
