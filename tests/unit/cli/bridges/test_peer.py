"""Nobody inside of a container speaks for the chats."""

from __future__ import annotations

import json
import os
import socket
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from nanoclaw_trio.cli.bridges.peer import is_from_inside, is_nested
from nanoclaw_trio.cli.bridges.place import listening
from nanoclaw_trio.cli.bridges.reception import receive
from nanoclaw_trio.repeats import RepeatedWarnings
from nanoclaw_trio.runtimes.bubblewrap_check import find_executables

GUARD = 60

FORGED_NAME = "\rNSpid:\t9"
"""What a process may call itself: the kernel shows a carriage return as it is."""

CLIENT = """
import ctypes, socket, sys
PR_SET_NAME = 15
ctypes.CDLL(None).prctl(PR_SET_NAME, sys.argv[2].encode())
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
try:
    client.sendall(b'{"type":"groups"}\\n')
finally:
    sys.stdout.write(client.makefile().readline())
"""


@pytest.mark.parametrize(
    ("status", "nested"),
    [
        (b"Name:\tclaude\nNSpid:\t4711\t7\nUid:\t1000\n", True),
        (b"NSpid:\t4711\t7\t1\n", True),
        (b"Name:\tbridge\nNSpid:\t4711\n", False),
        (b"Name:\tNSpid:\nPid:\t1\n", False),
        (b"NSpid:\n", True),
        (b"Name:\t\rNSpid:\t9\nNSpid:\t4711\t7\n", True),
        (b"", False),
    ],
)
def test_is_nested(status, nested):
    """Who has a number in more than one namespace is in one below ours."""
    assert is_nested(status) is nested


@pytest.fixture
async def pair(tmp_path):
    """Two ends of a connection, both ours."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        yield trio.socket.from_stdlib_socket(ours)


async def test_ourselves(pair):
    """A process of the host itself may connect."""
    assert not is_from_inside(pair)


@pytest.mark.parametrize("make", [None, Path.mkdir])
async def test_a_process_that_is_gone_or_hidden(pair, tmp_path, make):
    """Of whom nothing can be said isn't let in."""
    if make is not None:
        (tmp_path / str(os.getpid())).mkdir()
        make(tmp_path / str(os.getpid()) / "status")
    assert is_from_inside(pair, tmp_path)


@pytest.fixture
def serve(tmp_path, monkeypatch, bridge, engine):
    """Serve a socket, and let a program connect to it; what it heard."""
    monkeypatch.chdir(tmp_path)

    async def serve_one(*command, name="client"):
        path = Path("nanoclaw.sock")
        handler = partial(
            receive, bridge=bridge, engine=engine, trigger="@Andy", warnings=RepeatedWarnings()
        )
        argv = [*command, sys.executable, "-c", CLIENT, str(path), name]
        with trio.fail_after(GUARD):
            async with listening(path) as listener, trio.open_nursery() as nursery:
                await nursery.start(partial(trio.serve_listeners, handler, [listener]))
                done = await trio.run_process(argv, capture_stdout=True, check=False)
                nursery.cancel_scope.cancel()
        return json.loads(done.stdout)

    return serve_one


async def test_a_program_of_the_host(serve):
    """A program of the host is served."""
    assert await serve() == {"type": "groups", "groups": []}


@pytest.mark.parametrize("name", ["client", FORGED_NAME])
async def test_a_program_in_a_sandbox(serve, bubblewrap, capsys, name):
    """One in a sandbox isn't, though it sees the socket and has our own user's number, whatever it
    calls itself."""
    sandbox = (find_executables()[0], "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/")
    heard = await serve(*sandbox, name=name)
    assert heard["type"] == "error"
    assert "a process inside of a container may not connect" in heard["problem"]
    assert "connections refused" in capsys.readouterr().err
