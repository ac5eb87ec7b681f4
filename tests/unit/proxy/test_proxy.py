"""The proxy between an agent and an API that behaves."""

from __future__ import annotations

import math
import resource
import signal
import stat
from contextlib import AsyncExitStack, suppress

import h11
import httpx
import orjson
import pytest
import trio

from nanoclaw_trio.errors import InvalidSetting
from nanoclaw_trio.proxy import bounds
from nanoclaw_trio.proxy.bounds import Bounds
from nanoclaw_trio.proxy.errors import ProxyUnusable
from nanoclaw_trio.proxy.service import open_service
from nanoclaw_trio.proxy.usage import ApiUsage
from nanoclaw_trio.testing.messages_api import ApiError, Text, echo, open_messages_api, scripted

KEY = "sk-canary-0b5e77"

WAYS = ("socket", "tcp:127.0.0.1")


def error_of(response):
    """The type and the message of an error in the API's shape."""
    document = response.json()
    assert document["type"] == "error"
    return document["error"]["type"], document["error"]["message"]


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer(open_way, message, way):
    """A request gets the host's key, and its answer comes back; what the run has is a placeholder
    and an address."""
    async with (
        open_messages_api(echo) as api,
        open_way(api.url, way) as run,
        run.client() as client,
    ):
        response = await client.post("/v1/messages", json=message, headers=run.credentials)
        again = await client.post("/v1/messages", json=message, headers=run.credentials)
    assert response.json()["content"] == again.json()["content"]
    assert response.json()["content"][0]["text"] == "echo: Hello"
    assert [request.headers["x-api-key"] for request in api.requests] == [KEY, KEY]
    assert KEY not in repr(run.values)
    assert run.usage.requests == 2
    assert run.usage.output_tokens > 0


@pytest.mark.parametrize(
    ("secrets", "shown", "headers"),
    [
        ({"ANTHROPIC_API_KEY": KEY}, "x-api-key", {"x-api-key": KEY}),
        ({"ANTHROPIC_API_KEY": KEY}, "authorization", {"x-api-key": KEY}),
        ({"CLAUDE_CODE_OAUTH_TOKEN": KEY}, "authorization", {"authorization": f"Bearer {KEY}"}),
        ({"ANTHROPIC_AUTH_TOKEN": KEY}, "x-api-key", {"authorization": f"Bearer {KEY}"}),
    ],
)
async def test_whichever_kind_of_key(open_way, message, secrets, shown, headers):
    """The placeholder has the name of the host's key, and is replaced by that, in its own header."""
    async with (
        open_messages_api(echo) as api,
        open_way(api.url, **secrets) as run,
        run.client() as client,
    ):
        assert run.values.keys() == {*secrets, "ANTHROPIC_BASE_URL"}
        said = run.placeholder if shown == "x-api-key" else f"bearer {run.placeholder}"
        await client.post("/v1/messages", json=message, headers={shown: said})
    (request,) = api.requests
    found = {name: request.headers.get(name) for name in ("x-api-key", "authorization")}
    assert found == {"x-api-key": None, "authorization": None} | headers


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "headers", [{}, {"x-api-key": KEY}, {"x-api-key": "Bearer x"}, {"authorization": "Basic x"}]
)
async def test_the_placeholder_is_checked(open_way, message, way, headers):
    """Without the run's placeholder nothing is passed on, on the group's own socket too; not with
    the host's very key either."""
    async with (
        open_messages_api(echo) as api,
        open_way(api.url, way) as run,
        run.client() as client,
    ):
        response = await client.post("/v1/messages", json=message, headers=headers)
    assert response.status_code == 401
    kind, why = error_of(response)
    assert kind == "authentication_error"
    assert "the one that came on standard input" in why
    assert api.requests == ()
    # At an address that others share nobody knows whose it was.
    assert run.usage == ApiUsage(refused=1 if way == "socket" else 0)


async def test_a_host_without_a_key(open_way, message):
    """A host that has no key says so, and what to do; its agents still start."""
    async with (
        open_messages_api(echo) as api,
        open_way(api.url, ANTHROPIC_API_KEY="") as run,
        run.client() as client,
    ):
        response = await client.post("/v1/messages", json=message, headers=run.credentials)
    assert response.status_code == 401
    assert "set ANTHROPIC_API_KEY" in error_of(response)[1]
    assert api.requests == ()


@pytest.mark.parametrize("way", WAYS)
async def test_two_groups(admit, message, way):
    """A group's placeholder opens nothing at another's socket, and is counted as its own at an
    address that all share; after its run it opens nothing at all."""
    async with (
        open_messages_api(echo) as api,
        open_service(way) as proxy,
        AsyncExitStack() as stack,
    ):
        first = await stack.enter_async_context(admit(proxy, api.url))
        async with admit(proxy, api.url, folder="neighbour") as second, first.client() as client:
            response = await client.post("/v1/messages", json=message, headers=second.credentials)
        if way == "socket":
            assert first.socket != second.socket
            assert response.status_code == 401
        else:
            assert proxy.usage("neighbour").requests == 1
        assert proxy.usage("family").requests == 0
        async with first.client() as client:
            late = await client.post("/v1/messages", json=message, headers=second.credentials)
        assert late.status_code == 401


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500, 529])
async def test_the_apis_own_errors(open_way, message, status):
    """What the API answers against a request is passed on as it is, and counted."""
    model = scripted(ApiError(status, message="no", retry_after=7))
    async with open_messages_api(model) as api, open_way(api.url) as run, run.client() as client:
        response = await client.post("/v1/messages", json=message, headers=run.credentials)
    assert (response.status_code, response.headers["retry-after"]) == (status, "7")
    assert error_of(response)[1] == "no"
    assert response.headers["request-id"] == response.json()["request_id"]
    assert run.usage == ApiUsage(requests=1, errors=1)


async def test_a_stream_is_counted(open_way, message):
    """The tokens of a streamed answer are those that its events say."""
    async with (
        open_messages_api(scripted(Text("Hi.", input_tokens=1234))) as api,
        open_way(api.url) as run,
        run.client() as client,
    ):
        call = {**message, "stream": True}
        response = await client.post("/v1/messages", json=call, headers=run.credentials)
        events = [
            orjson.loads(line[6:]) for line in response.text.splitlines() if line[:6] == "data: "
        ]
    (spent,) = [event["usage"]["output_tokens"] for event in events if "usage" in event]
    assert run.usage == ApiUsage(requests=1, input_tokens=1234, output_tokens=spent)


async def test_a_base_url_with_a_path(open_way, message):
    """What comes before the API's own paths in the host's address stays before them; the header
    Host is that of the API's host."""
    async with (
        open_messages_api(echo) as api,
        open_way(f"{api.url}/v1/") as run,
        run.client() as client,
    ):
        response = await client.post(
            "/messages?beta=true", json=message, headers={**run.credentials, "host": "evil.test"}
        )
    assert response.status_code == 200
    assert api.requests[0].headers["host"] == api.url.removeprefix("http://")


async def test_redirects_are_not_followed(open_host, open_way, read_request):
    """A redirect is the agent's to follow, without the key; cookies aren't kept."""
    heard = []

    async def redirect(stream):
        heard.append(await read_request(stream))
        await stream.send_all(
            b"HTTP/1.1 302 Found\r\nlocation: http://evil.test/\r\nset-cookie: a=b; path=/\r\n"
            b"content-length: 0\r\nconnection: close\r\n\r\n"
        )

    async with open_host(redirect) as url, open_way(url) as run, run.client() as client:
        for _ in range(2):
            response = await client.get("/v1/models", headers=run.credentials)
            client.cookies.clear()
    assert (response.status_code, response.headers["location"]) == (302, "http://evil.test/")
    assert len(heard) == 2
    assert b"cookie" not in heard[1].lower()


async def test_headers_with_the_key_stay_here(open_host, open_way, read_request):
    """Of an answer that repeats the key in its headers these are left out."""

    async def repeat(stream):
        await read_request(stream)
        await stream.send_all(
            f"HTTP/1.1 200 OK\r\nx-echo: ({KEY})\r\nx-{KEY}: 1\r\nx-other: 2\r\n"
            "content-length: 0\r\nconnection: close\r\n\r\n".encode()
        )

    async with open_host(repeat) as url, open_way(url) as run, run.client() as client:
        response = await client.get("/", headers=run.credentials)
    assert KEY not in repr(response.headers.raw)
    assert response.headers["x-other"] == "2"


async def test_pieces_pass_as_they_come(open_host, open_way, read_request):
    """An event is with the agent before the API says the next; so is a piece of a request."""
    heard_request, heard_event = trio.Event(), trio.Event()

    async def in_step(stream):
        head = b""
        while not head.endswith(b"first"):
            head += (await stream.receive_some()).replace(b"5\r\n", b"").rstrip(b"\r\n")
        heard_request.set()
        while not (await stream.receive_some()).endswith(b"0\r\n\r\n"):
            pass
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        await stream.send_all(b"data: 1\n\n")
        await heard_event.wait()
        await stream.send_all(b"data: 2\n\n")

    async def pieces():
        yield b"first"
        await heard_request.wait()
        yield b"second"

    heard = []
    async with open_host(in_step) as url, open_way(url) as run, run.client() as client:
        headers = run.credentials
        async with client.stream("POST", "/", content=pieces(), headers=headers) as response:
            async for chunk in response.aiter_raw():
                heard.append(chunk)
                heard_event.set()
    assert heard == [b"data: 1\n\n", b"data: 2\n\n"]


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_in_private(open_way, certificate, monkeypatch, is_trusted):
    """An API behind https is spoken to if its certificate is trusted, by the system or by
    SSL_CERT_FILE; otherwise it isn't given the key."""
    authority, context = certificate
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    heard = []

    async def serve(stream):
        with suppress(trio.BrokenResourceError):
            while data := await stream.receive_some():
                heard.append(data)
                await stream.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")
                await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    listeners = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
    port = listeners[0].transport_listener.socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        async with open_way(f"https://127.0.0.1:{port}") as run, run.client() as client:
            for _ in range(2):
                response = await client.get("/", headers=run.credentials)
        nursery.cancel_scope.cancel()
    if is_trusted:
        assert response.text == "ok"
        assert KEY.encode() in heard[0]
    else:
        assert error_of(response)[0] == "api_error"
        assert heard == []


@pytest.mark.parametrize(
    ("secrets", "variable"),
    [
        ({"ANTHROPIC_API_KEY": "sk canary"}, "ANTHROPIC_API_KEY"),
        ({"ANTHROPIC_AUTH_TOKEN": "sk-canary\nx: y"}, "ANTHROPIC_AUTH_TOKEN"),
        ({"CLAUDE_CODE_OAUTH_TOKEN": "sk-canäry"}, "CLAUDE_CODE_OAUTH_TOKEN"),
        ({"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": "canary"}, "ANTHROPIC_BASE_URL"),
    ],
)
async def test_a_secret_that_is_none(open_way, secrets, variable):
    """A key that can't be in a header, or an address that is none, is an error before anything is
    started, which names the variable and not the value."""
    with pytest.raises(InvalidSetting) as caught:
        async with open_way(None, **secrets):
            pass
    assert caught.value.variable == variable
    assert "can" not in str(caught.value).replace("can't", "")


async def test_an_address_that_is_taken(open_way):
    """An address that can't be listened on is the operator's to mend."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    async with listener:
        with pytest.raises(ProxyUnusable, match=f"127.0.0.1 port {port} can't be listened on"):
            async with open_service(f"tcp:127.0.0.1:{port}"):
                pass


async def test_an_ipv6_address(open_way, message):
    """An address of IPv6 has its brackets in the base URL."""
    try:
        listeners = await trio.open_tcp_listeners(0, host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    await listeners[0].aclose()
    async with open_messages_api(echo) as api, open_way(api.url, "tcp:[::1]") as run:
        assert run.values["ANTHROPIC_BASE_URL"].startswith("http://[::1]:")
        async with run.client() as client:
            response = await client.post("/v1/messages", json=message, headers=run.credentials)
    assert response.status_code == 200


async def test_the_sockets_place(open_way, runtime_home):
    """Nobody but the host's user gets to the socket by its path, and who has its directory mounted
    may connect, whoever that is; afterwards it is gone."""
    async with open_way("http://127.0.0.1:9") as run:
        assert stat.S_IMODE(run.socket.stat().st_mode) == 0o666
        assert stat.S_IMODE(run.socket.parent.stat().st_mode) == 0o755
        assert stat.S_IMODE((runtime_home / "nanoclaw").stat().st_mode) == 0o700
    assert not run.socket.parent.exists()


async def test_no_more_requests_than_the_bound(open_host, open_way, read_request, body):
    """One request more than a group may have at a time is told to come back; connections beyond
    their bound are closed."""
    arrived, release = trio.Event(), trio.Event()

    async def hold(stream):
        await read_request(stream)
        arrived.set()
        await release.wait()
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    answers = []
    async with (
        open_host(hold) as url,
        open_way(url, bounds=Bounds(requests=1, connections=2)) as run,
        trio.open_nursery() as nursery,
    ):

        async def ask():
            async with run.client() as client:
                answers.append(await client.post("/", content=body, headers=run.credentials))

        nursery.start_soon(ask)
        await arrived.wait()
        async with run.client() as client:
            refused = await client.post("/", content=body, headers=run.credentials)
            with pytest.raises(httpx.TransportError):
                async with run.client() as another:
                    await another.get("/", headers=run.credentials)
        release.set()
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert error_of(refused)[0] == "rate_limit_error"
    assert [answer.text for answer in answers] == ["ok"]
    assert run.usage == ApiUsage(requests=1, refused=1)


@pytest.mark.parametrize(
    ("soft", "limit"), [(1024, 256), (65_536, 16_384), (resource.RLIM_INFINITY, math.inf)]
)
def test_how_many_connections_all_agents_may_have(monkeypatch, soft, limit):
    """A quarter as many as the host may open files, and any number where that isn't limited."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, resource.RLIM_INFINITY))
    assert bounds.new_crowd().limit == limit


async def test_all_agents_leave_the_host_its_descriptors(open_way, admit, monkeypatch):
    """However many connections the agents of all groups open, together they get so many that the host
    keeps half of its descriptors. One that ends makes room for another's."""
    most = 3
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(bounds, "SHARE", soft // most)
    closed, sees_closed = trio.open_memory_channel(10)

    async def watch(stream):
        if not await stream.receive_some():
            await closed.send(stream)

    async def is_served(stream):
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: api\r\n\r\n")
        return await stream.receive_some() != b""

    async with (
        open_way("http://127.0.0.1:9") as run,
        admit(run.proxy, "http://127.0.0.1:9", "other") as other,
        AsyncExitStack() as stack,
    ):
        streams = []
        for way in (run, other) * most:
            streams.append(await trio.open_unix_socket(way.socket))
            stack.push_async_callback(streams[-1].aclose)
        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(watch, stream)
            refused = [await sees_closed.receive() for _ in range(most)]
            nursery.cancel_scope.cancel()
        kept = [stream for stream in streams if stream not in refused]
        assert len(kept) == most
        for stream in kept:
            assert await is_served(stream)
        await kept[0].aclose()
        served = False
        while not served:
            async with await trio.open_unix_socket(other.socket) as another:
                with suppress(trio.BrokenResourceError):
                    served = await is_served(another)


@pytest.mark.usefixtures("python_handles_sigint")
@pytest.mark.parametrize("way", WAYS)
def test_an_interrupt_in_a_connection(open_way, monkeypatch, way):
    """Ctrl-C while the proxy reads a request reaches the main task as itself, in no group."""
    next_event = h11.Connection.next_event

    def interrupted(connection):
        monkeypatch.setattr(h11.Connection, "next_event", next_event)
        signal.raise_signal(signal.SIGINT)
        return next_event(connection)

    async def main():
        async with open_way("http://127.0.0.1:9", way) as run:
            monkeypatch.setattr(h11.Connection, "next_event", interrupted)
            with pytest.raises(KeyboardInterrupt):
                await run.say("GET / HTTP/1.1\nHost: api\n\n")

    trio.run(main)
