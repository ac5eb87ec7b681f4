"""Which additional mounts a group gets: pure, from what the disk said of paths and the policy."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.workspace.allowlist import AllowlistProblem
from nanoclaw_trio.workspace.facts import UnusablePath
from nanoclaw_trio.workspace.rules import (
    comparable,
    find_blocked,
    find_guarded,
    find_kind_problem,
    find_name_problem,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from nanoclaw_trio.protocol.models import AdditionalMount
    from nanoclaw_trio.workspace.facts import FoundPath
    from nanoclaw_trio.workspace.policy import MountPolicy
    from nanoclaw_trio.workspace.roots import ResolvedRoot

EXTRA: Final = PurePosixPath("/workspace/extra")
"""Below it are all additional mounts."""


@frozen(kw_only=True)
class MountDecision:
    """What became of an additional mount that was asked for.

    Attributes:
        asked: The mount as the group's registration has it.
        allowed: Whether the group gets it.
        host_path: Without links; None if it was refused.
        container_path: Where it is inside; None if it was refused.
        readonly: How it is mounted.
        reason: A sentence for people, for the allowed and for the refused ones.
    """

    asked: AdditionalMount
    allowed: bool
    host_path: Path | None = None
    container_path: str | None = None
    readonly: bool = True
    reason: str


def decide_mounts(
    asked: Iterable[tuple[AdditionalMount, FoundPath | UnusablePath]],
    policy: MountPolicy | AllowlistProblem,
    *,
    is_main: bool,
    mounts_files: bool = True,
) -> tuple[MountDecision, ...]:
    """Decide on all additional mounts of a group, in their order.

    Of two whose paths inside are the same, or one in the other, the second is refused.
    """
    decisions: list[MountDecision] = []
    for mount, path in asked:
        decision = decide_mount(mount, path, policy, is_main=is_main, mounts_files=mounts_files)
        taken = _find_overlap(decision, decisions)
        if taken is not None:
            decision = _refused(mount, f"{taken} is another mount's, and the two would overlap")
        decisions.append(decision)
    return tuple(decisions)


def _find_overlap(decision: MountDecision, earlier: Iterable[MountDecision]) -> str | None:
    if decision.container_path is None:
        return None
    path = PurePosixPath(decision.container_path)
    for taken in (other.container_path for other in earlier if other.container_path is not None):
        # Mounted one in the other, the inner one's mount point would be made on the host.
        if path.is_relative_to(taken) or PurePosixPath(taken).is_relative_to(path):
            return taken
    return None


def decide_mount(
    asked: AdditionalMount,
    path: FoundPath | UnusablePath,
    policy: MountPolicy | AllowlistProblem,
    *,
    is_main: bool,
    mounts_files: bool = True,
) -> MountDecision:
    """Decide on one additional mount (wire-formats 7).

    Read-write is for those who asked for it, under a root that allows it, for the main group or
    where nonMainReadOnly is false; and in the project, for what lies in a group's folder.
    """
    if isinstance(policy, AllowlistProblem):
        return _refused(asked, policy.reason)
    if isinstance(path, UnusablePath):
        return _refused(asked, path.reason)
    name = _name(asked, path)
    problem = (
        find_blocked(path, policy.allowlist.blocked_patterns)
        or find_kind_problem(path.kind, mounts_files=mounts_files)
        or find_guarded(path.resolved, policy.guards)
        or find_name_problem(name)
    )
    root = _deepest_root(path.resolved, policy.roots)
    if problem is not None or root is None:
        return _refused(asked, problem or _no_root(path.resolved, policy))
    obstacle = _find_read_only(root, path.resolved, policy, is_main=is_main)
    return MountDecision(
        asked=asked,
        allowed=True,
        host_path=path.resolved,
        container_path=str(EXTRA / name),
        readonly=asked.readonly or obstacle is not None,
        reason=f"under {root.resolved}; {_mode_words(asked, obstacle)}",
    )


def _refused(asked: AdditionalMount, reason: str) -> MountDecision:
    return MountDecision(asked=asked, allowed=False, reason=reason)


def _name(asked: AdditionalMount, path: FoundPath) -> str:
    if asked.container_path is None:
        return PurePosixPath(path.expanded).name
    return asked.container_path


def _deepest_root(resolved: Path, roots: Collection[ResolvedRoot]) -> ResolvedRoot | None:
    if not any(resolved.is_relative_to(root.resolved) for root in roots):
        return None
    # The deeper root is the more specific word. Of two for one place, the stricter counts.
    return max(
        (root for root in roots if _is_above(root, resolved)),
        key=lambda root: (len(root.resolved.parts), not root.root.allow_read_write),
    )


def _is_above(root: ResolvedRoot, resolved: Path) -> bool:
    # Another case is no way around the stricter word, where the disk tells none apart.
    if not root.root.allow_read_write:
        return comparable(resolved).is_relative_to(comparable(root.resolved))
    return resolved.is_relative_to(root.resolved)


def _no_root(resolved: Path, policy: MountPolicy) -> str:
    roots = ", ".join(root.path for root in policy.allowlist.allowed_roots)
    refused = (root for root in policy.refused_roots if resolved.is_relative_to(root.resolved))
    but = "".join(f"; {root.root.path} doesn't count: {root.reason}" for root in refused)
    return f"{resolved} lies under no allowed root ({roots or 'the allowlist names none'}){but}"


def _find_read_only(
    root: ResolvedRoot, resolved: Path, policy: MountPolicy, *, is_main: bool
) -> str | None:
    """Why the mount can't be writable, or None."""
    if not root.root.allow_read_write:
        return "this root allows no writing"
    if policy.allowlist.non_main_read_only and not is_main:
        return "nonMainReadOnly is true and the group isn't main"
    in_project = comparable(resolved).is_relative_to(comparable(policy.project_root))
    # What permits is compared as it is written: refused too much rather than too little.
    if in_project and not resolved.is_relative_to(policy.groups_dir):
        return "it is a part of the project, where only groups' folders are writable"
    return _find_held(resolved, policy.roots)


def _find_held(resolved: Path, roots: Iterable[ResolvedRoot]) -> str | None:
    place = comparable(resolved)
    for root in roots:
        if not root.root.allow_read_write and place in comparable(root.resolved).parents:
            return f"it holds {root.resolved}, which allows no writing"
    return None


def _mode_words(asked: AdditionalMount, obstacle: str | None) -> str:
    if asked.readonly:
        return "read-only, as asked"
    if obstacle is not None:
        return f"read-only: read-write was asked for, but {obstacle}"
    return "read-write, as asked"
