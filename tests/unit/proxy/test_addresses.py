"""How the proxy finds the API's host: by a resolver that hangs, at addresses where nobody answers."""

from __future__ import annotations

import socket
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from nanoclaw_trio.files import in_thread
from nanoclaw_trio.proxy.addresses import reach
from nanoclaw_trio.proxy.bounds import Bounds
from nanoclaw_trio.proxy.service import open_service
from nanoclaw_trio.proxy.usage import ApiUsage

GUARD = 60
"""Seconds; it guards against a hang and measures nothing."""

NAME = "api.test"

NOBODY = ("127.0.0.1", 1)

system_getaddrinfo = socket.getaddrinfo


class Names:
    """A resolver of the system's that knows NAME, and hangs when it is told to.

    Attributes:
        addresses: NAME's, in their order.
        asked: NAME, as often as it was asked for.
    """

    def __init__(self):
        self.addresses = []
        self.asked = []
        self._answers = threading.Event()
        self._answers.set()

    def hang(self):
        self._answers.clear()

    def answer(self):
        self._answers.set()

    def getaddrinfo(self, host, port, *args, **kwargs):
        if host not in {NAME, NAME.encode()}:
            return system_getaddrinfo(host, port, *args, **kwargs)
        # Trio asks first whether it is a number, and doesn't wait for that.
        flags = args[3] if len(args) > 3 else 0
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no number")
        self.asked.append(host)
        assert self._answers.wait(GUARD)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)
            for address in self.addresses
        ]


@pytest.fixture
def names(monkeypatch):
    """The system's resolver, with NAME; no thread waits for it in the end."""
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    yield names
    names.answer()


@pytest.fixture
def open_named_host(open_host, read_request, names):
    """Serves `ok` as NAME, behind other addresses of that name; its URL."""

    async def serve(stream):
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    @asynccontextmanager
    async def opened(*others):
        async with open_host(serve) as url:
            port = int(url.rpartition(":")[2])
            names.addresses = [*others, ("127.0.0.1", port)]
            yield f"http://{NAME}:{port}"

    return opened


@pytest.fixture
def full_address():
    """An address that takes no connection and refuses none: as many wait there as may."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (first, second):
            waiting.settimeout(0)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()


async def test_a_resolver_that_hangs(open_named_host, names, admit):
    """While the API's name isn't found, requests wait and then fail, of all groups as many as there
    may be; all others of the host's threads are free. Found again, it is asked as before."""
    bounds = Bounds(connect=0.5)
    async with open_named_host() as url, open_service("socket", bounds) as proxy:
        async with admit(proxy, url, "family") as family, admit(proxy, url, "work") as work:
            answers = []

            async def ask(run):
                request = "GET / HTTP/1.1\nhost: api\nconnection: close\n"
                answers.append(await run.say(f"{request}x-api-key: {run.placeholder}\n\n"))

            names.hang()
            with trio.fail_after(GUARD):
                async with trio.open_nursery() as nursery:
                    for run in (family, work) * bounds.requests:
                        nursery.start_soon(ask, run)
                assert await in_thread(lambda: "touched") == "touched"
            assert all(b" 502 " in answer for answer in answers)
            assert len(names.asked) == bounds.lookups
            names.answer()
            await ask(family)
            assert answers[-1].endswith(b"ok")
        counted = ApiUsage(requests=bounds.requests, failures=bounds.requests)
        assert proxy.usage("work") == counted


@pytest.mark.parametrize("others", [[NOBODY], [NOBODY, NOBODY]])
async def test_addresses_that_refuse(open_named_host, open_way, others):
    """Addresses where nobody listens are passed over at once."""
    async with (
        open_named_host(*others) as url,
        open_way(url, bounds=Bounds(connect=GUARD)) as run,
        run.client() as client,
    ):
        response = await client.get("/", headers=run.credentials)
    assert response.text == "ok"


async def test_an_address_that_is_silent(open_named_host, open_way, full_address):
    """An address that doesn't answer isn't waited for as long as a connection may take."""
    async with (
        open_named_host(full_address) as url,
        open_way(url, bounds=Bounds(connect=GUARD)) as run,
        run.client() as client,
    ):
        with trio.fail_after(GUARD / 2):
            response = await client.get("/", headers=run.credentials)
    assert response.text == "ok"


@pytest.mark.parametrize("silent", [True, False])
async def test_no_address_that_answers(open_way, names, full_address, silent):
    """Where none takes a connection the API can't be reached, and nothing stays open."""
    names.addresses = [full_address, full_address] if silent else [NOBODY, NOBODY]
    async with (
        open_way(f"http://{NAME}", bounds=Bounds(connect=1 if silent else GUARD)) as run,
        run.client() as client,
    ):
        response = await client.get("/", headers=run.credentials)
    assert response.status_code == 502
    assert "can't be reached from the host" in response.json()["error"]["message"]
    assert run.usage == ApiUsage(requests=1, failures=1)


def count_sockets():
    """How many sockets this process has open."""
    return sum(link.is_socket() for link in list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux's /proc")
async def test_what_was_tried_in_vain_is_closed(full_address):
    """While an address is waited for, those that have refused take no descriptor any more."""
    before = count_sockets()
    tried = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", where) for where in (NOBODY, NOBODY)]
    silent = (socket.AF_INET, socket.SOCK_STREAM, 0, "", full_address)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reach, [*tried, silent])
        await trio.testing.wait_all_tasks_blocked(cushion=0.1)
        assert count_sockets() == before + 1
        nursery.cancel_scope.cancel()
    assert count_sockets() == before


async def test_the_name_in_private(open_way, names, certificate, read_request, monkeypatch):
    """Behind https the host is asked for by its name, and has to have a certificate for that."""
    authority, context = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    asked = []
    context.sni_callback = lambda _, name, __: asked.append(name)

    async def serve(stream):
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    listeners = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
    names.addresses = [listeners[0].transport_listener.socket.getsockname()]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        async with open_way(f"https://{NAME}") as run, run.client() as client:
            response = await client.get("/", headers=run.credentials)
        nursery.cancel_scope.cancel()
    assert response.text == "ok"
    assert asked == [NAME]
