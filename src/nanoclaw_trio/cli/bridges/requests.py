"""What a client of the socket may say: one JSON object a line (docs/socket.md). Pure."""

from __future__ import annotations

from datetime import MAXYEAR, MINYEAR, datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from attrs import frozen

from nanoclaw_trio.cli.container_config import container_config
from nanoclaw_trio.engine.chat.incoming import can_be_shown
from nanoclaw_trio.engine.requests.registrations import GroupWish
from nanoclaw_trio.errors import InputError
from nanoclaw_trio.protocol.converters import structure, wire
from nanoclaw_trio.protocol.json_text import parse_json
from nanoclaw_trio.store.models import Chat, ChatMessage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nanoclaw_trio.protocol.models import ContainerConfig


class InvalidRequest(InputError):
    """A line isn't a request; the message has the path into it.

    Attributes:
        ref: The request's `ref`, as far as it could be read.
    """

    def __init__(self, problem: str, ref: str | None = None) -> None:
        super().__init__(problem)
        self.ref = ref


@frozen(kw_only=True)
class Request:
    """What every request has: its type, and what the answer to it is to be known by."""

    type: str
    ref: str | None = None


@frozen(kw_only=True)
class MessageRequest(Request):
    """Somebody said something in a chat. Without a timestamp it was now."""

    chat_jid: str
    id: str
    sender: str
    sender_name: str
    text: str
    timestamp: str | None = None


@frozen(kw_only=True)
class SubscribeRequest(Request):
    """From now on this connection takes deliveries."""


@frozen(kw_only=True)
class DeliveredRequest(Request):
    """A delivery was said in its chat."""

    id: str


@frozen(kw_only=True)
class UndeliverableRequest(Request):
    """A delivery can never be said in its chat."""

    id: str
    why: str


@frozen(kw_only=True)
class RegisterRequest(Request):
    """A group is to answer in a chat. What isn't said of a known one stays as it is."""

    jid: str
    folder: str
    name: str | None = None
    trigger: str | None = None
    requires_trigger: bool | None = None
    is_main: bool | None = None
    container_config: dict[str, Any] | None = None


@frozen(kw_only=True)
class GroupsRequest(Request):
    """Which groups are there?"""


@frozen(kw_only=True)
class ToldChat:
    """A chat that a client knows of."""

    jid: str
    name: str
    last_activity: str | None = None


@frozen(kw_only=True)
class ChatsRequest(Request):
    """These are the chats that could be registered."""

    chats: tuple[ToldChat, ...]


@frozen(kw_only=True)
class StatisticsRequest(Request):
    """How does the engine do?"""


@frozen(kw_only=True)
class MetricsRequest(Request):
    """The same as Prometheus text."""


AnyRequest: TypeAlias = (
    MessageRequest
    | SubscribeRequest
    | DeliveredRequest
    | UndeliverableRequest
    | RegisterRequest
    | GroupsRequest
    | ChatsRequest
    | StatisticsRequest
    | MetricsRequest
)
"""Each of them."""

REQUESTS: Final[Mapping[str, type[AnyRequest]]] = {
    "message": MessageRequest,
    "subscribe": SubscribeRequest,
    "delivered": DeliveredRequest,
    "undeliverable": UndeliverableRequest,
    "register": RegisterRequest,
    "groups": GroupsRequest,
    "chats": ChatsRequest,
    "statistics": StatisticsRequest,
    "metrics": MetricsRequest,
}
"""The requests by their `type`."""


def decode_request(line: bytes) -> AnyRequest:
    """A request from its line. InvalidRequest if it isn't one; nothing of it is repeated."""
    try:
        document = parse_json(line)
        head = structure(wire, document, Request)
    except ValueError as error:
        raise InvalidRequest(str(error)) from None
    kind = REQUESTS.get(head.type)
    if kind is None:
        raise InvalidRequest(f"not one of {', '.join(REQUESTS)} @ $.type", head.ref)
    try:
        return structure(wire, document, kind)
    except ValueError as error:
        raise InvalidRequest(str(error), head.ref) from None


def chat_message(request: MessageRequest, now: datetime) -> ChatMessage:
    """What was said. InvalidRequest if the timestamp is no moment."""
    moment = now if request.timestamp is None else _moment(request, request.timestamp, "timestamp")
    return ChatMessage(
        chat_jid=request.chat_jid,
        id=request.id,
        sender=request.sender,
        sender_name=request.sender_name,
        text=request.text,
        timestamp=moment,
    )


def told_chats(request: ChatsRequest) -> tuple[Chat, ...]:
    """The chats. InvalidRequest if a time of one is no moment."""
    return tuple(
        Chat(
            jid=told.jid,
            name=told.name,
            last_activity=None
            if told.last_activity is None
            else _moment(request, told.last_activity, f"chats[{index}].lastActivity"),
        )
        for index, told in enumerate(request.chats)
    )


def _moment(request: Request, text: str, path: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() is None:
        problem = "not a time with its zone, such as 2026-02-01T15:30:00Z"
        raise InvalidRequest(f"{problem} @ $.{path}", request.ref)
    if not can_be_shown(moment):
        problem = f"not a time in the years {MINYEAR + 1} to {MAXYEAR - 1}"
        raise InvalidRequest(f"{problem} @ $.{path}", request.ref)
    return moment


def group_wish(request: RegisterRequest) -> GroupWish:
    """What is said of a group. InvalidRequest if the configuration of its container doesn't fit."""
    return GroupWish(
        jid=request.jid,
        folder=request.folder,
        name=request.name,
        trigger=request.trigger,
        requires_trigger=request.requires_trigger,
        is_main=request.is_main,
        container_config=_container_config(request),
    )


def _container_config(request: RegisterRequest) -> ContainerConfig | None:
    if request.container_config is None:
        return None
    try:
        return container_config(request.container_config)
    except ValueError as error:
        problem = str(error).replace("@ $", "@ $.containerConfig")
    raise InvalidRequest(problem, request.ref)
