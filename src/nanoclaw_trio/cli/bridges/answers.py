"""The engine's answers to the requests of the socket's clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from nanoclaw_trio.cli.bridges.requests import (
    GroupsRequest,
    MessageRequest,
    MetricsRequest,
    RegisterRequest,
    Request,
    StatisticsRequest,
    chat_message,
    group_wish,
)
from nanoclaw_trio.cli.records import group_record, plain
from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.metrics import prometheus_text
from nanoclaw_trio.engine.requests.registrations import make_registration
from nanoclaw_trio.errors import EngineClosed, InputError, NanoclawError
from nanoclaw_trio.logs import log
from nanoclaw_trio.workspace.folders import validate_group_folder

if TYPE_CHECKING:
    from nanoclaw_trio.cli.bridges.front import Front

EngineRequest: TypeAlias = (
    MessageRequest | RegisterRequest | GroupsRequest | StatisticsRequest | MetricsRequest
)
"""What the engine answers, and not the connection."""


async def answer(request: EngineRequest, engine: Front, *, trigger: str) -> dict[str, Any]:
    """What the engine has to say upon a request that is for it; `trigger` is a new group's word.

    Raises:
        InvalidRequest, NanoclawError: as :func:`error_record` puts it into words.
    """
    match request:
        case MessageRequest():
            return await _take_in(request, engine)
        case RegisterRequest():
            return await _register(request, engine, trigger)
        case GroupsRequest():
            registered = await engine.groups()
            return {"type": "groups", "groups": [group_record(each) for each in registered]}
        case StatisticsRequest():
            statistics = await engine.refresh_statistics()
            return {"type": "statistics", "statistics": plain(statistics)}
        case _:
            return {"type": "metrics", "text": prometheus_text(await engine.refresh_statistics())}


async def _take_in(request: MessageRequest, engine: Front) -> dict[str, Any]:
    reception = await engine.send_message(chat_message(request, utc_now()))
    return {
        "type": "received",
        "id": request.id,
        "chatJid": request.chat_jid,
        "reception": reception.value,
    }


async def _register(request: RegisterRequest, engine: Front, trigger: str) -> dict[str, Any]:
    validate_group_folder(request.folder)
    wish = group_wish(request)
    known = next((each for each in await engine.groups() if each.jid == request.jid), None)
    new = make_registration(wish, known, trigger=trigger, now=utc_now())
    await engine.register_group(new)
    return {"type": "registered", "group": group_record(new)}


def error_record(error: Exception, request: Request | None = None) -> dict[str, Any]:
    """What a client is told of a failure; of a message, which one wasn't taken.

    `fault` says whose it is: the client's, and the same request will fail again, or the server's,
    and it may work later.
    """
    is_clients = isinstance(error, InputError) and not isinstance(error, EngineClosed)
    record = {
        "type": "error",
        "fault": "client" if is_clients else "server",
        "problem": _problem(error),
    }
    if isinstance(request, MessageRequest):
        return {**record, "id": request.id, "chatJid": request.chat_jid}
    return record


def with_ref(record: dict[str, Any], ref: str | None) -> dict[str, Any]:
    """An answer that says which request it is for, if that one said how."""
    return record if ref is None else {**record, "ref": ref}


def _problem(error: Exception) -> str:
    if isinstance(error, NanoclawError):
        return str(error)
    # Its text may hold anything.
    log.error("request failed", exc_info=error)
    return f"internal error: {type(error).__name__}"
