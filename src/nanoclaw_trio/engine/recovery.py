"""What an engine does first: take up what the last one left, however that one ended."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.errors import NanoclawError
from nanoclaw_trio.logs import log
from nanoclaw_trio.mailbox.writer import Mailbox
from nanoclaw_trio.run.host import is_alive
from nanoclaw_trio.store import deliveries, messages, tasks
from nanoclaw_trio.workspace.folders import GroupPaths

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from nanoclaw_trio.engine.context import EngineContext
    from nanoclaw_trio.store.database import Transaction

REMEMBERED: Final = timedelta(days=30)
"""How long what is done stays in the store: for that long a message that a bridge hands in again is
known, and a task's runs can be looked up."""


async def recover(context: EngineContext) -> None:
    """Let all that was asked and not answered wait again; nothing of it is left in a mailbox.

    For the time when no run of this engine is under way. Raises as the store does.
    """
    # The files first: once the messages wait again, nobody knows their names any more.
    by_folder: dict[str, list[str]] = {}
    for folder, name in await context.store.transact(messages.follow_up_files):
        by_folder.setdefault(folder, []).append(name)
    for folder, names in by_folder.items():
        await _discard(context, folder, names)
    await context.store.transact(_recover, context.owner, utc_now())


def forget_old(tx: Transaction, now: datetime) -> None:
    """Delete what has been done for long enough; at the start, and once a day after that."""
    for forget in (messages.forget_old, deliveries.forget_old, tasks.forget_old):
        forget(tx, now - REMEMBERED)


def _recover(tx: Transaction, owner: str, now: datetime) -> None:
    def lives(other: str) -> bool:
        # No other engine has this project now: what this process leased, an earlier one of its did.
        return other != owner and is_alive(other)

    tasks.interrupt_dead(tx, lives, now)
    forget_old(tx, now)
    messages.put_all_back(tx)


async def _discard(context: EngineContext, folder: str, names: Iterable[str]) -> None:
    try:
        paths = GroupPaths.of(context.settings.project_root, folder)
        mailbox = Mailbox(paths.ipc_dir, context.runtime.workspace_owner())
        await mailbox.discard(names)
    except (NanoclawError, OSError) as error:
        # They may be said twice, which is better than not at all.
        log.warning("stale follow-ups not removed", group=folder, why=str(error))
