"""HTTP on one connection."""

from __future__ import annotations

import h11
import pytest
import trio
import trio.testing

from nanoclaw_trio.testing.messages_api.connection import BODY_LIMIT, Answer, Connection

GET = b"GET /a?b=c HTTP/1.1\r\nHost: t\r\nX-Api-Key: k\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /p HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
)


@pytest.fixture
def ends():
    """A client's stream, and the connection at its other end."""
    client, server = trio.testing.memory_stream_pair()
    return client, Connection(server)


@pytest.mark.parametrize("data", [POST, CHUNKED])
async def test_call_is_read_however_it_is_cut(ends, data):
    """A call that comes byte by byte is the same as one that comes at once."""
    client, connection = ends
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send_slowly():
            for byte in data:
                await client.send_all(bytes([byte]))

        call = await connection.receive()
    assert (call.method, call.path, call.body) == ("POST", "/p", b"hello")


async def test_head_of_a_call(ends):
    """The path is without its query, and the headers' names are in lower case."""
    client, connection = ends
    await client.send_all(GET)
    call = await connection.receive()
    assert (call.method, call.path, call.body) == ("GET", "/a", b"")
    assert call.headers == {"host": "t", "x-api-key": "k"}
    assert "k" not in repr(call).replace("kw", "")


async def test_connection_is_kept_alive(ends):
    """Calls that were sent together are answered one after the other."""
    client, connection = ends
    await client.send_all(GET + POST)
    await client.send_eof()
    for path in ("/a", "/p"):
        call = await connection.receive()
        assert call.path == path
        await connection.send(Answer(headers={"content-length": "2"}, pieces=(b"ok",)))
        assert connection.next_cycle()
    assert await connection.receive() is None


async def test_connection_ends_when_the_client_says_so(ends):
    """After `Connection: close` there is no other call."""
    client, connection = ends
    await client.send_all(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    await connection.receive()
    await connection.send(Answer())
    assert not connection.next_cycle()


async def test_pieces_are_sent_as_chunks(ends):
    """An answer of unknown length goes out piece by piece."""
    client, connection = ends
    await client.send_all(GET)
    await connection.receive()
    await connection.send(Answer(pieces=(b"one", b"two")))
    assert b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n" in await client.receive_some(1000)


async def test_client_that_waits_is_told_to_go_on(ends):
    """A client may ask whether its body is wanted, as curl does with large ones."""
    client, connection = ends
    head, body = POST.split(b"\r\n\r\n")
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send_when_told():
            await client.send_all(head + b"\r\nExpect: 100-continue\r\n\r\n")
            with trio.fail_after(60):
                assert (await client.receive_some(1000)).startswith(b"HTTP/1.1 100 ")
            await client.send_all(body)

        call = await connection.receive()
    assert call.body == b"hello"


@pytest.mark.parametrize(("excess", "kept"), [(0, True), (1, False), (1024 * 1024, False)])
async def test_body_has_a_limit(ends, excess, kept):
    """A body above the API's limit is read to its end, and not kept."""
    client, connection = ends
    size = BODY_LIMIT + excess
    await client.send_all(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % size)
    await client.send_all(bytes(size))
    call = await connection.receive()
    assert (call.body is not None) is kept


@pytest.mark.parametrize(
    ("rubbish", "status"),
    [
        (b"\x16\x03\x01 this is TLS\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: t\r\nA: " + b"x" * 100_000, 431),
        (b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhel", 400),
    ],
    ids=["no HTTP", "no host", "too long a header", "too short a body"],
)
async def test_rubbish_is_refused(ends, rubbish, status):
    """A client that breaks the protocol is told so."""
    client, connection = ends
    await client.send_all(rubbish)
    await client.send_eof()
    with pytest.raises(h11.RemoteProtocolError) as caught:
        await connection.receive()
    await connection.refuse(caught.value)
    assert (await client.receive_some(1000)).startswith(b"HTTP/1.1 %d " % status)


async def test_hang_up_is_waited_for(ends):
    """What a client says before it hangs up is dropped."""
    client, connection = ends
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.wait_for_hang_up)
        await client.send_all(b"still there?")
        await client.send_eof()
