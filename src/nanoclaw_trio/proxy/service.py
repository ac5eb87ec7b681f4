"""The proxy itself: a way to the API for each run, for as long as the run lasts."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.background import open_background_nursery, protected
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.proxy.admission import Admission
from nanoclaw_trio.proxy.api_connection import Connector
from nanoclaw_trio.proxy.bounds import Bounds, new_crowd
from nanoclaw_trio.proxy.door import Door
from nanoclaw_trio.proxy.entry import Entry
from nanoclaw_trio.proxy.errors import ProxyUnusable
from nanoclaw_trio.proxy.keys import API_KEY, Keys, new_placeholder
from nanoclaw_trio.proxy.place import SOCKET, listening
from nanoclaw_trio.proxy.upstream import BASE_URL, parse_upstream
from nanoclaw_trio.proxy.usage import UsageTally
from nanoclaw_trio.settings import split_proxy_address

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from nanoclaw_trio.proxy.usage import ApiUsage
    from nanoclaw_trio.workspace.secrets import Secrets

SOCKET_TARGET: Final = "/run/nanoclaw"
"""Where a container has the directory with its socket."""

SOCKET_URL: Final = f"unix:{SOCKET_TARGET}/{SOCKET}"
"""What such a container is told in the place of the API's address."""


class CredentialProxy:
    """Lets runs call the API without a key of their own.

    Made by :func:`~nanoclaw_trio.proxy.open_proxy.open_proxy`.
    """

    def __init__(self, tls: ssl.SSLContext, bounds: Bounds, address: str | None) -> None:
        """`address`: the base URL for all runs; None where each has a socket of its own."""
        self._connector = Connector(tls, bounds)
        self._bounds = bounds
        self._crowd = new_crowd()
        self._address = address
        self._tally = UsageTally()
        self.door = self._make_door()

    def _make_door(self, *entries: Entry) -> Door:
        return Door(set(entries), self._connector, self._tally, self._bounds, self._crowd)

    def usage(self, folder: str) -> ApiUsage:
        """What a group has used since the proxy was opened."""
        return self._tally.of(folder)

    @asynccontextmanager
    async def admit(
        self, project_root: Path, folder: str, secrets: Secrets
    ) -> AsyncGenerator[Admission]:
        """Let a run of a group in, with these secrets of the host's, until the block ends.

        Call it while you hold the group. Requests that are under way at the end are given up.

        Raises:
            InvalidSetting: one of the secrets can't be used.
            ProxyUnusable: there can't be a socket for the group.
        """
        values, placeholder = secrets.reveal(), new_placeholder()
        entry = Entry(
            folder=folder,
            keys=Keys(values),
            upstream=parse_upstream(values.get(BASE_URL)),
            placeholder=placeholder.encode(),
            slots=trio.CapacityLimiter(self._bounds.requests),
        )
        shown = dict.fromkeys(entry.keys.variables or (API_KEY,), placeholder)
        shown[BASE_URL] = self._address or SOCKET_URL
        at_door = self._at_socket if self._address is None else self._at_address
        async with at_door(project_root, entry) as mounts:
            yield Admission(secrets=secrets.replaced(shown), mounts=mounts)

    @asynccontextmanager
    async def _at_socket(
        self, project_root: Path, entry: Entry
    ) -> AsyncGenerator[tuple[VolumeMount, ...]]:
        serve = self._make_door(entry).serve
        async with (
            listening(project_root, entry.folder) as (directory, listener),
            open_background_nursery() as nursery,
        ):
            await nursery.start(protected, trio.serve_listeners, serve, [listener])
            # Read-only: nobody may put another socket in its place. One can connect all the same.
            yield (VolumeMount(host_path=directory, container_path=SOCKET_TARGET, readonly=True),)

    @asynccontextmanager
    async def _at_address(
        self, project_root: Path, entry: Entry
    ) -> AsyncGenerator[tuple[VolumeMount, ...]]:
        del project_root
        self.door.entries.add(entry)
        try:
            yield ()
        finally:
            self.door.entries.discard(entry)
            entry.over.set()


@asynccontextmanager
async def open_service(way: str, bounds: Bounds | None = None) -> AsyncGenerator[CredentialProxy]:
    """A proxy: at sockets (`socket`), or at an address (`tcp:ADDRESS[:PORT]`).

    Raises:
        ProxyUnusable: the address can't be listened on.
    """
    bounds = bounds or Bounds()
    # The certificates that the system trusts, or SSL_CERT_FILE and SSL_CERT_DIR.
    tls = await in_thread(ssl.create_default_context)
    if way == "socket":
        yield CredentialProxy(tls, bounds, None)
        return
    host, port = split_proxy_address(way)
    listeners = await _listen(host, port)
    proxy = CredentialProxy(tls, bounds, _url(host, listeners))
    async with open_background_nursery() as nursery:
        await nursery.start(protected, trio.serve_listeners, proxy.door.serve, listeners)
        yield proxy


async def _listen(host: str, port: int) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise ProxyUnusable(
            f"{host} port {port} can't be listened on: {error.strerror or error}; name an address of "
            "this machine's that containers reach, and a free port or none"
        ) from error


def _url(host: str, listeners: list[trio.SocketListener]) -> str:
    port = listeners[0].socket.getsockname()[1]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
