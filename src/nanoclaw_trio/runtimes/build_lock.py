"""The lock by which several processes build one image once."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.environment import cache_home
from nanoclaw_trio.files import FileLock, in_thread, open_directory

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

LOCK_POLL: Final = 0.1
"""Seconds between two attempts at a lock that another process holds: a wait for it in the kernel
could not be cancelled."""


def lock_path(engine: str, image: str, environment: Mapping[str, str]) -> Path:
    """The file to lock: in the user's cache, since several projects may share an image.

    XDG_CACHE_HOME, else ~/.cache. Pure.
    """
    cache = cache_home(environment) or Path(environment.get("HOME") or "/") / ".cache"
    name = hashlib.sha256(f"{engine}\0{image}".encode()).hexdigest()[:16]
    return cache / "nanoclaw-trio" / f"build-{name}.lock"


@asynccontextmanager
async def hold_lock(path: Path, *, waiting: Callable[[], object]) -> AsyncGenerator[None]:
    """Hold a lock within the block; the kernel frees it if this process crashes.

    Its directory is made where it is missing, for this user alone. `waiting` is called once, if
    somebody else has the lock. Cancelled while it waits, it holds nothing. The file stays: without
    it, two processes could lock two files of one name.

    Raises:
        OSError: the file can't be made or locked.
        UnsafePath: it is a link, or no file.
    """
    lock = await in_thread(_try_lock, path)
    if lock is None:
        waiting()
    while lock is None:
        await trio.sleep(LOCK_POLL)
        lock = await in_thread(_try_lock, path)
    try:
        yield
    finally:
        lock.release()


def _try_lock(path: Path) -> FileLock | None:
    with open_directory(path.parent, create=True, mode=0o700) as directory:
        return directory.lock(path.name)
