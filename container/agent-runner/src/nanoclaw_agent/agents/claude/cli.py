"""The CLI: started by the SDK, fed, listened to, and gone at the end."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import trio
from claude_agent_sdk import ClaudeSDKClient, ClaudeSDKError, ProcessError, ResultError

from nanoclaw_agent.children import terminate_descendants
from nanoclaw_agent.errors import QueryFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator
    from typing import Any

    from claude_agent_sdk import ClaudeAgentOptions, Message

INTERRUPT_BOUND: Final = 0.2
"""Seconds for the CLI to note in the session that its query was interrupted."""

DISCONNECT_BOUND: Final = 30
"""Seconds; the SDK's own bounds add up to twenty."""

NO_SESSION: Final = (
    "No conversation found with session ID",
    "--resume requires a valid session ID",
)
"""What the CLI says of a session that it can't resume: one that isn't there, or isn't a UUID."""


class SessionUnknown(QueryFailed):
    """The session that was to be resumed isn't there."""


@asynccontextmanager
async def open_cli(
    options: ClaudeAgentOptions, prompts: AsyncIterable[dict[str, Any]]
) -> AsyncIterator[AsyncIterator[Message]]:
    """The messages of a CLI that is fed with these prompts.

    It ends when it has answered them all. Left before that, it gets some seconds to end in order;
    cancelled, its query is interrupted, and it is told to end at once.

    Raises:
        QueryFailed: it couldn't be started, or failed; or SessionUnknown.
    """
    client = ClaudeSDKClient(options)
    messages = client.receive_messages()
    try:
        await client.connect(prompts)
        yield messages
    except ClaudeSDKError as error:
        raise failure(_words(error)) from error
    except trio.Cancelled:
        await _interrupt(client)  # noqa: ASYNC102 - it shields itself, within a bound
        raise
    finally:
        with trio.move_on_after(DISCONNECT_BOUND, shield=True):
            await client.disconnect()
            await _exhaust(messages)


def failure(words: str) -> QueryFailed:
    """The error behind what the CLI or the SDK said."""
    is_unknown = any(phrase in words for phrase in NO_SESSION)
    return SessionUnknown(words) if is_unknown else QueryFailed(words)


def _words(error: ClaudeSDKError) -> str:
    # Of a CLI that ended without a result the SDK says no more than its status, twice.
    if isinstance(error, ProcessError) and not isinstance(error, ResultError):
        return _describe_end(error.exit_code or 0)
    return str(error)


def _describe_end(status: int) -> str:
    if status < 0:
        return f"the CLI was killed by signal {-status} ({signal.strsignal(-status)})"
    return f"the CLI ended with exit status {status}; what it said is on standard error"


async def _exhaust(messages: AsyncIterator[Message]) -> None:
    # The generator holds another one of the SDK's own: this is how both of them end here, and not
    # when the garbage is collected.
    with suppress(Exception):
        await anext(messages, None)


async def _interrupt(client: ClaudeSDKClient) -> None:
    # Exception: what the CLI answers with an error, the SDK raises as nothing more special.
    with trio.move_on_after(INTERRUPT_BOUND, shield=True), suppress(Exception):
        await client.interrupt()
    # Without it the SDK waits for seconds for a CLI that hangs.
    terminate_descendants()
