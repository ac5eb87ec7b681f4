"""What the disk says about the project: read here, so that the plan of the mounts can be pure."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.errors import ProjectNotFound
from nanoclaw_trio.files import kind_of, real_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nanoclaw_trio.workspace.folders import GroupPaths


@frozen(kw_only=True)
class ProjectFacts:
    """What the usual mounts depend on. Of the project itself only the main group sees anything.

    Attributes:
        has_env: Whether the project has a .env.
        env_places: Where in the project the text of its .env is, relative to the root: `.env`
            itself; of a link, the place it leads to, if that is in the project.
        data_place: Where in the project the engine's data is or will be, relative to the root; None
            if that is a link out of the project.
        data_shown: The names in there that are shown to the main group all the same.
        has_global: Whether groups/global is a directory.
        global_is_link: Whether it is a link, which isn't followed.
    """

    has_env: bool = False
    env_places: tuple[str, ...] = ()
    data_place: str | None = None
    data_shown: tuple[str, ...] = ()
    has_global: bool = False
    global_is_link: bool = False


DATA_SHOWN: Final = ("ipc", "sessions")
"""What the main group sees of data/: what is the agents' own, of all groups (wire-formats 4)."""


def require_project(project_root: Path) -> None:
    """ProjectNotFound if the project isn't there, or is no folder."""
    if kind_of(project_root) != stat.S_IFDIR:
        raise ProjectNotFound(project_root)


def look_at_project(paths: GroupPaths, *, is_main: bool) -> ProjectFacts:
    """See what the usual mounts of a group depend on. OSError if the disk refuses."""
    if not is_main:
        kind = kind_of(paths.global_dir, follow=False)
        return ProjectFacts(has_global=kind == stat.S_IFDIR, global_is_link=kind == stat.S_IFLNK)
    has_env = kind_of(paths.project_root / ".env", follow=False) is not None
    return ProjectFacts(
        has_env=has_env,
        env_places=tuple(_env_places(paths.project_root)) if has_env else (),
        data_place=_data_place(paths),
        data_shown=tuple(name for name in DATA_SHOWN if _is_no_link(paths.data_dir / name)),
    )


def _data_place(paths: GroupPaths) -> str | None:
    root, data = real_path(paths.project_root), real_path(paths.data_dir)
    return data.relative_to(root).as_posix() if data.is_relative_to(root) else None


def _is_no_link(path: Path) -> bool:
    # One that isn't there yet is made before the container starts.
    return kind_of(path, follow=False) in {None, stat.S_IFDIR}


def _env_places(project_root: Path) -> Iterator[str]:
    # Nothing can be mounted over a link, only over what it leads to, and over nothing that isn't
    # there. A link that leads out of the project leads nowhere inside of a container.
    root, env = real_path(project_root), real_path(project_root / ".env")
    if env.is_relative_to(root) and kind_of(env) is not None:
        yield env.relative_to(root).as_posix()
