"""A connection to an engine, as far as no runtime is needed to try it."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import trio
import trio.testing

from nanoclaw_trio.runtimes.engine_api.connection import connect

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
