"""What was said, out of the CLI's own record of a session. Pure.

A record is a file with a JSON object a line. Lines of an unknown kind are passed over: the format
is the CLI's, and grows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime


NOT_SAID: Final = ("isMeta", "isSidechain", "isCompactSummary")
"""The marks of entries that neither side has said in this conversation."""

RECORDS: Final = ("<command-name>", "<local-command-")
"""How the records of slash commands begin."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One side's words."""

    is_user: bool
    text: str


def parse_transcript(data: bytes) -> list[Turn]:
    """The words of both sides, in order.

    Tools, their results and subagents are left out, and so is what the CLI says in the user's name:
    summaries of what it has forgotten, and records of commands.
    """
    return [turn for line in data.splitlines() for turn in _turns(line)]


def _turns(line: bytes) -> Iterator[Turn]:
    entry = _decode(line)
    kind, message = entry.get("type"), entry.get("message")
    if kind not in ("user", "assistant") or not isinstance(message, dict):
        return
    if any(entry.get(mark) for mark in NOT_SAID):
        return
    text = _text(message.get("content"))
    if text and not text.startswith(RECORDS):
        yield Turn(is_user=kind == "user", text=text)


def _decode(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _text(content: object) -> str:
    if isinstance(content, str):
        return content.strip()
    blocks = content if isinstance(content, list) else []
    return "\n".join(_block_texts(blocks)).strip()


def _block_texts(blocks: Iterable[object]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, dict) and block.get("type") == "text":
            text = block.get("text")
            if isinstance(text, str):
                yield text


def format_conversation(
    turns: Iterable[Turn], *, title: str | None, archived: datetime, assistant_name: str
) -> str:
    """The conversation in Markdown, whole."""
    title = " ".join((title or "").split()) or "Conversation"
    heading = f"# {title}\n\nArchived: {archived:%Y-%m-%d %H:%M %Z}\n\n---\n"
    names = {True: "User", False: assistant_name}
    return "\n".join([heading, *(f"**{names[turn.is_user]}**: {turn.text}\n" for turn in turns)])
