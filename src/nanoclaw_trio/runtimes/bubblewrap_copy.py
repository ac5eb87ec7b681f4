"""A copy of a program that everybody may run and nobody may read, not even its owner.

The kernel keeps a process whose program's file its user may not read from being traced, and its
environment and memory from being read by that user's other processes (prctl(2), PR_SET_DUMPABLE;
ptrace(2), "Ptrace access mode checking"). The owner of a file can't read it either when its mode
says so, but for capabilities, of which there are none in a sandbox.

Copies are kept in the user's cache, one for each version of the program.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from nanoclaw_trio.descriptors import WRITE_FLAGS, temporary_name
from nanoclaw_trio.files import open_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nanoclaw_trio.files import Directory

UNREADABLE: Final = 0o111
"""The mode of a copy: to be run by all, to be read by none."""

PREFIX: Final = "program-"
TEMPORARY: Final = ".tmp"
LOCK: Final = "lock"

UNUSED: Final = 30 * 24 * 3600.0
"""Seconds without a use after which a copy of another version is removed."""

CHUNK: Final = 32 * 1024 * 1024
"""Bytes that are copied between two looks at whether to go on: some hundredths of a second."""

_NOT_THIS_WAY: Final = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
"""copy_file_range(2): these files, or this kernel, can't do it."""


class NotOurs(OSError):
    """The directory for the copies is another user's, or others may write to it."""


def find_copy(source: Path, version: str, directory: Path) -> Path | None:
    """The copy of this very file, if it is there and as it must be. It counts as used then.

    OSError if the source or the directory can't be looked at; NotOurs is one.
    """
    status = source.stat()
    try:
        with _opened(directory) as copies:
            name = copy_name(version, status)
            return directory / name if _is_usable(copies, name, status) else None
    except FileNotFoundError:
        return None


def make_copy(
    source: Path, version: str, directory: Path, *, now: float, check: Callable[[], None]
) -> Path | None:
    """The copy, made if it isn't there; None while another process makes one: ask again.

    Made under a temporary name and renamed. Copies that weren't used for long are removed, as are
    the remains of processes that were killed. `now` is in seconds since 1970; `check` is called
    every now and then, and what it raises ends the copying.

    OSError if the disk refuses, and UnsafePath if the lock is no file; nothing stays behind.
    """
    status = source.stat()
    name = copy_name(version, status)
    with _opened(directory, create=True) as copies:
        lock = copies.lock(LOCK)
        if lock is None:
            return None
        try:
            _remove_stale(copies, keep=name, before=now - UNUSED)
            if not _is_usable(copies, name, status):
                _write(copies, name, source, check)
            # Some disks keep no modes.
            if not _is_usable(copies, name, status):
                raise OSError(errno.EOPNOTSUPP, "the copy isn't whole or hasn't got its mode")
        finally:
            lock.release()
    return directory / name


def copy_name(version: str, source: os.stat_result) -> str:
    """The name of a copy, which tells what it is a copy of. Pure."""
    return f"{PREFIX}{version}-{source.st_size}-{source.st_mtime_ns}"


def is_intact(copy: os.stat_result, source: os.stat_result, owner: int) -> bool:
    """Whether a file can be the copy: whole, `owner`'s, and not to be read. Pure."""
    regular = stat.S_ISREG(copy.st_mode)
    unreadable = stat.S_IMODE(copy.st_mode) == UNREADABLE
    return regular and unreadable and (copy.st_uid, copy.st_size) == (owner, source.st_size)


@contextmanager
def _opened(path: Path, *, create: bool = False) -> Iterator[Directory]:
    with open_directory(path, create=create, mode=0o700) as directory:
        status = os.fstat(directory.descriptor)
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise NotOurs(errno.EPERM, "another user owns it or may write to it", str(path))
        yield directory


def _is_usable(directory: Directory, name: str, source: os.stat_result) -> bool:
    found = directory.status(name)
    if found is None or not is_intact(found, source, os.geteuid()):
        return False
    # A disk that can be read only has no use for the time of the last use either.
    with suppress(OSError):
        os.utime(name, dir_fd=directory.descriptor, follow_symlinks=False)
    return True


def _remove_stale(directory: Directory, *, keep: str, before: float) -> None:
    """Remove other versions that were last used before that, and what was never finished.

    A sandbox that runs one goes on: the file lives as long as it is mounted.
    """
    for name in directory.names():
        status = directory.status(name)
        if status is None or not stat.S_ISREG(status.st_mode):
            continue
        old = name.startswith(PREFIX) and name != keep and status.st_mtime < before
        # Whoever writes one has the lock, and we have it.
        if old or name.endswith(TEMPORARY):
            directory.remove(name)


def _write(directory: Directory, name: str, source: Path, check: Callable[[], None]) -> None:
    temporary = temporary_name()
    # Never readable, not for a moment: the descriptor may write all the same.
    copy = os.open(temporary, WRITE_FLAGS, UNREADABLE, dir_fd=directory.descriptor)
    try:
        with os.fdopen(copy, "wb") as target, source.open("rb") as original:
            copy_content(original.fileno(), target.fileno(), check)
            # The umask may have taken the others' permission.
            os.fchmod(target.fileno(), UNREADABLE)
            # The name must not outlive a failure of power that the content doesn't.
            os.fsync(target.fileno())
        directory.remove(name)
        directory.rename(temporary, name)
    finally:
        directory.remove(temporary)


def copy_content(source: int, target: int, check: Callable[[], None]) -> None:
    """Copy one descriptor's file to another's, without its going through this process.

    Where the file system can share the content between both, it does (copy_file_range(2)).
    """
    check()
    while _copy_some(source, target):
        check()


def _copy_some(source: int, target: int) -> int:
    try:
        count = os.copy_file_range(source, target, CHUNK)
    except OSError as error:
        if error.errno not in _NOT_THIS_WAY:
            raise
        count = 0
    # Some kernels say 0 instead of an error, which may as well be the end.
    return count or os.sendfile(target, source, None, CHUNK)
