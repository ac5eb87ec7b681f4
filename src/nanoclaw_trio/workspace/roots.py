"""The allowlist's roots, and which of them an agent has sent elsewhere.

A root may lie in another group's folder, or in another root that agents may write to. Whoever can
write there can put a link in its place, or in the place of a folder above it, and what the operator
allowed as one folder would be another one of the host. Such a root counts only as long as it leads
to where the same agent could write anyway.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.files import link_target, real_path
from nanoclaw_trio.workspace.facts import FoundPath, look_at_path
from nanoclaw_trio.workspace.rules import comparable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nanoclaw_trio.protocol.models import AllowedRoot, MountAllowlist
    from nanoclaw_trio.workspace.folders import GroupPaths


MOST_LINKS: Final = 40
"""Links on one way that Linux follows; macOS follows fewer."""


@frozen(kw_only=True)
class ResolvedRoot:
    """An allowed root that is there, without links."""

    root: AllowedRoot
    resolved: Path


@frozen(kw_only=True)
class RefusedRoot(ResolvedRoot):
    """A root that doesn't count, and why."""

    reason: str


def look_at_roots(
    allowlist: MountAllowlist, paths: GroupPaths
) -> tuple[tuple[ResolvedRoot, ...], tuple[RefusedRoot, ...]]:
    """The roots that are there, and those of them that don't count. Never raises."""
    looked_at = [(root, look_at_path(root.path)) for root in allowlist.allowed_roots]
    there = [(root, path) for root, path in looked_at if isinstance(path, FoundPath)]
    writable = {path.resolved for root, path in there if root.allow_read_write}
    roots, refused = [], []
    for root, path in there:
        reason = _find_detour(path, _find_reach(path, writable, paths))
        if reason is None:
            roots.append(ResolvedRoot(root=root, resolved=path.resolved))
        else:
            refused.append(RefusedRoot(root=root, resolved=path.resolved, reason=reason))
    return tuple(roots), tuple(refused)


def _find_reach(path: FoundPath, writable: Iterable[Path], paths: GroupPaths) -> Iterator[Path]:
    """The places on the way to a path in which an agent may have put what is there."""
    groups = real_path(paths.groups_dir)
    places = {*writable, real_path(paths.data_dir)}
    for entry in lookups(Path(path.expanded)):
        yield from (place for place in places if _is_below(entry, place))
        if _is_below(entry.parent, groups):
            # A group's own folder is the host's, and what is in it that group's agent's.
            yield Path(*entry.parts[: len(groups.parts) + 1])


def _is_below(entry: Path, place: Path) -> bool:
    return comparable(place) in comparable(entry).parents


def _find_detour(path: FoundPath, reach: Iterable[Path]) -> str | None:
    for place in reach:
        if not path.resolved.is_relative_to(place):
            return (
                f"it leads through {place}, where an agent may write, and on to {path.resolved}; "
                "write the place that is meant"
            )
    return None


def lookups(path: Path) -> Iterator[Path]:
    """Each entry that the system looks at on its way along an absolute path, links followed.

    An entry is a name in a directory that itself is without links. A way of too many links ends
    where the system would give up.
    """
    place, pending, links = Path("/"), list(path.parts[:0:-1]), 0
    while pending and links <= MOST_LINKS:
        name = pending.pop()
        if name == "..":
            place = place.parent
            continue
        yield place / name
        target = link_target(place / name)
        if target is None:
            place /= name
        else:
            links += 1
            place = Path("/") if target.is_absolute() else place
            pending += reversed(target.relative_to(target.anchor).parts)
