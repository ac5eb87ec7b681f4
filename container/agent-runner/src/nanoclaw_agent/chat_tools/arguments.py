"""A tool's arguments, one by one; null counts as absent. All raise InvalidRequest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoclaw_agent.chat_tools.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping


def required(arguments: Mapping[str, object], key: str) -> str:
    """A text that has to be there."""
    value = optional(arguments, key)
    if value is None:
        raise InvalidRequest(f"{key} is missing")
    return value


def optional(arguments: Mapping[str, object], key: str) -> str | None:
    """A text as it is, or None. One of nothing but spaces is neither."""
    value = arguments.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidRequest(f"{key} must be a string")
    if not value.strip():
        raise InvalidRequest(f"{key} is empty; give a text, or leave it out where it is optional")
    return value


def optional_boolean(arguments: Mapping[str, object], key: str) -> bool | None:
    """True, false, or None."""
    value = arguments.get(key)
    if value is None or isinstance(value, bool):
        return value
    raise InvalidRequest(f"{key} must be true or false")
