"""Where the socket is, with real Unix sockets."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import stat
from itertools import count
from pathlib import Path

import pytest
import trio

from nanoclaw_trio.cli.bridges.place import (
    PATH_LIMIT,
    SocketUnusable,
    _bind,
    bind,
    check_place,
    has_others,
    is_open_to_others,
    listening,
)
from nanoclaw_trio.errors import ConfigurationError
from nanoclaw_trio.files import open_directory

GUARD = 60


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A place in this test's folder, by a path that is short enough for a socket."""
    monkeypatch.chdir(tmp_path)
    return Path("nanoclaw.sock")


@pytest.fixture
def listener():
    """Listen at a path, and say nothing."""
    made = []

    def listen(path):
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen()
        made.append(server)
        return server

    yield listen
    for server in made:
        server.close()


async def test_only_its_owner_may_connect(path):
    """While it listens its mode is 0600, clients connect, and in the end it is gone."""
    with trio.fail_after(GUARD):
        async with listening(path) as listener:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            async with (
                await trio.open_unix_socket(path) as client,
                await listener.accept() as served,
            ):
                await client.send_all(b"Hello")
                assert await served.receive_some() == b"Hello"
    assert list(Path.cwd().iterdir()) == []


async def test_removed_when_cancelled(path):
    """Cancelled, it is removed all the same."""
    with trio.CancelScope() as scope:
        async with listening(path):
            scope.cancel()
            await trio.sleep_forever()
    assert not path.exists()


async def test_a_stale_socket_is_replaced(path, listener):
    """One that a dead process left behind is replaced, and its successor is removed in the end."""
    listener(path).close()
    assert path.is_socket()
    async with listening(path), await trio.open_unix_socket(path):
        pass
    assert not path.exists()


def test_one_that_answers_is_left(path, listener):
    """One on which somebody listens isn't replaced, and the error says what to do."""
    listener(path)
    before = path.stat().st_ino
    with pytest.raises(SocketUnusable, match="somebody answers there; end that process") as caught:
        bind(path)
    assert path.stat().st_ino == before
    assert isinstance(caught.value, ConfigurationError)


def test_one_that_is_too_busy_to_answer_is_left(path):
    """One whose owner is too busy to take up a connection isn't stale for certain."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(0)
    waiting = []
    try:
        for _ in range(4):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(0)
            waiting.append(client)
            client.connect_ex(str(path))
        with pytest.raises(SocketUnusable, match="somebody answers"):
            bind(path)
    finally:
        for each in (server, *waiting):
            each.close()


async def test_another_ones_socket_is_not_removed(path):
    """In the end only our own is removed, and not what somebody put in its place."""
    async with listening(path):
        path.unlink()
        path.write_text("mine")
    assert path.read_text() == "mine"


async def test_one_that_is_gone_already(path):
    """That somebody has removed it already is nothing to complain of."""
    async with listening(path):
        path.unlink()


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda p: p.symlink_to("/tmp")])
def test_something_else_is_left(path, make):
    """What lies there and is no socket isn't touched."""
    make(path)
    with pytest.raises(SocketUnusable, match="something else lies there"):
        bind(path)
    assert path.is_symlink() or path.exists()


@pytest.mark.parametrize("call", [bind, lambda path: check_place(path, create=False)])
def test_no_such_directory(path, call):
    """A directory that was named and isn't there isn't made."""
    with pytest.raises(SocketUnusable, match="No such file or directory; name another place"):
        call(path / "below" / "nanoclaw.sock")


def test_the_default_directory_is_made(path):
    """The project's own data/ is made where it is missing."""
    check_place(Path("data/nanoclaw.sock"), create=True)
    assert Path("data").is_dir()


def test_a_path_that_is_too_long(tmp_path):
    """A path that no socket can have is said to be one, before anything is made."""
    path = tmp_path / ("x" * PATH_LIMIT)
    with pytest.raises(SocketUnusable, match=f"more than {PATH_LIMIT} bytes; name a shorter one"):
        check_place(path, create=True)


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_directory_that_others_may_write_to(path, mode):
    """Where others may put another socket in its place, there is none of ours."""
    Path("open").mkdir()
    Path("open").chmod(mode)
    if os.geteuid() == 0:
        os.chown("open", 4711, -1)
    with pytest.raises(
        SocketUnusable, match="others may replace what lies in open; run `chmod go-w"
    ):
        bind(Path("open/nanoclaw.sock"))


@pytest.mark.parametrize(
    ("mode", "uid", "has_others", "is_open"),
    [
        (0o700, 1000, True, False),
        (0o755, 1000, True, False),
        (0o775, 1000, True, True),
        (0o775, 1000, False, False),
        (0o777, 1000, False, True),
        (0o1777, 0, True, False),
        (0o1777, 1000, True, True),
        (0o1775, 1000, True, True),
        (0o1775, 0, True, False),
    ],
)
def test_is_open_to_others(mode, uid, has_others, is_open):
    """In root's sticky directories nobody may replace what is another's, and a user's own group has
    nobody else in it."""
    assert is_open_to_others(mode, uid, group_has_others=has_others) is is_open


def test_whom_a_group_has():
    """A user's own group has the user's name, and no other members; of any other we can't say so."""
    mine = grp.getgrgid(os.getegid())
    own = mine.gr_name == pwd.getpwuid(os.geteuid()).pw_name and not mine.gr_mem
    assert has_others(os.getegid()) is not own
    assert has_others(next(gid for gid in count(50_000) if not _is_known(gid)))


def _is_known(gid):
    return gid in {group.gr_gid for group in grp.getgrall()}


def test_as_many_clients_may_wait_as_the_kernel_lets(path):
    """Who asks for a connection while others do isn't turned away."""
    bound = bind(path)
    clients = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    try:
        for client in clients:
            client.settimeout(0)
            client.connect(str(path))
    finally:
        for each in (bound.socket, *clients):
            each.close()


def test_what_comes_in_between(path):
    """What somebody puts there after it was looked at is left, and nothing of ours stays behind."""
    path.mkdir()
    with open_directory(Path()) as directory, pytest.raises(IsADirectoryError):
        _bind(path, directory)
    assert list(Path.cwd().iterdir()) == [path.absolute()]


def test_a_disk_that_refuses(path):
    """What the disk says is said, with what to do."""
    Path("loop").symlink_to("loop")
    with pytest.raises(SocketUnusable, match="loop/s: Too many levels of symbolic links; name an"):
        check_place(Path("loop/s"), create=False)
