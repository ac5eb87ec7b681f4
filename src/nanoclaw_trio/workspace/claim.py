"""One run per group: who has a group's workspace and its mailbox for himself.

Two runs of one group would take each other's follow-ups, and one's `_close` would end the other. So
a run locks data/locks/FOLDER.lock (an flock) before it touches anything of the group's, and keeps
the lock until nothing more of it does. That holds within one process and between processes of one
machine, and the kernel releases the lock of a process that dies, however it does.

data/locks is the host's own: no container can write there. The main group's sees it, read-only;
that would do for locking a file that it may open, and so the lock files can't be opened for reading.
What can be read is FOLDER.json beside them: who has the group, for the error of whoever comes
second. It stays when the claim is released, and means nothing then.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.clock import iso_timestamp
from nanoclaw_trio.errors import GroupBusy
from nanoclaw_trio.files import open_directory
from nanoclaw_trio.protocol.converters import own
from nanoclaw_trio.protocol.json_text import dump_json
from nanoclaw_trio.workspace.directories import blamed_on
from nanoclaw_trio.workspace.folders import GroupPaths
from nanoclaw_trio.workspace.locks import is_locked, read_record
from nanoclaw_trio.workspace.project import require_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from nanoclaw_trio.files import Directory, FileLock


_PAUSES: Final = (0.001, 0.004, 0.015, 0.03)
"""Seconds between the looks at a lock that is taken: more than is_locked has a free one for, also
where the machine is busy."""


@frozen(kw_only=True)
class Holder:
    """Who has a group.

    Attributes:
        pid: Of the process.
        container: The name of its run's container.
        since: When it took the group, as ISO time.
    """

    pid: int
    container: str
    since: str


class GroupClaim:
    """A claim to a group: not taken, taken, and released, from any thread.

        claim = GroupClaim(project_root, "family", container=name, moment=utc_now())
        try:
            claim.take()
            ...
        finally:
            claim.release()

    It is made before it is taken so that whoever releases it knows it whatever happens to the
    taking, which touches the disk and belongs in a worker thread.
    """

    def __init__(
        self, project_root: Path, folder: str, *, container: str, moment: datetime
    ) -> None:
        """`container` is the name of the one that the group is wanted for, `moment` is now."""
        self._project_root = project_root
        self._folder = folder
        self._holder = Holder(pid=os.getpid(), container=container, since=iso_timestamp(moment))
        self._mutex = Lock()
        self._lock: FileLock | None = None
        self._users = 0
        self._is_ending = False

    @property
    def container(self) -> str:
        """The name of the container that the group is wanted for."""
        return self._holder.container

    def take(self) -> None:
        """Take the group, or raise within some tens of milliseconds; blocking as the disk is.

        Raises:
            GroupBusy: another run has it; names whose.
            InvalidGroupFolder, ProjectNotFound: the caller's fault; nothing was made.
            UnsafePath, WorkspaceFailed: the disk, or what lies there, stands in the way.
        """
        paths = GroupPaths(project_root=self._project_root, folder=self._folder)
        require_project(paths.project_root)
        with (
            blamed_on(paths.locks_dir),
            open_directory(paths.data_dir, create=True) as data,
            data.child(paths.locks_dir.name, create=True) as locks,
        ):
            self._take_in(locks)

    def _take_in(self, locks: Directory) -> None:
        lock = _lock_soon(locks, lock_name(self._folder))
        if lock is None:
            raise _busy(self._folder, locks)
        with self._mutex:
            self._lock = lock
        try:
            # Removed first: a file renamed over another makes ext4 wait for the disk.
            locks.remove(record_name(self._folder))
            locks.write(record_name(self._folder), dump_json(own.unstructure(self._holder)))
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the group free; nothing happens if it isn't taken, or is being finished.

        It doesn't block, and so can be done where nobody may wait for a disk.
        """
        with self.finishing():
            pass

    @contextmanager
    def working(self) -> Iterator[bool]:
        """Within, something of the group's is done, and the group doesn't become free before its end.

        So a thread that was left alone with a disk that hangs keeps the next run away until the disk
        answers. False if the claim isn't held, or is being released: then the group may be somebody
        else's.
        """
        with self._used(ends=False) as held:
            yield held

    @contextmanager
    def finishing(self) -> Iterator[bool]:
        """As :meth:`working`, for the last of what is done; after that, the group is free.

        What is being done in other threads is waited for by nobody: the last of them frees it.
        """
        with self._used(ends=True) as held:
            yield held

    @contextmanager
    def _used(self, *, ends: bool) -> Iterator[bool]:
        with self._mutex:
            held = self._lock is not None and not self._is_ending
            if held:
                self._users += 1
                self._is_ending = ends
        try:
            yield held
        finally:
            if held:
                self._leave()

    def _leave(self) -> None:
        lock = None
        with self._mutex:
            self._users -= 1
            if self._is_ending and self._users == 0:
                lock, self._lock, self._is_ending = self._lock, None, False
        if lock is not None:
            lock.release()


def _lock_soon(locks: Directory, name: str) -> FileLock | None:
    # Not once: whoever asks whether there is a lock has it meanwhile, and is no run.
    for pause in _PAUSES:
        lock = locks.lock(name)
        if lock is not None:
            return lock
        time.sleep(pause)
    return locks.lock(name)


def is_claimed(project_root: Path, folder: str) -> bool:
    """Whether anybody has a group just now; blocking as the disk is. OSError if it refuses."""
    paths = GroupPaths(project_root=project_root, folder=folder)
    try:
        with open_directory(paths.locks_dir) as locks:
            return is_locked(locks, lock_name(folder))
    except FileNotFoundError:
        return False


def lock_name(folder: str) -> str:
    """The file in data/locks that whoever has a group has locked."""
    return f"{folder}.lock"


def record_name(folder: str) -> str:
    """The file beside it with its Holder."""
    return f"{folder}.json"


def _busy(folder: str, locks: Directory) -> GroupBusy:
    holder = read_record(locks, record_name(folder), Holder)
    if holder is None:
        return GroupBusy(folder)
    return GroupBusy(folder, pid=holder.pid, container=holder.container, since=holder.since)
