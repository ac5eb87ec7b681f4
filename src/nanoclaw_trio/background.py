"""A nursery for the background tasks of a context manager, and how tasks of ours are started."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVarTuple

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

Arguments = TypeVarTuple("Arguments")


def start_protected(
    nursery: trio.Nursery,
    function: Callable[[*Arguments], Awaitable[object]],
    *arguments: *Arguments,
) -> None:
    """Start a task that a Ctrl-C is not raised in: the main task gets it instead.

    A KeyboardInterrupt goes off wherever Python code runs, inside of a shield too. Out of a task of
    ours it would leave a container half stopped or an answer half noted, and come to the caller in a
    group. So the main task is interrupted, and cancels this one as anything else does.
    """
    nursery.start_soon(protected, function, *arguments, name=function)


@trio.lowlevel.enable_ki_protection
async def protected(
    function: Callable[..., Awaitable[object]], *arguments: object, **keywords: object
) -> None:
    """Await a function so protected, for `nursery.start`. A task doesn't inherit it."""
    await function(*arguments, **keywords)


@asynccontextmanager
async def open_background_nursery() -> AsyncGenerator[trio.Nursery]:
    """A nursery that nobody sees from outside of the context manager that opens it.

    Leaving the block cancels its tasks and waits for them. An exception of the block goes on as it
    is: out of a plain nursery it would come inside of a group of one, and the caller's `except`
    would miss it. An exception of a background task still comes inside of a group.
    """
    cancelled: BaseException | None = None
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except trio.Cancelled:
                raise
            except BaseExceptionGroup as group:
                # Out of a nursery in the block. The cancellations in it may be this one's own, and
                # nobody would take them outside of it.
                cancelled, failure = group.split(trio.Cancelled)
                if cancelled is None:
                    failure = group
            except BaseException as error:  # noqa: BLE001 - raised again below
                failure = error
            if cancelled is not None:
                raise cancelled
            nursery.cancel_scope.cancel()
    finally:
        try:
            if failure is not None:
                raise failure
        finally:
            # An exception knows the frames that it came through; this one must not know it, too.
            del cancelled, failure
