"""What the disk says about additional mounts: read here, so that decisions can be pure."""

from __future__ import annotations

import os
import stat
import unicodedata
from enum import Enum
from pathlib import Path
from typing import Final

from attrs import frozen

from nanoclaw_trio.files import kind_of, real_path


class PathKind(Enum):
    """What is at the end of a path, links followed."""

    DIRECTORY = "directory"
    FILE = "file"
    SOCKET = "socket"
    FIFO = "pipe"
    DEVICE = "device"


_KINDS: Final = {
    stat.S_IFDIR: PathKind.DIRECTORY,
    stat.S_IFREG: PathKind.FILE,
    stat.S_IFSOCK: PathKind.SOCKET,
    stat.S_IFIFO: PathKind.FIFO,
}


@frozen(kw_only=True)
class FoundPath:
    """A path of the host that is there.

    Attributes:
        expanded: As it was asked for, `~` expanded.
        resolved: Without links.
        kind: What it is.
    """

    expanded: str
    resolved: Path
    kind: PathKind


@frozen(kw_only=True)
class UnusablePath:
    """A path that can't be mounted whatever the allowlist says, and why."""

    reason: str


def look_at_path(host_path: str) -> FoundPath | UnusablePath:
    """See what is at a path that a mount was asked for. Never raises."""
    if has_control_characters(host_path):
        return UnusablePath(reason="the host path holds control characters or isn't text")
    expanded = os.path.expanduser(host_path)  # noqa: PTH111 - it raises nothing
    if not Path(expanded).is_absolute():
        return UnusablePath(reason="the host path is neither absolute nor starts with ~")
    try:
        # Looked at first: where the links are more than the kernel follows, it says so. To resolve
        # them takes recursion for each, and time without end for some that an agent could make. A
        # chain that is put in the place just between the two is an OSError as well.
        mode = kind_of(Path(expanded))
        resolved = real_path(Path(expanded), strict=True)
    except OSError as error:
        return UnusablePath(reason=f"the host path can't be used: {error.strerror}")
    if has_control_characters(str(resolved)):
        return UnusablePath(reason="the host path leads to one that holds control characters")
    kind = _KINDS.get(mode or 0, PathKind.DEVICE)
    return FoundPath(expanded=expanded, resolved=resolved, kind=kind)


def has_control_characters(text: str) -> bool:
    """Whether there is a character that isn't text: a line's end, NUL, a byte that isn't UTF-8."""
    return any(unicodedata.category(character) in {"Cc", "Cs"} for character in text)
