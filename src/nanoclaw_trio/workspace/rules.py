"""The single rules for additional mounts, pure: each returns why not, or None.

They go by paths. None looks into a directory: whoever allows a root allows what is in the
directories below it, but for those whose own path is blocked.
"""

from __future__ import annotations

import unicodedata
from fnmatch import fnmatchcase
from pathlib import PurePath, PurePosixPath
from typing import TYPE_CHECKING, Final

from nanoclaw_trio.workspace.allowlist import DEFAULT_BLOCKED_PATTERNS
from nanoclaw_trio.workspace.facts import PathKind, has_control_characters

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nanoclaw_trio.workspace.facts import FoundPath
    from nanoclaw_trio.workspace.policy import Guard

_FORBIDDEN_IN_NAMES: Final = ("..", ":", ",", '"')
"""What a container path may not hold. The last two mean something in the value of --mount. A host
path with them is quoted there; the name inside is the operator's to choose."""


def find_blocked(path: FoundPath, patterns: Iterable[str]) -> str | None:
    """A blocked pattern in a component of the path asked for, or of the one it leads to.

    It is looked for anywhere in the component, whatever the case: `.env` blocks `.env.local`, and
    `my.environment` as well. Too much is blocked rather than too little, and the reason says by
    what. `*`, `?` and `[…]` stand for what they do in a shell.
    """
    components = (*PurePosixPath(path.expanded).parts, *path.resolved.parts)
    for pattern in (*DEFAULT_BLOCKED_PATTERNS, *patterns):
        for component in components:
            if _contains(component.casefold(), pattern.casefold()):
                return f"{component!r} in its path holds the blocked pattern {pattern!r}"
    return None


def _contains(component: str, pattern: str) -> bool:
    return pattern in component or fnmatchcase(component, f"*{pattern}*")


def find_kind_problem(kind: PathKind, *, mounts_files: bool) -> str | None:
    """Whether a thing of this kind can be mounted: directories, and files where the runtime can."""
    match kind:
        case PathKind.DIRECTORY:
            return None
        case PathKind.FILE if mounts_files:
            return None
        case PathKind.FILE:
            return "the host path is a file, and this runtime mounts directories only"
        case _:
            return f"the host path is a {kind.value}; only directories and files can be mounted"


def find_guarded(resolved: PurePath, guards: Iterable[Guard]) -> str | None:
    """A guarded place that the mount would hold, or lie in."""
    path = comparable(resolved)
    for guard in guards:
        place = comparable(guard.path)
        if place.is_relative_to(path):
            return f"it is or holds {guard.path}, {guard.what}"
        exempt = guard.but is not None and path.is_relative_to(comparable(guard.but))
        if guard.inside and not exempt and path.is_relative_to(place):
            return f"it lies in {guard.path}, {guard.what}"
    return None


def comparable(path: PurePath) -> PurePosixPath:
    """A path as macOS compares it: neither case nor the ways to write an accent are told apart.

    This must not be the way around a guard there. Elsewhere it refuses a little too much.
    """
    return PurePosixPath(unicodedata.normalize("NFC", str(path)).casefold())


def find_name_problem(name: str) -> str | None:
    """Whether a path below /workspace/extra can be used inside."""
    if not name.strip() or not PurePosixPath(name).parts:
        return "its container path is empty"
    if name.startswith("/"):
        return f"its container path {name!r} is absolute; it belongs below /workspace/extra"
    for text in _FORBIDDEN_IN_NAMES:
        if text in name:
            return f"its container path {name!r} holds {text!r}; give it another containerPath"
    if has_control_characters(name):
        return f"its container path {name!r} holds control characters"
    return None
