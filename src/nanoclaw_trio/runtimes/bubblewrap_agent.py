"""The Claude agent in the host's Python environment: whether it is there, and its program `claude`.

Nothing is imported: the Claude Agent SDK takes more than half a second for that.
"""

from __future__ import annotations

import stat
from importlib.machinery import PathFinder
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.errors import AgentNotInstalled
from nanoclaw_trio.files import kind_of, read_if_present
from nanoclaw_trio.runtimes.abc import AGENT_VARIABLE, DEFAULT_AGENT
from nanoclaw_trio.runtimes.bubblewrap_argv import AGENT_MODULE, AGENT_SOURCE, seen_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nanoclaw_trio.protocol.models import VolumeMount
    from nanoclaw_trio.runtimes.bubblewrap_host import HostPython

CLAUDE: Final = "claude"

SDK: Final = "claude_agent_sdk"

PACKAGES: Final = (SDK, "cronsim", "mcp", "trio", "watchfiles")
"""What the agent imports, and an installation may lack."""

_PROGRAM: Final = PurePath("_bundled", "claude")
_PROGRAM_VERSION: Final = PurePath("_bundled", "claude.version")
"""In the package of the SDK: its program, and what that says to `--version`."""

_AGENT_PARTS: Final = PurePath(AGENT_MODULE, "agents", CLAUDE)
"""Where an agent-runner has its Claude agent, if it has one."""


@frozen(kw_only=True)
class ClaudeProgram:
    """The program that the SDK starts, with the API key in its environment.

    Attributes:
        source: On the host.
        target: Where a sandbox finds it.
        version: Its own, or "unknown".
    """

    source: Path
    target: str
    version: str


def wants_claude(environment: Mapping[str, str]) -> bool:
    """Whether a container's variables ask for the Claude agent. Pure."""
    return (environment.get(AGENT_VARIABLE) or DEFAULT_AGENT) == CLAUDE


def brings_claude(mounts: Iterable[VolumeMount]) -> bool:
    """Whether the agent-runner in these mounts has a Claude agent, or is another's altogether."""
    return any(
        kind_of(mount.host_path / _AGENT_PARTS) is not None
        for mount in mounts
        if mount.container_path == AGENT_SOURCE
    )


def find_claude(python: HostPython) -> ClaudeProgram:
    """The program as a sandbox with this Python finds it.

    Raises:
        AgentNotInstalled: it doesn't, or lacks one of PACKAGES; names the command that installs it.
    """
    visible = tuple(entry for entry in python.search_path if seen_at(entry, python) is not None)
    missing = [name for name in PACKAGES if find_package(name, visible) is None]
    package = find_package(SDK, visible)
    if missing or package is None:
        raise AgentNotInstalled(CLAUDE, f"{python.prefix} has no {', '.join(missing)}")
    source = package / _PROGRAM
    target = seen_at(str(source), python)
    if target is None or kind_of(source) != stat.S_IFREG:
        raise AgentNotInstalled(CLAUDE, f"{package} has no program `claude` for this system")
    return ClaudeProgram(source=source, target=target, version=_read_version(package))


def find_package(name: str, search_path: Iterable[str]) -> Path | None:
    """The directory of the first package of this name on a search path; None if there is none."""
    found = PathFinder.find_spec(name, tuple(search_path))
    # Without an origin it is a directory that merely has the name.
    return None if found is None or found.origin is None else Path(found.origin).parent


def _read_version(package: Path) -> str:
    said = read_if_present(package / _PROGRAM_VERSION) or b""
    words = said.decode(errors="replace").split()
    return words[0] if words and words[0].replace(".", "").isalnum() else "unknown"
