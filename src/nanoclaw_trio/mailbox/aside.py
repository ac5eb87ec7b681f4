"""What can't be handled in an agent's mailbox goes to data/ipc/errors (wire-formats 6).

Each entry is moved by a rename, whatever it is: it is neither followed nor read. The last MOST_KEPT
are kept, for a person to look at: an agent that writes garbage without end must not fill the disk
outside of its own folders. Nor may it keep the host at work: an agent that has a directory open can
fill it wherever it was moved to, and as quickly as it is emptied.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from nanoclaw_trio.descriptors import is_temporary, temporary_name
from nanoclaw_trio.errors import UnsafePath
from nanoclaw_trio.files import open_directory
from nanoclaw_trio.repeats import RepeatedWarnings

if TYPE_CHECKING:
    from pathlib import Path

    from nanoclaw_trio.files import Directory

ERRORS: Final = "errors"
"""The directory beside the groups' own, which no agent sees."""

MOST_KEPT: Final = 200
"""Entries of that directory, of all groups together; what was moved there first goes first."""

MOST_DIRECTORIES: Final = 2 * MOST_KEPT
"""Entries among which a directory is still taken; beyond, it stays where it is, by another name."""

MOST_REMOVED: Final = 1000
"""Entries of old directories that are removed each time: some milliseconds of work."""

NOT_REGULAR: Final = "not a regular file"
"""Why something is set aside that should have been a file."""

_LONGEST_NAME: Final = 255
"""Bytes of a name that Linux and macOS allow."""

_LONGEST_KEPT: Final = 40
"""Characters of a too long name that are kept: with 4 bytes each and a folder's 64 it fits."""

_warnings: Final = RepeatedWarnings(time.monotonic)
"""One for the process: readers and writers of one mailbox come and go. They are in worker threads,
where Trio's clock can't be read."""


def set_aside(ipc_dir: Path, directory: Directory, name: str, why: str) -> None:
    """Move an entry of a directory below `ipc_dir` to errors/FOLDER-NAME, and log it.

    Of each mailbox a line a minute is logged.

    Raises nothing: what can't be moved stays, with a warning; what has vanished was taken.
    """
    about = {"source": str(ipc_dir), "group": ipc_dir.name, "file": ascii(name), "why": why}
    try:
        with open_directory(ipc_dir.parent) as root, root.child(ERRORS, create=True) as errors:
            is_directory = directory.kind(name) == stat.S_IFDIR
            room = _make_room(errors)
            if is_directory and room <= 0:
                target = f"{name[:_LONGEST_KEPT]}.{secrets.token_hex(4)}.aside"
                directory.rename(name, target)
            else:
                target = _move(directory, name, errors, ipc_dir.name, is_directory=is_directory)
    except FileNotFoundError:
        return
    except (OSError, UnsafePath) as error:
        _warnings.warning("mailbox entry can't be set aside", **about, problem=str(error))
    else:
        _warnings.warning("mailbox entry set aside", **about, moved_to=ascii(target))


def _move(
    source: Directory, name: str, errors: Directory, folder: str, *, is_directory: bool
) -> str:
    """Move it; what it is called now."""
    if is_directory:
        # One that its owner may not write to can't change its parent; opening it mends that.
        with source.child(name):
            pass
    target = _reserve_name(errors, folder, name, is_directory=is_directory)
    try:
        os.rename(name, target, src_dir_fd=source.descriptor, dst_dir_fd=errors.descriptor)
    except BaseException:
        with suppress(OSError):
            errors.remove_file_or_empty(target)
        raise
    return target


def _reserve_name(errors: Directory, folder: str, name: str, *, is_directory: bool) -> str:
    target = f"{folder}-{name}"
    fits = len(os.fsencode(target)) <= _LONGEST_NAME
    if fits and errors.reserve(target, directory=is_directory):
        return target
    # Too long, or taken: by an earlier one, or by group `a-b` with `c` where this is `a` with `b-c`.
    return f"{folder}-{name[:_LONGEST_KEPT]}-{secrets.token_hex(4)}"


def _make_room(errors: Directory) -> int:
    """Forget the oldest entries; how many directories more are taken."""
    names = errors.names()
    excess = len(names) + 1 - MOST_KEPT
    room = MOST_DIRECTORIES - len(names)
    if excess <= 0:
        return room
    is_fresh = True
    for name in sorted(names, key=lambda name: _age(errors, name))[:excess]:
        # One that can't be removed keeps no other.
        with suppress(OSError):
            if not errors.remove_file(name) and is_fresh:
                is_fresh = False
                _remove_some(errors, name)
    return room


def _remove_some(errors: Directory, name: str) -> None:
    forgotten = temporary_name()
    errors.rename(name, forgotten)
    errors.remove(forgotten, most=MOST_REMOVED)


def _age(errors: Directory, name: str) -> tuple[bool, int]:
    # What is being removed goes on first. A rename sets the time; that of modification is the agent's
    # to choose.
    status = errors.status(name)
    return not is_temporary(name), 0 if status is None else status.st_ctime_ns
