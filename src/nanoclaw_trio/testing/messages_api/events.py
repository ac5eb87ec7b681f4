"""A reply as the API writes it: one JSON document, or server-sent events.

The format is that of Anthropic's reference: https://docs.anthropic.com/en/api/messages-streaming
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import orjson
from attrs import evolve, frozen

from nanoclaw_trio.testing.messages_api.models import Content, Text, ToolUse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nanoclaw_trio.testing.messages_api.models import ApiError

_PIECES: Final = 3
"""Deltas for each block: enough that a client has to put them together."""

_BYTES_PER_TOKEN: Final = 4


@frozen(kw_only=True)
class Message:
    """An answer of the model, with all that it needs to be written down.

    Attributes:
        id: The message's id. The CLI takes two messages with one id for one.
        model: The name of the model that was asked for.
        contents: The blocks; each tool use has its id, and no text of its own.
        input_tokens: How large the request was.
    """

    id: str
    model: str
    contents: Sequence[Content]
    input_tokens: int

    @property
    def stop_reason(self) -> str:
        """Why the model stopped."""
        return "tool_use" if any(isinstance(c, ToolUse) for c in self.contents) else "end_turn"


def flatten(reply: Content | Iterable[Content], new_ids: Iterator[str]) -> tuple[Content, ...]:
    """The blocks of a reply: texts before tool uses on their own, and ids where there were none.

    TypeError for what is no reply.
    """
    contents = (reply,) if isinstance(reply, Text | ToolUse) else reply
    return tuple(block for content in contents for block in _blocks_of(content, new_ids))


def _blocks_of(content: Content, new_ids: Iterator[str]) -> Iterator[Content]:
    match content:
        case Text():
            yield content
        case ToolUse():
            if content.text is not None:
                yield Text(content.text)
            yield evolve(content, text=None, id=content.id or next(new_ids))
        case _:
            raise TypeError(f"a message is of Text and ToolUse, not of {content!r}")


def claimed_tokens(contents: Iterable[Content]) -> int | None:
    """The size of the request as the reply claims it; None if it claims nothing."""
    claims = (content.input_tokens for content in contents if isinstance(content, Text))
    return next((claim for claim in claims if claim is not None), None)


def document(message: Message) -> bytes:
    """The whole message as JSON. TypeError if a tool's input is no JSON."""
    return orjson.dumps(_message(message, [_block(c) for c in message.contents], final=True))


def event_stream(message: Message) -> Iterator[bytes]:
    """The message as server-sent events, one at a time. TypeError if a tool's input is no JSON."""
    yield _event("message_start", message=_message(message, [], final=False))
    yield _event("ping")
    for index, content in enumerate(message.contents):
        yield from _block_events(index, content)
    yield _event(
        "message_delta",
        delta={"stop_reason": message.stop_reason, "stop_sequence": None},
        usage={"output_tokens": _output_tokens(message.contents)},
    )
    yield _event("message_stop")


def error_document(error: ApiError, request_id: str) -> bytes:
    """An error as JSON."""
    about = {"type": error.type, "message": error.message}
    return orjson.dumps({"type": "error", "error": about, "request_id": request_id})


def _message(message: Message, blocks: list[Any], *, final: bool) -> dict[str, Any]:
    return {
        "id": message.id,
        "type": "message",
        "role": "assistant",
        "model": message.model,
        "content": blocks,
        "stop_reason": message.stop_reason if final else None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": message.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": _output_tokens(message.contents) if final else 1,
        },
    }


def _block(content: Content) -> dict[str, Any]:
    if isinstance(content, Text):
        return {"type": "text", "text": content.text}
    return {"type": "tool_use", "id": content.id, "name": content.name, "input": content.input}


def _block_events(index: int, content: Content) -> Iterator[bytes]:
    empty: dict[str, Any] = {"text": ""} if isinstance(content, Text) else {"input": {}}
    yield _event("content_block_start", index=index, content_block=_block(content) | empty)
    for delta in _deltas(content):
        yield _event("content_block_delta", index=index, delta=delta)
    yield _event("content_block_stop", index=index)


def _deltas(content: Content) -> Iterator[Mapping[str, str]]:
    if isinstance(content, Text):
        for piece in _pieces(content.text):
            yield {"type": "text_delta", "text": piece}
    else:
        for piece in _pieces(orjson.dumps(content.input).decode()):
            yield {"type": "input_json_delta", "partial_json": piece}


def _pieces(text: str) -> Iterator[str]:
    size = math.ceil(len(text) / _PIECES)
    return (text[start : start + size] for start in range(0, len(text), size or 1))


def _output_tokens(contents: Iterable[Content]) -> int:
    return sum(len(orjson.dumps(_block(content))) for content in contents) // _BYTES_PER_TOKEN + 1


def _event(name: str, **fields: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps({"type": name, **fields}))
