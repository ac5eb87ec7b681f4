"""The server, asked by a client over the loopback."""

from __future__ import annotations

import socket

import h11
import pytest
import trio
import trio.testing

from nanoclaw_trio.testing.messages_api import (
    ApiError,
    DropConnection,
    Hang,
    Text,
    ToolUse,
    echo,
    open_messages_api,
    scripted,
)


async def test_model_answers(connect, document):
    """A call reaches the model as a request, and its reply comes back."""
    async with open_messages_api(echo) as api:
        answer = await (await connect(api)).call(body=document("hi"))
    assert answer.status == 200
    assert answer.json()["content"] == [{"type": "text", "text": "echo: hi"}]
    (request,) = api.requests
    assert request.prompt == "hi"
    assert request.headers["x-api-key"] == "sk-ant-canary"


async def test_url_is_where_it_listens(connect):
    """The URL names the address and the port."""
    async with open_messages_api(echo) as api:
        assert api.url == f"http://127.0.0.1:{api.port}"
        assert (await (await connect(api)).call("HEAD", "/")).status == 200


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6 here")
async def test_url_of_ipv6_has_brackets():
    """An IPv6 address stands in brackets."""
    try:
        async with open_messages_api(echo, host="::1") as api:
            assert api.url == f"http://[::1]:{api.port}"
    except OSError as error:
        pytest.skip(f"IPv6 doesn't work here: {error}")


async def test_an_address_in_use_is_an_error(connect):
    """A port that is taken is the caller's to know."""
    async with open_messages_api(echo) as api:
        with pytest.raises(OSError, match="in use"):
            async with open_messages_api(echo, port=api.port):
                pass
        assert (await (await connect(api)).call("HEAD", "/")).status == 200


async def test_one_connection_takes_many_calls(connect, document):
    """Calls follow each other on one connection, errors and streams among them."""
    async with open_messages_api(scripted(Text("a"), ApiError(400), Text("b"))) as api:
        client = await connect(api)
        statuses = [(await client.call(body=document(prompt))).status for prompt in "xyz"]
        assert (await client.call("GET", "/nowhere")).status == 404
        stream = await client.call(body=document(stream=True))
    assert statuses == [200, 400, 200]
    assert stream.headers["content-type"] == "application/json"
    assert [request.prompt for request in api.requests] == ["x", "y", "z", "hi"]


async def test_stream_arrives(connect, document):
    """A streamed reply is a whole one."""
    async with open_messages_api(scripted(ToolUse("Bash", {"command": "ls"}))) as api:
        answer = await (await connect(api)).call(body=document(stream=True))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.body.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')


async def test_a_bad_call_never_reaches_the_model(connect, document):
    """What is refused isn't among the requests."""
    async with open_messages_api(echo) as api:
        client = await connect(api)
        assert (await client.call(body=b"rubbish")).status == 400
        assert (await client.call(body=document(), headers={})).status == 401
    assert api.requests == ()


async def test_rubbish_ends_its_connection_only(connect, document):
    """A client that doesn't speak HTTP gets a 400; the others never notice."""
    async with open_messages_api(echo) as api:
        other = await connect(api)
        rubbish = (await connect(api)).stream
        await rubbish.send_all(b"\x16\x03\x01\r\n\r\n")
        assert b"".join([chunk async for chunk in rubbish]).startswith(b"HTTP/1.1 400 ")
        assert (await other.call(body=document())).status == 200


async def test_large_body_is_taken(connect, document):
    """A picture of 20 MB, larger yet in base64, goes through."""
    data = "A" * (4 * 20 * 1024 * 1024 // 3 // 4 * 4)
    source = {"type": "base64", "media_type": "image/png", "data": data}
    async with open_messages_api(echo) as api:
        answer = await (await connect(api)).call(
            body=document([{"type": "image", "source": source}])
        )
    assert answer.status == 200
    ((kind, content),) = api.requests[0].images
    assert (kind, len(content)) == ("image/png", len(data) * 3 // 4)


async def test_requests_can_be_waited_for(connect, document):
    """One who waits for a number of requests goes on when there are as many."""
    async with open_messages_api(echo) as api, trio.open_nursery() as nursery:
        client = await connect(api)
        nursery.start_soon(api.wait_for_requests, 2)
        for _ in range(2):
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            await client.call(body=document())
    assert await api.wait_for_requests(2) == api.requests


async def test_async_model_may_wait(connect, document):
    """While a model waits, others are served, and the requests tell who came first."""
    gate = trio.Event()

    async def model(request):
        if request.prompt == "first":
            await gate.wait()
        return echo(request)

    async with open_messages_api(model) as api, trio.open_nursery() as nursery:
        first, second = await connect(api), await connect(api)
        await first.send(body=document("first"))
        await api.wait_for_requests(1)

        @nursery.start_soon
        async def open_gate():
            await api.wait_for_requests(2)
            gate.set()

        assert (await second.call(body=document("second"))).status == 200
        assert (await first.receive()).status == 200
    assert [request.prompt for request in api.requests] == ["first", "second"]


async def test_hang_lasts_until_the_client_leaves(connect, document):
    """A call that hangs gets nothing, and the server goes on."""
    async with open_messages_api(scripted(Hang(), Text("a"))) as api:
        client = await connect(api)
        await client.send(body=document())
        await api.wait_for_requests(1)
        await client.stream.aclose()
        assert (await (await connect(api)).call(body=document())).status == 200


async def test_hang_ends_with_the_server(connect, document):
    """Leaving the block ends every call that is under way."""
    with trio.fail_after(60):
        async with open_messages_api(lambda _request: Hang()) as api:
            client = await connect(api)
            await client.send(body=document())
            await api.wait_for_requests(1)
        with pytest.raises((h11.RemoteProtocolError, trio.BrokenResourceError)):
            await client.receive()


async def test_connection_is_dropped(connect, document):
    """The connection ends without a word."""
    async with open_messages_api(scripted(DropConnection())) as api:
        with pytest.raises((h11.RemoteProtocolError, trio.BrokenResourceError)):
            await (await connect(api)).call(body=document())


async def test_client_that_left_is_no_failure(connect, document):
    """An answer that nobody takes any more is dropped."""
    gate = trio.Event()

    async def model(_request):
        await gate.wait()
        return Text("x" * 10_000_000)

    async with open_messages_api(model) as api:
        client = await connect(api)
        await client.send(body=document())
        await api.wait_for_requests(1)
        await client.stream.aclose()
        gate.set()
        assert (await (await connect(api)).call("HEAD", "/")).status == 200


async def test_side_request_is_the_servers_own(connect, document):
    """What the CLI asks for itself is answered, and the model never sees it."""
    headers = {"x-api-key": "k", "x-app": "cli"}
    async with open_messages_api(scripted()) as api:
        answer = await (await connect(api)).call(body=document("a title?"), headers=headers)
    assert answer.status == 200
    assert api.requests == ()
    assert [request.prompt for request in api.side_requests] == ["a title?"]


def raising(_request):
    raise LookupError("no such reply")


def unspeakable(_request):
    raise ValueError("\ud800")


@pytest.fixture
def serve(connect, document):
    """Serve a model while a client calls it three times, and raise an exception in the block."""

    async def serve(model, answers, error=None):
        async with open_messages_api(model) as api:
            client = await connect(api)
            answers += [await client.call(body=document()) for _ in range(3)]
            if error is not None:
                raise error

    return serve


@pytest.mark.parametrize(
    ("model", "kind", "about"),
    [
        (raising, LookupError, "the model failed: LookupError: no such reply"),
        (lambda _request: None, TypeError, "the model failed: TypeError: "),
        (lambda _request: "hi", TypeError, "the model failed: TypeError: "),
        (lambda _request: ToolUse("A", {"x": object()}), TypeError, "the model failed: TypeError"),
        (
            lambda _request: ApiError(429, headers={"a": "b\r\nc: d"}),
            h11.LocalProtocolError,
            "the model failed: LocalProtocolError",
        ),
        (unspeakable, ValueError, "the model failed: ValueError: ?"),
    ],
    ids=[
        *("raises", "says nothing", "says a str", "says what is no JSON", "says what is no HTTP"),
        "raises what is no text",
    ],
)
async def test_failure_of_the_model_is_the_callers(serve, model, kind, about):
    """A model's exception is told to its client, and raised as it is when the block ends."""
    answers = []
    with pytest.raises(kind):
        await serve(model, answers)
    assert [answer.status for answer in answers] == [400] * 3
    assert all(answer.json()["error"]["message"].startswith(about) for answer in answers)


async def test_model_that_failed_is_asked_no_more(serve):
    """A client that asks again gets the same error."""
    asked = []

    def model(request):
        asked.append(request)
        raise LookupError("once")

    with pytest.raises(LookupError, match="once"):
        await serve(model, [])
    assert len(asked) == 1


@pytest.mark.parametrize("model", [raising, echo])
async def test_the_blocks_own_exception_is_never_wrapped(serve, model):
    """What the block raises comes out as it is, whatever the model did."""
    with pytest.raises(ZeroDivisionError):
        await serve(model, [], error=ZeroDivisionError())
