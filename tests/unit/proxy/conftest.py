"""A proxy with small bounds, agents that speak HTTP byte by byte, and hosts of the API's that misbehave."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import orjson
import pytest
import trio
from attrs import field, frozen

from nanoclaw_trio.background import open_background_nursery
from nanoclaw_trio.proxy.bounds import Bounds
from nanoclaw_trio.proxy.place import SOCKET
from nanoclaw_trio.proxy.service import SOCKET_TARGET, open_service
from nanoclaw_trio.workspace.secrets import Secrets

GUARD = 300
"""Seconds; it guards against a hang and measures nothing."""

KEY = "sk-canary-0b5e77"

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""In place of the system's certificates, which take a while to load."""

MESSAGE = {
    "model": "claude-test",
    "max_tokens": 10,
    "messages": [{"role": "user", "content": "Hello"}],
}


@pytest.fixture(autouse=True)
def runtime_home(monkeypatch):
    """A short directory for sockets, in which none is left."""
    home = Path(tempfile.mkdtemp(prefix="nc", dir="/tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    yield home
    left = [*home.glob("nanoclaw/*")]
    shutil.rmtree(home)
    assert left == []


@frozen
class Way:
    """A run's way to the API, as its container has it.

    Attributes:
        values: The secrets on standard input.
        socket: Where the socket is on the host; None at an address.
        proxy: The proxy.
    """

    values: dict
    socket: Path | None
    proxy: object
    key_variable: str = field(default="ANTHROPIC_API_KEY")

    @property
    def placeholder(self):
        """What the agent has for a key."""
        return self.values[self.key_variable]

    @property
    def credentials(self):
        """The header with it."""
        return {"x-api-key": self.placeholder}

    @property
    def usage(self):
        """What was counted."""
        return self.proxy.usage("family")

    def client(self):
        """A client of the API."""
        transport = None
        if self.socket is not None:
            transport = httpx.AsyncHTTPTransport(uds=str(self.socket), verify=NO_TLS)
        base_url = "http://api" if self.socket else self.values["ANTHROPIC_BASE_URL"]
        return httpx.AsyncClient(
            transport=transport, base_url=base_url, timeout=GUARD, trust_env=False, verify=NO_TLS
        )

    async def connect(self):
        """A bare connection."""
        if self.socket is not None:
            return await trio.open_unix_socket(str(self.socket))
        url = httpx.URL(self.values["ANTHROPIC_BASE_URL"])
        return await trio.open_tcp_stream(url.host, url.port)

    async def say(self, text):
        """What is answered to bytes, up to the connection's end."""
        stream = await self.connect()
        async with stream:
            await stream.send_all(text.replace("\n", "\r\n").encode())
            return await read_all(stream)


async def read_all(stream):
    """All bytes up to the end, or to a reset."""
    heard = b""
    try:
        async for chunk in stream:
            heard += chunk
    except trio.BrokenResourceError:
        pass
    return heard


@asynccontextmanager
async def admitted(proxy, url, folder="family", root=Path("/project"), **secrets):
    """A way for a run of a group."""
    values = secrets or {"ANTHROPIC_API_KEY": KEY}
    given = Secrets({**values, **({"ANTHROPIC_BASE_URL": url} if url else {})})
    async with proxy.admit(root, folder, given) as admission:
        (mount,) = admission.mounts or (None,)
        if mount is not None:
            assert (mount.container_path, mount.readonly) == (SOCKET_TARGET, True)
        revealed = admission.secrets.reveal()
        names = [name for name in revealed if name != "ANTHROPIC_BASE_URL"]
        socket = mount and mount.host_path / SOCKET
        yield Way(revealed, socket, proxy, names[0])


@pytest.fixture
def open_way():
    """Opens a proxy, and a way through it for one run with these secrets of the host's."""

    @asynccontextmanager
    async def opened(url, way="socket", bounds=None, **secrets):
        with trio.fail_after(GUARD):
            async with (
                open_service(way, bounds) as proxy,
                admitted(proxy, url, **secrets) as run,
            ):
                yield run

    return opened


@pytest.fixture
def open_service_way():
    """Open a proxy at an address: it, and what lets runs in."""

    @asynccontextmanager
    async def opened(_url):
        async with open_service("tcp:127.0.0.1", Bounds()) as proxy:
            yield proxy, admitted

    return opened


@pytest.fixture
def admit():
    """Lets a run of a group in at a proxy."""
    return admitted


@pytest.fixture
def open_host():
    """Serves connections of the API's host by a function, and gives its URL."""

    @asynccontextmanager
    async def opened(handle):
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        async with open_background_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, handle, listeners)
            yield f"http://127.0.0.1:{port}"

    return opened


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 and api.test: the file of who vouches for it, and a server's context with it."""
    files = (tmp_path / "certificate", tmp_path / "key")
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1,DNS:api.test"),
        *("-days", "2", "-out", str(files[0]), "-keyout", str(files[1])),
    ]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return files[0], context


@pytest.fixture
def message():
    """A call of the API."""
    return MESSAGE


@pytest.fixture
def body():
    """The same, as bytes."""
    return orjson.dumps(MESSAGE)


@pytest.fixture
def read_request():
    """Read a request from a stream, head and body of the length it names; its bytes."""

    async def read(stream):
        heard = b""
        while b"\r\n\r\n" not in heard:
            heard += await stream.receive_some()
        head, _, rest = heard.partition(b"\r\n\r\n")
        lengths = [
            int(line.partition(b":")[2])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        ]
        while lengths and len(rest) < lengths[0]:
            rest += await stream.receive_some()
        return head + b"\r\n\r\n" + rest

    return read
