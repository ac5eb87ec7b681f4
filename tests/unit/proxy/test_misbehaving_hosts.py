"""The proxy before a host of the API's that misbehaves."""

from __future__ import annotations

import socket
import struct

import h11
import httpx
import pytest
import trio

from nanoclaw_trio.proxy.api_connection import ApiConnection
from nanoclaw_trio.proxy.bounds import Bounds
from nanoclaw_trio.proxy.usage import ApiUsage

KEY = "sk-canary-0b5e77"

GIBIBYTE = 1024**3

CHUNK = bytes(1024 * 1024)

FLAT = GIBIBYTE // 16
"""Bytes by which the memory of this process may grow while a gibibyte passes: a 16th of it."""

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"

STARTED = (
    b'data: {"type":"message_start","message":{"usage":{"input_tokens":5,"output_tokens":1}}}\n\n'
)

BROKEN = "connection: close, half an answer"


def reset(stream):
    """Have the connection end in a reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.fixture
def ask(open_host, open_way, read_request):
    """Ask a host that handles its connection by a function, after the request was read."""

    async def asked(handle, bounds=None, url=None):
        async def serve(stream):
            await read_request(stream)
            await handle(stream)

        async with (
            open_host(serve) as its_url,
            open_way(url or its_url, bounds=bounds) as run,
            run.client() as client,
        ):
            response = await client.post("/v1/messages", content=b"{}", headers=run.credentials)
        return response, run.usage

    return asked


async def hang(stream):
    """Say nothing."""
    await stream.receive_some()


async def hang_up(stream):
    """End without a word."""
    await trio.lowlevel.checkpoint()


async def reset_at_once(stream):
    """Reset the connection."""
    reset(stream)
    await trio.lowlevel.checkpoint()


async def speak_otherwise(stream):
    """No HTTP."""
    await stream.send_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


async def change_protocol(stream):
    """An answer to what nobody asked."""
    await stream.send_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n")
    await stream.receive_some()


@pytest.mark.parametrize(
    ("handle", "status", "kind"),
    [
        (hang, 504, "timeout_error"),
        (hang_up, 502, "api_error"),
        (reset_at_once, 502, "api_error"),
        (speak_otherwise, 502, "api_error"),
        (change_protocol, 502, "api_error"),
    ],
)
async def test_no_answer(ask, handle, status, kind):
    """An API that gives no answer is an error in the API's shape, without the key, and counted."""
    response, usage = await ask(handle, Bounds(silence=0.5))
    assert (response.status_code, response.json()["error"]["type"]) == (status, kind)
    assert "credential proxy" in response.json()["error"]["message"]
    assert KEY not in response.text
    assert usage == ApiUsage(requests=1, failures=1)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://nowhere.invalid", "http://no..name"])
async def test_nobody_there(ask, url):
    """An API that can't be reached is such an error, too; its address isn't told."""
    response, usage = await ask(hang, url=url)
    assert response.status_code == 502
    assert "can't be reached from the host" in response.json()["error"]["message"]
    assert "nowhere" not in response.text
    assert usage == ApiUsage(requests=1, failures=1)


@pytest.mark.parametrize("head", [HEAD, HEAD + b"content-length: 1000\r\n"])
@pytest.mark.parametrize("ending", [reset_at_once, hang_up, hang])
async def test_half_an_answer(ask, head, ending):
    """An answer that breaks off breaks off for the agent, who isn't told that it is whole; what it
    has cost until then is counted."""

    async def half(stream):
        await stream.send_all(head + b"\r\n" + STARTED)
        await trio.testing.wait_all_tasks_blocked(0.05)
        await ending(stream)

    if ending is hang_up and b"content-length" not in head:
        # The end of the connection is the answer's own: nobody can tell.
        response, usage = await ask(half)
        assert response.content == STARTED
        assert usage == ApiUsage(requests=1, input_tokens=5, output_tokens=1)
        return
    with pytest.raises(httpx.RemoteProtocolError):
        await ask(half, Bounds(silence=0.5))


async def test_after_half_an_answer(open_host, open_way, read_request):
    """After an answer that broke off the next request is answered."""

    async def serve(stream):
        if b"broken" in await read_request(stream):
            await stream.send_all(HEAD + b"content-length: 1000\r\n\r\n" + STARTED)
        else:
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with open_host(serve) as url, open_way(url) as run, run.client() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/broken", headers=run.credentials)
        response = await client.get("/whole", headers=run.credentials)
    assert response.text == "ok"
    assert run.usage == ApiUsage(requests=2, failures=1, input_tokens=5, output_tokens=1)


async def pass_over(stream, size):
    """Read a head and so many bytes behind it, and keep none of them."""
    heard = b""
    while b"\r\n\r\n" not in heard:
        heard += await stream.receive_some()
    left = size - len(heard.partition(b"\r\n\r\n")[2])
    while left > 0:
        chunk = await stream.receive_some(65536)
        assert chunk
        left -= len(chunk)


async def send_body(stream, size):
    """So many bytes."""
    for _ in range(size // len(CHUNK)):
        await stream.send_all(CHUNK)


async def test_a_gibibyte(open_host, open_way, watch_memory):
    """A request of a gibibyte passes through and an answer of another, and none of it stays in
    memory."""

    async def serve(stream):
        await pass_over(stream, GIBIBYTE)
        await stream.send_all(HEAD + b"content-length: %d\r\n\r\n" % GIBIBYTE)
        await send_body(stream, GIBIBYTE)

    async with open_host(serve) as url, open_way(url) as run:
        stream = await run.connect()
        async with stream:
            grown = watch_memory()
            ask = f"POST / HTTP/1.1\r\nhost: api\r\nx-api-key: {run.placeholder}\r\n"
            await stream.send_all(f"{ask}content-length: {GIBIBYTE}\r\n\r\n".encode())
            await send_body(stream, GIBIBYTE)
            assert grown() < FLAT
            await pass_over(stream, GIBIBYTE)
            assert grown() < FLAT
    assert run.usage == ApiUsage(requests=1)


async def test_an_agent_that_does_not_read(open_host, open_way, read_request):
    """An agent that takes nothing holds the API back, rather than fill the host's memory; it is
    given up after the bound."""
    sent = []
    over = trio.Event()

    async def serve(stream):
        await read_request(stream)
        try:
            await stream.send_all(HEAD + b"content-length: %d\r\n\r\n" % GIBIBYTE)
            while True:
                await stream.send_all(CHUNK)
                sent.append(len(CHUNK))
        except trio.BrokenResourceError:
            over.set()

    async with open_host(serve) as url, open_way(url, bounds=Bounds(silence=0.5)) as run:
        stream = await run.connect()
        async with stream:
            ask = f"GET / HTTP/1.1\r\nhost: api\r\nx-api-key: {run.placeholder}\r\n\r\n"
            await stream.send_all(ask.encode())
            await over.wait()
    assert sum(sent) < GIBIBYTE // 16


async def test_an_answer_before_the_requests_end():
    """A connection is good for no other request when its host answered while the end of the one
    before it was still to be sent: the host would take the next one for a part of that."""
    ours, theirs = trio.testing.memory_stream_pair()
    nothing_to_read, peer = trio.socket.socketpair()
    with nothing_to_read, peer:
        api = ApiConnection(ours, nothing_to_read, Bounds())
        headers = [("host", "api"), ("transfer-encoding", "chunked")]
        await api.send(h11.Request(method="POST", target="/", headers=headers))
        ours.send_stream.send_all_hook = trio.sleep_forever
        async with trio.open_nursery() as nursery:
            nursery.start_soon(api.send, h11.EndOfMessage())
            await theirs.send_all(b"HTTP/1.1 413 No\r\ncontent-length: 0\r\n\r\n")
            assert (await api.receive_head()).status_code == 413
            assert await api.receive_body() is None
            nursery.cancel_scope.cancel()
        assert not api.next_request()
        await api.aclose()
