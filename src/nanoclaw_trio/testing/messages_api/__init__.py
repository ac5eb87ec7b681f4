"""An imitation of Anthropic's Messages API, good enough for the real Claude Agent SDK and its CLI.

For tests of agents and bridges without a key and without the internet: its model is a script.

    async with open_messages_api(scripted(ToolUse("Bash", {"command": "date"}), Text("Now."))) as api:
        ...  # ANTHROPIC_BASE_URL=api.url, ANTHROPIC_API_KEY=anything
        assert "2026" in api.requests[1].last_tool_result

A model is any function from :class:`MessagesRequest` to a :data:`Reply`. What the CLI asks for its
own purposes, such as a title, is answered by the server itself. In the CLI's environment,
CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 keeps it from asking anybody else, and
CLAUDE_CODE_MAX_RETRIES=1 makes errors quick.

It imitates what clients of the API meet: JSON and server-sent events, error documents, keep-alive,
the limit of 32 MB. It has no vision, no batches, no files and no caching, and counts tokens roughly.
:mod:`~nanoclaw_trio.testing.messages_api.__main__` serves it as a program. It needs h11, of the
extra `nanoclaw-trio[testing]`.
"""

from __future__ import annotations

from nanoclaw_trio.testing.messages_api.models import (
    ApiError,
    Content,
    DropConnection,
    Hang,
    MessagesRequest,
    Model,
    Reply,
    Text,
    ToolUse,
)
from nanoclaw_trio.testing.messages_api.scripts import echo, scripted
from nanoclaw_trio.testing.messages_api.server import MessagesApi, open_messages_api

__all__ = [
    "ApiError",
    "Content",
    "DropConnection",
    "Hang",
    "MessagesApi",
    "MessagesRequest",
    "Model",
    "Reply",
    "Text",
    "ToolUse",
    "echo",
    "open_messages_api",
    "scripted",
]
