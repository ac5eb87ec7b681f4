"""Whether a document is one that the views of it can read: what the API answers 400 to."""

from __future__ import annotations

import binascii
from typing import Any, Final


def problem(body: Any) -> str | None:
    """What is wrong with a document; None if it is a call of the Messages API."""
    if not isinstance(body, dict):
        return "a JSON object is required"
    wrong = [name for name, is_right in _FIELDS.items() if not is_right(body.get(name))]
    return f"{wrong[0]}: missing, or not what it should be" if wrong else None


def _are_messages(value: Any) -> bool:
    return isinstance(value, list) and value != [] and all(map(_is_message, value))


def _is_message(message: Any) -> bool:
    match message:
        case {"role": "user" | "assistant" | "system", "content": content}:
            return _is_content(content)
        case _:
            return False


def _is_optional_content(value: Any) -> bool:
    return value is None or _is_content(value)


def _are_optional_tools(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(map(_is_tool, value)))


def _is_tool(tool: Any) -> bool:
    return isinstance(tool, dict) and isinstance(tool.get("name"), str)


def _is_content(content: Any) -> bool:
    if isinstance(content, list):
        return all(map(_is_block, content))
    return isinstance(content, str)


def _is_block(block: Any) -> bool:
    match block:
        case {"type": "text"}:
            return isinstance(block.get("text"), str)
        case {"type": "tool_result"}:
            is_named = isinstance(block.get("tool_use_id"), str)
            return is_named and _is_optional_content(block.get("content"))
        case {"type": "tool_reference"}:
            return isinstance(block.get("tool_name"), str)
        case {"type": "image"}:
            return _is_source(block.get("source"))
        case _:
            return isinstance(block, dict)


def _is_source(source: Any) -> bool:
    match source:
        case {"type": "base64", "media_type": str(), "data": str() as data}:
            return _is_base64(data)
        case {"type": "url" | "file"}:
            return True
        case _:
            return False


def _is_base64(data: str) -> bool:
    try:
        binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        return False
    return True


_FIELDS: Final = {
    "model": lambda value: isinstance(value, str),
    "messages": _are_messages,
    "system": _is_optional_content,
    "tools": _are_optional_tools,
}
