"""What a group's container sees: the table of wire-formats 4, pure, each line with its reason."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.protocol.models import VolumeMount

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nanoclaw_trio.workspace.decisions import MountDecision
    from nanoclaw_trio.workspace.folders import GroupPaths
    from nanoclaw_trio.workspace.project import ProjectFacts

PROJECT: Final = "/workspace/project"
GROUP: Final = "/workspace/group"
GLOBAL: Final = "/workspace/global"
CLAUDE: Final = "/home/node/.claude"
IPC: Final = "/workspace/ipc"
RUNNER: Final = "/app/src"

NOTHING: Final = Path("/dev/null")
"""What lies over the project's .env."""


@frozen(kw_only=True)
class MountExplanation:
    """A mount that a group has, or might have, and why.

    Attributes:
        host_path: On the host; of a refused additional mount, as it was asked for.
        container_path: Inside; None where it never got one.
        readonly: How it is mounted.
        allowed: Whether the group gets it.
        reason: A sentence for people.
    """

    host_path: str
    container_path: str | None
    readonly: bool
    allowed: bool
    reason: str

    def as_mount(self) -> VolumeMount | None:
        """The mount, if the group gets it."""
        if not self.allowed or self.container_path is None:
            return None
        return VolumeMount(
            host_path=Path(self.host_path),
            container_path=self.container_path,
            readonly=self.readonly,
        )


def plan_mounts(
    paths: GroupPaths,
    *,
    is_main: bool,
    facts: ProjectFacts,
    decisions: Iterable[MountDecision],
    mounts_files: bool = True,
) -> tuple[VolumeMount, ...]:
    """The mounts of a group's container, parents before children."""
    rows = explain_plan(
        paths, is_main=is_main, facts=facts, decisions=decisions, mounts_files=mounts_files
    )
    mounts = (row.as_mount() for row in rows)
    return tuple(mount for mount in mounts if mount is not None)


def explain_plan(
    paths: GroupPaths,
    *,
    is_main: bool,
    facts: ProjectFacts,
    decisions: Iterable[MountDecision],
    mounts_files: bool = True,
) -> tuple[MountExplanation, ...]:
    """The mounts of a group's container and those it doesn't get, in the order of mounting."""
    project = _project(paths, facts, mounts_files=mounts_files) if is_main else _no_project(paths)
    return (
        *project,
        _writable(paths.group_dir, GROUP, "the group's own folder"),
        _global(paths, facts, is_main=is_main),
        _writable(paths.claude_dir, CLAUDE, "the group's own sessions, settings and skills"),
        _writable(paths.ipc_dir, IPC, "the group's own mailbox"),
        _writable(paths.runner_dir, RUNNER, "the group's own copy of the agent-runner"),
        *map(_additional, decisions),
    )


def find_project_problem(facts: ProjectFacts, *, mounts_files: bool) -> str | None:
    """Why the main group can't see the project, or None.

    Without a file mount nothing can lie over the .env, and the keys in it would be seen.
    """
    if facts.has_env and not mounts_files:
        return (
            "the project has a .env, and this runtime can't hide it since it mounts directories "
            "only; move the keys from .env to the environment to give the main group the project"
        )
    return None


def _project(
    paths: GroupPaths, facts: ProjectFacts, *, mounts_files: bool
) -> Iterator[MountExplanation]:
    problem = find_project_problem(facts, mounts_files=mounts_files)
    root = paths.project_root
    if problem is not None:
        yield _row(root, PROJECT, allowed=False, reason=problem)
        return
    yield _row(root, PROJECT, reason="the main group reads the project")
    yield from _data(paths, facts)
    for place in facts.env_places:
        if not _is_covered(place, facts):
            yield _row(NOTHING, f"{PROJECT}/{place}", reason="the project's keys are in there")


def _data(paths: GroupPaths, facts: ProjectFacts) -> Iterator[MountExplanation]:
    # Whoever can open a file can lock it, also where he can't write it: the store's, for one.
    if facts.data_place is None:
        return
    place = f"{PROJECT}/{facts.data_place}"
    yield _row(paths.cover_dir, place, reason="the engine's own data isn't for any agent")
    for name in facts.data_shown:
        yield _row(paths.data_dir / name, f"{place}/{name}", reason="a part of the project")


def _is_covered(place: str, facts: ProjectFacts) -> bool:
    if facts.data_place is None or not PurePosixPath(place).is_relative_to(facts.data_place):
        return False
    shown = (f"{facts.data_place}/{name}" for name in facts.data_shown)
    return not any(PurePosixPath(place).is_relative_to(path) for path in shown)


def _no_project(paths: GroupPaths) -> Iterator[MountExplanation]:
    reason = "only the main group reads the project"
    yield _row(paths.project_root, PROJECT, allowed=False, reason=reason)


def _global(paths: GroupPaths, facts: ProjectFacts, *, is_main: bool) -> MountExplanation:
    if is_main:
        reason = "the main group reads it in the project"
    elif facts.global_is_link:
        reason = "it is a link, and links aren't followed"
    elif not facts.has_global:
        reason = "there is no such directory"
    else:
        return _row(paths.global_dir, GLOBAL, reason="what all groups may read")
    return _row(paths.global_dir, GLOBAL, allowed=False, reason=reason)


def _writable(host_path: Path, container_path: str, reason: str) -> MountExplanation:
    return _row(host_path, container_path, readonly=False, reason=reason)


def _additional(decision: MountDecision) -> MountExplanation:
    return MountExplanation(
        host_path=str(decision.host_path or decision.asked.host_path),
        container_path=decision.container_path,
        readonly=decision.readonly,
        allowed=decision.allowed,
        reason=decision.reason,
    )


def _row(
    host_path: Path,
    container_path: str,
    *,
    reason: str,
    readonly: bool = True,
    allowed: bool = True,
) -> MountExplanation:
    return MountExplanation(
        host_path=str(host_path),
        container_path=container_path,
        readonly=readonly,
        allowed=allowed,
        reason=reason,
    )
