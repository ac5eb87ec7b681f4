"""What additional mounts are decided by: the allowlist, its roots, and the places to guard."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.environment import (
    process_environment,
    programs_home,
    runtime_home,
    sockets_home,
)
from nanoclaw_trio.files import real_path
from nanoclaw_trio.workspace.allowlist import AllowlistProblem, load_allowlist
from nanoclaw_trio.workspace.roots import look_at_roots
from nanoclaw_trio.workspace.senders import sender_allowlist_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nanoclaw_trio.protocol.models import MountAllowlist
    from nanoclaw_trio.workspace.folders import GroupPaths
    from nanoclaw_trio.workspace.roots import RefusedRoot, ResolvedRoot


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
        refused_roots: Those that an agent can send elsewhere, and has.
        guards: What no mount may hold.
        project_root: Below it, a mount is writable only in a group's folder. Without links.
        groups_dir: Where those are. Without links.
    """

    allowlist: MountAllowlist
    roots: tuple[ResolvedRoot, ...]
    guards: tuple[Guard, ...]
    refused_roots: tuple[RefusedRoot, ...] = ()
    project_root: Path
    groups_dir: Path


SYSTEM_PLACES: Final = ("/dev", "/proc", "/sys", "/run", "/var/run")
"""The kernel's own, and where the sockets of engines and sessions are."""

REMOVABLE_DRIVES: Final = Path("/run/media")
"""Where some distributions mount a user's drives."""


def look_at_policy(paths: GroupPaths, allowlist_path: Path) -> MountPolicy | AllowlistProblem:
    """Read the allowlist, and see what its roots and the places to guard really are."""
    allowlist = load_allowlist(allowlist_path)
    if isinstance(allowlist, AllowlistProblem):
        return allowlist
    roots, refused_roots = look_at_roots(allowlist, paths)
    return MountPolicy(
        allowlist=allowlist,
        roots=roots,
        refused_roots=refused_roots,
        guards=tuple(sorted(_guards(paths, allowlist_path), key=lambda guard: guard.path)),
        project_root=real_path(paths.project_root),
        groups_dir=real_path(paths.groups_dir),
    )


def _guards(paths: GroupPaths, allowlist_path: Path) -> Iterator[Guard]:
    for place in _ways_to(allowlist_path.parent):
        yield Guard(path=place, what="the engine's own configuration")
    for place in _ways_to(allowlist_path):
        yield Guard(path=place, what="the mount allowlist")
    for place in _ways_to(sender_allowlist_path(allowlist_path)):
        yield Guard(path=place, what="the sender allowlist")
    for place in _ways_to(paths.data_dir):
        yield Guard(path=place, what="the engine's own data")
    for place in _ways_to(paths.groups_dir):
        yield Guard(path=place, what="the folders of all groups", inside=False)
    for place in _ways_to(paths.project_root / ".env"):
        yield Guard(path=place, what="the project's .env")
    for place in _ways_to(sockets_home(runtime_home(process_environment()))):
        yield Guard(path=place, what="where agents' sockets are")
    for place in _ways_to_programs():
        yield Guard(path=place, what="where the programs of sandboxes are")
    for place in {real_path(Path(place)) for place in SYSTEM_PLACES}:
        yield Guard(path=place, what="the system's own", but=REMOVABLE_DRIVES)


def _ways_to_programs() -> set[Path]:
    # Without a home there are none.
    with suppress(RuntimeError):
        return _ways_to(programs_home(process_environment()))
    return set()


def _ways_to(path: Path) -> set[Path]:
    # Who can write next to a link can put another in its place: the link is guarded, too.
    return {real_path(path), real_path(path.parent) / path.name}
