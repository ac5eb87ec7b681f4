"""What agents ask of the host is taken in: from their mailboxes into the store, each request once.

A request is carried out and its file's name noted in one transaction; then the file is deleted;
then, with the next visit's first transaction, the name is forgotten. Wherever a crash comes between,
the next visit finds the file undone and does it, or finds it noted and only deletes it.

A file whose request the group may not make is logged and deleted, and one that holds no request, or
one that nobody could have success with, goes to data/ipc/errors: see
:mod:`nanoclaw_trio.engine.requests.authorization` for the difference. A disk or a store that fails changes
nothing, nor does a .env without which nobody knows what is to be redacted:
the file stays, and the next visit tries again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.background import open_background_nursery, start_protected
from nanoclaw_trio.clock import is_virtual
from nanoclaw_trio.engine.requests.visit import MailboxVisitor
from nanoclaw_trio.errors import NanoclawError
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.logs import log
from nanoclaw_trio.mailbox.watch import MailboxWatch, survey
from nanoclaw_trio.store import groups

if TYPE_CHECKING:
    from collections.abc import Callable

    from nanoclaw_trio.engine.requests.taken_in import TakenIn
    from nanoclaw_trio.settings import Settings
    from nanoclaw_trio.store.database import Store
    from nanoclaw_trio.store.models import Delivery

SWEEP_INTERVAL: Final = 10.0
"""Seconds between two looks into all mailboxes, for what the kernel doesn't tell of."""

VISIT_LIMIT: Final = 100
"""Files of each of a mailbox's directories that one visit takes: an agent that writes without end
delays an answer, and the other groups' requests, by no more than those."""


class Intake:
    """Takes in what agents ask of the host.

    Visits to one group's mailbox follow one another, whoever asks for them; those to different ones
    don't wait for each other.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        tell: Callable[[TakenIn], None] | None = None,
        on_said: Callable[[Delivery], None] | None = None,
        sweep_interval: float = SWEEP_INTERVAL,
        visit_limit: int = VISIT_LIMIT,
    ) -> None:
        """Nothing is read yet.

        Args:
            store: Where it goes.
            settings: The project's.
            tell: Called after each visit that something came of, whoever asked for it, and also
                after one that was cancelled or failed half-way. It must not raise.
            on_said: Told of each thing that an agent said, as soon as that is in the store and
                before anybody can have delivered it. It must not raise.
            sweep_interval: Seconds between two looks into all mailboxes.
            visit_limit: Files of each of a mailbox's directories that one visit takes.
        """
        self._store = store
        self._settings = settings
        self._tell = tell
        self._on_said = on_said
        self._sweep_interval = sweep_interval
        self._visit_limit = visit_limit
        self._visitors: dict[str, MailboxVisitor] = {}
        self._watch = MailboxWatch(self._be_told)
        # A dict as an ordered set: whoever was told of first is visited first.
        self._told: dict[str, None] = {}
        self._next_sweep = -math.inf
        self._wake = trio.Event()

    async def take_in(self, folder: str) -> TakenIn:
        """Take in what waits in a group's mailbox now, and say what came of it.

        Up to `visit_limit` files of each directory: messages first, each directory's in the order
        of their names. What the group's agent said before this was called is in the store on
        return, where it is no more than that. The mailbox of a group that isn't registered is left
        alone. Cancelled, the request that it is at is done whole or not at all.

        Raises:
            InvalidGroupFolder: the caller's fault.
            StoreFailed, InvalidFile: from the store. Nothing is lost: what wasn't taken in stays.
        """
        visitor = self._visitor(folder)
        async with visitor.lock:
            try:
                await visitor.visit()
            finally:
                taken = visitor.report()
                self._note(taken)
        return taken

    def room_came(self) -> None:
        """There is room in a chat: look at what waits for that, in any mailbox."""
        for visitor in self._visitors.values():
            visitor.held.release()
        self.look_again()

    def look_again(self) -> None:
        """Look into all mailboxes now: the groups may have changed."""
        self._next_sweep = -math.inf
        self._wake.set()

    async def run(self) -> None:
        """Take in whatever comes, from all registered groups, until cancelled.

        On the kernel's word, and besides by a look into all mailboxes at once and then each
        `sweep_interval` seconds; under a virtual clock, by that look alone. What fails is logged,
        and tried again with the next one.
        """
        async with open_background_nursery() as nursery:
            if not is_virtual():
                start_protected(nursery, self._watch.run)
            while True:
                await self._step()

    async def _step(self) -> None:
        if trio.current_time() >= self._next_sweep:
            self._next_sweep = trio.current_time() + self._sweep_interval
            await self._sweep()
        elif self._told:
            folder = next(iter(self._told))
            del self._told[folder]
            await self._visit(folder)
        else:
            self._wake = trio.Event()
            with trio.move_on_at(self._next_sweep):
                await self._wake.wait()

    async def _sweep(self) -> None:
        try:
            registered = await self._store.transact(groups.registrations)
            folders = [registration.folder for registration in registered]
            ipc_root = self._settings.project_root / "data" / "ipc"
            found = await in_thread(survey, ipc_root, folders)
        except (NanoclawError, OSError) as error:
            log.warning("mailboxes can't be looked into", why=str(error))
            return
        self._watch.set_directories(found.directories)
        for folder in found.folders:
            self._be_told(folder)

    async def _visit(self, folder: str) -> None:
        try:
            await self.take_in(folder)
        except NanoclawError as error:
            log.warning("mailbox can't be taken in", group=folder, why=str(error))

    def _visitor(self, folder: str) -> MailboxVisitor:
        if folder not in self._visitors:
            self._visitors[folder] = MailboxVisitor(
                folder,
                store=self._store,
                settings=self._settings,
                limit=self._visit_limit,
                on_said=self._on_said,
            )
        return self._visitors[folder]

    def _be_told(self, folder: str) -> None:
        self._told[folder] = None
        self._wake.set()

    def _note(self, taken: TakenIn) -> None:
        if taken.has_more:
            self._be_told(taken.folder)
        if taken.groups_changed:
            self.look_again()
        if taken and self._tell is not None:
            self._tell(taken)
