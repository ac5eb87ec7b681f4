"""The host's reading side of a group's mailbox: the files in which its agent asks for something.

The agent can write to every place that is looked at here, at any moment. So no link is followed,
nothing but a regular file is read, and of that no more than MAILBOX_FILE_LIMIT (Trap A28). What
can't be a request goes to data/ipc/errors.

All of it blocks as the disk does: call it in a worker thread.
"""

from __future__ import annotations

import stat
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.descriptors import LOOK_LIMIT
from nanoclaw_trio.errors import ProtocolError, UnsafePath
from nanoclaw_trio.files import open_directory
from nanoclaw_trio.mailbox.aside import NOT_REGULAR, set_aside
from nanoclaw_trio.mailbox.requests import KINDS, decode_request

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator
    from pathlib import Path

    from nanoclaw_trio.files import Directory
    from nanoclaw_trio.mailbox.requests import Request

SUFFIX: Final = ".json"
"""By which a request is told from one that is being written, and from what else lies there."""


class InvalidRequest(ProtocolError):
    """What lies in a mailbox isn't a request; the text says why, and has nothing of its content."""


@frozen(kw_only=True)
class Pending:
    """The requests that wait in a mailbox.

    Attributes:
        names: Their files' names with the directory before it, as in `messages/x.json`:
            messages first, and each directory's in the order of their names. `messages` alone
            is what lies in the place of that directory, to be set aside.
        has_more: Whether there are others behind them.
    """

    names: tuple[str, ...]
    has_more: bool = False


class RequestReader:
    """A group's requests. A name is that of a file with its directory before it: `messages/x.json`.

    The methods raise OSError where the disk refuses, and UnsafePath where the group's directory
    itself is a link; nothing has happened then.
    """

    def __init__(self, ipc_dir: Path) -> None:
        """`ipc_dir` is data/ipc/FOLDER; it need not be there."""
        self._ipc_dir = ipc_dir

    def pending(self, limit: int, held: Container[str] = ()) -> Pending:
        """What waits, but for `held`, and of each directory no more than `limit` files."""
        names: list[str] = []
        has_more = False
        with suppress(FileNotFoundError), self._open_mailbox() as mailbox:
            for directory in KINDS:
                found = [name for name in _names_in(mailbox, directory) if name not in held]
                names += found[:limit]
                has_more = has_more or len(found) > limit
        return Pending(names=tuple(names), has_more=has_more)

    def read(self, name: str) -> Request | None:
        """A request; None if its file has vanished.

        Raises:
            InvalidRequest: it isn't one. Set it aside.
        """
        with suppress(FileNotFoundError), self._open_parent(name) as (directory, entry):
            try:
                return _read(directory, entry)
            except PermissionError:
                # No failure of the disk, which would pass: the agent made it so.
                problem = "not readable"
            except (UnsafePath, ValueError) as error:
                problem = str(error)
            raise InvalidRequest(problem)
        return None

    def remove(self, name: str) -> None:
        """Delete what was dealt with; nothing happens if it isn't there.

        What became a directory meanwhile is set aside: to remove it takes as long as its agent wants.
        """
        with suppress(FileNotFoundError), self._open_parent(name) as (directory, entry):
            if not directory.remove_file(entry):
                set_aside(self._ipc_dir, directory, entry, NOT_REGULAR)

    def set_aside(self, name: str, why: str) -> None:
        """Move what can't be handled to data/ipc/errors, with a warning."""
        with suppress(FileNotFoundError), self._open_parent(name) as (directory, entry):
            set_aside(self._ipc_dir, directory, entry, why)

    def gone(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those that aren't there any more."""
        return tuple(name for name in names if not self._is_there(name))

    def _is_there(self, name: str) -> bool:
        with suppress(FileNotFoundError), self._open_parent(name) as (directory, entry):
            return directory.kind(entry) is not None
        return False

    @contextmanager
    def _open_mailbox(self) -> Iterator[Directory]:
        with (
            open_directory(self._ipc_dir.parent) as root,
            root.child(self._ipc_dir.name) as mailbox,
        ):
            yield mailbox

    @contextmanager
    def _open_parent(self, name: str) -> Iterator[tuple[Directory, str]]:
        *parents, entry = name.split("/")
        with self._open_mailbox() as mailbox, mailbox.child(*parents) as directory:
            yield directory, entry


def has_requests(mailbox: Directory, directory: str) -> bool:
    """Whether there are files of requests in a directory of a mailbox, as :func:`request_files`."""
    with _looked_at(mailbox, directory) as names:
        return any(names)


def request_files(mailbox: Directory, directory: str) -> list[str]:
    """The files of requests in a directory of a mailbox, sorted; none if it is missing.

    Of more than LOOK_LIMIT entries some are looked at, and the others later, when those are gone.
    UnsafePath if it is a link or no directory.
    """
    with _looked_at(mailbox, directory) as names:
        return sorted(names)


@contextmanager
def _looked_at(mailbox: Directory, directory: str) -> Iterator[Iterator[str]]:
    with ExitStack() as stack:
        try:
            entries = stack.enter_context(mailbox.child(directory))
        except FileNotFoundError:
            yield iter(())
            return
        names = stack.enter_context(closing(entries.some_names(LOOK_LIMIT)))
        yield (name for name in names if name.endswith(SUFFIX))


def _names_in(mailbox: Directory, directory: str) -> list[str]:
    try:
        return [f"{directory}/{name}" for name in request_files(mailbox, directory)]
    except UnsafePath:
        return [directory]


def _read(directory: Directory, entry: str) -> Request | None:
    if entry in KINDS:
        # The agent may have put it in order since it was found.
        if directory.kind(entry) in {None, stat.S_IFDIR}:
            return None
        raise ValueError("a link or no directory")
    if not _is_utf8(entry):
        # The store knows a file by its name, and its text is UTF-8.
        raise ValueError("its name isn't UTF-8")
    return decode_request(directory.path.name, directory.read(entry))


def _is_utf8(name: str) -> bool:
    # What isn't, Python holds as halves of surrogate pairs.
    return not any("\ud800" <= character <= "\udfff" for character in name)
