"""What can't be handled in an agent's mailbox goes to data/ipc/errors (wire-formats 6).

Each entry is moved by a rename, whatever it is: it is neither followed nor read. The last MOST_KEPT
are kept, for a person to look at: an agent that writes garbage without end must not fill the disk
outside of its own folders.
"""

from __future__ import annotations

import os
import secrets
import stat
from typing import TYPE_CHECKING, Final

from nanoclaw_trio.errors import UnsafePath
from nanoclaw_trio.files import open_directory
from nanoclaw_trio.logs import log

if TYPE_CHECKING:
    from pathlib import Path

    from nanoclaw_trio.files import Directory

ERRORS: Final = "errors"
"""The directory beside the groups' own, which no agent sees."""

MOST_KEPT: Final = 200
"""Entries of that directory, of all groups together; what was moved there first goes first."""

_LONGEST_NAME: Final = 255
"""Bytes of a name that Linux and macOS allow."""

_LONGEST_KEPT: Final = 40
"""Characters of a too long name that are kept: with 4 bytes each and a folder's 64 it fits."""


def set_aside(ipc_dir: Path, directory: Directory, name: str, why: str) -> None:
    """Move an entry of a directory below `ipc_dir` to errors/FOLDER-NAME, and log it.

    Raises nothing: what can't be moved stays, with a warning; what has vanished was taken.
    """
    about = {"group": ipc_dir.name, "file": ascii(name), "why": why}
    try:
        with open_directory(ipc_dir.parent) as root, root.child(ERRORS, create=True) as errors:
            target = _free_name(errors, ipc_dir.name, name)
            _make_movable(directory, name)
            _move(directory, name, errors, target)
            _forget_oldest(errors)
    except FileNotFoundError:
        return
    except (OSError, UnsafePath) as error:
        log.warning("mailbox entry can't be set aside", **about, problem=str(error))
    else:
        log.warning("mailbox entry set aside", **about, moved_to=ascii(target))


def _free_name(errors: Directory, folder: str, name: str) -> str:
    target = f"{folder}-{name}"
    if len(os.fsencode(target)) <= _LONGEST_NAME and errors.kind(target) is None:
        return target
    # Too long, or taken: by an earlier one, or by group `a-b` with `c` where this is `a` with `b-c`.
    return f"{folder}-{name[:_LONGEST_KEPT]}-{secrets.token_hex(4)}"


def _make_movable(directory: Directory, name: str) -> None:
    # A directory that its owner may not write to can't change its parent; opening it mends that.
    if directory.kind(name) == stat.S_IFDIR:
        with directory.child(name):
            pass


def _move(source: Directory, name: str, target: Directory, new_name: str) -> None:
    os.rename(name, new_name, src_dir_fd=source.descriptor, dst_dir_fd=target.descriptor)


def _forget_oldest(errors: Directory) -> None:
    excess = len(names := errors.names()) - MOST_KEPT
    if excess > 0:
        for name in sorted(names, key=lambda name: _moved_at(errors, name))[:excess]:
            errors.remove(name)


def _moved_at(errors: Directory, name: str) -> int:
    # A rename sets it; the time of modification is the agent's to choose.
    status = errors.status(name)
    return 0 if status is None else status.st_ctime_ns
