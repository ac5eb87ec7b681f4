"""What the container holds for this agent, besides its input."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SHELL: Final = Path("/opt/nanoclaw/bin/bash")
"""A bash without the secrets: container/shell/bash, where the agent can't write."""

MEMORY: Final = "CLAUDE.md"


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What lies in the workspace, and around it.

    `memory` is a file with what all groups are told, and the main one isn't. `extra` are the
    directories that the group was given besides its own. `shell` is None where there is no wrapper.
    `cli` is another CLI than the SDK's own, if an image names one in NANOCLAW_CLI.
    """

    group: Path
    conversations: Path
    ipc: Path
    extra: tuple[Path, ...]
    memory: Path | None
    shell: Path | None
    cli: Path | None
    is_root: bool


def look_around(workspace: Path, *, is_main: bool, shell: Path = SHELL) -> Surroundings:
    """The surroundings in this workspace. What isn't there is left out."""
    group = workspace / "group"
    return Surroundings(
        group=group,
        conversations=group / "conversations",
        ipc=workspace / "ipc",
        extra=_directories(workspace / "extra"),
        memory=None if is_main else _permitted(workspace / "global" / MEMORY, os.R_OK),
        shell=_permitted(shell, os.X_OK),
        cli=Path(os.environ["NANOCLAW_CLI"]) if os.environ.get("NANOCLAW_CLI") else None,
        is_root=os.geteuid() == 0,
    )


def _directories(parent: Path) -> tuple[Path, ...]:
    try:
        return tuple(sorted(path for path in parent.iterdir() if path.is_dir()))
    except FileNotFoundError:
        return ()


def _permitted(path: Path, mode: int) -> Path | None:
    return path if path.is_file() and os.access(path, mode) else None
