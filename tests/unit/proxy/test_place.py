"""Where the sockets are."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest
import structlog

from nanoclaw_trio.proxy.errors import ProxyUnusable
from nanoclaw_trio.proxy.place import PATH_LIMIT, SOCKET, bind, listening, socket_directory

ROOT = Path("/home/somebody/a-project")


def group_of(path):
    """What the names of one group's directories have in common."""
    return path.name.partition("-")[0]


def test_a_directory_for_each_run():
    """A group's directories begin alike, another group's or project's otherwise; each is short."""
    first, second = (socket_directory(ROOT, "family", None) for _ in range(2))
    assert first.parent == Path(f"/tmp/nanoclaw-{os.geteuid()}")
    assert group_of(first) == group_of(second)
    assert first != second
    others = [socket_directory(ROOT, "x" * 64, None), socket_directory(ROOT / "b", "family", None)]
    assert len({group_of(path) for path in (first, *others)}) == 3
    assert max(len(os.fsencode(path / SOCKET)) for path in others) < 60
    home = Path("/run/user/1000")
    assert socket_directory(ROOT, "family", home).parent == home / "nanoclaw"


def test_what_a_killed_host_left(runtime_home):
    """What a host that was killed has left of the same group goes, and nothing else."""
    stale = socket_directory(ROOT, "family", runtime_home)
    bind(stale / SOCKET).close()
    other = socket_directory(ROOT, "neighbour", runtime_home)
    kept = bind(other / SOCKET)
    path = socket_directory(ROOT, "family", runtime_home) / SOCKET
    with bind(path), socket.socket(socket.AF_UNIX) as caller:
        assert {*(runtime_home / "nanoclaw").iterdir()} == {other, path.parent}
        caller.connect(str(path))
    kept.close()
    for directory in (other, path.parent):
        (directory / SOCKET).unlink()
        directory.rmdir()


async def test_removal(runtime_home):
    """A run's directory goes with it, and not that of a later run of the group's, which may have
    come meanwhile."""
    async with listening(ROOT, "family") as (first, _):
        async with listening(ROOT, "family") as (second, _):
            assert not first.exists()
        assert not second.exists()


async def test_removal_of_what_is_gone(runtime_home):
    """A session that ends takes its runtime directory along. A run is none the worse for it."""
    async with listening(ROOT, "family"):
        shutil.rmtree(runtime_home / "nanoclaw")


async def test_removal_that_fails(runtime_home):
    """A directory that can't be removed any more is a warning, and no failure of the run."""
    private = runtime_home / "nanoclaw"
    with structlog.testing.capture_logs() as logged:
        async with listening(ROOT, "family"):
            shutil.rmtree(private)
            private.touch()
    private.unlink()
    (entry,) = logged
    assert entry["log_level"] == "warning"


def test_a_umask(runtime_home):
    """Whatever the umask, others may connect who have the directory."""
    before = os.umask(0o077)
    try:
        path = socket_directory(ROOT, "family", runtime_home) / SOCKET
        bind(path).close()
    finally:
        os.umask(before)
    assert (path.parent.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o755, 0o666)
    path.unlink()
    path.parent.rmdir()


def test_a_path_that_is_too_long(runtime_home):
    """A path that no socket can have is an error that says what to set."""
    path = runtime_home / "nanoclaw" / ("x" * PATH_LIMIT) / SOCKET
    with pytest.raises(ProxyUnusable, match="too long for a socket; set XDG_RUNTIME_DIR"):
        bind(path)
    assert not path.parent.exists()


@pytest.mark.parametrize("kind", ["file", "link", "nowhere"])
def test_a_directory_that_is_none(runtime_home, tmp_path, kind):
    """Where the sockets' directory is a link of somebody's, a file, or can't be, nothing is made."""
    private = runtime_home / "nanoclaw"
    if kind == "file":
        private.touch()
    elif kind == "link":
        private.symlink_to(tmp_path)
    path = (private if kind != "nowhere" else runtime_home / "a" / "b") / "group-1" / SOCKET
    with pytest.raises(ProxyUnusable, match="XDG_RUNTIME_DIR"):
        bind(path)
    assert [*tmp_path.iterdir()] == []
    private.unlink(missing_ok=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make somebody else's directory")
def test_somebody_elses_directory(runtime_home):
    """A directory that somebody else has put there isn't used: it would be in their hands."""
    private = runtime_home / "nanoclaw"
    private.mkdir()
    os.chown(private, 12345, 12345)
    with pytest.raises(ProxyUnusable, match="is somebody else's"):
        bind(private / "group-1" / SOCKET)
