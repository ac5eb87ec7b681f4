"""Which documents the views can read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.testing.messages_api import MessagesRequest
from nanoclaw_trio.testing.messages_api.checks import problem

VIEWS = """
    stream tools system texts prompt system_messages mid_turn_texts tool_results last_tool_result
    images is_compaction is_side_request
"""


def read_all(body, app="cli"):
    """Every view of a request, and its repr."""
    request = MessagesRequest(body=body, headers={"x-app": app})
    return [getattr(request, name) for name in VIEWS.split()] + [repr(request)]


def call(content="hi", role="user", **fields):
    return {"model": "m", "messages": [{"role": role, "content": content}], **fields}


BLOCKS = [
    {"type": "text", "text": "hi"},
    {"type": "tool_result", "tool_use_id": "a"},
    {"type": "tool_result", "tool_use_id": "a", "content": "done"},
    {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "done"}]},
    {"type": "tool_reference", "tool_name": "WebFetch"},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
    {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
    {"type": "thinking", "thinking": "hm"},
]


@pytest.mark.parametrize(
    "body",
    [
        *(call([block]) for block in BLOCKS),
        call("hi"),
        call("hi", role="system"),
        call([], role="assistant"),
        call(system="be brief", tools=[], max_tokens=1),
        call(system=[{"type": "text", "text": "be brief"}], tools=[{"name": "Bash"}]),
        call(system=None, tools=None),
    ],
)
def test_a_call_has_no_problem(body):
    """What the API takes is taken, and can be read."""
    assert problem(body) is None
    assert read_all(body)


@pytest.mark.parametrize(
    ("body", "about"),
    [
        (None, "a JSON object"),
        ([], "a JSON object"),
        ({}, "model"),
        ({**call(), "model": 5}, "model"),
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": {}}, "messages"),
        ({"model": "m", "messages": []}, "messages"),
        ({"model": "m", "messages": ["hi"]}, "messages"),
        ({"model": "m", "messages": [{"role": "user"}]}, "messages"),
        (call(role="god"), "messages"),
        (call(5), "messages"),
        (call(["hi"]), "messages"),
        (call([{"type": "text"}]), "messages"),
        (call([{"type": "tool_result"}]), "messages"),
        (call([{"type": "tool_result", "tool_use_id": "a", "content": 5}]), "messages"),
        (call([{"type": "tool_reference"}]), "messages"),
        (call([{"type": "image"}]), "messages"),
        (call([{"type": "image", "source": {"type": "base64"}}]), "messages"),
        (
            call([{"type": "image", "source": {"type": "base64", "media_type": "a", "data": "?"}}]),
            "messages",
        ),
        (call(system=5), "system"),
        (call(tools={}), "tools"),
        (call(tools=["Bash"]), "tools"),
        (call(tools=[{"name": 5}]), "tools"),
    ],
)
def test_a_problem_is_named(body, about):
    """What can't be read is refused, and the field is named."""
    assert problem(body).startswith(about)


KEYS = st.sampled_from(["type", "text", "tool_use_id", "tool_name", "source", "content", "name"])
KINDS = st.sampled_from(
    ["text", "image", "tool_result", "tool_reference", "base64", "Tool loaded."]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | KINDS
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.sampled_from(BLOCKS)
    ),
    max_leaves=8,
)
CONTENTS = st.text(max_size=5) | st.lists(st.sampled_from(BLOCKS), max_size=3) | JSON
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]), "content": CONTENTS}
)
MESSAGES = st.lists(MESSAGE, max_size=3)
FIELDS = {"system": CONTENTS, "tools": JSON, "stream": JSON, "context_management": JSON}


@given(
    st.fixed_dictionaries({"model": st.just("m"), "messages": MESSAGES}, optional=FIELDS),
    st.sampled_from(["cli", ""]),
)
def test_what_has_no_problem_can_be_read(body, app):
    """Every view reads every document that isn't refused."""
    if problem(body) is None:
        assert read_all(body, app)
