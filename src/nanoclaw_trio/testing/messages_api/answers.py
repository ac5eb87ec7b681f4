"""What the server answers: pure functions from a call to a response."""

from __future__ import annotations

import uuid
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import orjson

from nanoclaw_trio.testing.messages_api import checks, events, reading
from nanoclaw_trio.testing.messages_api.connection import BODY_LIMIT, Answer
from nanoclaw_trio.testing.messages_api.models import ApiError, DropConnection, Hang, Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nanoclaw_trio.testing.messages_api.connection import Call
    from nanoclaw_trio.testing.messages_api.models import MessagesRequest, Reply

TITLE: Final = "A conversation with a test"
SUMMARY: Final = f"<analysis>It is over.</analysis>\n<summary>{TITLE}.</summary>"
"""The CLI takes no summary that isn't in these tags."""

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

_CREDENTIALS: Final = frozenset({"authorization", "x-api-key"})


def checked_body(call: Call) -> dict[str, Any] | ApiError:
    """The document of a call, or why it is refused."""
    if not _CREDENTIALS & call.headers.keys():
        return ApiError(401, message="neither x-api-key nor authorization is among the headers")
    if call.body is None:
        return ApiError(413, message=f"the body has more than {BODY_LIMIT} bytes")
    try:
        body = orjson.loads(call.body)
    except orjson.JSONDecodeError as error:
        return ApiError(400, message=f"the body is no JSON: {error}")
    problem = checks.problem(body)
    return body if problem is None else ApiError(400, message=problem)


def answer_elsewhere(call: Call) -> Answer:
    """The answer to a call that isn't one of the Messages API itself."""
    match call.method, call.path:
        case "POST", "/v1/messages/count_tokens":
            return answer_count(call)
        case "HEAD", _:
            # The CLI looks so whether the API is there.
            return Answer(headers={"content-length": "0"})
        case _:
            return answer_error(ApiError(404, message=f"there is no {call.method} {call.path}"))


def answer_count(call: Call) -> Answer:
    """The answer to how large a call would be."""
    body = checked_body(call)
    if isinstance(body, ApiError):
        return answer_error(body)
    return _json(orjson.dumps({"input_tokens": reading.estimated_tokens(body)}))


def side_reply(request: MessagesRequest) -> Text:
    """What is said to a call that the CLI makes for its own purposes."""
    match request.body:
        case {"output_config": {"format": {"schema": {"properties": {**fields}}}}}:
            return Text(orjson.dumps(dict.fromkeys(fields, TITLE)).decode())
        case _:
            return Text(SUMMARY if request.is_compaction else TITLE)


def answer_reply(request: MessagesRequest, reply: Reply) -> Answer | Hang | DropConnection:
    """A reply as a response.

    TypeError for what is no reply or no JSON, h11.LocalProtocolError for headers that aren't HTTP.
    """
    match reply:
        case Hang() | DropConnection():
            return reply
        case ApiError():
            return answer_error(reply)
        case _:
            return _answer_message(_message(request, reply), stream=request.stream)


def answer_error(error: ApiError) -> Answer:
    """An error as a response."""
    request_id = next(_new_ids("req"))
    headers = {"request-id": request_id}
    headers |= {name.lower(): value for name, value in error.headers.items()}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    return _json(events.error_document(error, request_id), status=error.status, headers=headers)


def answer_failure(error: Exception) -> Answer:
    """What the clients of a model that failed are told, with a status after which they give up."""
    text = f"the model failed: {type(error).__name__}: {error}"
    # An exception's text may hold lone surrogates, which JSON can't.
    return answer_error(ApiError(400, message=text.encode(errors="replace").decode()))


def _message(request: MessagesRequest, reply: Any) -> events.Message:
    contents = events.flatten(reply, _new_ids("toolu"))
    claimed = events.claimed_tokens(contents)
    return events.Message(
        id=next(_new_ids("msg")),
        model=request.body["model"],
        contents=contents,
        input_tokens=reading.estimated_tokens(request.body) if claimed is None else claimed,
    )


def _answer_message(message: events.Message, *, stream: bool) -> Answer:
    if not stream:
        return _json(events.document(message))
    headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
    return Answer(headers=headers, pieces=tuple(events.event_stream(message)))


def _json(content: bytes, *, status: int = 200, headers: Mapping[str, str] = _NO_HEADERS) -> Answer:
    own = {"content-type": "application/json"}
    length = {"content-length": str(len(content))}
    return Answer(status=status, headers={**own, **headers, **length}, pieces=(content,))


def _new_ids(prefix: str) -> Iterator[str]:
    # Not numbered: a resumed session knows those of an earlier server, and must not mix them up.
    while True:
        yield f"{prefix}_{uuid.uuid4().hex}"
