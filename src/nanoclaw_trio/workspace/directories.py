"""The directories that a group's container gets, made on the disk.

What the host makes in them again at each run is replaced where the agent put something else, with a
warning rather than an error: an agent must not be able to keep its group from running.
"""

from __future__ import annotations

import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from nanoclaw_trio.errors import WorkspaceFailed
from nanoclaw_trio.files import (
    Directory,
    is_link,
    kind_of,
    open_directory,
    real_path,
)
from nanoclaw_trio.protocol.json_text import dump_json
from nanoclaw_trio.trees import is_in_order
from nanoclaw_trio.workspace.project import DATA_SHOWN
from nanoclaw_trio.workspace.runner import is_up_to_date, make_runner
from nanoclaw_trio.workspace.skills import are_mirrored, mirror_skills
from nanoclaw_trio.workspace.sources import skill_sources

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nanoclaw_trio.files import Owner
    from nanoclaw_trio.workspace.folders import GroupPaths

MAILBOX_DIRECTORIES: Final = ("messages", "tasks", "input")
"""What a group's mailbox has from the start (wire-formats 6)."""

LOGS: Final = "logs"

SETTINGS_NAME: Final = "settings.json"

CLAUDE_SETTINGS: Final = {
    "env": {
        "CLAUDE_CODE_EXPERIMENTAL_AGENT_TEAMS": "1",
        "CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD": "1",
        "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "0",
    }
}
"""What .claude/settings.json begins as (wire-formats 4)."""


@contextmanager
def blamed_on(path: Path) -> Iterator[None]:
    """Turn an error of the disk into WorkspaceFailed, with the path it happened at."""
    try:
        yield
    except OSError as error:
        what = error.strerror or "an error of the system"
        where = f" ({error.filename})" if isinstance(error.filename, str) else ""
        raise WorkspaceFailed(path, what + where) from error


def make_directories(paths: GroupPaths, owner: Owner | None, *, is_main: bool) -> tuple[str, ...]:
    """Make all directories of a group; a sentence for each thing that was out of order.

    Nearly always all are there, as they should be. To go through them by their descriptors costs as
    much as all else that is done before a run, so that they are looked at first.

    Raises:
        WorkspaceFailed: the disk refuses. What was made so far is whole, and stays.
        InvalidFile: there is no source of the agent-runner to copy.
    """
    if _are_in_order(paths, owner, is_main=is_main):
        return ()
    if is_main:
        _make_cover(paths)
    return (
        *_make_group_directory(paths, owner),
        *_make_mailbox(paths, owner),
        *_make_sessions(paths, owner),
    )


def _are_in_order(paths: GroupPaths, owner: Owner | None, *, is_main: bool) -> bool:
    """Whether nothing is to be made or given away.

    No link is followed: each place in the way to another is looked at itself, and no agent of the
    group runs meanwhile.
    """
    try:
        with open_directory(paths.sessions_dir) as sessions:
            return (
                all(is_in_order(place, owner) for place in _places(paths))
                and all(
                    kind_of(place) == stat.S_IFDIR for place in (_cover(paths) if is_main else ())
                )
                and kind_of(paths.claude_dir / SETTINGS_NAME, follow=False) == stat.S_IFREG
                and _has_skills(paths, sessions, owner)
                and is_up_to_date(paths, sessions)
            )
    except OSError:
        return False


def _has_skills(paths: GroupPaths, sessions: Directory, owner: Owner | None) -> bool:
    return are_mirrored(skill_sources(paths.project_root), paths.claude_dir, sessions, owner)


def _places(paths: GroupPaths) -> Iterator[str]:
    group, ipc = str(paths.group_dir), str(paths.ipc_dir)
    yield from (group, f"{group}/{LOGS}", str(paths.claude_dir), str(paths.runner_dir), ipc)
    yield from (f"{ipc}/{name}" for name in MAILBOX_DIRECTORIES)


def _make_cover(paths: GroupPaths) -> None:
    for place in _cover(paths):
        with blamed_on(paths.cover_dir), open_directory(place, create=True):
            pass


def _cover(paths: GroupPaths) -> list[Path]:
    return [paths.cover_dir / name for name in DATA_SHOWN]


def _make_group_directory(paths: GroupPaths, owner: Owner | None) -> tuple[str, ...]:
    with _mounted(paths.group_dir, owner) as group:
        return _ensure(group, LOGS)


def _make_mailbox(paths: GroupPaths, owner: Owner | None) -> tuple[str, ...]:
    with _mounted(paths.ipc_dir, owner) as mailbox:
        return tuple(warning for name in MAILBOX_DIRECTORIES for warning in _ensure(mailbox, name))


def _make_sessions(paths: GroupPaths, owner: Owner | None) -> tuple[str, ...]:
    with (
        blamed_on(paths.sessions_dir),
        open_directory(paths.sessions_dir, create=True) as sessions,
    ):
        with _mounted(paths.claude_dir, owner) as claude:
            warnings = (
                *_make_settings(claude),
                *mirror_skills(skill_sources(paths.project_root), claude, sessions),
            )
        return (*warnings, *make_runner(paths, sessions, owner))


@contextmanager
def _mounted(path: Path, owner: Owner | None) -> Iterator[Directory]:
    """A directory that is mounted: the entry itself is the host's, all in it the owner's."""
    place = real_path(path) if is_link(path) else path
    with (
        blamed_on(path),
        open_directory(place.parent, create=True, owner=owner) as parent,
        _owned_child(parent, place.name) as directory,
    ):
        yield directory


@contextmanager
def _owned_child(parent: Directory, name: str) -> Iterator[Directory]:
    with parent.child(name, create=True) as directory:
        if not directory.belongs_to_owner():
            directory.give_away_tree()
        yield directory


def _ensure(parent: Directory, name: str) -> tuple[str, ...]:
    cleared = parent.clear_way(name)
    with _owned_child(parent, name) as directory:
        return (f"{directory.path} was no directory; it was made again",) if cleared else ()


def _make_settings(claude: Directory) -> tuple[str, ...]:
    kind = claude.kind(SETTINGS_NAME)
    if kind == stat.S_IFREG:
        return ()
    claude.write(SETTINGS_NAME, dump_json(CLAUDE_SETTINGS, indent=True) + b"\n")
    if kind is None:
        return ()
    return (f"{claude.path / SETTINGS_NAME} was no regular file; it was written again",)
