"""Which messages ask for an answer."""

from __future__ import annotations

import unicodedata
from enum import StrEnum
from typing import TYPE_CHECKING

from nanoclaw_trio.workspace.senders import SenderVerdict

if TYPE_CHECKING:
    from nanoclaw_trio.store.models import ChatMessage, Registration
    from nanoclaw_trio.workspace.senders import SenderPolicy


class Route(StrEnum):
    """What becomes of an incoming message."""

    UNREGISTERED = "unregistered"
    """No group answers in this chat; that the chat exists is noted, and nothing of the message."""
    DROPPED = "dropped"
    """The sender allowlist drops its sender; nothing of it is kept."""
    CONTEXT = "context"
    """It is kept, for the next message that asks for an answer."""
    OWED = "owed"
    """It asks for an answer."""


def route(
    message: ChatMessage,
    registration: Registration | None,
    *,
    senders: SenderPolicy,
    assistant_name: str,
) -> Route:
    """What becomes of a message, by its chat, its sender and its first word.

    Args:
        message: What was said.
        registration: Of the message's chat; None if it isn't registered.
        senders: The operator's word on who may ask.
        assistant_name: What a group's trigger is made of that has none of its own.
    """
    if registration is None:
        return Route.UNREGISTERED
    verdict = senders.verdict(message.chat_jid, message.sender)
    if verdict is SenderVerdict.DROPPED:
        return Route.DROPPED
    if verdict is SenderVerdict.ALLOWED and _asks(message, registration, assistant_name):
        return Route.OWED
    return Route.CONTEXT


def is_refusal_told(message: ChatMessage, senders: SenderPolicy) -> bool:
    """Whether the log is to say that the operator's list keeps a message's sender from asking."""
    verdict = senders.verdict(message.chat_jid, message.sender)
    return verdict is not SenderVerdict.ALLOWED and senders.allowlist.log_denied


def _asks(message: ChatMessage, registration: Registration, assistant_name: str) -> bool:
    if not needs_trigger(registration):
        return True
    return begins_with_trigger(message.text, trigger_of(registration, assistant_name))


def needs_trigger(registration: Registration) -> bool:
    """Whether only messages with the trigger ask for an answer in this chat.

    As the registration says; if it doesn't say, not in the main group, and in all others.
    """
    required = registration.group.requires_trigger
    return not registration.is_main if required is None else required


def trigger_of(registration: Registration, assistant_name: str) -> str:
    """The word that addresses the assistant in this chat: the group's own, or `@` and its name."""
    return registration.group.trigger.strip() or f"@{assistant_name}"


def begins_with_trigger(text: str, trigger: str) -> bool:
    """Whether a text begins with the trigger, as a word of its own; case doesn't matter.

    `@Andy, hi` begins with `@Andy`, and `@Andyman` doesn't. A trigger that doesn't end in a letter
    or a digit, such as `!`, may be followed by anything.
    """
    folded, word = _fold(text.lstrip()), _fold(trigger)
    if not folded.startswith(word):
        return False
    return not (_is_in_word(word[-1:]) and _is_in_word(folded[len(word) : len(word) + 1]))


def _fold(text: str) -> str:
    # Keyboards differ in whether they write é as one character or as two.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _is_in_word(character: str) -> bool:
    # An accent that is a character of its own belongs to the letter before it.
    return character.isalnum() or character == "_" or _is_accent(character)


def _is_accent(character: str) -> bool:
    return character != "" and unicodedata.category(character).startswith("M")
