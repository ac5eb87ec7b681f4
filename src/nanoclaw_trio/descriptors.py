"""What goes on below :mod:`nanoclaw_trio.files`: names relative to a directory's descriptor.

A path can be replaced between two looks at it, an open directory can't. Nothing in here follows a
link. The errors are the system's own.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
import sys
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import BinaryIO

DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OWN_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
"""For a directory of the host's own, where links are followed."""
READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Not blocking: a pipe that nobody writes to is opened, and then found to be no regular file."""
WRITE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
LOCK_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

LOCK_MODE: Final = stat.S_IWUSR
"""Why not readable: whoever can open a file can lock it, be it through a read-only mount."""


LOOK_LIMIT: Final = 10_000
"""Entries of a directory that are looked at at a time: what an agent leaves there by the million
must neither lie in the host's memory nor cost each look the whole of it."""


COPY_SIZE: Final = 64 * 1024
"""Bytes that are copied at a time."""


def temporary_name() -> str:
    """A name for what will be renamed or removed soon.

    Not made from the final name: it could become longer than a name may be.
    """
    return f".{secrets.token_hex(8)}.tmp"


def is_temporary(name: str) -> bool:
    """Whether it can be one of these: where only the host writes, what a killed one has left."""
    return re.fullmatch(r"\.[0-9a-f]{16}\.tmp", name) is not None


def status_of(name: str, parent: int) -> os.stat_result | None:
    """What the disk knows of an entry itself; None if it isn't there."""
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def is_directory(name: str, parent: int) -> bool:
    """Whether an entry is a directory, and not a link to one."""
    status = status_of(name, parent)
    return status is not None and stat.S_ISDIR(status.st_mode)


def open_accessible(name: str, parent: int) -> int:
    """The descriptor of a directory below, made accessible where it belongs to our own user.

    An agent that runs with our number can take our access away; this takes it back.
    """
    try:
        descriptor = os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
    except PermissionError:
        _make_accessible(name, parent)
        return os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
    try:
        status = os.fstat(descriptor)
        if not is_open_to_us(status):
            # Refused on a read-only disk, where what follows will say so better.
            with suppress(OSError):
                os.fchmod(descriptor, stat.S_IMODE(status.st_mode) | stat.S_IRWXU)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_open_to_us(status: os.stat_result) -> bool:
    """Whether it is a directory, and none of our own user's that we may not do everything in."""
    is_ours = status.st_uid == os.geteuid()
    return stat.S_ISDIR(status.st_mode) and (
        not is_ours or status.st_mode & stat.S_IRWXU == stat.S_IRWXU
    )


def _make_accessible(name: str, parent: int) -> None:
    # Somebody else's: what follows says so.
    with suppress(PermissionError):
        if sys.platform != "linux":  # pragma: no cover - macOS only
            os.chmod(name, stat.S_IRWXU, dir_fd=parent, follow_symlinks=False)
            return
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=parent)
        try:
            # Linux has no chmod that doesn't follow a link, but for this way round.
            Path(f"/proc/self/fd/{descriptor}").chmod(stat.S_IRWXU)
        finally:
            os.close(descriptor)


def write_all(content: bytes, descriptor: int) -> None:
    """Write all of it: the system may take less at a time."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def copy_with_time(original: BinaryIO, descriptor: int) -> None:
    """Write what is left to read of a file, and give the copy its time of the last change."""
    while chunk := original.read(COPY_SIZE):
        write_all(chunk, descriptor)
    modified = os.fstat(original.fileno()).st_mtime_ns
    os.utime(descriptor, ns=(modified, modified))


def lock_file(descriptor: int) -> bool:
    """Lock an open file for us alone, without waiting; whether we have it.

    The kernel keeps the lock by the open file and not by the process: opened twice in one process
    there are two, and one keeps the other out.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock_and_close(descriptor: int) -> None:
    """Give a lock free, and close its file."""
    try:
        # Closing isn't enough: a child between its fork and its program has the file open, too.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def remove_tree(name: str, parent: int, *, most: int | None = None) -> None:
    """Remove a directory with all below it, or `most` entries of it.

    Why not shutil.rmtree: it goes down as deep as the tree, with a descriptor for each step, and
    stops at an agent's tree of some thousand levels. Here each directory comes up to `parent`. What
    isn't removed is there, under its name and under temporary ones.
    """
    pending = [name]
    left = sys.maxsize if most is None else most
    while pending and left > 0:
        limit = min(LOOK_LIMIT, left)
        descriptor = open_accessible(pending[-1], parent)
        try:
            count, moved = _empty(descriptor, parent, limit)
        finally:
            os.close(descriptor)
        if count < limit:
            os.rmdir(pending.pop(), dir_fd=parent)
        pending += moved
        left -= count


def _empty(directory: int, top: int, limit: int) -> tuple[int, list[str]]:
    """Remove some entries, or move them to the top; how many, and what was moved."""
    with os.scandir(directory) as entries:
        names = [entry.name for entry in islice(entries, limit)]
    moved = []
    for name in names:
        if not is_directory(name, directory):
            os.unlink(name, dir_fd=directory)
            continue
        # Opened first: a directory that isn't accessible can't be moved either.
        os.close(open_accessible(name, directory))
        new_name = temporary_name()
        os.rename(name, new_name, src_dir_fd=directory, dst_dir_fd=top)
        moved.append(new_name)
    return len(names), moved
