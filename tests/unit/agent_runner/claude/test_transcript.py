"""The CLI's record of a session, read."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_agent.agents.claude.transcript import Turn, format_conversation, parse_transcript

reproducible = settings(derandomize=True, deadline=None)

NOON = datetime(2026, 2, 1, 12, 5, tzinfo=UTC)


def entry(kind, content, **others) -> bytes:
    return json.dumps(
        {"type": kind, "message": {"role": kind, "content": content}, **others}
    ).encode()


def user(content, **others) -> bytes:
    return entry("user", content, **others)


SAID = [Turn(is_user=True, text="Hello")]


@pytest.mark.parametrize(
    ("line", "turns"),
    [
        (user("Hello"), SAID),
        (user("  Hello\n"), SAID),
        (user([{"type": "text", "text": "Hello"}]), SAID),
        (
            user([{"type": "text", "text": "A note"}, {"type": "text", "text": "Hello"}]),
            [Turn(is_user=True, text="A note\nHello")],
        ),
        (
            user([{"type": "image", "source": {}}, {"type": "text", "text": "Hello"}, 5, "x"]),
            SAID,
        ),
        (
            entry(
                "assistant",
                [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hi"}],
            ),
            [Turn(is_user=False, text="Hi")],
        ),
        (entry("assistant", [{"type": "tool_use", "name": "Bash", "input": {}}]), []),
        (user([{"type": "tool_result", "content": "text"}]), []),
        (user([{"type": "text"}]), []),
        (user([{"type": "text", "text": None}]), []),
        (user(""), []),
        (user(None), []),
        (user({"type": "text"}), []),
        (user("Hello", isMeta=False, isSidechain=False), SAID),
        (user("Caveat", isMeta=True), []),
        (user("a subagent's", isSidechain=True), []),
        (user("This session is continued", isCompactSummary=True), []),
        (user("<command-name>/compact</command-name>"), []),
        (user("<local-command-stdout>Compacted</local-command-stdout>"), []),
        (entry("system", "Hello"), []),
        (entry("from-the-future", "Hello"), []),
        (b'{"type":"user"}', []),
        (b'{"type":"user","message":"Hello"}', []),
        (b'{"type":["user"],"message":{}}', []),
        (b"", []),
        (b"{", []),
        (b"[]", []),
        (b"null", []),
        (b'\xff\xfe{"type":"user"}', []),
        (b"[" * 100_000, []),
        (b"1" * 10_000, []),
    ],
)
def test_words_are_told_from_the_rest(line, turns):
    """Both sides' words are kept; tools, subagents, the CLI's own words and garbage aren't."""
    around = user("before") + b"\n", b"\r\n" + user("after") + b"\n\n"
    before, *found, after = parse_transcript(line.join(around))
    assert (before.text, after.text) == ("before", "after")
    assert found == turns


@reproducible
@given(st.binary() | st.lists(st.binary(), max_size=5).map(b"\n".join))
def test_any_bytes_are_a_transcript(data):
    """Nothing that a file may hold is an error."""
    assert isinstance(parse_transcript(data), list)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


@reproducible
@given(st.sampled_from(["user", "assistant", "system"]), JSON, JSON)
def test_any_document_is_a_transcript(kind, content, message):
    """Whatever an entry holds, its words are texts that aren't empty."""
    lines = [entry(kind, content), json.dumps({"type": kind, "message": message}).encode()]
    assert all(turn.text for turn in parse_transcript(b"\n".join(lines)))


@pytest.mark.parametrize(
    ("title", "heading"),
    [
        ("Flowers", "# Flowers"),
        ("  two\nlines ", "# two lines"),
        ("", "# Conversation"),
        (None, "# Conversation"),
    ],
)
def test_conversation_is_markdown(title, heading):
    """A title on one line, the time with its zone, and each turn under its speaker's name."""
    turns = [Turn(is_user=True, text="Hello"), Turn(is_user=False, text="Hi\nthere")]
    text = format_conversation(turns, title=title, archived=NOON, assistant_name="Andy")
    assert text == (
        f"{heading}\n\nArchived: 2026-02-01 12:05 UTC\n\n---\n\n"
        "**User**: Hello\n\n**Andy**: Hi\nthere\n"
    )
