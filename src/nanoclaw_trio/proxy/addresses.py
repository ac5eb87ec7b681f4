"""How the API's host is reached: its addresses, and the first of them that takes a connection."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from nanoclaw_trio.background import start_protected

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Address: TypeAlias = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
"""As :func:`socket.getaddrinfo` has it."""

PATIENCE: Final = 0.25
"""Seconds for an address to answer, until the next one is tried beside it: Trio's own."""


async def look_up(name: str, port: int, threads: trio.CapacityLimiter) -> Sequence[Address]:
    """A host's addresses, found in one of these threads. OSError if there are none.

    The system can't be asked to leave off. Cancelled, this leaves the thread to it for as long as it
    takes, which is half a minute where no name server answers.
    """
    # trio.open_tcp_stream looks up in the threads that the disk is reached with.
    return await trio.to_thread.run_sync(
        _look_up, name, port, abandon_on_cancel=True, limiter=threads
    )


def _look_up(name: str, port: int) -> Sequence[Address]:
    # As bytes: text goes through Python's own IDNA first, whose errors are no OSErrors.
    return socket.getaddrinfo(name.encode(), port, type=socket.SOCK_STREAM)


async def reach(addresses: Iterable[Address]) -> trio.SocketStream:
    """Connect to one of a host's addresses. OSError if none takes a connection.

    They are tried in their order, each when the one before it has failed, or was silent for PATIENCE.
    """
    with ExitStack() as opened:
        attempts = _Attempts(opened)
        await attempts.make(addresses)
        if attempts.reached is None:
            raise OSError("no address takes a connection")
        # Taken out of its socket, it isn't closed with the others.
        return trio.SocketStream(trio.socket.socket(fileno=attempts.reached.detach()))


class _Attempts:
    """Connects to several addresses, and leaves off when one is reached."""

    def __init__(self, opened: ExitStack) -> None:
        self.reached: trio.socket.SocketType | None = None
        self._opened = opened

    async def make(self, addresses: Iterable[Address]) -> None:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                start_protected(nursery, self._try, address, failed, nursery.cancel_scope)
                with trio.move_on_after(PATIENCE):
                    await failed.wait()

    async def _try(
        self, address: Address, failed: trio.Event, all_of_them: trio.CancelScope
    ) -> None:
        family, kind, protocol, _, where = address
        try:
            with ExitStack() as own:
                connection = own.enter_context(trio.socket.socket(family, kind, protocol))
                await connection.connect(where)
                self._opened.push(own.pop_all())
        except OSError:
            failed.set()
        else:
            self.reached = connection
            all_of_them.cancel()
