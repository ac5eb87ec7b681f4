"""What the CLI's messages mean to a session. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from claude_agent_sdk import AssistantMessage, ResultMessage, SystemMessage, TextBlock

if TYPE_CHECKING:
    from claude_agent_sdk import Message

WITHOUT_WORDS: Final = "the CLI reported an error, and no words for it"

MOST_LISTED: Final = 64
"""How many ids of a query's messages the CLI lists at most."""

ABORTED: Final = "aborted"
"""How the reasons begin why a query ended that was interrupted."""

INTERRUPTED: Final = (
    "the query was interrupted: the CLI got a signal, perhaps from the agent itself"
)
"""The CLI's own words are for its makers."""

KEY_REFUSED: Final = "authentication_failed"
"""What the SDK calls a key that is missing or isn't taken."""

KEY_ADVICE: Final = (
    "the key comes from the host: see to ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN in the "
    "project's .env or in the host's environment"
)
"""The CLI's own advice is for somebody at a terminal."""


@dataclass(frozen=True)
class SessionNamed:
    """The session that the CLI works in."""

    session_id: str


@dataclass(frozen=True)
class Said:
    """Claude said something, or used a tool; subagents aside. A session can go on after it."""

    uuid: str


@dataclass(frozen=True)
class Resting:
    """Whether the CLI has nothing left to do; what runs in the background is no matter."""

    is_idle: bool


@dataclass(frozen=True)
class QueryEnded:
    """A query has ended, with an answer or without one.

    `prompts` are the ids of the messages that it took in. Unless these are all, it may have taken
    in any that there were.
    """

    session_id: str
    answer: str | None
    prompts: tuple[str, ...] = ()
    are_all: bool = True


@dataclass(frozen=True)
class QueryRefused:
    """A query has ended with an error, in words for people."""

    error: str


Event: TypeAlias = SessionNamed | Said | Resting | QueryEnded | QueryRefused


def understand(message: Message) -> Event | None:
    """What this message means; None for what a session takes no notice of."""
    if isinstance(message, ResultMessage):
        return _understand_result(message)
    if isinstance(message, AssistantMessage):
        return _understand_words(message)
    if isinstance(message, SystemMessage) and message.subtype == "init":
        return SessionNamed(str(message.data["session_id"]))
    if isinstance(message, SystemMessage) and message.subtype == "session_state_changed":
        return Resting(message.data.get("state") == "idle")
    return None


def _understand_words(message: AssistantMessage) -> Event | None:
    if message.uuid is None or message.parent_tool_use_id is not None:
        return None
    if message.error == KEY_REFUSED:
        words = " ".join(block.text for block in message.content if isinstance(block, TextBlock))
        return QueryRefused(f"{words} ({KEY_ADVICE})")
    return Said(message.uuid)


def _understand_result(message: ResultMessage) -> Event:
    # An API failure has the subtype "success" all the same.
    if (message.terminal_reason or "").startswith(ABORTED):
        return QueryRefused(INTERRUPTED)
    if message.is_error:
        return QueryRefused("; ".join(message.errors or ()) or message.result or WITHOUT_WORDS)
    prompts = tuple(message.user_message_uuids or ())
    # A turn that nobody asked for, such as an agent's in the background, takes none in.
    is_listed = bool(prompts) or message.origin is not None
    return QueryEnded(
        message.session_id,
        message.result or None,
        prompts,
        are_all=is_listed and len(prompts) < MOST_LISTED,
    )
