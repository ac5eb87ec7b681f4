"""Models that are given."""

from __future__ import annotations

import pytest

from nanoclaw_trio.testing.messages_api import ApiError, Hang, MessagesRequest, Text, echo, scripted


def request(prompt, session="s"):
    messages = [{"role": "user", "content": prompt}]
    headers = {"x-claude-code-session-id": session}
    return MessagesRequest(body={"model": "m", "messages": messages}, headers=headers)


def test_replies_come_in_order():
    """Each call gets the next reply, whatever it asks."""
    model = scripted(Text("a"), Hang(), [Text("b")])
    assert [model(request("hi")) for _ in range(3)] == [Text("a"), Hang(), [Text("b")]]


def test_an_empty_script_names_the_call():
    """When the replies have run out, the error says for what."""
    model = scripted(Text("a"))
    model(request("hi"))
    for _ in range(2):
        error = model(request("and now?"))
        assert error.status == 400
        assert error.message == (
            "the script has 1 replies, and none is left for <MessagesRequest 'and now?'>"
        )


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_refusal_stays_for_the_same_call(status):
    """A client that sends the same once more is refused again; another call gets the next reply."""
    refusal = ApiError(status)
    model = scripted(refusal, Text("a"), Text("b"))
    assert [model(request("hi")) for _ in range(6)] == [refusal] * 6
    assert model(request("and now?")) == Text("a")
    assert model(request("hi")) == Text("b")


def test_refusal_is_of_its_session():
    """The same words in another session are another call."""
    model = scripted(ApiError(400), Text("a"))
    model(request("hi", session="one"))
    assert model(request("hi", session="two")) == Text("a")


@pytest.mark.parametrize("status", [408, 409, 429, 500, 529])
def test_failure_passes(status):
    """After an error that may pass, the same call gets the next reply."""
    model = scripted(ApiError(status), Text("a"))
    model(request("hi"))
    assert model(request("hi")) == Text("a")


def test_echo_says_what_it_was_told():
    """The echo needs no script."""
    assert echo(request("hi")) == Text("echo: hi")
