"""One group's requests, from its mailbox into the store: each once, whatever comes between.

See :mod:`nanoclaw_trio.engine.requests.intake` for how.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import trio
from attrs import evolve

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.chat.backlog import ChatFull
from nanoclaw_trio.engine.requests.apply import ReceivedRequest, apply_request
from nanoclaw_trio.engine.requests.authorization import RequestRefused
from nanoclaw_trio.engine.requests.held import HeldRequests
from nanoclaw_trio.engine.requests.redaction import without_keys
from nanoclaw_trio.engine.requests.taken_in import TakenIn
from nanoclaw_trio.errors import (
    GroupUnknown,
    InputError,
    InvalidSetting,
    NanoclawError,
    ProtocolError,
    UnsafePath,
)
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.logs import log
from nanoclaw_trio.mailbox.reader import InvalidRequest, RequestReader
from nanoclaw_trio.mailbox.requests import SendMessage
from nanoclaw_trio.repeats import RepeatedWarnings
from nanoclaw_trio.store import groups, requests
from nanoclaw_trio.workspace.folders import GroupPaths
from nanoclaw_trio.workspace.secrets import Secrets, read_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nanoclaw_trio.mailbox.reader import Pending
    from nanoclaw_trio.mailbox.requests import Request
    from nanoclaw_trio.settings import Settings
    from nanoclaw_trio.store.connection import Transaction
    from nanoclaw_trio.store.database import Store
    from nanoclaw_trio.store.models import Delivery

LONGEST_REASON: Final = 300
"""Characters of why a request is broken: what it names may be a megabyte long."""


class MailboxVisitor:
    """Takes a group's requests in, visit by visit, one visit at a time.

    Attributes:
        lock: To be held during :meth:`visit`.
        held: What waits for room in a chat.
    """

    def __init__(
        self,
        folder: str,
        *,
        store: Store,
        settings: Settings,
        limit: int,
        on_said: Callable[[Delivery], None] | None = None,
    ) -> None:
        """`limit`: how many files of each directory a visit takes. `on_said`: see `Intake`.

        Raises:
            InvalidGroupFolder: no group can have this folder.
        """
        self.lock = trio.Lock()
        self.held = HeldRequests()
        self._folder = folder
        self._store = store
        self._project_root = settings.project_root
        self._zone = settings.timezone
        self._secrets = Secrets({})
        self._limit = limit
        self._on_said = on_said
        self._reader = RequestReader(
            GroupPaths(project_root=settings.project_root, folder=folder).ipc_dir
        )
        self._deleted: set[str] = set()
        self._last: Pending | None = None
        self._taken = TakenIn(folder=folder)
        self._warnings = RepeatedWarnings()

    def report(self) -> TakenIn:
        """What came of the visits since the last report, also of one that broke off."""
        taken, self._taken = self._taken, TakenIn(folder=self._folder)
        return evolve(taken, full_chats=self.held.chats)

    async def visit(self) -> None:
        """Take in what waits. Nothing happens if the group isn't registered.

        A disk that refuses is logged, and a .env that can't be read: all waits for it. Cancelled,
        what was begun of a request is done first.

        Raises:
            StoreFailed, InvalidFile: from the store. What was taken in before stays so.
        """
        self.held.begin_visit(trio.current_time())
        with self._logging_disk():
            pending = await in_thread(self._reader.pending, self._limit, self.held.names)
            if pending.names and await self._begin() and await self._read_secrets():
                await self._take_all(pending)

    async def _take_all(self, pending: Pending) -> None:
        for name in pending.names:
            with self._logging_disk(name):
                await self._take(name)
        # Where all that was found before is there still, another visit would find it again at once.
        has_more = pending.has_more and pending != self._last
        self._last = pending
        self._note(TakenIn(folder=self._folder, has_more=has_more))

    async def _begin(self) -> bool:
        """Forget the files that aren't there any more; whether the group is registered."""
        noted = await self._store.transact(_begin, self._folder, frozenset(self._deleted))
        if noted is None:
            return False
        self._deleted.clear()
        if noted:
            # From before a crash, or where the disk refused: the file may be there still.
            gone = await in_thread(self._reader.gone, noted)
            await self._store.transact(requests.forget, self._folder, gone)
        return True

    async def _read_secrets(self) -> bool:
        """Look which keys are to be redacted; whether that is known."""
        try:
            found = await in_thread(read_secrets, self._project_root)
        except InvalidSetting as error:
            log.warning("requests wait for the .env", group=self._folder, why=str(error))
            return False
        # An agent may have the key that stood there when it was started.
        self._secrets = self._secrets.replaced(found.reveal())
        return True

    async def _take(self, name: str) -> None:
        try:
            result = await self._carry_out(name)
        except ChatFull as full:
            self._warnings.warning("request waits", **self._about(name), why=str(full))
            self.held.hold(name, full.chat_jid, trio.current_time())
            return
        except RequestRefused as refusal:
            self._warnings.warning("request refused", **self._about(name), why=str(refusal))
            result = TakenIn(folder=self._folder, refused=1)
        except (InputError, ProtocolError) as error:
            await self._set_aside(name, str(error))
            return
        if result is not None:
            self._note(result)
            await in_thread(self._reader.remove, name)
            self._deleted.add(name)

    async def _carry_out(self, name: str) -> TakenIn | None:
        """What came of a request; None if there is none to delete."""
        request = await in_thread(self._read, name)
        if request is None:
            return None
        if isinstance(request, SendMessage) and self.held.is_for(request.chat_jid):
            raise ChatFull(request.chat_jid)
        received = ReceivedRequest(
            request=request, folder=self._folder, name=name, zone=self._zone, now=utc_now()
        )
        try:
            applied = await self._store.transact(apply_request, received)
        except GroupUnknown:
            # Since the visit began.
            return None
        except (NanoclawError, ChatFull, RequestRefused, OSError, trio.ClosedResourceError):
            raise
        except Exception as error:
            # A mistake of ours must not come again and again, and hold up all that comes after.
            log.error("request can't be carried out", **self._about(name), exc_info=error)
            raise InvalidRequest(type(error).__name__) from error
        if self._on_said is not None and applied.said is not None:
            self._on_said(applied.said)
        return applied.taken

    def _read(self, name: str) -> Request | None:
        request = self._reader.read(name)
        return None if request is None else without_keys(request, self._secrets)

    async def _set_aside(self, name: str, why: str) -> None:
        await in_thread(self._reader.set_aside, name, why[:LONGEST_REASON])
        self._note(TakenIn(folder=self._folder, broken=1))

    def _note(self, result: TakenIn) -> None:
        self._taken = self._taken.followed_by(result)

    @contextmanager
    def _logging_disk(self, name: str = "") -> Iterator[None]:
        try:
            yield
        except (OSError, UnsafePath) as error:
            self._warnings.warning("mailbox can't be used", **self._about(name), why=str(error))

    def _about(self, name: str) -> dict[str, str]:
        return {"group": self._folder, "file": ascii(name)}


def _begin(tx: Transaction, folder: str, deleted: Iterable[str]) -> tuple[str, ...] | None:
    """The files that are noted as handled, but for the deleted ones; None for an unknown group."""
    if groups.by_folder(tx, folder) is None:
        return None
    requests.forget(tx, folder, deleted)
    return requests.handled(tx, folder)
