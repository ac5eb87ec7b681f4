"""An incoming message, from the bridge into the store."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.engine.chat.triggers import Route, is_refusal_told, route
from nanoclaw_trio.engine.runs.taking import CONTEXT_KEPT
from nanoclaw_trio.logs import log
from nanoclaw_trio.store import chats, groups, messages
from nanoclaw_trio.store.models import Chat

if TYPE_CHECKING:
    from datetime import datetime

    from nanoclaw_trio.store.database import Transaction
    from nanoclaw_trio.store.models import ChatMessage
    from nanoclaw_trio.workspace.senders import SenderFile


class Reception(StrEnum):
    """What became of a message that was handed in."""

    ACCEPTED = "accepted"
    """It is in the store, and will be answered, or reported as given up."""
    CONTEXT = "context"
    """It is in the store, and goes along with the next that asks for an answer."""
    DUPLICATE = "duplicate"
    """It was handed in before; nothing has changed."""
    DROPPED = "dropped"
    """The sender allowlist drops its sender; nothing of it is kept."""
    UNREGISTERED = "unregistered"
    """No group answers in this chat; nothing of it is kept but that the chat exists."""


_RECEPTIONS: Final = {
    Route.OWED: Reception.ACCEPTED,
    Route.CONTEXT: Reception.CONTEXT,
    Route.DROPPED: Reception.DROPPED,
    Route.UNREGISTERED: Reception.UNREGISTERED,
}


@frozen(kw_only=True)
class Received:
    """A message as it was received; `folder` is its group's, if it has one."""

    reception: Reception
    folder: str | None


def receive(
    tx: Transaction,
    message: ChatMessage,
    *,
    senders: SenderFile,
    assistant_name: str,
    now: datetime,
) -> Received:
    """Take a message in, if it is for one of the groups. The sender allowlist is read anew."""
    registration = groups.by_jid(tx, message.chat_jid)
    policy = senders.read()
    way = route(message, registration, senders=policy, assistant_name=assistant_name)
    if registration is not None and is_refusal_told(message, policy):
        log.info("sender may not ask", chat=message.chat_jid, sender=message.sender)
    if way is not Route.DROPPED:
        chats.note_chat(tx, Chat(jid=message.chat_jid, name="", last_activity=message.timestamp))
    if registration is None or way in {Route.DROPPED, Route.UNREGISTERED}:
        return Received(reception=_RECEPTIONS[way], folder=None)
    is_new = messages.accept(
        tx, message, registration.folder, is_owed=way is Route.OWED, received_at=now
    )
    if way is Route.CONTEXT:
        # A chat that never calls the assistant must not grow for ever.
        messages.skip_context(tx, registration.folder, CONTEXT_KEPT)
    reception = _RECEPTIONS[way] if is_new else Reception.DUPLICATE
    return Received(reception=reception, folder=registration.folder)
