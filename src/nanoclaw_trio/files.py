"""The only door to the disk, with :mod:`nanoclaw_trio.trees` for whole trees beside it.

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
import stat
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias, TypeVar

import trio
from attrs import evolve, frozen

from nanoclaw_trio.descriptors import (
    DIRECTORY_FLAGS,
    LOCK_FLAGS,
    LOCK_MODE,
    LOOK_LIMIT,
    OWN_DIRECTORY_FLAGS,
    READ_FLAGS,
    WRITE_FLAGS,
    copy_with_time,
    is_directory,
    lock_file,
    open_accessible,
    remove_tree,
    status_of,
    temporary_name,
    unlock_and_close,
    write_all,
)
from nanoclaw_trio.errors import UnsafePath

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

T = TypeVar("T")

Identity: TypeAlias = tuple[int, ...]
"""What :func:`identity_of` and :meth:`Directory.identity` say."""

MAILBOX_FILE_LIMIT: Final = 1024 * 1024
"""Bytes of the largest file that is read from an agent's hands (Trap A28)."""

FIRST_READ: Final = 64 * 1024
"""Bytes of a first look into a file: more than most files have."""


async def in_thread(
    function: Callable[..., T], *arguments: object, abandon_on_cancel: bool = False
) -> T:
    """Run a function that touches the disk in a worker thread, and wait for it.

    Not cancellable, unless told to abandon it: the work is done, whole, before a cancellation goes
    on, and nothing half done stays behind. Abandoned, the thread goes on alone: for what may hang
    with the disk, and must not hang us.
    """
    return await trio.to_thread.run_sync(function, *arguments, abandon_on_cancel=abandon_on_cancel)


@frozen(kw_only=True)
class Owner:
    """Who a file shall belong to, as numbers."""

    uid: int
    gid: int

    def owns(self, status: os.stat_result) -> bool:
        """Whether what was looked at belongs to it."""
        return (status.st_uid, status.st_gid) == (self.uid, self.gid)


@frozen
class FileLock:
    """A lock on a file, from :meth:`Directory.lock`; the kernel releases it when we end."""

    descriptor: int

    def release(self) -> None:
        """Give it free, once. It touches no disk, and is safe where that must not be waited for."""
        unlock_and_close(self.descriptor)


@frozen
class Directory:
    """An open directory, and what may be done in it without following a link.

    Get one from :func:`open_directory` or :meth:`child`; both close it again. With an `owner`,
    whatever is made in it belongs to that owner (a host that is root makes directories for an agent
    that isn't).
    """

    descriptor: int
    base: Path
    names_below: tuple[str, ...] = ()
    owner: Owner | None = None

    @property
    def path(self) -> Path:
        """Where it is, for messages.

        Made when it is asked for: a run goes through a hundred directories, and names next to none.
        """
        return self.base.joinpath(*self.names_below)

    @contextmanager
    def child(self, *names: str, create: bool = False) -> Iterator[Directory]:
        """The directory below, through each of the names in turn; made where missing if asked.

        Without names it is this one itself.

        One that belongs to this process's user is made accessible to it where it isn't: an agent
        with the same number can take the host's access away, and the host takes it back.
        UnsafePath if one of them is a link or no directory; FileNotFoundError if one is missing.
        """
        if not names:
            yield self
            return
        directory = _descend(self, names, create=create)
        try:
            yield directory
        finally:
            os.close(directory.descriptor)

    def names(self) -> list[str]:
        """The names of all entries, sorted."""
        return sorted(os.listdir(self.descriptor))  # noqa: PTH208 - a path could be replaced

    def some_names(self, limit: int) -> Generator[str]:
        """The names of entries as the disk has them, but of no more than `limit`.

        For what anybody may fill: a directory of a million entries costs no more than one of
        `limit`. Closed, it lets the disk go.
        """
        with os.scandir(self.descriptor) as entries:
            yield from (entry.name for entry in islice(entries, limit))

    def names_within(self, limit: int = LOOK_LIMIT) -> list[str]:
        """The names of entries, sorted, but of no more than `limit`; which ones, the disk decides."""
        with os.scandir(self.descriptor) as entries:
            return sorted([entry.name for entry in islice(entries, limit)])

    def status(self, name: str) -> os.stat_result | None:
        """What the disk knows of an entry itself, a link not followed; None if it isn't there."""
        return status_of(name, self.descriptor)

    def kind(self, name: str) -> int | None:
        """The type bits of an entry's mode (stat.S_IFREG, …) without following it, or None."""
        status = self.status(name)
        return None if status is None else stat.S_IFMT(status.st_mode)

    def size(self, name: str) -> int:
        """Bytes of an entry, without following it. FileNotFoundError if it isn't there."""
        return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_size

    def read(self, name: str, *, limit: int = MAILBOX_FILE_LIMIT) -> bytes:
        """A regular file's content.

        UnsafePath if it is a link, no regular file, or larger than `limit` bytes;
        FileNotFoundError if it isn't there.
        """
        with self.open_file(name) as file:
            content = _read_up_to(file, limit + 1)
        if len(content) > limit:
            raise UnsafePath(str(self.path / name), f"larger than {limit} bytes")
        return content

    @contextmanager
    def open_file(self, name: str) -> Iterator[BinaryIO]:
        """A regular file, open for reading. UnsafePath if it is a link or anything else.

        A pipe or a device is neither waited for nor read.
        """
        try:
            descriptor = os.open(name, READ_FLAGS, dir_fd=self.descriptor)
        except OSError as error:
            # ENXIO: a socket, or a device that isn't there.
            if error.errno in {errno.ELOOP, errno.ENXIO}:
                raise UnsafePath(str(self.path / name), "a link or a device") from None
            raise
        is_regular = False
        try:
            is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        finally:
            if not is_regular:
                os.close(descriptor)
        # Only then made a file object: of a directory's descriptor Python makes none, nor closes it.
        if not is_regular:
            raise UnsafePath(str(self.path / name), "not a regular file")
        with os.fdopen(descriptor, "rb") as file:
            yield file

    def write(self, name: str, content: bytes, *, mode: int = 0o644) -> None:
        """Write a file whole: a reader sees the old one or the new one, never a part.

        Whatever was there under that name is replaced, a link or a directory too; of a large one
        some is left, under a temporary name. OSError if the disk refuses; then nothing stays behind.
        """
        self._replace(name, self._write_temporary(partial(write_all, content), mode))

    def create(self, name: str, content: bytes, *, mode: int = 0o644) -> bool:
        """Write a file whole unless there is anything under that name; whether it was written.

        Of many processes at once one gets True, and the others find its file.
        """
        temporary = self._write_temporary(partial(write_all, content), mode)
        try:
            os.link(
                temporary,
                name,
                src_dir_fd=self.descriptor,
                dst_dir_fd=self.descriptor,
                follow_symlinks=False,
            )
        except FileExistsError:
            return False
        finally:
            self._discard(temporary)
        return True

    def lock(self, name: str) -> FileLock | None:
        """Lock a file, made where it is missing; None if somebody else has locked it.

        No child of ours inherits the lock. UnsafePath if it is a link or anything but a regular
        file.
        """
        try:
            descriptor = os.open(name, LOCK_FLAGS, LOCK_MODE, dir_fd=self.descriptor)
        except OSError as error:
            # EISDIR: a directory. ENXIO: a socket (macOS: EOPNOTSUPP), or a pipe that nobody reads.
            if error.errno in {errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EOPNOTSUPP}:
                raise UnsafePath(str(self.path / name), "a link or no regular file") from None
            raise
        locked = False
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnsafePath(str(self.path / name), "a link or no regular file")
            locked = lock_file(descriptor)
        finally:
            if not locked:
                os.close(descriptor)
        return FileLock(descriptor) if locked else None

    def copy(self, name: str, source: Directory, *, mode: int) -> None:
        """Write a file whole, with the content and the time of its namesake in `source`."""
        with source.open_file(name) as original:
            temporary = self._write_temporary(partial(copy_with_time, original), mode)
        self._replace(name, temporary)

    def link(self, name: str, target: str) -> None:
        """Make a symbolic link, in the place of whatever was there under that name."""
        temporary = temporary_name()
        os.symlink(target, temporary, dir_fd=self.descriptor)
        with self._removed_on_error(temporary):
            self.give_away(temporary)
        self._replace(name, temporary)

    def link_target(self, name: str) -> str | None:
        """Where a symbolic link points to, or None if there is none under that name."""
        try:
            return os.readlink(name, dir_fd=self.descriptor)
        except OSError as error:
            if error.errno in {errno.EINVAL, errno.ENOENT}:
                return None
            raise

    def _write_temporary(self, fill: Callable[[int], object], mode: int) -> str:
        """Make a file that `fill` writes by its descriptor; its name. Nothing, after an error."""
        name = temporary_name()
        descriptor = os.open(name, WRITE_FLAGS, mode, dir_fd=self.descriptor)
        with self._removed_on_error(name):
            try:
                if self.owner is not None:
                    os.fchown(descriptor, self.owner.uid, self.owner.gid)
                # The umask of a host may be 077, and the agent is another user.
                os.fchmod(descriptor, mode)
                fill(descriptor)
            finally:
                os.close(descriptor)
        return name

    def _replace(self, name: str, temporary: str) -> None:
        """Put what was made under a temporary name in the place of whatever is there."""
        with self._removed_on_error(temporary):
            try:
                self.rename(temporary, name)
            except IsADirectoryError:
                displaced = temporary_name()
                with suppress(FileNotFoundError):
                    self.rename(name, displaced)
                self.rename(temporary, name)
                # Not all of it: an agent can fill it as quickly as it is emptied.
                with suppress(OSError):
                    self.remove(displaced, most=LOOK_LIMIT)

    @contextmanager
    def _removed_on_error(self, temporary: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._discard(temporary)
            raise

    def _discard(self, temporary: str) -> None:
        # An agent may have done it before.
        with suppress(OSError):
            os.unlink(temporary, dir_fd=self.descriptor)

    def rename(self, name: str, new_name: str) -> None:
        """Give an entry another name in here, in the place of a file or an empty directory."""
        os.rename(name, new_name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def set_mode(self, name: str, mode: int) -> None:
        """Set the mode of an entry that the host has just made, such as a socket; links followed."""
        os.chmod(name, mode, dir_fd=self.descriptor)

    def remove(self, name: str, *, most: int | None = None) -> None:
        """Remove an entry, a directory with all below it; nothing happens if it isn't there.

        That takes as long as whoever filled it wants. With `most`, so many entries of it go.
        """
        if is_directory(name, self.descriptor):
            remove_tree(name, self.descriptor, most=most)
            return
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def remove_file(self, name: str) -> bool:
        """Remove an entry that isn't a directory; False if it is one. True if it isn't there."""
        try:
            os.unlink(name, dir_fd=self.descriptor)
        except FileNotFoundError:
            return True
        # Linux says EISDIR; POSIX, and macOS, EPERM.
        except (IsADirectoryError, PermissionError):
            if not is_directory(name, self.descriptor):
                raise
            return False
        return True

    def reserve(self, name: str, *, directory: bool) -> bool:
        """Make an empty file or directory, for a rename to replace; False if there is anything."""
        try:
            if directory:
                os.mkdir(name, 0o700, dir_fd=self.descriptor)
            else:
                os.close(os.open(name, WRITE_FLAGS, 0o600, dir_fd=self.descriptor))
        except FileExistsError:
            return False
        return True

    def remove_file_or_empty(self, name: str) -> None:
        """Remove an entry, but not a directory that holds anything."""
        if not self.remove_file(name):
            with suppress(OSError):
                os.rmdir(name, dir_fd=self.descriptor)

    def clear_way(self, name: str) -> bool:
        """Remove what isn't a directory, so that one can be made; whether there was anything.

        For what an agent can put in the place of a directory that the host makes again anyway.
        """
        if self.kind(name) in {None, stat.S_IFDIR}:
            return False
        self.remove(name)
        return True

    def give_away(self, name: str) -> None:
        """Give an entry, itself and not what it links to, to the owner, if there is one."""
        if self.owner is not None:
            os.chown(
                name,
                self.owner.uid,
                self.owner.gid,
                dir_fd=self.descriptor,
                follow_symlinks=False,
            )

    def give_away_tree(self) -> None:
        """Give everything below, and last the directory itself, to its owner. No link is followed.

        That :meth:`belongs_to_owner` then means that all of it was given. Nothing happens without
        an owner.
        """
        if self.owner is None:
            return
        _give_away_below(self)
        os.fchown(self.descriptor, self.owner.uid, self.owner.gid)

    def identity(self) -> Identity:
        """Which directory it is, in numbers, whatever it is called and holds."""
        status = os.fstat(self.descriptor)
        return (status.st_dev, status.st_ino)

    def belongs_to_owner(self) -> bool:
        """Whether the directory itself is its owner's already (True without an owner)."""
        return self.owner is None or self.owner.owns(os.fstat(self.descriptor))


def _descend(top: Directory, names: tuple[str, ...], *, create: bool) -> Directory:
    first, *others = names
    current = _step(top, first, create=create)
    for name in others:
        try:
            below = _step(current, name, create=create)
        finally:
            os.close(current.descriptor)
        current = below
    return current


def _step(parent: Directory, name: str, *, create: bool) -> Directory:
    try:
        below = _open_or_make(parent, name) if create else open_accessible(name, parent.descriptor)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise UnsafePath(str(parent.path / name), "a link or no directory") from None
        raise
    return Directory(below, parent.base, (*parent.names_below, name), parent.owner)


def _open_or_make(parent: Directory, name: str) -> int:
    # Opened first: nearly always it is there.
    try:
        return open_accessible(name, parent.descriptor)
    except FileNotFoundError:
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=parent.descriptor)
            parent.give_away(name)
    return open_accessible(name, parent.descriptor)


def _give_away_below(top: Directory) -> None:
    # From each directory on to the next: from the top, the way would be as long as the tree is deep.
    # And back by "..", since open as far as it goes down they would be more than a process may have.
    current = evolve(top, descriptor=os.dup(top.descriptor))
    try:
        above, below = list[Identity](), [_give_away_entries(current)]
        while below[-1] or above:
            if below[-1]:
                above.append(current.identity())
                current = _instead_of(current, _step(current, below[-1].pop(), create=False))
                below.append(_give_away_entries(current))
            else:
                below.pop()
                current = _instead_of(current, _step_back(current, above.pop()))
    finally:
        os.close(current.descriptor)


def _instead_of(old: Directory, new: Directory) -> Directory:
    os.close(old.descriptor)
    return new


def _step_back(below: Directory, expected: Identity) -> Directory:
    descriptor = os.open("..", DIRECTORY_FLAGS, dir_fd=below.descriptor)
    above = Directory(descriptor, below.base, below.names_below[:-1], below.owner)
    is_same = False
    try:
        is_same = above.identity() == expected
    finally:
        if not is_same:
            os.close(descriptor)
    if not is_same:
        raise UnsafePath(str(above.path), "another directory than before")
    return above


def _give_away_entries(directory: Directory) -> list[str]:
    names = directory.names()
    for name in names:
        directory.give_away(name)
    return [name for name in names if directory.kind(name) == stat.S_IFDIR]


@contextmanager
def open_directory(
    path: Path, *, create: bool = False, mode: int = 0o777, owner: Owner | None = None
) -> Iterator[Directory]:
    """Open a directory of the host's own, links followed.

    If asked, it is made with this mode where it is missing, its parents too; they are nobody
    else's, whatever the owner. For paths outside of any agent's reach; from here on
    :meth:`Directory.child` follows nothing.
    """
    try:
        descriptor = os.open(path, OWN_DIRECTORY_FLAGS)
    except FileNotFoundError:
        if not create:
            raise
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        descriptor = os.open(path, OWN_DIRECTORY_FLAGS)
    try:
        yield Directory(descriptor, path, owner=owner)
    finally:
        os.close(descriptor)


def _open_now(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _read_up_to(file: BinaryIO, size: int) -> bytes:
    # Not at once: Python asks for all of the memory before it reads.
    content = file.read(min(size, FIRST_READ))
    return content if len(content) < FIRST_READ else content + file.read(size - FIRST_READ)


def read_beginning(path: Path, *, limit: int) -> bytes | None:
    """The first `limit` bytes of a file of the host's own, links followed, or None if it isn't there.

    OSError with EINVAL if it is a pipe, whose content may never come.
    """
    try:
        # Not blocking: a pipe that nobody writes to would be waited for, for ever.
        with open(path, "rb", opener=_open_now) as file:
            if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "a pipe", str(path))
            return _read_up_to(file, limit)
    except FileNotFoundError:
        return None


def read_if_present(path: Path, *, limit: int = MAILBOX_FILE_LIMIT) -> bytes | None:
    """A file of the host's own, links followed, or None if it isn't there.

    OSError with EFBIG if it is larger than `limit` bytes: our own files are small. OSError with
    EINVAL if it is a pipe, whose content may never come.
    """
    content = read_beginning(path, limit=limit + 1)
    if content is not None and len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit} bytes", str(path))
    return content


def real_path(path: Path, *, strict: bool = False) -> Path:
    """A path of the host's own with all links resolved; strictly: OSError if it isn't there.

    OSError with ELOOP if they are more in a row than Python goes through.
    """
    try:
        return Path(os.path.realpath(path, strict=strict))
    except RecursionError:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from None


def is_link(path: Path) -> bool:
    """Whether a path of the host's own is a link itself, wherever it leads."""
    return os.path.islink(path)  # noqa: PTH114 - a tenth of the cost


def status_at(path: str) -> os.stat_result:
    """What the disk knows of a path, of a link itself and not of what it leads to. OSError if nothing.

    A link in the way is followed: look at each directory in the way, too, where an agent can write.
    """
    return os.lstat(path)


def identity_of(path: str) -> Identity:
    """What is at a path of the host's own, in numbers: others after each change. OSError if nothing.

    The times, in nanoseconds, of its last change of content and of its last change at all come
    first; then its mode, its size, and which file it is. Of a link it is the link's own.
    """
    status = os.lstat(path)
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return (*times, status.st_mode, status.st_size, status.st_ino, status.st_dev)


def link_target(path: Path) -> Path | None:
    """Where a link of the host's own points to, as it is written; None if there is no link."""
    try:
        return path.readlink()
    except OSError:
        return None


def kind_of(path: Path, *, follow: bool = True) -> int | None:
    """The type bits of the mode (stat.S_IFREG, …) of a path of the host's own, or None."""
    try:
        return stat.S_IFMT(path.stat(follow_symlinks=follow).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None
