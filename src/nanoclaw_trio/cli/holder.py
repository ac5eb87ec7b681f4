"""Whether a run has a group now."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from nanoclaw_trio.errors import UnsafePath
from nanoclaw_trio.files import open_directory
from nanoclaw_trio.protocol.converters import own, structure
from nanoclaw_trio.protocol.json_text import parse_json
from nanoclaw_trio.workspace.claim import Holder
from nanoclaw_trio.workspace.folders import GroupPaths

if TYPE_CHECKING:
    from pathlib import Path

    from nanoclaw_trio.files import Directory


def holder_of(project_root: Path, folder: str) -> Holder | None:
    """Who has a group, in this process or in another; None if nobody does, or nobody says who.

    Blocking as the disk is. The kernel tells about a lock only by refusing it, so a free one is
    taken for a moment.

    Raises:
        InvalidGroupFolder: the name isn't allowed.
        UnsafePath: what lies there isn't a lock.
    """
    paths = GroupPaths.of(project_root, folder)
    try:
        with open_directory(paths.locks_dir) as locks:
            return _read(locks, folder) if _is_locked(locks, f"{folder}.lock") else None
    except FileNotFoundError:
        return None


def _is_locked(locks: Directory, name: str) -> bool:
    # Asked for first: the locking would make the file.
    if locks.kind(name) != stat.S_IFREG:
        return False
    lock = locks.lock(name)
    if lock is None:
        return True
    lock.release()
    return False


def _read(locks: Directory, folder: str) -> Holder | None:
    try:
        return structure(own, parse_json(locks.read(f"{folder}.json")), Holder)
    except (OSError, UnsafePath, ValueError):
        return None
