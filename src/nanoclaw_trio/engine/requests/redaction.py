"""What an agent asks of the host, without the keys that it may quote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from nanoclaw_trio.mailbox.requests import Request
    from nanoclaw_trio.workspace.secrets import Secrets

FREE_TEXTS: Final = frozenset({"text", "sender", "prompt", "name", "trigger", "task_id"})
"""Attributes of requests that may hold any text. They are shown, logged and kept; with a task's id
a chat is told of the task's failure."""


def without_keys(request: Request, secrets: Secrets) -> Request:
    """The request with each secret in its free texts replaced."""
    redacted: dict[str, Any] = {
        name: secrets.redact(value)
        for name, value in attrs.asdict(request, recurse=False).items()
        if name in FREE_TEXTS and value is not None
    }
    return attrs.evolve(request, **redacted)
