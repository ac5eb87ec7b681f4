"""What the disk says about additional mounts: read here, so that decisions can be pure."""

from __future__ import annotations

import os
import stat
import unicodedata
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.files import kind_of, real_path
from nanoclaw_trio.workspace.allowlist import AllowlistProblem, load_allowlist

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nanoclaw_trio.protocol.models import AllowedRoot, MountAllowlist
    from nanoclaw_trio.workspace.folders import GroupPaths


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


@frozen(kw_only=True)
class ResolvedRoot:
    """An allowed root that is there, without links."""

    root: AllowedRoot
    resolved: Path


@frozen(kw_only=True)
class Guard:
    """A place that no additional mount may hold, whatever the allowlist says.

    Attributes:
        path: Without links.
        what: For people.
        inside: Whether no mount may lie in it either.
        but: A place in it that isn't meant.
    """

    path: Path
    what: str
    inside: bool = True
    but: Path | None = None


@frozen(kw_only=True)
class MountPolicy:
    """What an additional mount is decided by.

    Attributes:
        allowlist: The operator's.
        roots: Its roots, as far as they are there.
        guards: What no mount may hold.
        project_root: Below it, a mount is writable only in a group's folder. Without links.
        groups_dir: Where those are. Without links.
    """

    allowlist: MountAllowlist
    roots: tuple[ResolvedRoot, ...]
    guards: tuple[Guard, ...]
    project_root: Path
    groups_dir: Path


SYSTEM_PLACES: Final = ("/dev", "/proc", "/sys", "/run", "/var/run")
"""The kernel's own, and where the sockets of engines and sessions are."""

REMOVABLE_DRIVES: Final = Path("/run/media")
"""Where some distributions mount a user's drives."""


def look_at_path(host_path: str) -> FoundPath | UnusablePath:
    """See what is at a path that a mount was asked for. Never raises."""
    if has_control_characters(host_path):
        return UnusablePath(reason="the host path holds control characters or isn't text")
    expanded = os.path.expanduser(host_path)  # noqa: PTH111 - it raises nothing
    if not Path(expanded).is_absolute():
        return UnusablePath(reason="the host path is neither absolute nor starts with ~")
    try:
        resolved = real_path(Path(expanded), strict=True)
        mode = kind_of(resolved)
    except OSError as error:
        return UnusablePath(reason=f"the host path can't be used: {error.strerror}")
    if has_control_characters(str(resolved)):
        return UnusablePath(reason="the host path leads to one that holds control characters")
    kind = _KINDS.get(mode or 0, PathKind.DEVICE)
    return FoundPath(expanded=expanded, resolved=resolved, kind=kind)


def has_control_characters(text: str) -> bool:
    """Whether there is a character that isn't text: a line's end, NUL, a byte that isn't UTF-8."""
    return any(unicodedata.category(character) in {"Cc", "Cs"} for character in text)


def look_at_policy(paths: GroupPaths, allowlist_path: Path) -> MountPolicy | AllowlistProblem:
    """Read the allowlist, and see what its roots and the places to guard really are."""
    allowlist = load_allowlist(allowlist_path)
    if isinstance(allowlist, AllowlistProblem):
        return allowlist
    return MountPolicy(
        allowlist=allowlist,
        roots=tuple(_roots(allowlist)),
        guards=tuple(sorted(_guards(paths, allowlist_path), key=lambda guard: guard.path)),
        project_root=real_path(paths.project_root),
        groups_dir=real_path(paths.groups_dir),
    )


def _roots(allowlist: MountAllowlist) -> Iterator[ResolvedRoot]:
    for root in allowlist.allowed_roots:
        found = look_at_path(root.path)
        if isinstance(found, FoundPath):
            yield ResolvedRoot(root=root, resolved=found.resolved)


def _guards(paths: GroupPaths, allowlist_path: Path) -> Iterator[Guard]:
    for place in _ways_to(allowlist_path.parent):
        yield Guard(path=place, what="the engine's own configuration")
    for place in _ways_to(allowlist_path):
        yield Guard(path=place, what="the mount allowlist")
    for place in _ways_to(paths.data_dir):
        yield Guard(path=place, what="the engine's own data")
    for place in _ways_to(paths.groups_dir):
        yield Guard(path=place, what="the folders of all groups", inside=False)
    for place in _ways_to(paths.project_root / ".env"):
        yield Guard(path=place, what="the project's .env")
    for place in {real_path(Path(place)) for place in SYSTEM_PLACES}:
        yield Guard(path=place, what="the system's own", but=REMOVABLE_DRIVES)


def _ways_to(path: Path) -> set[Path]:
    # Who can write next to a link can put another in its place: the link is guarded, too.
    return {real_path(path), real_path(path.parent) / path.name}
