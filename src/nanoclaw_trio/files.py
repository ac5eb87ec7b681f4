"""The only door to the disk.

Everything here is synchronous and small; asynchronous code calls it through :func:`in_thread`,
whose threads the shipped virtual clock waits for.

Whatever an agent can write to is opened by way of :class:`Directory`, which walks from one
directory's descriptor to the next and follows no link (Trap A28): an agent that replaces its
`input` directory by a link to the host's `/etc` gets an error, not a file there. What is written,
is written whole under a temporary name and renamed (Trap A20).
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar

import trio
from attrs import frozen

from nanoclaw_trio.errors import UnsafePath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

T = TypeVar("T")

MAILBOX_FILE_LIMIT: Final = 1024 * 1024
"""Bytes of the largest file that is read from an agent's hands (Trap A28)."""

_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


async def in_thread(function: Callable[..., T], *arguments: object) -> T:
    """Run a function that touches the disk in a worker thread, and wait for it.

    Not cancellable: the work is done, whole, before a cancellation goes on. The functions in here
    are short; nothing half done stays behind.
    """
    return await trio.to_thread.run_sync(function, *arguments)


@frozen(kw_only=True)
class Owner:
    """Who a file shall belong to, as numbers."""

    uid: int
    gid: int


@frozen
class Directory:
    """An open directory, and what may be done in it without following a link.

    Get one from :func:`open_directory` or :meth:`child`; both close it again. `path` is for
    messages. With an `owner`, whatever is made in it belongs to that owner (a host that is root
    makes directories for an agent that isn't).
    """

    descriptor: int
    path: Path
    owner: Owner | None = None

    @contextmanager
    def child(self, *names: str, create: bool = False) -> Iterator[Directory]:
        """The directory below, through each of the names in turn; made where missing if asked.

        UnsafePath if one of them is a link or no directory; FileNotFoundError if one is missing.
        """
        current = Directory(os.dup(self.descriptor), self.path, self.owner)
        try:
            for name in names:
                below = current._step(name, create=create)
                os.close(current.descriptor)
                current = below
            yield current
        finally:
            os.close(current.descriptor)

    def _step(self, name: str, *, create: bool) -> Directory:
        if create:
            with suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=self.descriptor)
                self._give_away(name)
        try:
            below = os.open(name, _DIRECTORY_FLAGS, dir_fd=self.descriptor)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise UnsafePath(str(self.path / name), "a link or no directory") from None
            raise
        return Directory(below, self.path / name, self.owner)

    def _give_away(self, name: str) -> None:
        if self.owner is not None:
            os.chown(
                name,
                self.owner.uid,
                self.owner.gid,
                dir_fd=self.descriptor,
                follow_symlinks=False,
            )

    def names(self) -> list[str]:
        """The names of all entries, sorted."""
        return sorted(os.listdir(self.descriptor))

    def kind(self, name: str) -> int | None:
        """The type bits of an entry's mode (stat.S_IFREG, …) without following it, or None."""
        try:
            status = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return stat.S_IFMT(status.st_mode)

    def read(self, name: str, *, limit: int = MAILBOX_FILE_LIMIT) -> bytes:
        """A regular file's content.

        UnsafePath if it is a link, no regular file, or larger than `limit` bytes;
        FileNotFoundError if it isn't there.
        """
        try:
            descriptor = os.open(name, _READ_FLAGS, dir_fd=self.descriptor)
        except OSError as error:
            # ENXIO: a socket, or a pipe that nobody writes to.
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise UnsafePath(str(self.path / name), "a link or a device") from None
            raise
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnsafePath(str(self.path / name), "not a regular file")
            content = file.read(limit + 1)
        if len(content) > limit:
            raise UnsafePath(str(self.path / name), f"larger than {limit} bytes")
        return content

    def write(self, name: str, content: bytes, *, mode: int = 0o644) -> None:
        """Write a file whole: a reader sees the old one or the new one, never a part.

        OSError if the disk refuses; then nothing stays behind.
        """
        temporary = f".{name}.{secrets.token_hex(6)}.tmp"
        descriptor = os.open(temporary, _WRITE_FLAGS, mode, dir_fd=self.descriptor)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if self.owner is not None:
                    os.fchown(descriptor, self.owner.uid, self.owner.gid)
                # The umask of a host may be 077, and the agent is another user.
                os.fchmod(descriptor, mode)
                file.write(content)
            os.rename(
                temporary, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor
            )
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=self.descriptor)
            raise

    def remove(self, name: str) -> None:
        """Remove an entry, a directory with all below it; nothing happens if it isn't there."""
        if self.kind(name) == stat.S_IFDIR:
            shutil.rmtree(name, dir_fd=self.descriptor)
            return
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def give_away_tree(self) -> None:
        """Give everything below, and the directory itself, to its owner. No link is followed.

        Only what isn't the owner's already is touched. Nothing happens without an owner.
        """
        if self.owner is None:
            return
        os.fchown(self.descriptor, self.owner.uid, self.owner.gid)
        for _path, directories, names, descriptor in os.fwalk(
            ".", dir_fd=self.descriptor, follow_symlinks=False
        ):
            for name in (*directories, *names):
                Directory(descriptor, self.path, self.owner)._give_away(name)

    def belongs_to_owner(self) -> bool:
        """Whether the directory itself is its owner's already (True without an owner)."""
        if self.owner is None:
            return True
        status = os.fstat(self.descriptor)
        return (status.st_uid, status.st_gid) == (self.owner.uid, self.owner.gid)


@contextmanager
def open_directory(path: Path, *, create: bool = False, owner: Owner | None = None) -> Iterator[Directory]:
    """Open a directory of the host's own, links followed; its parents are made if asked.

    For paths outside of any agent's reach; from here on :meth:`Directory.child` follows nothing.
    """
    if create:
        path.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Directory(descriptor, path, owner)
    finally:
        os.close(descriptor)


def read_if_present(path: Path, *, limit: int = MAILBOX_FILE_LIMIT) -> bytes | None:
    """A file of the host's own, links followed, or None if it isn't there.

    OSError with EFBIG if it is larger than `limit` bytes: our own files are small.
    """
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        return None
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit} bytes", str(path))
    return content
