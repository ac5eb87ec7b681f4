"""Where agents come in: who is it, may it come in, and then its requests are passed on."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from nanoclaw_trio.logs import log
from nanoclaw_trio.proxy.api_connection import ApiLink
from nanoclaw_trio.proxy.connection import AgentConnection, ClientGone
from nanoclaw_trio.proxy.exchange import Exchange
from nanoclaw_trio.proxy.keys import shown_in
from nanoclaw_trio.proxy.refusals import NO_KEY, TOO_MANY, UNKNOWN, find_refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    import h11

    from nanoclaw_trio.proxy.api_connection import Connector
    from nanoclaw_trio.proxy.bounds import Bounds, Crowd
    from nanoclaw_trio.proxy.entry import Entry
    from nanoclaw_trio.proxy.keys import Header
    from nanoclaw_trio.proxy.refusals import Refusal
    from nanoclaw_trio.proxy.usage import UsageTally


class Door:
    """Serves the connections of one socket or address.

    Attributes:
        entries: Whose requests are passed on: of a socket one, of an address those of all runs.
    """

    def __init__(
        self,
        entries: set[Entry],
        connector: Connector,
        tally: UsageTally,
        bounds: Bounds,
        crowd: Crowd,
    ) -> None:
        self.entries = entries
        self._connector = connector
        self._tally = tally
        self._bounds = bounds
        self._owners = tuple(entries)
        self._connections = 0
        self._crowd = crowd

    # Trio's server starts a task for each, which doesn't inherit the protection of its own.
    @trio.lowlevel.enable_ki_protection
    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve a connection until it ends. A failure is its own, and no other's."""
        crowd = self._crowd
        if self._connections >= self._bounds.connections or crowd.present >= crowd.limit:
            return
        self._connections += 1
        crowd.present += 1
        try:
            await self._serve(AgentConnection(stream, self._bounds))
        # Of a group, too, that has a cancellation in it: that one goes on, the failure doesn't.
        except* Exception as errors:  # noqa: BLE001 - the others' connections go on
            # Nor their text nor their traceback, which may show a header.
            log.error("request to the API failed", why=", ".join(sorted(_kinds(errors))))
        finally:
            self._connections -= 1
            crowd.present -= 1

    async def _serve(self, connection: AgentConnection) -> None:
        link = ApiLink(self._connector)
        try:
            with suppress(ClientGone):
                while head := await connection.receive_head():
                    await self._answer(connection, head, link)
                    if not connection.next_request():
                        break
        finally:
            await link.aclose()  # noqa: ASYNC102 - it doesn't wait

    async def _answer(self, connection: AgentConnection, head: h11.Request, link: ApiLink) -> None:
        entry, shown = self._find(head.headers)
        refusal = find_refusal(head.method, head.target, head.headers)
        refusal = refusal or _find_obstacle(entry)
        if entry is None or refusal is not None:
            await self._refuse(connection, entry, refusal or UNKNOWN)
            return
        async with entry.slots:
            await Exchange(entry, link, self._tally).conduct(connection, head, shown)

    async def _refuse(
        self, connection: AgentConnection, entry: Entry | None, refusal: Refusal
    ) -> None:
        # On a socket it is known whose they are, placeholder or not; at an address it isn't.
        for known in self._owners if entry is None else (entry,):
            self._tally.count(known.folder, "refused")
        await connection.refuse(refusal)

    def _find(self, headers: Iterable[Header]) -> tuple[Entry | None, frozenset[bytes]]:
        """Whose placeholder a request shows, and where. All are compared, whichever it is."""
        headers = list(headers)
        shown = {entry: shown_in(headers, entry.placeholder) for entry in self.entries}
        return next(
            ((entry, where) for entry, where in shown.items() if where), (None, frozenset())
        )


def _kinds(error: BaseException) -> set[str]:
    if isinstance(error, BaseExceptionGroup):
        return {kind for inner in error.exceptions for kind in _kinds(inner)}
    return {type(error).__name__}


def _find_obstacle(entry: Entry | None) -> Refusal | None:
    if entry is None:
        return UNKNOWN
    if not entry.keys:
        return NO_KEY
    return TOO_MANY if entry.slots.available_tokens == 0 else None
