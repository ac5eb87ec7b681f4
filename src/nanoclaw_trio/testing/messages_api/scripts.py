"""Models to begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from nanoclaw_trio.testing.messages_api.models import ApiError, Text

if TYPE_CHECKING:
    from nanoclaw_trio.testing.messages_api.models import MessagesRequest, Model, Reply

_PASSING: Final = frozenset({408, 409, 429})
"""The statuses 4xx after which the same request may succeed."""


def scripted(*replies: Reply) -> Model:
    """A model that gives these replies in order, one for each call.

    A refusal, that is an error 4xx but 408, 409 and 429, is given again for as long as the client
    sends the same once more: Claude's CLI does so five times after an error 400. When there are no
    more replies, the answer is an error 400 that names the call.
    """
    remaining = iter(replies)
    refused: dict[Any, Reply] = {}

    def model(request: MessagesRequest) -> Reply:
        conversation = _conversation(request)
        if conversation in refused:
            return refused[conversation]
        reply = next(remaining, _run_out(request, len(replies)))
        refused.clear()
        if _is_refusal(reply):
            refused[conversation] = reply
        return reply

    return model


def _conversation(request: MessagesRequest) -> tuple[object, ...]:
    """What stays the same when a client sends the same once more."""
    session = request.headers.get("x-claude-code-session-id")
    said = request.texts, request.mid_turn_texts
    return session, *said, tuple(request.tool_results.items())


def _is_refusal(reply: Reply) -> bool:
    if not isinstance(reply, ApiError):
        return False
    return reply.status in range(400, 500) and reply.status not in _PASSING


def _run_out(request: MessagesRequest, count: int) -> ApiError:
    return ApiError(400, message=f"the script has {count} replies, and none is left for {request}")


def echo(request: MessagesRequest) -> Text:
    """A model that says what it was told."""
    return Text(f"echo: {request.prompt}")
