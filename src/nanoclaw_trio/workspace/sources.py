"""Where the sources of what runs inside come from: the project's own, else those we ship."""

from __future__ import annotations

import os
import stat
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nanoclaw_trio.errors import InvalidFile
from nanoclaw_trio.files import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable

_PACKAGE: Final = Path(__file__).resolve().parent.parent

SHIPPED: Final = (
    _PACKAGE.parent / "nanoclaw_trio_container",
    _PACKAGE.parent.parent / "container",
)
"""Where container/ is beside the installed package, and in the checkout it is imported from."""

SHELL_PROGRAMS: Final = ("bash",)
"""A shell for the tools that keeps the secrets back."""


def container_sources(project_root: Path, shipped: Iterable[Path] = SHIPPED) -> Path:
    """The container/ directory: with a Dockerfile, agent-runner/ and skills/.

    Which one, and the error, are :func:`runner_sources`'.
    """
    return runner_sources(project_root, shipped).parent.parent


def runner_sources(project_root: Path, shipped: Iterable[Path] = SHIPPED) -> Path:
    """The agent-runner/src directory in container/.

    The project's own if it has one, else the first of the shipped ones.

    Raises:
        InvalidFile: there is none of them; the installation is broken.
    """
    for source in _candidates(project_root, tuple(shipped), "agent-runner", "src"):
        if _is_directory(source):
            return source
    raise InvalidFile(
        project_root / "container", "has no agent-runner/src", "install nanoclaw-trio again"
    )


def skill_sources(project_root: Path, shipped: Iterable[Path] = SHIPPED) -> Path | None:
    """The directory whose directories are the skills for every group, or None.

    A project may have skills of its own and no agent-runner.
    """
    skills = _candidates(project_root, tuple(shipped), "skills")
    return next(filter(_is_directory, skills), None)


def shell_sources(project_root: Path, shipped: Iterable[Path] = SHIPPED) -> Path:
    """The directory of the programs that keep the secrets from an agent's tools (SHELL_PROGRAMS).

    The project's own container/ may be an older one that lacks one; then it is the shipped one's.

    Raises:
        InvalidFile: there is none in which all of them can be run; the installation is broken.
    """
    for directory in _candidates(project_root, tuple(shipped), "shell"):
        if all(_is_program(directory / name) for name in SHELL_PROGRAMS):
            return directory
    raise InvalidFile(
        project_root / "container",
        f"has no shell/ with {' and '.join(SHELL_PROGRAMS)} that can be run",
        "install nanoclaw-trio again",
    )


# Each run asks, and to make a path takes longer than to look what is there.
@lru_cache(maxsize=8)
def _candidates(project_root: Path, shipped: tuple[Path, ...], *names: str) -> tuple[Path, ...]:
    return tuple(each.joinpath(*names) for each in (project_root / "container", *shipped))


def _is_program(path: Path) -> bool:
    return kind_of(path) == stat.S_IFREG and os.access(path, os.R_OK | os.X_OK)


def _is_directory(path: Path) -> bool:
    return kind_of(path) == stat.S_IFDIR
