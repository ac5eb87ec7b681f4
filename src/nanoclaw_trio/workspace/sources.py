"""Where the sources of what runs inside come from: the project's own, else those we ship."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from nanoclaw_trio.errors import InvalidFile
from nanoclaw_trio.files import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGE = Path(__file__).resolve().parent.parent


def container_sources(project_root: Path) -> Path:
    """The container/ directory: with a Dockerfile, agent-runner/ and skills/.

    The project's own if it has an agent-runner/src, else the one in the installed package, else
    that of the checkout the package is imported from.

    Raises:
        InvalidFile: there is none of them; the installation is broken.
    """
    for candidate in _candidates(project_root):
        if _is_directory(candidate / "agent-runner" / "src"):
            return candidate
    raise InvalidFile(
        project_root / "container", "has no agent-runner/src", "install nanoclaw-trio again"
    )


def skill_sources(project_root: Path) -> Path | None:
    """The directory whose directories are the skills for every group, or None.

    A project may have skills of its own and no agent-runner.
    """
    skills = (candidate / "skills" for candidate in _candidates(project_root))
    return next(filter(_is_directory, skills), None)


def _candidates(project_root: Path) -> Iterator[Path]:
    yield project_root / "container"
    yield _PACKAGE.parent / "nanoclaw_trio_container"
    yield _PACKAGE.parent.parent / "container"


def _is_directory(path: Path) -> bool:
    return kind_of(path) == stat.S_IFDIR
