"""Finds containers whose host is gone, and sees to it that they go too."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import trio
from attrs import frozen

from nanoclaw_trio.background import start_protected
from nanoclaw_trio.errors import NanoclawError, RuntimeCommandFailed
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.logs import log
from nanoclaw_trio.run.host import is_alive
from nanoclaw_trio.run.stop import StopLadder
from nanoclaw_trio.runtimes.abc import INSTALL_LABEL, OWNER_LABEL
from nanoclaw_trio.workspace.install import install_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nanoclaw_trio.run.receipt import Receipt
    from nanoclaw_trio.runtimes.abc import ContainerRuntime, ContainerState
    from nanoclaw_trio.settings import Settings

LIST_COMMANDS: Final = 3
"""Commands' bounds within which a runtime has to say which containers there are: two that it may
take, and one to spare. It has bounds of its own; who breaks them must not stop the reaper."""


def is_orphan(state: ContainerState) -> bool:
    """Whether the process that started a container has ended.

    A container without the owner's label was not started by a host that still knows it.
    """
    owner = state.labels.get(OWNER_LABEL)
    return owner is None or not is_alive(owner)


def is_stale(labels: Mapping[str, str], *, install: str) -> bool:
    """Whether labels say of a container that a host of this install wants it that has ended."""
    owner = labels.get(OWNER_LABEL)
    return labels.get(INSTALL_LABEL) == install and owner is not None and not is_alive(owner)


@frozen(kw_only=True)
class Reaped:
    """A container that nobody wants any more: what the runtime said of it, and what became of it."""

    state: ContainerState
    receipt: Receipt


async def reap_orphans(runtime: ContainerRuntime, *, settings: Settings) -> tuple[Receipt, ...]:
    """Stop and remove every orphan of this project, and say of each what became of it.

    Containers are found by their install's label, never by their name: two projects on one engine
    don't see each other's (Trap A26). Those of a process that lives are let be. Starts of orphans
    that are under way are ended first; a container that the runtime is just making may still come
    in the next moment, never to be started. Cancelled, it goes on once those that it was at are
    dealt with, within the bound of the stop ladder.

    Raises:
        RuntimeCommandFailed: the runtime didn't say which containers there are.
        InvalidFile: the record of the install's id is broken.
    """
    reaped = await reap(runtime, settings=settings, is_orphan=is_orphan)
    return tuple(one.receipt for one in reaped)


async def reap(
    runtime: ContainerRuntime,
    *,
    settings: Settings,
    is_orphan: Callable[[ContainerState], bool],
) -> tuple[Reaped, ...]:
    """As :func:`reap_orphans`, for what counts as an orphan here, with what was known of each."""
    identity = await in_thread(install_id, settings.project_root)
    reaped: list[Reaped] = []

    async def reap_one(state: ContainerState) -> None:
        ladder = StopLadder(runtime, state.name, grace=settings.grace)
        receipt = await ladder.descend(None)
        reaped.append(Reaped(state=state, receipt=receipt))
        log.warning("orphan reaped", container=state.name, receipt=type(receipt).__name__)

    # Asked before the nursery: an error of the runtime's would come out of that in a group.
    states = await _list_all(runtime, identity, bound=LIST_COMMANDS * settings.grace.command)
    orphans = await in_thread(lambda: [state for state in states if is_orphan(state)])
    async with trio.open_nursery() as nursery:
        for state in orphans:
            start_protected(nursery, reap_one, state)
    return tuple(reaped)


async def _list_all(
    runtime: ContainerRuntime, install: str, *, bound: float
) -> tuple[ContainerState, ...]:
    """All containers of an install that there will be but for those that are started now."""
    try:
        with trio.fail_after(bound):
            await runtime.end_stale_starts(partial(is_stale, install=install))
            return await runtime.list({INSTALL_LABEL: install})
    except trio.TooSlowError:
        raise RuntimeCommandFailed("list", f"did not answer within {bound:g} s") from None


async def reap_periodically(
    runtime: ContainerRuntime, *, settings: Settings, interval: float
) -> None:
    """Reap at once and then each `interval` seconds, until cancelled.

    A runtime that doesn't answer is logged, and asked again the next time.
    """
    while True:
        try:
            await reap_orphans(runtime, settings=settings)
        except NanoclawError as error:
            log.warning("orphans not looked for", runtime=runtime.name, why=str(error))
        await trio.sleep(interval)
