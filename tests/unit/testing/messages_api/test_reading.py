"""The views of a call, on documents as Claude's CLI 2.1.330 and 2.1.332 send them."""

from __future__ import annotations

import base64

import pytest

from nanoclaw_trio.testing.messages_api import reading

REMINDER = "<system-reminder>\nSign your commits.\n</system-reminder>\n"
MID_TURN = (
    "The user sent a new message while you were working:\nand\n\nhurry\n\nThis is how Claude Code "
    "surfaces messages the user sends mid-turn."
)
COMPACT = (
    "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.\n\n- Your entire response must be an "
    "<analysis> block followed by a <summary> block."
)
IMAGE = {
    "type": "image",
    "source": {
        "type": "base64",
        "media_type": "image/png",
        "data": base64.b64encode(b"png").decode(),
    },
}
CLI = {"x-app": "cli"}
BASH = {"name": "Bash", "input_schema": {"type": "object"}}


def text(content):
    return {"type": "text", "text": content}


def result(use, content):
    return {"type": "tool_result", "tool_use_id": use, "content": content}


def user(*content):
    return {"role": "user", "content": list(content)}


def call(*messages, **fields):
    return {"model": "m", "messages": list(messages), **fields}


@pytest.mark.parametrize(
    ("messages", "texts"),
    [
        ([{"role": "user", "content": "hi"}], ("hi",)),
        ([user(text("hi"), text("there"))], ("hi\nthere",)),
        ([user(text(REMINDER), text("hi\n"))], ("hi",)),
        ([user(text(f"before{REMINDER}after"))], ("before\nafter",)),
        ([user(text("hi"), IMAGE, text("[Image: source: /tmp/a.png]"))], ("hi",)),
        ([user(text("hi\n"), text("[Request interrupted by user]\n"), text("go"))], ("hi\ngo",)),
        (
            [
                user(
                    text("This session is being continued from a previous conversation that"),
                    text("<local-command-caveat>The command below…</local-command-caveat>"),
                    text("<command-name>/compact</command-name>\n<command-args></command-args>"),
                    text("<local-command-stdout>Compacted </local-command-stdout>"),
                    text("go on"),
                )
            ],
            ("go on",),
        ),
        ([user(text("hi")), user(result("a", "x")), user(text("and?"))], ("hi", "and?")),
        ([user(text("hi")), user(result("a", "x"), text("Tool loaded."))], ("hi",)),
        ([user(text("hi")), user(result("a", "x"), text(MID_TURN))], ("hi",)),
        ([user(text("Tool loaded. Now use it"))], ("Tool loaded. Now use it",)),
        ([user(text("hi")), {"role": "system", "content": "# Environment"}], ("hi",)),
        ([user(text("hi")), {"role": "assistant", "content": [text("yes?")]}], ("hi",)),
        ([user(IMAGE)], ()),
    ],
)
def test_texts_are_a_persons_own(messages, texts):
    """What the CLI puts beside a person's text is left out, and so is what others said."""
    assert reading.texts(call(*messages)) == texts


@pytest.mark.parametrize(
    ("system", "text_of_it"),
    [("be brief", "be brief"), ([text("be"), text("brief")], "be\nbrief"), (None, "")],
)
def test_system_prompt_is_joined(system, text_of_it):
    """The system prompt's blocks are one text."""
    assert reading.system(call(user(), system=system)) == text_of_it


def test_tools_are_named():
    """The tools are their names, and there may be none."""
    assert reading.tools(call(user(), tools=[BASH, {"name": "Read"}])) == ("Bash", "Read")
    assert reading.tools(call(user())) == ()


def test_mid_turn_texts_come_out_of_their_wrapping():
    """A person's message that joined a turn is found among the system messages, or beside a tool's
    result."""
    body = call(
        user(text("hi")),
        {"role": "system", "content": "# Environment"},
        {"role": "system", "content": [text(MID_TURN)]},
        user(result("a", "x"), text(MID_TURN)),
    )
    assert reading.mid_turn_texts(body) == ("and\n\nhurry",) * 2
    assert reading.system_messages(body) == ("# Environment", MID_TURN)


def test_tool_results_are_texts_by_id():
    """A result is the text of its blocks, whatever form it has."""
    body = call(
        user(result("a", "plain")),
        user(
            result("b", [text("two"), IMAGE, text("lines")]), {**result("c", ""), "content": None}
        ),
        user(result("d", [{"type": "tool_reference", "tool_name": "WebFetch"}])),
    )
    expected = {"a": "plain", "b": "two\nlines", "c": "", "d": "WebFetch"}
    assert reading.tool_results(body) == expected


def test_images_are_those_of_the_last_message_with_any():
    """Images that are linked rather than sent don't count."""
    linked = {"type": "image", "source": {"type": "url", "url": "https://example.org/"}}
    body = call(user(IMAGE), user(IMAGE, text("look"), IMAGE), user(linked))
    assert reading.images(body) == (("image/png", b"png"), ("image/png", b"png"))
    assert reading.images(call(user(text("hi")))) == ()


TITLE = {"output_config": {"format": {"type": "json_schema"}}, "tools": []}
SEARCH = {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}
MANAGED = {"context_management": {"edits": []}}


@pytest.mark.parametrize(
    ("prompt", "fields", "headers", "expected"),
    [
        ("hi", {"tools": [BASH], **MANAGED}, CLI, False),
        ("hi", {"tools": [], **MANAGED}, CLI, False),
        ("hi", {"tools": [BASH]}, CLI, False),
        ("hi", {}, {}, False),
        ("hi", {}, CLI, True),
        ("hi", TITLE, CLI, True),
        ("hi", SEARCH, CLI, True),
        (COMPACT, {"tools": [BASH], **MANAGED}, CLI, True),
        (COMPACT, {}, {}, False),
    ],
)
def test_side_requests_are_told_from_turns(prompt, fields, headers, expected):
    """Titles, searches and summaries of the CLI are no turns of the conversation."""
    body = call(user(text(prompt)), **fields)
    assert reading.is_side_request(body, headers) is expected


def test_compaction_is_the_last_message():
    """A conversation that was once asked for a summary isn't asked for one for ever."""
    assert reading.is_compaction(call(user(text("hi")), user(text(COMPACT))))
    assert not reading.is_compaction(call(user(text(COMPACT)), user(text("hi"))))


def test_estimate_grows_with_texts_alone():
    """Texts count about four characters a token; a picture doesn't, as it would count for millions."""
    assert reading.estimated_tokens(call(user(text("x" * 400)), system="y" * 400)) == 201
    assert reading.estimated_tokens(call(user(IMAGE))) == 1
