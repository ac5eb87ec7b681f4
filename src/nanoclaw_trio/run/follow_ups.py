"""Follow-ups into a running container, and the one door through which they are closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from nanoclaw_trio.errors import NanoclawError, RunClosing
from nanoclaw_trio.logs import log

if TYPE_CHECKING:
    from nanoclaw_trio.mailbox.writer import Mailbox


class FollowUps:
    """Writes to a run's mailbox, until it is closed; nothing is written behind `_close`.

    What no agent took is taken back at the end, and belongs to the caller again (Trap A22).
    """

    def __init__(self, mailbox: Mailbox, container: str) -> None:
        self._mailbox = mailbox
        self._container = container
        self._writing = trio.Lock()
        self.undelivered: tuple[str, ...] = ()
        self.closing = False

    async def sweep_before(self, *, keep: bool) -> None:
        """Before the start: remove a `_close` that an earlier run left.

        Follow-ups that are still there (the host crashed) stay for this run's agent, or, unless
        `keep`, are taken back: a scheduled task's prompt isn't where a chat's messages belong.
        """
        if keep:
            await self._mailbox.sweep_close()
        else:
            self.undelivered = await self._mailbox.sweep()

    async def send(self, text: str) -> str:
        """Write one follow-up; its file's name. RunClosing if the mailbox is closed."""
        async with self._writing:
            if self.closing:
                raise RunClosing(self._container)
            return await self._mailbox.send_message(text)

    async def close(self) -> None:
        """Write `_close`, once. If it could not be written, the run is not closing."""
        async with self._writing:
            if self.closing:
                return
            await self._mailbox.close()
            self.closing = True

    async def take_back(self) -> tuple[str, ...]:
        """After the end: what no agent took, in order."""
        self.closing = True
        async with self._writing:
            try:
                self.undelivered += await self._mailbox.sweep()
            except (NanoclawError, OSError) as error:
                log.error("follow-ups not taken back", container=self._container, why=str(error))
        return self.undelivered
