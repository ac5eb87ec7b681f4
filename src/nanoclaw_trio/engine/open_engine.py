"""How an engine comes to be, and how it ends.

Read :func:`open_engine`: the lock, the store, what the last engine left; then a nursery with one
task for each thing that goes on by itself, and the caller's own block within.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.background import open_background_nursery, start_protected
from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.instance import held_instance
from nanoclaw_trio.engine.journal.journal import Journal
from nanoclaw_trio.engine.parts import EngineParts
from nanoclaw_trio.engine.recovery import recover
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.proxy.open_proxy import open_proxy
from nanoclaw_trio.store.database import open_store
from nanoclaw_trio.workspace.install import install_id

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from nanoclaw_trio.engine.chat.bridge import Bridge
    from nanoclaw_trio.engine.engine import Engine
    from nanoclaw_trio.runtimes.abc import ContainerRuntime
    from nanoclaw_trio.settings import Settings

DRAIN_TIMEOUT: Final = 60.0
"""Seconds that leaving the block waits for answers, by default."""

SWEEP_INTERVAL: Final = 10.0
"""Seconds between two looks at the mailboxes and the store, by default: inotify tells of files at
once where it is there, and of what another process wrote into the store nobody tells."""

REAP_INTERVAL: Final = 300.0
"""Seconds between two looks for containers of hosts that are gone, by default."""


@asynccontextmanager
async def open_engine(
    settings: Settings,
    *,
    runtime: ContainerRuntime,
    bridge: Bridge,
    drain_timeout: float = DRAIN_TIMEOUT,
    sweep_interval: float = SWEEP_INTERVAL,
    reap_interval: float = REAP_INTERVAL,
) -> AsyncGenerator[Engine]:
    """Serve many groups with agents, for as long as the block lasts.

        async with open_engine(settings, runtime=runtime, bridge=bridge) as engine:
            await engine.register_group(Registration(jid="family@chat", group=family))
            await engine.send_message(message)

    A project has one engine at a time. What an earlier one took and didn't answer is answered by
    this one; containers that it left are stopped first. A runtime that is down is waited for, in
    the background: messages are taken meanwhile.

    Leaving the block drains: nothing more is taken, and what was is answered, for at most
    `drain_timeout` seconds; the rest is for the next engine. Leaving it by an exception, or
    cancelled, stops at once. Either way no container is left, within the bound of the stop ladder.
    The caller's exception goes on as it is, and no failure of a background task comes out here.

    Args:
        settings: The project's.
        runtime: What to start containers with; it need not answer yet.
        bridge: Where answers go.
        drain_timeout: Seconds.
        sweep_interval: Seconds between two looks at the mailboxes and at what commands have changed.
        reap_interval: Seconds between two looks for containers that others have left.

    Raises:
        EngineRunning: the project has an engine already; names whose.
        ProjectNotFound, InvalidFile, StoreFailed, HostError: it can't be opened; nothing was started.
        ProxyUnusable: the same of the credential proxy that the settings want.
    """
    root = settings.project_root
    with held_instance(root, utc_now()):
        journal = Journal(root / "data" / "journal.jsonl")
        install = await in_thread(install_id, root)
        async with (
            open_store(root) as store,
            _written(journal),
            _noted(journal, install=install, runtime=runtime.name),
            open_proxy(settings) or nullcontext() as proxy,
        ):
            parts = EngineParts(
                settings,
                runtime,
                bridge,
                store=store,
                journal=journal,
                sweep_interval=sweep_interval,
                reap_interval=reap_interval,
                proxy=proxy,
            )
            await recover(parts.context)
            async with parts.serving() as engine:
                yield engine
                with trio.move_on_after(drain_timeout):
                    await engine.drain()


@asynccontextmanager
async def _written(journal: Journal) -> AsyncIterator[None]:
    try:
        async with open_background_nursery() as nursery:
            start_protected(nursery, journal.run)
            yield
    finally:
        # Cancelled along with the runs, the writing ended before they did.
        await journal.close()  # noqa: ASYNC102 - it shields itself, within a bound


@asynccontextmanager
async def _noted(journal: Journal, *, install: str, runtime: str) -> AsyncIterator[None]:
    journal.note("engine_started", install=install, pid=os.getpid(), runtime=runtime)
    try:
        yield
    finally:
        journal.note("engine_stopped")
