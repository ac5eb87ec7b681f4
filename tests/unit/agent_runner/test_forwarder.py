"""The agent-runner's way to the API through the host's socket."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from nanoclaw_agent.forwarder import open_way_to_api
from nanoclaw_agent.secrets import Secrets

GUARD = 60


@pytest.fixture
def path():
    """A short place for a socket."""
    directory = Path(tempfile.mkdtemp(prefix="nc", dir="/tmp"))
    yield directory / "api.sock"
    shutil.rmtree(directory)


@asynccontextmanager
async def host(path, serve):
    """A host that serves its socket by a function."""
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(str(path))
    listener.listen()
    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery, trio.SocketListener(listener) as bound:
            nursery.start_soon(trio.serve_listeners, serve, [bound])
            yield
            nursery.cancel_scope.cancel()


def secrets_for(path):
    """What the host gives an agent."""
    return Secrets({"ANTHROPIC_API_KEY": "placeholder", "ANTHROPIC_BASE_URL": f"unix:{path}"})


async def connect(reaching):
    """A connection to where the secrets lead."""
    name, port = reaching.environment()["ANTHROPIC_BASE_URL"].removeprefix("http://").split(":")
    return await trio.open_tcp_stream(name, int(port))


async def test_bytes_pass_both_ways(path):
    """A port of this machine's own leads to the socket; when the host hangs up, so does the port."""
    megabyte = bytes(range(256)) * 4096

    async def serve(stream):
        heard = b""
        while len(heard) < len(megabyte):
            heard += await stream.receive_some()
        await stream.send_all(heard)

    async with host(path, serve), open_way_to_api(secrets_for(path)) as reaching:
        assert reaching.environment()["ANTHROPIC_API_KEY"] == "placeholder"
        assert reaching.environment()["ANTHROPIC_BASE_URL"].startswith("http://127.0.0.1:")
        stream = await connect(reaching)
        async with stream:
            await stream.send_all(megabyte)
            assert b"".join([bytes(chunk) async for chunk in stream]) == megabyte


async def test_a_client_that_hangs_up(path):
    """When a client goes away, the host hears of it."""
    over = trio.Event()

    async def serve(stream):
        assert await stream.receive_some() == b"hello"
        while await stream.receive_some():
            pass
        over.set()

    async with host(path, serve), open_way_to_api(secrets_for(path)) as reaching:
        stream = await connect(reaching)
        await stream.send_all(b"hello")
        await stream.aclose()
        await over.wait()


async def test_a_host_that_breaks_off(path):
    """A host that resets the connection ends it for the client, and for nobody else."""

    async def serve(stream):
        await stream.receive_some(1)

    async with host(path, serve), open_way_to_api(secrets_for(path)) as reaching:
        for _ in range(2):
            stream = await connect(reaching)
            async with stream:
                await stream.send_all(b"more than is read")
                assert await stream.receive_some() == b""


async def test_no_host(path, caplog):
    """Without a socket a connection just ends, with a word in the log."""
    with trio.fail_after(GUARD):
        async with open_way_to_api(secrets_for(path)) as reaching:
            stream = await connect(reaching)
            async with stream:
                assert await stream.receive_some() == b""
    assert "the host's way to the API can't be reached: No such file" in caplog.text


@pytest.mark.parametrize("values", [{}, {"ANTHROPIC_BASE_URL": "http://gateway.test"}])
async def test_another_address(values):
    """An address that the CLI understands stays as it is."""
    given = Secrets(values)
    async with open_way_to_api(given) as reaching:
        assert reaching is given


async def test_an_exception_of_the_agents(path):
    """What the agent raises comes out as it is; cancelled, it ends."""
    with pytest.raises(KeyError, match="mine"):
        async with open_way_to_api(secrets_for(path)):
            raise KeyError("mine")
    with trio.CancelScope() as scope:
        async with open_way_to_api(secrets_for(path)):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
