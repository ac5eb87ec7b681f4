"""The lock by which one image is built once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from nanoclaw_trio.runtimes.build_lock import hold_lock, lock_path

GUARD = 60

HOLDER = """
import sys, trio
from pathlib import Path
from nanoclaw_trio.runtimes.build_lock import hold_lock

async def main():
    async with hold_lock(Path(sys.argv[1]), waiting=print):
        print("held", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.parametrize(
    ("environment", "directory"),
    [
        ({"HOME": "/h", "XDG_CACHE_HOME": "/c"}, "/c/nanoclaw-trio"),
        ({"HOME": "/h", "XDG_CACHE_HOME": ""}, "/h/.cache/nanoclaw-trio"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "not/absolute"}, "/h/.cache/nanoclaw-trio"),
        ({}, "/.cache/nanoclaw-trio"),
    ],
)
def test_lock_path(environment, directory):
    """It is in the user's cache, and another engine's or image's is another."""
    path = lock_path("docker", "a:b", environment)
    assert path.parent == Path(directory)
    assert len({path, lock_path("podman", "a:b", environment), lock_path("docker", "a", {})}) == 3


async def test_one_holds_it_and_the_other_waits(tmp_path):
    """Who comes second is told once that it waits, and has the lock when the first lets go."""
    path = tmp_path / "new" / "lock"
    events = []

    async def second():
        async with hold_lock(path, waiting=lambda: (events.append("waits"), told.set())):
            events.append("second")

    told = trio.Event()
    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery, hold_lock(path, waiting=events.append):
            nursery.start_soon(second)
            await told.wait()
            events.append("first leaves")
    assert events == ["waits", "first leaves", "second"]
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_cancelled_while_it_waits_it_holds_nothing(tmp_path):
    """A wait can be cancelled, and leaves the lock to the others."""
    path = tmp_path / "lock"
    with trio.fail_after(GUARD):
        async with hold_lock(path, waiting=print):
            with trio.CancelScope() as scope:
                async with hold_lock(path, waiting=scope.cancel):
                    pytest.fail("two have the lock")
        async with hold_lock(path, waiting=pytest.fail):
            pass


async def test_a_crash_frees_it(tmp_path):
    """Of a process that was killed no lock is left."""
    path = tmp_path / "lock"
    argv = [sys.executable, "-c", HOLDER, str(path)]
    with trio.fail_after(GUARD):
        holder = await trio.lowlevel.open_process(argv, stdout=subprocess.PIPE)
        # Kept open: what it writes last it may write after the first of it was read.
        async with holder.stdout:
            assert await holder.stdout.receive_some(1) == b"h"
            async with hold_lock(path, waiting=holder.kill):
                assert await holder.wait() == -signal.SIGKILL


async def test_a_place_where_no_file_can_be(tmp_path):
    """Who can't make the file is told so."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"exists|directory"):
        async with hold_lock(tmp_path / "file" / "lock", waiting=print):
            pytest.fail("there is no lock")
