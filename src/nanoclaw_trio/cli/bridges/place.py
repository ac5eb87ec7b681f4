"""Where the socket is: made for its owner alone, and removed by whoever made it."""

from __future__ import annotations

import grp
import os
import pwd
import secrets
import socket
import stat
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final

import trio
from attrs import frozen

from nanoclaw_trio.errors import ConfigurationError
from nanoclaw_trio.files import in_thread, open_directory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from nanoclaw_trio.files import Directory

MODE: Final = 0o600
"""Nobody else may connect: who does, speaks for every chat."""

PATH_LIMIT: Final = 103
"""Bytes of the longest path that a Unix socket has everywhere: sun_path has 104 on macOS and 108 on
Linux, one of them for the NUL."""

ANSWER_BOUND: Final = 2.0
"""Seconds for whoever listens on a socket to take up a connection."""

REMOVAL_BOUND: Final = 5.0
"""Seconds for the disk to remove the socket."""


class SocketUnusable(ConfigurationError):
    """There can't be a socket of ours at this place."""

    def __init__(self, path: Path, why: str, remedy: str) -> None:
        super().__init__(f"there can't be a socket at {path}: {why}; {remedy}")
        self.path = path
        self.why = why


@frozen(kw_only=True)
class BoundSocket:
    """A socket that listens; `inode` tells whether what lies at its path is still it."""

    path: Path
    socket: socket.socket
    inode: int


@asynccontextmanager
async def listening(path: Path) -> AsyncIterator[trio.SocketListener]:
    """A listener at this path, with mode 0600, which is removed in the end.

    One that a process left behind is replaced; one that somebody listens on isn't.

    Raises:
        SocketUnusable: the operator's fault, or that of who holds the place.
    """
    bound = await in_thread(bind, path)
    try:
        async with trio.SocketListener(trio.socket.from_stdlib_socket(bound.socket)) as listener:
            yield listener
    finally:
        with trio.move_on_after(REMOVAL_BOUND, shield=True):
            await in_thread(_remove, bound, abandon_on_cancel=True)


def check_place(path: Path, *, create: bool) -> None:
    """Make sure that there can be a socket at a path, as far as can be told without making one.

    `create`: whether its directory is made where it is missing. Raises SocketUnusable.
    """
    names = (path, path.with_name(_temporary_name()))
    if max(len(os.fsencode(name)) for name in names) > PATH_LIMIT:
        raise SocketUnusable(
            path, f"its path has more than {PATH_LIMIT} bytes", "name a shorter one with --socket"
        )
    with _explained(path), open_directory(path.parent, create=create) as directory:
        _check(path, directory)


def bind(path: Path) -> BoundSocket:
    """Make a socket at a path, and listen. Blocking; SocketUnusable if it can't be."""
    check_place(path, create=False)
    with _explained(path), open_directory(path.parent) as directory:
        if directory.kind(path.name) is not None and _somebody_answers(path):
            raise SocketUnusable(
                path, "somebody answers there", "end that process, or name another place"
            )
        return _bind(path, directory)


def _bind(path: Path, directory: Directory) -> BoundSocket:
    # Its own name comes last: it is seen neither with another mode, nor deaf, nor is a moment
    # without a socket there where one is replaced.
    name = _temporary_name()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path.with_name(name)))
        directory.set_mode(name, MODE)
        # As many as the kernel lets wait: who floods the queue keeps the bridges out of it.
        listener.listen(socket.SOMAXCONN)
        directory.rename(name, path.name)
        status = directory.status(path.name)
    except BaseException:
        listener.close()
        directory.remove(name)
        raise
    return BoundSocket(path=path, socket=listener, inode=status.st_ino if status else 0)


def _temporary_name() -> str:
    # Short, unlike what files have: the socket's path with it must not be too long either.
    return f".{secrets.token_hex(4)}"


def _check(path: Path, directory: Directory) -> None:
    if directory.kind(path.name) not in {None, stat.S_IFSOCK}:
        raise SocketUnusable(path, "something else lies there", "remove it, or name another place")
    status = os.fstat(directory.descriptor)
    group_has_others = has_others(status.st_gid)
    if is_open_to_others(status.st_mode, status.st_uid, group_has_others=group_has_others):
        raise SocketUnusable(
            path,
            f"others may replace what lies in {path.parent}",
            f"run `chmod go-w {path.parent}`, or name another place",
        )


def is_open_to_others(mode: int, uid: int, *, group_has_others: bool) -> bool:
    """Whether others may put another socket in the place of ours in such a directory. Pure.

    Not in one such as /tmp: sticky, so that all entries stay their owners', and root's, since the
    directory's own owner may replace them all the same.
    """
    if mode & stat.S_ISVTX and uid == 0:
        return False
    return bool(mode & stat.S_IWOTH or (mode & stat.S_IWGRP and group_has_others))


def has_others(gid: int) -> bool:
    """Whether somebody else may be in a group: in any but the user's own, as far as is known.

    With a group for each user, as Debian and Fedora have it, the umask is 002, and what is made has
    group-writable directories that nobody else can write to.
    """
    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return True
    is_own = group.gr_name == user.pw_name and gid == user.pw_gid
    return not (is_own and set(group.gr_mem) <= {user.pw_name})


def _somebody_answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(ANSWER_BOUND)
        try:
            caller.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            # Another user's, or one whose owner is very busy: it isn't stale for certain.
            return True
    return True


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or "an error of the system"
        remedy = "name another place with --socket, or go without: --no-socket"
        raise SocketUnusable(path, why, remedy) from None


def _remove(bound: BoundSocket) -> None:
    with open_directory(bound.path.parent) as directory:
        status = directory.status(bound.path.name)
        if status is not None and status.st_ino == bound.inode:
            directory.remove(bound.path.name)
