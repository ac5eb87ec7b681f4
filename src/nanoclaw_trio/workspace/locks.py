"""Locks of the host's own, and the records beside them that say who has one."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, TypeVar

from nanoclaw_trio.errors import UnsafePath
from nanoclaw_trio.protocol.converters import own, structure
from nanoclaw_trio.protocol.json_text import parse_json

if TYPE_CHECKING:
    from nanoclaw_trio.files import Directory

T = TypeVar("T")


def is_locked(directory: Directory, name: str) -> bool:
    """Whether anybody has locked a file just now, in this process or in another; blocking.

    Nothing that isn't a regular file is. The kernel tells about a lock only by refusing it, so a
    free one is taken for a moment: whoever takes one in earnest must try more than once.
    """
    # Asked for first: the locking would make the file.
    if directory.kind(name) != stat.S_IFREG:
        return False
    lock = directory.lock(name)
    if lock is None:
        return True
    lock.release()
    return False


def read_record(directory: Directory, name: str, kind: type[T]) -> T | None:
    """What whoever has a lock says of himself; None if it isn't written yet, or not by us."""
    try:
        return structure(own, parse_json(directory.read(name)), kind)
    except (OSError, UnsafePath, ValueError):
        return None
