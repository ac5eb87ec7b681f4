"""When a run is closed, and when one is stopped that doesn't heed it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.logs import log

if TYPE_CHECKING:
    from nanoclaw_trio.engine.notifier import Notifier
    from nanoclaw_trio.engine.runs.conversation import Conversation
    from nanoclaw_trio.engine.runs.follow_up_feed import FollowUpFeed
    from nanoclaw_trio.run.agent_run import AgentRun
    from nanoclaw_trio.settings import Settings

TASK_IDLE_TIMEOUT: Final = 10.0
"""Seconds after a scheduled task's result before its container is closed: nobody writes to it any
more, and a last word may still come."""

CLOSE_GRACE: Final = 60.0
"""Seconds after the last output in which an idle agent ends that was asked to. One that doesn't is
stopped: others may be waiting for its place."""

CLOSE_LIMIT: Final = 600.0
"""Seconds after which it is stopped though it goes on talking: of work in the background, say."""


class Closing:
    """Closes a run when its time has come.

    Attributes:
        yields: Whether the run makes room for others: then its time comes as soon as it is idle.
    """

    def __init__(self, settings: Settings, feed: FollowUpFeed, changed: Notifier) -> None:
        """`changed` is notified when the conversation or `yields` changes."""
        self.yields = False
        self._latest = math.inf
        self._settings = settings
        self._feed = feed
        self._changed = changed

    def limit(self) -> None:
        """From now on, the run has as long as its agent may be silent, whatever that says.

        Outputs don't move this: an agent could keep its place for ever by never naming a follow-up.
        """
        self._latest = min(self._latest, trio.current_time() + self._settings.container_timeout)

    async def conduct(self, run: AgentRun, conversation: Conversation, *, is_task: bool) -> None:
        """Close a run when its time has come; return when it is to be stopped for not ending."""
        timeout = TASK_IDLE_TIMEOUT if is_task else self._settings.idle_timeout
        while await self._changes_before(self._close_at(conversation, timeout)):
            pass
        self._feed.stop()
        await run.close()
        closed_at = trio.current_time()
        while await self._changes_before(self._end_by(conversation, closed_at)):
            pass
        log.warning("agent doesn't end, though it was asked to", container=run.container_name)

    def _close_at(self, conversation: Conversation, timeout: float | None) -> float:
        now = trio.current_time()
        return min(self._latest, conversation.close_at(timeout, yields=self.yields, now=now))

    def _end_by(self, conversation: Conversation, closed_at: float) -> float:
        """When an agent that was asked to end is stopped: at work, it gets as long as it may be silent.

        An original agent may work though all seems answered: it doesn't say which follow-ups it has
        answered, and may be at one that it took behind its last word.
        """
        is_at_work = conversation.idle_since is None and not conversation.has_failed
        if is_at_work or (self._feed.has_sent and not conversation.names_follow_ups):
            return closed_at + self._settings.container_timeout
        return min(closed_at + CLOSE_LIMIT, trio.current_time() + CLOSE_GRACE)

    async def _changes_before(self, moment: float) -> bool:
        with trio.move_on_at(moment):
            await self._changed.wait()
            return True
        return False
