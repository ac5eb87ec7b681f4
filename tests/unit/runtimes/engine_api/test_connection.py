"""A connection to an engine, as far as no runtime is needed to try it."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest
import trio
import trio.testing

from nanoclaw_trio.runtimes.engine_api.connection import (
    CUT_OFF,
    Disconnected,
    EngineConnection,
    Request,
    connect,
)

GUARD = 60.0


def fill_queue(path, opened):
    """Connect until the listener's queue is full; how many are in it."""
    count = 0
    while True:
        client = opened.enter_context(socket.socket(socket.AF_UNIX))
        client.settimeout(0)
        try:
            client.connect(path)
        except BlockingIOError:
            return count
        count += 1


async def test_an_engine_with_a_full_queue(tmp_path, nursery):
    """Where more wish to connect than an engine lets wait, it is waited for, not given up."""
    path = str(tmp_path / "engine.sock")

    async def send():
        connection = await connect(path)
        await connection.stream.send_all(b"here I am")
        connection.close()

    with ExitStack() as opened, trio.fail_after(GUARD):
        listener = opened.enter_context(trio.socket.socket(trio.socket.AF_UNIX))
        await listener.bind(path)
        listener.listen(1)
        waiting = fill_queue(path, opened)
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(waiting):
            opened.enter_context((await listener.accept())[0])
        accepted = opened.enter_context((await listener.accept())[0])
        assert await accepted.recv(100) == b"here I am"


@pytest.fixture
def pair():
    """A connection, and the engine's end of it."""
    near, far = trio.socket.socketpair()
    with near, far:
        yield EngineConnection(trio.SocketStream(near)), far


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\n", CHUNKED, CHUNKED + b"5\r\n{"])
async def test_an_answer_that_is_cut_off(pair, data):
    """That there will be no answer is told in words, as often as it is asked for."""
    connection, far = pair
    with trio.fail_after(GUARD):
        await connection.send(Request(method="GET", target="/"))
        await far.recv(1000)
        await far.send(data)
        far.close()
        for _ in range(2):
            with pytest.raises(Disconnected, match=CUT_OFF):
                await connection.receive()


async def test_an_engine_that_is_killed_before_it_read(pair):
    """What the system says of a connection is told, and stays what is told."""
    connection, far = pair
    with trio.fail_after(GUARD):
        await connection.send(Request(method="GET", target="/"))
        far.close()
        for _ in range(2):
            with pytest.raises(Disconnected, match="Connection reset by peer"):
                await connection.receive()
