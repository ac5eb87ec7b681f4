"""The way to the API through the host, which has the key (docs/security, "Keys").

The host mounts a socket, and says `unix:PATH` where the API's address is expected. Its clients know
no such addresses: for them a port of this machine's own leads there.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_agent.background import open_background_nursery
from nanoclaw_agent.secrets import Secrets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BASE_URL: Final = "ANTHROPIC_BASE_URL"

SCHEME: Final = "unix:"

LOOPBACK: Final = "127.0.0.1"

CHUNK: Final = 64 * 1024
"""Bytes that are under way in one direction of a connection, at most."""

log: Final = logging.getLogger(__name__)


@asynccontextmanager
async def open_way_to_api(secrets: Secrets) -> AsyncIterator[Secrets]:
    """The secrets with an address of the API's that clients understand, for as long as this lasts."""
    values = secrets.environment()
    base_url = values.get(BASE_URL, "")
    if not base_url.startswith(SCHEME):
        yield secrets
        return
    listeners = await trio.open_tcp_listeners(0, host=LOOPBACK)
    port = listeners[0].socket.getsockname()[1]
    forward = partial(_forward, base_url.removeprefix(SCHEME))
    async with open_background_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, forward, listeners)
        yield Secrets({**values, BASE_URL: f"http://{LOOPBACK}:{port}"})


async def _forward(path: str, client: trio.SocketStream) -> None:
    """Pass a connection on, both ways, until one of them ends it."""
    try:
        host = await trio.open_unix_socket(path)
    except OSError as error:
        log.warning("the host's way to the API can't be reached: %s", error.strerror)
        return
    async with host, trio.open_nursery() as nursery:
        for source, sink in ((client, host), (host, client)):
            nursery.start_soon(_pump, source, sink, nursery.cancel_scope)


async def _pump(
    source: trio.SocketStream, sink: trio.SocketStream, connection: trio.CancelScope
) -> None:
    try:
        while data := await source.receive_some(CHUNK):
            await sink.send_all(data)
    except trio.BrokenResourceError:
        pass
    finally:
        # What the source said is with the sink by now. One that has hung up wants no more.
        connection.cancel()
