"""The kernel's word that an agent has asked for something (inotify, by way of watchfiles).

Only the directories messages/ and tasks/ themselves are watched, not what is below: a watch of
whole trees would go through the links that an agent puts there. No word is promised, and none is
relied on: whoever uses this looks into the mailboxes besides.

An agent can still end a watch, by a file whose name isn't UTF-8, which watchfiles can't bear. So it
is begun anew; who is told meanwhile of nothing is told of all mailboxes then.
"""

from __future__ import annotations

import stat
from contextlib import aclosing, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio
from attrs import frozen

from nanoclaw_trio.background import start_protected
from nanoclaw_trio.errors import UnsafePath
from nanoclaw_trio.files import open_directory, real_path
from nanoclaw_trio.logs import log
from nanoclaw_trio.mailbox.reader import SUFFIX, has_requests
from nanoclaw_trio.mailbox.requests import KINDS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator

    from nanoclaw_trio.files import Directory

GATHER_STEP: Final = 0.05
"""Seconds without a further change after which those gathered are told of."""

GATHER_LIMIT: Final = 0.2
"""Seconds after which they are told of in any case: one agent's flood must not delay the others."""

CHECK_INTERVAL: Final = 0.5
"""Seconds after which a watch without a change reports that it is there."""

RESTART_DELAY: Final = 1.0
"""Seconds before a watch that broke off is begun anew."""

REFUSED_DELAY: Final = 60.0
"""The same where it couldn't be begun: the kernel's limits are seldom raised while we wait."""


@frozen(kw_only=True)
class WatchedDirectory:
    """A directory in which the kernel is to look out for requests.

    Attributes:
        path: Where it is.
        folder: The group whose it is.
        inode: Which it is: another in its place must be watched anew.
    """

    path: str
    folder: str
    inode: int


@frozen(kw_only=True)
class Survey:
    """What a look at many mailboxes found.

    Attributes:
        directories: Those that can be watched.
        folders: The groups whose mailboxes should be visited, in the order they were asked for:
            something waits there, or is out of order.
    """

    directories: frozenset[WatchedDirectory]
    folders: tuple[str, ...]


def survey(ipc_root: Path, folders: Iterable[str]) -> Survey:
    """Look at the mailboxes of these groups, all below data/ipc; blocking as the disk is.

    Raises:
        OSError: data/ipc itself can't be read. One that isn't there has no mailboxes.
    """
    found: list[Survey] = []
    with suppress(FileNotFoundError), open_directory(real_path(ipc_root)) as root:
        found += (_look_at(root, folder) for folder in folders)
    return Survey(
        directories=frozenset(chain.from_iterable(one.directories for one in found)),
        folders=tuple(chain.from_iterable(one.folders for one in found)),
    )


def _look_at(root: Directory, folder: str) -> Survey:
    try:
        with root.child(folder) as mailbox:
            is_due = any(has_requests(mailbox, directory) for directory in KINDS)
            directories = frozenset(_directories_of(mailbox, folder))
    except FileNotFoundError:
        return Survey(directories=frozenset(), folders=())
    except (UnsafePath, OSError):
        # The visit finds the same, and says so.
        return Survey(directories=frozenset(), folders=(folder,))
    return Survey(directories=directories, folders=(folder,) if is_due else ())


def _directories_of(mailbox: Directory, folder: str) -> Iterator[WatchedDirectory]:
    for name in KINDS:
        status = mailbox.status(name)
        if status is not None and stat.S_ISDIR(status.st_mode):
            path = str(mailbox.path / name)
            yield WatchedDirectory(path=path, folder=folder, inode=status.st_ino)


class MailboxWatch:
    """Tells which groups' mailboxes have changed, for as long as :meth:`run` is awaited."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        """`tell` is called with a group's folder, from within Trio, and may be so without need."""
        self._tell = tell
        self._directories: frozenset[WatchedDirectory] = frozenset()
        self._stop = trio.Event()

    def set_directories(self, directories: frozenset[WatchedDirectory]) -> None:
        """Watch these from now on, and no others; nothing happens if it is these already.

        An agent may have put a link in the place of one since it was found. Then changes of another
        directory are told of, until the next survey; nothing is read there.
        """
        if directories != self._directories:
            self._directories = directories
            self._stop.set()

    async def run(self) -> None:
        """Watch until cancelled; that takes no longer than GATHER_LIMIT. Raises nothing itself.

        Not under a virtual clock, which would wait for the thread in here.
        """
        while True:
            self._stop = trio.Event()
            if self._directories:
                await self._watch_until(self._stop)
            else:
                await self._stop.wait()

    async def _watch_until(self, stop: trio.Event) -> None:
        attempt = _Attempt(self._directories, self._tell)
        async with trio.open_nursery() as nursery:
            start_protected(nursery, _set_when_cancelled, stop)
            await attempt.watch(stop)
            nursery.cancel_scope.cancel()
        if attempt.failed and self._directories == attempt.directories:
            self._stop = trio.Event()
            with trio.move_on_after(RESTART_DELAY if attempt.has_begun else REFUSED_DELAY):
                await self._stop.wait()


async def _set_when_cancelled(event: trio.Event) -> None:
    # watchfiles waits in a thread that no cancellation reaches; it looks at the event.
    try:
        await trio.sleep_forever()
    finally:
        event.set()


class _Attempt:
    """One watch of a set of directories, from its beginning to its end."""

    def __init__(
        self, directories: frozenset[WatchedDirectory], tell: Callable[[str], None]
    ) -> None:
        self.directories = directories
        self.has_begun = False
        self.failed = False
        self._tell = tell
        self._folders = {directory.path: directory.folder for directory in directories}

    async def watch(self, stop: trio.Event) -> None:
        try:
            async with aclosing(_changes(self._folders, stop)) as changes:
                async for found in changes:
                    self._tell_of(found)
        except Exception as error:  # noqa: BLE001 - whatever it is, mailboxes are looked into besides
            self.failed = True
            log.warning("mailboxes aren't watched", begun=self.has_begun, why=_reason(error))

    def _tell_of(self, found: set[tuple[Any, str]]) -> None:
        folders = {self._folders.get(str(Path(path).parent)) for _, path in found}
        if not self.has_begun:
            # What came before the watch was in place was not told of.
            self.has_begun = True
            folders = set(self._folders.values())
        for folder in folders - {None}:
            self._tell(str(folder))


def _changes(paths: Iterable[str], stop: trio.Event) -> AsyncGenerator[set[tuple[Any, str]], None]:
    # Late: it costs as much to import as all of ours, and commands that watch nothing don't pay.
    from watchfiles import Change, awatch

    return awatch(
        *paths,
        watch_filter=lambda change, path: change != Change.deleted and path.endswith(SUFFIX),
        debounce=round(GATHER_LIMIT * 1000),
        step=round(GATHER_STEP * 1000),
        stop_event=stop,
        rust_timeout=round(CHECK_INTERVAL * 1000),
        yield_on_timeout=True,
        recursive=False,
    )


def _reason(error: BaseException) -> str:
    # It comes out of a nursery within watchfiles, inside of a group.
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
