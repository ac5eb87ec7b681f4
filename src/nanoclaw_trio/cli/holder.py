"""Whether a run has a group now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoclaw_trio.files import open_directory
from nanoclaw_trio.workspace.claim import Holder, lock_name, record_name
from nanoclaw_trio.workspace.folders import GroupPaths
from nanoclaw_trio.workspace.locks import is_locked, read_record

if TYPE_CHECKING:
    from pathlib import Path


def holder_of(project_root: Path, folder: str) -> Holder | None:
    """Who has a group, in this process or in another; None if nobody does, or nobody says who.

    Blocking as the disk is.

    Raises:
        InvalidGroupFolder: the name isn't allowed.
        UnsafePath: what lies there isn't a lock.
    """
    paths = GroupPaths.of(project_root, folder)
    try:
        with open_directory(paths.locks_dir) as locks:
            if is_locked(locks, lock_name(folder)):
                return read_record(locks, record_name(folder), Holder)
    except FileNotFoundError:
        pass
    return None
