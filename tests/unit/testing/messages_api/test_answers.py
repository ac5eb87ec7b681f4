"""The answers to single calls."""

from __future__ import annotations

import json

import pytest

from nanoclaw_trio.testing.messages_api import (
    ApiError,
    DropConnection,
    Hang,
    MessagesRequest,
    Text,
    ToolUse,
)
from nanoclaw_trio.testing.messages_api.answers import (
    answer_elsewhere,
    answer_error,
    answer_reply,
    checked_body,
    side_reply,
)
from nanoclaw_trio.testing.messages_api.connection import Call

KEY = {"x-api-key": "k"}
BODY = b'{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello there"}]}'


def call(method="POST", path="/v1/messages", headers=KEY, body=BODY):
    return Call(method=method, path=path, headers=headers, body=body)


def request(**fields):
    return MessagesRequest(body={**json.loads(BODY), **fields}, headers={"x-app": "cli"})


def document(answer):
    return json.loads(b"".join(answer.pieces))


@pytest.mark.parametrize(
    ("options", "status", "about"),
    [
        ({"headers": {}}, 401, "x-api-key"),
        ({"body": None}, 413, "33554432 bytes"),
        ({"body": b"{"}, 400, "no JSON"),
        ({"body": b"\xff"}, 400, "no JSON"),
        ({"body": b"[" * 100_000}, 400, "no JSON"),
        ({"body": b"{}"}, 400, "model"),
    ],
)
def test_bad_call_is_refused(options, status, about):
    """Each way to be wrong has the API's own status, and says what is wrong."""
    error = checked_body(call(**options))
    assert error.status == status
    assert about in error.message


@pytest.mark.parametrize("headers", [{"x-api-key": ""}, {"authorization": "Bearer t"}])
def test_any_credentials_will_do(headers):
    """A key of any kind opens the door."""
    assert checked_body(call(headers=headers)) == json.loads(BODY)


@pytest.mark.parametrize(
    ("options", "status", "expected"),
    [
        ({"path": "/v1/messages/count_tokens"}, 200, {"input_tokens": 3}),
        ({"path": "/v1/messages/count_tokens", "body": b"{}"}, 400, None),
        ({"path": "/v1/messages", "method": "GET"}, 404, None),
        ({"path": "/api/oauth/profile", "method": "GET"}, 404, None),
    ],
)
def test_what_else_clients_ask(options, status, expected):
    """Tokens are counted; what isn't there is not found, in the API's own format."""
    answer = answer_elsewhere(call(**options))
    assert answer.status == status
    assert expected in (None, document(answer))
    assert status == 200 or document(answer)["type"] == "error"


def test_the_api_is_there():
    """HEAD, by which the CLI finds out whether the API is there, succeeds."""
    answer = answer_elsewhere(call("HEAD", "/api/hello"))
    assert (answer.status, answer.pieces) == (200, ())


@pytest.mark.parametrize("reply", [Hang(), DropConnection()])
def test_no_answer_is_none(reply):
    """What ends a call without an answer is left to the connection."""
    assert answer_reply(request(), reply) is reply


def test_message_is_a_document_or_a_stream():
    """The client chooses the form."""
    whole = answer_reply(request(), Text("hi"))
    assert whole.headers["content-type"] == "application/json"
    assert document(whole)["content"] == [{"type": "text", "text": "hi"}]
    stream = answer_reply(request(stream=True), Text("hi"))
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.pieces[-1] == b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def test_usage_is_estimated_or_claimed():
    """The request's size is what the reply says, or else about what it is."""
    estimated = document(answer_reply(request(), Text("hi")))
    claimed = document(answer_reply(request(), Text("hi", input_tokens=190_000)))
    assert estimated["usage"]["input_tokens"] == 3
    assert claimed["usage"]["input_tokens"] == 190_000


def test_ids_are_new_each_time():
    """No two messages, and no two tool uses, have one id: a resumed session would mix them up."""
    answers = [document(answer_reply(request(), ToolUse("A", {}))) for _ in range(2)]
    assert len({answer["id"] for answer in answers}) == 2
    assert len({answer["content"][0]["id"] for answer in answers}) == 2


@pytest.mark.parametrize("stream", [True, False])
def test_input_that_is_no_json_is_found_before_anything_is_sent(stream):
    """A reply that can't be written fails as a whole."""
    with pytest.raises(TypeError):
        answer_reply(request(stream=stream), ToolUse("A", {"x": object()}))


def test_error_has_its_headers():
    """An error says when to come back, and what else it was told to."""
    error = ApiError(429, retry_after=3, headers={"anthropic-ratelimit-requests-remaining": "0"})
    answer = answer_reply(request(), error)
    assert answer.status == 429
    assert answer.headers["retry-after"] == "3"
    assert answer.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert answer.headers["request-id"] == document(answer)["request_id"]
    assert "retry-after" not in answer_error(ApiError(500)).headers


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/html", "content-length": "3"},
        {"Content-Type": "text/html", "Content-Length": "3"},
    ],
)
def test_headers_of_an_error_come_before_ours(headers):
    """What a test asks for holds, but for the length, which is the document's."""
    answer = answer_error(ApiError(502, headers=headers))
    assert answer.headers["content-type"] == "text/html"
    assert answer.headers["content-length"] == str(len(b"".join(answer.pieces)))
    assert len(answer.headers) == 3


TITLE_SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}}
COMPACT = [{"role": "user", "content": "Do NOT call any tools. Write a <summary> block."}]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "A conversation with a test"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": TITLE_SCHEMA}}},
            '{"title":"A conversation with a test"}',
        ),
        (
            {"messages": COMPACT},
            "<analysis>It is over.</analysis>\n<summary>A conversation with a test.</summary>",
        ),
    ],
)
def test_side_request_gets_what_it_takes(fields, expected):
    """A title is JSON where JSON is asked for, and a summary is in its tags."""
    assert side_reply(request(**fields)) == Text(expected)
