"""The only door to the process's environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET_VARIABLES: Final = (
    "CLAUDE_CODE_OAUTH_TOKEN",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_AUTH_TOKEN",
)
"""What counts as a secret (wire-formats 9)."""


def cache_home(environ: Mapping[str, str]) -> Path | None:
    """What XDG_CACHE_HOME names (XDG Base Directory Specification); None for ~/.cache. Pure."""
    # What isn't absolute is to be ignored, says the specification.
    given = Path(environ.get("XDG_CACHE_HOME", ""))
    return given if given.is_absolute() else None


def programs_home(environ: Mapping[str, str]) -> Path:
    """The directory, in the user's cache, of the programs that sandboxes run and can't read.

    RuntimeError for a user without a home, if XDG_CACHE_HOME isn't set.
    """
    base = cache_home(environ) or Path.home() / ".cache"
    return base / "nanoclaw-trio" / "programs"


def runtime_home(environ: Mapping[str, str]) -> Path | None:
    """What XDG_RUNTIME_DIR names (XDG Base Directory Specification); None without it. Pure."""
    given = Path(environ.get("XDG_RUNTIME_DIR", ""))
    return given if given.is_absolute() else None


def sockets_home(home: Path | None) -> Path:
    """The directory, this user's alone, of the sockets that agents are to connect to.

    `home` is what :func:`runtime_home` says.
    """
    # What is made in /tmp is looked at.
    return Path(f"/tmp/nanoclaw-{os.geteuid()}") if home is None else home / "nanoclaw"  # noqa: S108


def process_environment() -> Mapping[str, str]:
    """The environment of this process, live. Holds secrets: never hand it to a child."""
    return os.environ


def child_environment() -> dict[str, str]:
    """The environment for a child process of the host: everything but the secrets."""
    return {name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES}
