"""The one function that makes a group's workspace so on the disk. Safe to repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from nanoclaw_trio.workspace.directories import blamed_on, make_directories
from nanoclaw_trio.workspace.folders import GroupPaths
from nanoclaw_trio.workspace.install import install_id
from nanoclaw_trio.workspace.mounts import (
    PROJECT,
    MountExplanation,
    explain_plan,
    find_project_problem,
    plan_mounts,
)
from nanoclaw_trio.workspace.project import look_at_project, require_project
from nanoclaw_trio.workspace.runner import takes_lease
from nanoclaw_trio.workspace.secrets import Secrets, read_secrets

if TYPE_CHECKING:
    from nanoclaw_trio.files import Owner
    from nanoclaw_trio.protocol.models import RegisteredGroup, VolumeMount
    from nanoclaw_trio.settings import Settings
    from nanoclaw_trio.workspace.decisions import MountDecision


@frozen(kw_only=True)
class Workspace:
    """A group's workspace, as it is now on the disk.

    Attributes:
        paths: The places of the group on the host.
        mounts: What the container sees, parents before children.
        decisions: On the additional mounts that the group asked for, allowed and refused.
        warnings: Sentences about what was out of order and doesn't hinder the run, for the log.
        install_id: Of the installation, for the container's label.
        takes_lease: Whether the group's copy of the agent-runner takes standard input for a lease.
        secrets: Read just now.
    """

    paths: GroupPaths
    mounts: tuple[VolumeMount, ...]
    decisions: tuple[MountDecision, ...]
    warnings: tuple[str, ...]
    install_id: str
    takes_lease: bool = False
    secrets: Secrets = field(repr=False)


def prepare_workspace(
    group: RegisteredGroup,
    *,
    is_main: bool,
    settings: Settings,
    owner: Owner | None = None,
    mounts_files: bool = True,
) -> Workspace:
    """Make everything that a group's container needs, and say what it is.

    Blocking: run it in a thread, with the group's claim. Repeated, it mends what is missing and
    leaves the rest alone. A link or a file that the agent put in the place of one of the host's
    directories is removed, with a warning; none is followed.

    Args:
        group: Whose workspace it is.
        is_main: Whether this is the main group.
        settings: The project's.
        owner: Whom everything in the agent's hands must belong to; None for no change.
        mounts_files: Whether the runtime can mount single files.

    Raises:
        InvalidGroupFolder: the caller's fault.
        ProjectNotFound: the caller's fault; nothing was made.
        ConfigurationError: the .env, the install-id or the container's sources can't be used.
        UnsafePath: one of the host's own directories is a link that leaves its base.
        WorkspaceFailed: the disk refuses.
    """
    paths = _locate(group, settings)
    secrets = read_secrets(paths.project_root)
    with blamed_on(paths.project_root):
        facts = look_at_project(paths, is_main=is_main)
        decisions = _decide(group, paths, settings, is_main=is_main, mounts_files=mounts_files)
    project_problem = find_project_problem(facts, mounts_files=mounts_files) if is_main else None
    with blamed_on(paths.data_dir):
        identity = install_id(paths.project_root)
    warnings = (
        *(f"{d.asked.host_path!r} isn't mounted: {d.reason}" for d in decisions if not d.allowed),
        *([f"{PROJECT} isn't mounted: {project_problem}"] if project_problem else []),
        *make_directories(paths, owner, is_main=is_main),
    )
    return Workspace(
        # Without the dozen paths that were made meanwhile: a run keeps it for as long as it lasts.
        paths=evolve(paths),
        mounts=plan_mounts(
            paths, is_main=is_main, facts=facts, decisions=decisions, mounts_files=mounts_files
        ),
        decisions=decisions,
        warnings=warnings,
        install_id=identity,
        takes_lease=takes_lease(paths),
        secrets=secrets,
    )


def explain_mounts(
    group: RegisteredGroup,
    *,
    is_main: bool,
    settings: Settings,
    mounts_files: bool = True,
) -> tuple[MountExplanation, ...]:
    """Every mount that a group's container would have or be refused, and why. Makes nothing.

    Blocking: run it in a thread. Raises as :func:`prepare_workspace`.
    """
    paths = _locate(group, settings)
    with blamed_on(paths.project_root):
        facts = look_at_project(paths, is_main=is_main)
        decisions = _decide(group, paths, settings, is_main=is_main, mounts_files=mounts_files)
    return explain_plan(
        paths, is_main=is_main, facts=facts, decisions=decisions, mounts_files=mounts_files
    )


def _locate(group: RegisteredGroup, settings: Settings) -> GroupPaths:
    paths = GroupPaths.of(settings.project_root, group.folder)
    require_project(paths.project_root)
    return paths


def _decide(
    group: RegisteredGroup,
    paths: GroupPaths,
    settings: Settings,
    *,
    is_main: bool,
    mounts_files: bool,
) -> tuple[MountDecision, ...]:
    config = group.container_config
    if config is None or not config.additional_mounts:
        return ()
    # Late: most groups ask for no mounts of their own, and a start needn't wait for what decides.
    from nanoclaw_trio.workspace.decisions import decide_mounts
    from nanoclaw_trio.workspace.facts import look_at_path
    from nanoclaw_trio.workspace.policy import look_at_policy

    return decide_mounts(
        [(mount, look_at_path(mount.host_path)) for mount in config.additional_mounts],
        look_at_policy(paths, settings.allowlist_path),
        is_main=is_main,
        mounts_files=mounts_files,
    )
