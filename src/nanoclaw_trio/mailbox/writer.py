"""The host's writing side of a group's mailbox: follow-ups and `_close` (wire-formats 6)."""

from __future__ import annotations

import errno
import stat
from contextlib import closing, contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.descriptors import LOOK_LIMIT, temporary_name
from nanoclaw_trio.errors import UnsafePath
from nanoclaw_trio.files import MAILBOX_FILE_LIMIT, in_thread, open_directory
from nanoclaw_trio.mailbox.aside import NOT_REGULAR, set_aside
from nanoclaw_trio.mailbox.follow_up import (
    SUFFIX,
    NameSource,
    check_name,
    decode_follow_up,
    encode_follow_up,
)
from nanoclaw_trio.mailbox.handover import Handover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from nanoclaw_trio.files import Directory, Owner

    Using: TypeAlias = Callable[[], AbstractContextManager[bool]]

INPUT: Final = "input"
CLOSE: Final = "_close"

SWEEP_LIMIT: Final = 64 * MAILBOX_FILE_LIMIT
"""Bytes of follow-ups that one sweep reads at most: an agent can write there too, without end, and
all of it would lie in our memory. The rest is set aside."""

SCAN_LIMIT: Final = 50 * LOOK_LIMIT
"""Entries that are gone through for follow-ups, within a second."""

_names: Final = NameSource()
"""One for the process: several mailbox objects may write for one group, one after the other."""


@contextmanager
def _unrestricted() -> Iterator[bool]:
    yield True


class Mailbox:
    """A group's IPC directory, as the host writes to it.

    The agent can write to everything in here, so no link is followed. What it deletes meanwhile is
    no error. Made directories and files belong to `owner`, where there is one.

    All methods raise UnsafePath if the agent replaced a directory by something else, and OSError if
    the disk refuses. Each is done whole or, when cancelled before it began, not at all. Those whose
    names end in `_sync` are for code that is in a worker thread already.
    """

    def __init__(
        self, ipc_dir: Path, owner: Owner | None = None, *, using: Using | None = None
    ) -> None:
        """`ipc_dir` is data/ipc/FOLDER; it is made at the first writing.

        Each writing is done within `using`, in its thread, if that says True; such as
        :meth:`GroupClaim.working <nanoclaw_trio.workspace.claim.GroupClaim.working>`.
        """
        self._ipc_dir = ipc_dir
        self._owner = owner
        self._using = using or _unrestricted

    def new_name(self) -> str:
        """A name for a follow-up, for who writes it down before the file is there.

        Names sort in the order of the calls. Must be called from within Trio.
        """
        return _names.next_name(utc_now())

    async def send_message(self, text: str, *, name: str | None = None) -> str:
        """Write a follow-up for the running agent; the name of its file.

        The file gets this `name`, one of :meth:`new_name`'s for this one message, or a new one.
        Agents take follow-ups in the order of their names.

        Raises:
            InputError: the text is empty or too long, or the name isn't one; nothing was written.
        """
        content = encode_follow_up(text)
        name = self.new_name() if name is None else check_name(name)
        await in_thread(self._write_if_ours, name, content)
        return name

    async def close(self) -> None:
        """Ask the agent to end after the query it is at.

        Cancelled, it may be written all the same, later: a disk that hangs isn't waited for.
        """
        await in_thread(self.close_sync, abandon_on_cancel=True)

    async def sweep(self) -> tuple[str, ...]:
        """Take back the follow-ups that no agent took, in order, and remove `_close` (Trap A22).

        For the time when no agent runs. What can't be handled goes to data/ipc/errors.
        """
        return await in_thread(self.sweep_sync)

    async def sweep_close(self) -> None:
        """Remove a `_close` that an earlier run left; the follow-ups stay."""
        await in_thread(self.sweep_close_sync)

    async def pending(self) -> int:
        """How many follow-ups wait to be taken."""
        return await in_thread(self.pending_sync)

    async def pending_names(self) -> tuple[str, ...]:
        """The names of the follow-ups that wait to be taken, in order."""
        return await in_thread(self.pending_names_sync)

    async def discard(self, names: Iterable[str]) -> None:
        """Remove these follow-ups, where no agent has taken them.

        For the time when no agent runs, and for who will send them anew.

        Raises:
            InputError: one of the names isn't a follow-up's; nothing was removed.
        """
        await in_thread(self.discard_sync, tuple(names))

    def close_sync(self) -> None:
        """As :meth:`close`."""
        self._write_if_ours(CLOSE, b"")

    def sweep_sync(self) -> tuple[str, ...]:
        """As :meth:`sweep`."""
        handover = Handover()
        self.sweep_into(handover.offer)
        return handover.close()

    def sweep_into(self, offer: Callable[[str], bool]) -> None:
        """As :meth:`sweep_sync`, for somebody who may stop waiting for a disk that hangs.

        Each text is offered to him. Where he takes it no more (False), it is put back, and those
        behind it stay.
        """
        with suppress(FileNotFoundError), self._open_input() as directory:
            self._remove(directory, CLOSE)
            self._take_back(directory, offer)

    def sweep_close_sync(self) -> None:
        """As :meth:`sweep_close`."""
        with suppress(FileNotFoundError), self._open_input() as directory:
            self._remove(directory, CLOSE)

    def pending_sync(self) -> int:
        """As :meth:`pending`."""
        return len(self.pending_names_sync())

    def pending_names_sync(self) -> tuple[str, ...]:
        """As :meth:`pending_names`."""
        with suppress(FileNotFoundError), self._open_input() as directory:
            return tuple(_follow_ups(directory))
        return ()

    def discard_sync(self, names: Iterable[str]) -> None:
        """As :meth:`discard`."""
        checked = [check_name(name) for name in names]
        with suppress(FileNotFoundError), self._open_input() as directory:
            for name in checked:
                self._remove(directory, name)

    @contextmanager
    def _open_input(self, *, create: bool = False) -> Iterator[Directory]:
        with (
            open_directory(self._ipc_dir.parent, create=create, owner=self._owner) as root,
            root.child(self._ipc_dir.name, INPUT, create=create) as directory,
        ):
            yield directory

    def _write_if_ours(self, name: str, content: bytes) -> None:
        with self._using() as is_ours:
            if not is_ours:
                raise OSError(errno.ESTALE, "its run is over", name)
            self._write(name, content)

    def _write(self, name: str, content: bytes) -> None:
        with self._open_input(create=True) as directory:
            directory.write(name, content)

    def _remove(self, directory: Directory, name: str) -> None:
        kind = directory.kind(name)
        if kind is not None and (kind != stat.S_IFREG or not directory.remove_file(name)):
            set_aside(self._ipc_dir, directory, name, NOT_REGULAR)

    def _take_back(self, directory: Directory, offer: Callable[[str], bool]) -> None:
        room = SWEEP_LIMIT
        for name in _follow_ups(directory):
            taken = temporary_name()
            try:
                content = directory.read(name, limit=min(MAILBOX_FILE_LIMIT, room))
                text = decode_follow_up(content)
                # Not removed yet: to put it back may take room that the disk hasn't.
                directory.rename(name, taken)
            except FileNotFoundError:
                continue
            except (OSError, UnsafePath, ValueError) as error:
                set_aside(self._ipc_dir, directory, name, str(error))
                continue
            room -= len(content)
            if not offer(text):
                directory.rename(taken, name)
                return
            directory.remove_file(taken)


def _follow_ups(directory: Directory) -> list[str]:
    # Of all that is there: what else an agent leaves hides none of them.
    with closing(directory.some_names(SCAN_LIMIT)) as names:
        found = (name for name in names if name.endswith(SUFFIX))
        return sorted(islice(found, LOOK_LIMIT))
