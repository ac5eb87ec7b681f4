"""Follow-ups into a running container, and the one door through which they are closed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import trio

from nanoclaw_trio.errors import MailboxUnwritable, NanoclawError, RunClosing, UnsafePath
from nanoclaw_trio.logs import log
from nanoclaw_trio.mailbox.handover import Handover

if TYPE_CHECKING:
    from nanoclaw_trio.mailbox.writer import Mailbox


class FollowUps:
    """Writes to a run's mailbox, until it is closed; nothing is written behind `_close`.

    What no agent took is taken back at the end, and belongs to the caller again (Trap A22).
    """

    def __init__(self, mailbox: Mailbox, container: str) -> None:
        self._mailbox = mailbox
        self._container = container
        self._is_quiet = False
        self._handover = Handover()
        self._problem: str | None = "the disk doesn't answer; the next run has what is left"
        self._is_asked = False
        self.undelivered: tuple[str, ...] = ()
        self.closing = False

    # Made when it is needed, at the end of most runs: it takes 300 bytes for as long as a run lasts.
    @cached_property
    def _writing(self) -> trio.Lock:
        return trio.Lock()

    async def take_leftovers(self) -> None:
        """Before a scheduled task: take back what an earlier run left (the host crashed).

        A chat's agent would find it there and answer it; a task's prompt isn't where a chat's
        messages belong.
        """
        self.undelivered = await self._mailbox.sweep()

    def new_name(self) -> str:
        """A name for a follow-up that isn't written yet."""
        return self._mailbox.new_name()

    async def send(self, text: str, name: str | None = None) -> str:
        """Write one follow-up; its file's name.

        Raises:
            RunClosing: the mailbox is closed.
            MailboxUnwritable: it was replaced, or the disk refuses.
        """
        async with self._writing:
            if self.closing:
                raise RunClosing(self._container)
            try:
                return await self._mailbox.send_message(text, name=name)
            except (UnsafePath, OSError) as error:
                raise MailboxUnwritable(self._container, str(error)) from error

    async def pending(self) -> tuple[str, ...]:
        """The names of those that no agent took, in order.

        Raises:
            MailboxUnwritable: it was replaced, or the disk refuses.
        """
        try:
            return await self._mailbox.pending_names()
        except (UnsafePath, OSError) as error:
            raise MailboxUnwritable(self._container, str(error)) from error

    async def close(self, *, again: bool = False) -> None:
        """Write `_close`, once unless `again`. If it could not be written, the run is not closing.

        An original agent deletes one that was written while it starts (Trap A22). Cancelled, it may
        be there all the same: the run is closing then, and it is written when this is called again.
        """
        async with self._writing:
            if self._is_quiet or (self._is_asked and not again):
                return
            was_closing, self.closing = self.closing, True
            try:
                await self._mailbox.close()
            except (UnsafePath, OSError):
                self.closing = was_closing
                raise
            self._is_asked = True

    def give_up_asking(self) -> None:
        """The agent can't be asked to end: nothing more is written."""
        self.closing = self._is_asked = True

    async def shut(self, *, bound: float) -> None:
        """At the end: nothing more is written, once what is being written just now is.

        Waits for that no longer than `bound` seconds. Not a checkpoint where nothing is.
        """
        self.closing = True
        if self._writing.locked():
            with trio.CancelScope(deadline=trio.current_time() + bound):
                async with self._writing:
                    self._is_quiet = True
            return
        self._is_quiet = True

    def take_back(self) -> None:
        """After that, in a thread: take back what no agent took, in order.

        Nothing is taken while a follow-up is still being written: it would be left behind.
        """
        if not self._is_quiet:
            return
        try:
            self._mailbox.sweep_into(self._handover.offer)
        except (NanoclawError, OSError) as error:
            self._problem = str(error)
        else:
            self._problem = None

    def leave(self) -> None:
        """Wait no longer for :meth:`take_back`: what it took is undelivered, the rest stays."""
        self.undelivered += self._handover.close()
        if self._problem is not None:
            log.error("follow-ups not taken back", container=self._container, why=self._problem)
