"""The proxy before an agent that tries what it isn't to be helped with, or goes away."""

from __future__ import annotations

import socket
import ssl
import struct

import orjson
import pytest
import structlog
import trio

from nanoclaw_trio.proxy.bounds import Bounds
from nanoclaw_trio.proxy.connection import SKIP_LIMIT, AgentConnection, ClientGone
from nanoclaw_trio.proxy.refusals import UNKNOWN
from nanoclaw_trio.proxy.service import CredentialProxy
from nanoclaw_trio.proxy.usage import ApiUsage

NOWHERE = "http://127.0.0.1:1"

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def parse(heard):
    """The status and the document of an answer."""
    head, _, body = heard.partition(b"\r\n\r\n")
    return int(head.split()[1]), orjson.loads(body) if body else None


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET http://evil.test/v1/messages HTTP/1.1", 400),
        ("GET https://api.anthropic.com/ HTTP/1.1", 400),
        ("CONNECT evil.test:443 HTTP/1.1", 405),
        ("TRACE / HTTP/1.1", 405),
        ("OPTIONS * HTTP/1.1", 405),
        ("GET * HTTP/1.1", 400),
        ("GET evil.test HTTP/1.1", 400),
        ("GET /v1/../admin HTTP/1.1", 400),
        ("GET /v1/%2e%2E/admin HTTP/1.1", 400),
        ("GET / HTTP/1.1\nUpgrade: websocket\nConnection: upgrade", 400),
        ("GET / HTTP/1.1\nHost: evil.test", 400),
        ("GET / HTTP/1.1\nX: " + "x" * 200_000, 431),
        ("GET / HTTP/1.1\n" + "a:\n" * 200, 431),
        ("GET / HTTP/1.1\nX: a" + "\n b" * 200, 431),
        ("GET /#/../admin HTTP/1.1", 400),
        ("GET / HTTP/1.1\nX: a\n b\nContent-Length: 1\nContent-Length: 2", 400),
        ("GET  /  HTTP/1.1", 400),
        ("SSH-2.0-OpenSSH_9.2", 400),
        ("GET /\xad HTTP/1.1", 400),
    ],
)
async def test_what_is_not_passed_on(open_way, line, status):
    """Another host, another protocol, another method, a way up, and what isn't HTTP: each is
    refused in the API's shape, and nothing is sent anywhere."""
    async with open_way(NOWHERE) as run:
        found, document = parse(
            await run.say(f"{line}\nHost: api\nx-api-key: {run.placeholder}\nConnection: close\n\n")
        )
    assert found == status
    assert document["type"] == "error"
    assert document["error"]["message"].startswith("nanoclaw's credential proxy: ")
    assert run.usage.requests == 0


async def test_a_target_with_slashes(open_host, open_way, read_request):
    """A path that looks like a host is a path at the API's host."""
    heard = []

    async def serve(stream):
        heard.append(await read_request(stream))
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async with open_host(serve) as url, open_way(f"{url}/base") as run:
        await run.say(
            "GET //evil.test/a@b:1/%2F?x=../y HTTP/1.1\nHost: evil.test\n"
            f"x-api-key: {run.placeholder}\nX-Forwarded-Host: evil.test\nConnection: close, x-b\n"
            "X-B: 1\n\n"
        )
    (request,) = heard
    assert request.startswith(b"GET /base//evil.test/a@b:1/%2F?x=../y HTTP/1.1\r\n")
    assert b"host: " + url.removeprefix("http://").encode() in request.lower()
    assert request.count(b"evil.test") == 1
    assert b"x-b" not in request.lower()


async def test_a_refusal_is_heard_by_who_is_still_writing(open_way):
    """A request that is refused is read to its end first: its sender hears why, and may go on."""
    async with open_way(NOWHERE) as run, run.client() as client:
        for _ in range(2):
            response = await client.post("/", content=bytes(4_000_000), headers={"x-api-key": "no"})
            assert response.status_code == 401
    assert run.usage == ApiUsage(refused=2)


async def test_a_body_that_waits_to_be_asked_for(open_host, open_way, read_request):
    """Who waits for `100 Continue` gets it when the API's host takes the body."""

    async def serve(stream):
        heard = await read_request(stream)
        assert b"expect" not in heard
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n" + heard[-2:])

    async with open_host(serve) as url, open_way(url) as run:
        stream = await run.connect()
        async with stream:
            head = (
                f"POST / HTTP/1.1\r\nhost: api\r\nx-api-key: {run.placeholder}\r\n"
                "expect: 100-continue\r\ncontent-length: 2\r\n\r\n"
            )
            await stream.send_all(head.encode())
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 100")
            await stream.send_all(b"ok")
            heard = await stream.receive_some()
            while not heard.endswith(b"ok"):
                heard += await stream.receive_some()


CHUNKED = b"POST / HTTP/1.1\r\nhost: api\r\ntransfer-encoding: chunked\r\n\r\n"


async def asked(head, behind=b""):
    """Our end of a connection to an agent, and what has received this head there."""
    theirs, ours = trio.testing.memory_stream_pair()
    connection = AgentConnection(ours, Bounds())
    await theirs.send_all(head + behind)
    await connection.receive_head()
    return ours, connection


async def test_an_answer_while_the_body_is_asked_for():
    """An answer that comes while an agent is told to go on with its body waits until that is said."""
    head = b"POST / HTTP/1.1\r\nhost: api\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    ours, connection = await asked(head)
    gate = trio.Event()
    ours.send_stream.send_all_hook = gate.wait
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.receive_body)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(connection.begin_answer, 200, [])
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    heard = bytes(ours.send_stream.get_data_nowait())
    assert heard.startswith(b"HTTP/1.1 100 ")
    assert b"HTTP/1.1 200 " in heard


async def test_a_flood_of_headers_is_not_looked_through():
    """A head with too many lines is refused before it is whole, in pieces of whatever size; the
    lines of a body, and of a request that waits behind it, aren't counted."""
    for size in (1, 1000):
        theirs, ours = trio.testing.memory_stream_pair()
        connection = AgentConnection(ours, Bounds(lines=3))
        head = b"GET / HTTP/1.1\r\nhost: api\r\na: b\r\nc: d\r\n"
        for start in range(0, len(head), size):
            await theirs.send_all(head[start : start + size])
        assert await connection.receive_head() is None
        assert (await theirs.receive_some()).startswith(b"HTTP/1.1 431")
    theirs, ours = trio.testing.memory_stream_pair()
    connection = AgentConnection(ours, Bounds(lines=3))
    head = b"POST / HTTP/1.1\r\nhost: api\r\ncontent-length: 9\r\n\r\n"
    await theirs.send_all(head + b"\n" * 9 + head)
    assert await connection.receive_head() is not None
    assert await connection.receive_body() == b"\n" * 9


async def test_a_body_in_tiny_pieces_lets_others_have_their_turn():
    """Whoever else runs gets a turn for each piece of a body, though all of it is here already."""
    pieces, turns = 1000, 0
    _, connection = await asked(CHUNKED, b"1\r\nx\r\n" * pieces + b"0\r\n\r\n")

    async def count_turns():
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        while await connection.receive_body() is not None:
            pass
        nursery.cancel_scope.cancel()
    assert turns >= pieces - 1


async def test_a_body_that_is_hardly_any_is_not_read_for_ever():
    """Of a refused request as many bytes are read as may be, however few of them are its body's."""
    ours, connection = await asked(CHUNKED)
    piece = b"1;" + b"x" * 60_000 + b"\r\nx\r\n"
    sent = 0

    async def send_another():
        nonlocal sent
        sent += len(piece)
        assert sent < 2 * SKIP_LIMIT
        ours.receive_stream.put_data(piece)

    ours.receive_stream.receive_some_hook = send_another
    await connection.refuse(UNKNOWN)
    assert SKIP_LIMIT <= sent <= SKIP_LIMIT + len(piece)


async def test_two_requests_at_once(open_host, open_way, read_request):
    """A request that comes before the one before it is answered waits its turn, whether both come
    in one piece or the second a while later."""
    arrived, release = trio.Event(), trio.Event()

    async def serve(stream):
        while request := await read_request(stream):
            arrived.set()
            await release.wait()
            name = request.split()[1][1:]
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n" + name)

    async with open_host(serve) as url, open_way(url) as run:
        ask = f" HTTP/1.1\nhost: api\nx-api-key: {run.placeholder}\n"
        stream = await run.connect()
        async with stream:
            await stream.send_all(f"GET /1{ask}\nGET /2{ask}\n".replace("\n", "\r\n").encode())
            await arrived.wait()
            last = f"GET /3{ask}Connection: close\n\n".replace("\n", "\r\n")
            await stream.send_all(last.encode())
            await trio.testing.wait_all_tasks_blocked(0.05)
            release.set()
            heard = b"".join([bytes(chunk) async for chunk in stream])
    assert [part[-1:] for part in heard.split(b"HTTP/1.1 200 ")[1:]] == [b"1", b"2", b"3"]


async def test_requests_without_end():
    """Of an agent that sends requests and waits for no answer, no more is read while what was read
    has requests that wait."""
    _, ours = trio.testing.memory_stream_pair()
    connection = AgentConnection(ours, Bounds())
    request = b"GET / HTTP/1.1\r\nhost: api\r\n\r\n"
    many, answered, sent = 1000, 20, 0

    async def send_many():
        nonlocal sent
        sent += many
        ours.receive_stream.put_data(request * many)

    ours.receive_stream.receive_some_hook = send_many
    for _ in range(answered):
        assert await connection.receive_head() is not None
        assert await connection.receive_body() is None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.wait_hang_up)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await connection.begin_answer(404, [(b"content-length", b"0")])
        await connection.end_answer()
        assert connection.next_request()
    assert sent == many


async def test_nobody_to_tell():
    """An answer to an agent that is gone is given up."""
    theirs, ours = trio.testing.memory_stream_pair()
    connection = AgentConnection(ours, Bounds())
    await theirs.send_all(b"GET / HTTP/1.1\r\nhost: api\r\n\r\n")
    assert (await connection.receive_head()).target == b"/"
    await theirs.aclose()
    with pytest.raises(ClientGone):
        await connection.refuse(UNKNOWN)


@pytest.mark.parametrize("moment", ["before the answer", "within it"])
async def test_an_agent_that_hangs_up(open_host, open_way, read_request, moment):
    """When an agent goes away its request to the API is given up, whether its answer has begun or
    not; that is nobody's failure."""
    arrived, over = trio.Event(), trio.Event()

    async def serve(stream):
        await read_request(stream)
        if moment == "within it":
            await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n")
        arrived.set()
        await stream.receive_some()
        over.set()

    async with open_host(serve) as url, open_way(url) as run:
        stream = await run.connect()
        async with stream:
            ask = f"POST / HTTP/1.1\r\nhost: api\r\nx-api-key: {run.placeholder}\r\n\r\n"
            await stream.send_all(ask.encode())
            await arrived.wait()
            if moment == "within it":
                while not (await stream.receive_some()).endswith(b"data: 1\n\n\r\n"):
                    pass
        await over.wait()
    assert run.usage == ApiUsage(requests=1)


@pytest.mark.parametrize("rest", ["no chunk\r\n", None])
async def test_a_body_that_breaks(open_host, open_way, rest):
    """A body that isn't one, or a connection that is reset in its midst, ends the request to the API
    as well, and the API doesn't get it as a whole one."""
    begun, over = trio.Event(), trio.Event()
    heard = b""

    async def serve(stream):
        nonlocal heard
        while data := await stream.receive_some():
            heard += data
            begun.set()
        over.set()

    async with open_host(serve) as url, open_way(url, "tcp:127.0.0.1") as run:
        stream = await run.connect()
        async with stream:
            ask = (
                f"POST / HTTP/1.1\r\nhost: api\r\nx-api-key: {run.placeholder}\r\n"
                "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"
            )
            await stream.send_all(ask.encode())
            await begun.wait()
            if rest is not None:
                await stream.send_all(rest.encode())
                await over.wait()
            else:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await over.wait()
    assert not heard.endswith(b"0\r\n\r\n")


async def test_half_a_request(open_host, open_way):
    """When an agent goes away in the middle of its request, the API doesn't get it as a whole one."""
    over = trio.Event()
    heard = b""

    async def serve(stream):
        nonlocal heard
        while data := await stream.receive_some():
            heard += data
        over.set()

    async with open_host(serve) as url, open_way(url) as run:
        stream = await run.connect()
        async with stream:
            ask = (
                f"POST / HTTP/1.1\r\nhost: api\r\nx-api-key: {run.placeholder}\r\n"
                "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"
            )
            await stream.send_all(ask.encode())
        await over.wait()
    assert not heard.endswith(b"0\r\n\r\n")
    assert run.usage == ApiUsage(requests=1)


async def test_the_end_of_the_run(open_host, open_service_way, read_request):
    """At the end of a run its requests under way are given up, at an address that others share."""
    arrived, over = trio.Event(), trio.Event()

    async def serve(stream):
        await read_request(stream)
        arrived.set()
        await stream.receive_some()
        over.set()

    async with open_host(serve) as url, open_service_way(url) as (proxy, admit):
        async with admit(proxy, url) as run:
            stream = await run.connect()
            ask = f"POST / HTTP/1.1\r\nhost: api\r\nx-api-key: {run.placeholder}\r\n\r\n"
            await stream.send_all(ask.encode())
            await arrived.wait()
        await over.wait()
        await stream.aclose()


@pytest.mark.parametrize("said", ["", "GET / HTTP/1.1\r\nhost"])
async def test_silence(open_way, said):
    """A connection on which no request comes, or no whole one, is closed after a while."""
    async with open_way(NOWHERE, bounds=Bounds(pause=0.2)) as run:
        assert await run.say(said) == b""


async def test_silence_within_a_body(open_host, open_way):
    """A request whose rest doesn't come is given up."""

    async def serve(stream):
        while await stream.receive_some():
            pass

    async with open_host(serve) as url, open_way(url, bounds=Bounds(silence=0.2)) as run:
        ask = f"POST / HTTP/1.1\nhost: api\nx-api-key: {run.placeholder}\ncontent-length: 5\n\nhalf"
        assert await run.say(ask) == b""


async def test_a_failure_beside_a_cancellation():
    """A failure stays its connection's own when the connection is cancelled at the same moment."""

    async def fail():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(resist)

    async def resist():
        try:
            await trio.sleep_forever()
        finally:
            raise RuntimeError("sk-canary")

    _, broken = trio.testing.memory_stream_pair()
    broken.receive_stream.receive_some_hook = fail
    proxy = CredentialProxy(NO_TLS, Bounds(), None)
    with structlog.testing.capture_logs() as logged, trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(proxy.door.serve, broken)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert [entry["why"] for entry in logged] == ["RuntimeError"]
    assert "canary" not in repr(logged)


async def test_a_failure_is_one_connections_own():
    """Whatever fails on a connection, the others go on, and the log names its kind alone: its words
    might have a header in them."""

    async def fail():
        raise RuntimeError("sk-canary")

    _, broken = trio.testing.memory_stream_pair()
    broken.receive_stream.receive_some_hook = fail
    with structlog.testing.capture_logs() as logged:
        proxy = CredentialProxy(NO_TLS, Bounds(), None)
        await proxy.door.serve(broken)
    (entry,) = logged
    assert entry["log_level"] == "error"
    assert entry["why"] == "RuntimeError"
    assert "canary" not in repr(logged)
