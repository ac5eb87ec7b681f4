"""Shows in a chat when the assistant is at work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.logs import log

if TYPE_CHECKING:
    from nanoclaw_trio.engine.chat.bridge import Bridge
    from nanoclaw_trio.engine.notifier import Notifier
    from nanoclaw_trio.engine.runs.conversation import Conversation

TYPING_BOUND: Final = 10.0
"""Seconds for the bridge to show that the assistant is at work."""


async def show_typing(
    bridge: Bridge, chat_jid: str, conversation: Conversation, changed: Notifier
) -> None:
    """Let the chat see when the assistant is at work, and when it isn't; until cancelled.

    A bridge that can't is let be, at the end, too: it is an ornament. `changed` is notified when the
    conversation changes.
    """
    shown = works = False
    try:
        while True:
            is_typing = conversation.idle_since is None
            if is_typing is not shown:
                works = await _set_typing(bridge, chat_jid, is_typing=is_typing)
                shown = is_typing
            else:
                await changed.wait()
    finally:
        if shown and works:
            bound = trio.current_time() + TYPING_BOUND
            with trio.CancelScope(shield=True, deadline=bound):
                await _set_typing(bridge, chat_jid, is_typing=False)


async def _set_typing(bridge: Bridge, chat_jid: str, *, is_typing: bool) -> bool:
    """Whether the bridge could."""
    with trio.move_on_after(TYPING_BOUND):  # noqa: ASYNC912 - showing is one
        try:
            await bridge.set_typing(chat_jid, is_typing=is_typing)
        except Exception as error:  # noqa: BLE001 - it is an ornament
            log.debug("typing not shown", chat=chat_jid, why=str(error))
        else:
            return True
    return False
