"""Requests and replies."""

from __future__ import annotations

import pytest

from nanoclaw_trio.testing.messages_api import ApiError, MessagesRequest, Text, ToolUse


def request(*contents, **fields):
    messages = [{"role": "user", "content": content} for content in contents]
    headers = {"x-api-key": "sk-ant-canary", "authorization": "Bearer canary"}
    return MessagesRequest(body={"model": "m", "messages": messages, **fields}, headers=headers)


def result(use, content):
    return [{"type": "tool_result", "tool_use_id": use, "content": content}]


def test_repr_tells_the_request_and_no_key():
    """A request can be shown anywhere: its credentials and the CLI's own 40 KB aren't shown."""
    assert repr(request("hi")) == "<MessagesRequest 'hi'>"
    assert repr(request("hi", result("a", "x"))) == "<MessagesRequest 'hi' after 'x'>"


def test_prompt_is_the_last_text():
    """The prompt is what was said last, and is empty where nothing was."""
    assert request("hi", "and now?").prompt == "and now?"
    assert request([]).prompt == ""


def test_last_tool_result_is_the_last():
    """The last result stands for all, and is None before there is one."""
    assert request(result("a", "one"), result("b", "two")).last_tool_result == "two"
    assert request("hi").last_tool_result is None


@pytest.mark.parametrize(
    ("fields", "expected"), [({}, False), ({"stream": False}, False), ({"stream": True}, True)]
)
def test_streaming_is_asked_for(fields, expected):
    """An answer is one document unless events are asked for."""
    assert request("hi", **fields).stream is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ApiError(400), "invalid_request_error"),
        (ApiError(429), "rate_limit_error"),
        (ApiError(529), "overloaded_error"),
        (ApiError(500), "api_error"),
        (ApiError(429, "api_error"), "api_error"),
    ],
)
def test_kind_of_error_belongs_to_its_status(error, expected):
    """An error is of the kind that the API has for its status, unless it is told another."""
    assert error.type == expected


@pytest.mark.parametrize("status", [200, 399, 600])
def test_an_error_has_an_errors_status(status):
    """What isn't an error's status is no error."""
    with pytest.raises(ValueError, match="status"):
        ApiError(status)


def test_replies_are_values():
    """Equal replies are equal."""
    assert ToolUse("Bash", {"command": "ls"}) == ToolUse("Bash", {"command": "ls"})
    assert Text("a") != Text("b")
