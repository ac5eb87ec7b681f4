"""What the SDK's messages mean to a session."""

from __future__ import annotations

import pytest

pytest.importorskip("claude_agent_sdk", reason="the agent's own dependencies aren't installed")

import claude_agent_sdk as sdk

from nanoclaw_agent.agents.claude.events import (
    INTERRUPTED,
    KEY_ADVICE,
    MOST_LISTED,
    WITHOUT_WORDS,
    QueryEnded,
    QueryRefused,
    Resting,
    Said,
    SessionNamed,
    understand,
)


def said(uuid="u", parent=None, error=None):
    return sdk.AssistantMessage(
        content=[sdk.TextBlock(text="Hi")],
        model="m",
        uuid=uuid,
        parent_tool_use_id=parent,
        error=error,
    )


def result(*, is_error=False, **fields):
    return sdk.ResultMessage(
        subtype="success",
        duration_ms=1,
        duration_api_ms=1,
        is_error=is_error,
        num_turns=1,
        session_id="s",
        **fields,
    )


def state(name):
    return sdk.SystemMessage(subtype="session_state_changed", data={"state": name})


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (sdk.SystemMessage(subtype="init", data={"session_id": "s"}), SessionNamed("s")),
        (sdk.SystemMessage(subtype="compact_boundary", data={}), None),
        (said(), Said("u")),
        (said(parent="tool"), None),
        (said(uuid=None), None),
        (said(error="rate_limit"), Said("u")),
        (said(error="authentication_failed"), QueryRefused(f"Hi ({KEY_ADVICE})")),
        (said(error="authentication_failed", parent="tool"), None),
        (sdk.UserMessage(content="Hello"), None),
        (sdk.StreamEvent(uuid="u", session_id="s", event={}), None),
        (result(result="Hi"), QueryEnded("s", "Hi", are_all=False)),
        (result(result=""), QueryEnded("s", None, are_all=False)),
        (result(), QueryEnded("s", None, are_all=False)),
        (result(user_message_uuids=["a", "b"]), QueryEnded("s", None, ("a", "b"))),
        (
            result(user_message_uuids=["a"] * MOST_LISTED),
            QueryEnded("s", None, ("a",) * MOST_LISTED, are_all=False),
        ),
        (result(user_message_uuids=[]), QueryEnded("s", None, are_all=False)),
        (result(origin={"kind": "task-notification"}), QueryEnded("s", None)),
        (
            result(origin={"kind": "task-notification"}, user_message_uuids=["a"]),
            QueryEnded("s", None, ("a",)),
        ),
        (
            result(is_error=True, errors=["[ede]"], terminal_reason="aborted_tools"),
            QueryRefused(INTERRUPTED),
        ),
        (
            result(result="Hi", terminal_reason="completed", user_message_uuids=["a"]),
            QueryEnded("s", "Hi", ("a",)),
        ),
        (state("idle"), Resting(is_idle=True)),
        (state("running"), Resting(is_idle=False)),
        (state(None), Resting(is_idle=False)),
        (result(is_error=True, result="API Error: 529"), QueryRefused("API Error: 529")),
        (result(is_error=True, errors=["one", "two"], result="no"), QueryRefused("one; two")),
        (result(is_error=True, errors=[]), QueryRefused(WITHOUT_WORDS)),
        (result(is_error=True, result=""), QueryRefused(WITHOUT_WORDS)),
    ],
)
def test_messages_are_understood(message, event):
    """Sessions, own words and results are events; subagents and all else aren't."""
    assert understand(message) == event
