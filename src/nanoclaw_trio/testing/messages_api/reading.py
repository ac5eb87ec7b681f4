"""Views of the JSON document of a call: pure functions, for documents without a problem."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_REMINDER: Final = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)

# The wording of Claude's CLI below was seen with its versions 2.1.330 and 2.1.332.

_MID_TURN_BEGINNING: Final = "The user sent a new message while you were working:\n"

_NOTES: Final = (
    "<command-name>",
    "<local-command-",
    "This session is being continued from a previous conversation",
    "[Image: source:",
    "[Request interrupted by user",
    _MID_TURN_BEGINNING,
)
"""How the blocks begin that the CLI puts into a person's message."""

_TOOL_LOADED: Final = "Tool loaded."
"""What the CLI puts beside the result of its ToolSearch."""

_MID_TURN: Final = re.compile(rf"{_MID_TURN_BEGINNING}(.*?)\n\nThis is how Claude Code", re.DOTALL)
"""What is around a person's message that joins a turn which is under way."""

_HOST_ROLES: Final = ("user", "system")
"""The roles of the messages that aren't the model's."""

_SUMMARY_WANTED: Final = re.compile(r"Do NOT call any tools.*<summary>", re.DOTALL)
"""What is in the last message when the CLI compacts a conversation."""

_CHARACTERS_PER_TOKEN: Final = 4


def tools(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the tools."""
    return tuple(tool["name"] for tool in body.get("tools") or ())


def system(body: Mapping[str, Any]) -> str:
    """The system prompt's text."""
    return _text(body.get("system") or "")


def texts(body: Mapping[str, Any]) -> tuple[str, ...]:
    """What the person said, by message."""
    said = ("\n".join(_spoken(content)) for content in _contents(body, "user"))
    return tuple(text for text in said if text)


def system_messages(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts of the messages of the role "system"."""
    return tuple(_text(content) for content in _contents(body, "system"))


def mid_turn_texts(body: Mapping[str, Any]) -> tuple[str, ...]:
    """What the person said while a turn was under way.

    CLI 2.1.330 has it in a message of the role "system", 2.1.332 beside a tool's result.
    """
    said = (message["content"] for message in body["messages"] if message["role"] in _HOST_ROLES)
    return tuple(found for content in said for found in _MID_TURN.findall(_text(content)))


def tool_results(body: Mapping[str, Any]) -> dict[str, str]:
    """The text of each tool's result, by the id of the use."""
    return {
        block["tool_use_id"]: _text(block.get("content") or "")
        for content in _contents(body, "user")
        for block in _blocks(content)
        if block.get("type") == "tool_result"
    }


def images(body: Mapping[str, Any]) -> tuple[tuple[str, bytes], ...]:
    """The media type and content of the images in the last message that has any."""
    found = [tuple(_images_of(content)) for content in _contents(body, "user")]
    return next(filter(None, reversed(found)), ())


def is_compaction(body: Mapping[str, Any]) -> bool:
    """Whether the last message asks for a summary of all before it."""
    return _SUMMARY_WANTED.search(_text(body["messages"][-1]["content"])) is not None


def is_side_request(body: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    """Whether Claude's CLI asks for its own purposes.

    A conversation manages its context, unless that is switched off, and has tools that the CLI
    runs, unless there are none; a side request has neither.
    """
    if headers.get("x-app") != "cli":
        return False
    has_tools = any("input_schema" in tool for tool in body.get("tools") or ())
    return is_compaction(body) or not ("context_management" in body or has_tools)


def estimated_tokens(body: Mapping[str, Any]) -> int:
    """About how many tokens the texts of a call are; pictures and tools count nothing."""
    spoken = sum(len(_text(message["content"])) for message in body["messages"])
    return (len(system(body)) + spoken) // _CHARACTERS_PER_TOKEN + 1


def _contents(body: Mapping[str, Any], role: str) -> Iterator[Any]:
    return (message["content"] for message in body["messages"] if message["role"] == role)


def _blocks(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _texts_of(content: Any) -> Iterator[str]:
    for block in _blocks(content):
        match block:
            case {"type": "text", "text": text} | {"type": "tool_reference", "tool_name": text}:
                yield text


def _text(content: Any) -> str:
    return "\n".join(_texts_of(content))


def _spoken(content: Any) -> list[str]:
    without_reminders = (_REMINDER.sub("", text).strip() for text in _texts_of(content))
    return [text for text in without_reminders if text and not _is_note(text)]


def _is_note(text: str) -> bool:
    return text.startswith(_NOTES) or text == _TOOL_LOADED


def _images_of(content: Any) -> Iterator[tuple[str, bytes]]:
    for block in _blocks(content):
        match block:
            case {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}:
                yield kind, base64.b64decode(data)
