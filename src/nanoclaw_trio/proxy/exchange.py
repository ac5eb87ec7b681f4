"""One request of an agent's, passed on with the host's key, and its answer, passed back."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import h11
import trio

from nanoclaw_trio.background import open_background_nursery, start_protected
from nanoclaw_trio.proxy.api_connection import ApiFailed
from nanoclaw_trio.proxy.connection import ClientGone
from nanoclaw_trio.proxy.headers import request_headers, response_headers
from nanoclaw_trio.proxy.refusals import BROKEN
from nanoclaw_trio.proxy.usage import tokens_of

if TYPE_CHECKING:
    from nanoclaw_trio.proxy.api_connection import ApiConnection, ApiLink
    from nanoclaw_trio.proxy.connection import AgentConnection
    from nanoclaw_trio.proxy.entry import Entry
    from nanoclaw_trio.proxy.keys import Header
    from nanoclaw_trio.proxy.usage import UsageTally

FIRST_ERROR: Final = 400
"""The least status of an error."""


class Exchange:
    """Passes one request of a group's on."""

    def __init__(self, entry: Entry, link: ApiLink, tally: UsageTally) -> None:
        self._entry = entry
        self._link = link
        self._tally = tally
        self._given_up = trio.CancelScope()

    async def conduct(
        self, connection: AgentConnection, head: h11.Request, shown: frozenset[bytes]
    ) -> None:
        """Pass a request on, and its answer back.

        When the agent hangs up, or its run has ended, the request is given up. Raises ClientGone.
        """
        self._tally.count(self._entry.folder, "requests")
        with self._given_up:
            async with open_background_nursery() as nursery:
                start_protected(nursery, self._wait_over)
                try:
                    api = await self._link.connection(self._entry.upstream)
                    await self._pass_on(connection, api, self._request(head, shown))
                except (ApiFailed, h11.LocalProtocolError) as error:
                    self._tally.count(self._entry.folder, "failures")
                    await _explain(error, connection)

    async def _wait_over(self) -> None:
        await self._entry.over.wait()
        self._given_up.cancel()

    def _request(self, head: h11.Request, shown: frozenset[bytes]) -> h11.Request:
        upstream = self._entry.upstream
        return h11.Request(
            method=head.method,
            target=upstream.target(head.target),
            headers=request_headers(
                head.headers, host=upstream.host, keys=self._entry.keys, shown=shown
            ),
        )

    async def _pass_on(
        self, connection: AgentConnection, api: ApiConnection, request: h11.Request
    ) -> None:
        """Both directions at once: an API that refuses may do so before it has the whole body."""
        await api.send(request)
        async with open_background_nursery() as nursery:
            start_protected(nursery, self._pass_body, connection, api)
            await self._pass_back(connection, api, await api.receive_head())

    async def _pass_body(self, connection: AgentConnection, api: ApiConnection) -> None:
        """Pass a request's body on, and then see whether the agent hangs up."""
        # An API that takes no more of it is heard by its answer, or by its end.
        with suppress(ApiFailed):
            try:
                while (data := await connection.receive_body()) is not None:
                    await api.send(h11.Data(data=data))
                await api.send(h11.EndOfMessage())
                await connection.wait_hang_up()
            except ClientGone:
                pass
            self._given_up.cancel()

    async def _pass_back(
        self, connection: AgentConnection, api: ApiConnection, head: h11.Response
    ) -> None:
        if head.status_code >= FIRST_ERROR:
            self._tally.count(self._entry.folder, "errors")
        tokens = tokens_of(_content_type(head))
        try:
            headers = response_headers(head.headers, self._entry.keys)
            await connection.begin_answer(head.status_code, headers)
            while (data := await api.receive_body()) is not None:
                tokens.feed(data)
                await connection.send(data)
            await connection.end_answer()
        finally:
            self._tally.add_tokens(self._entry.folder, tokens.tokens())


async def _explain(error: Exception, connection: AgentConnection) -> None:
    # Cut off in the middle, the answer just ends: nothing can be said any more.
    if not connection.has_answered:
        await connection.refuse(error.refusal if isinstance(error, ApiFailed) else BROKEN)


def _content_type(head: h11.Response) -> bytes:
    headers: list[Header] = list(head.headers)
    return next((value for name, value in headers if name == b"content-type"), b"")
