"""The mount allowlist: the operator's word on additional mounts (wire-formats 7).

It lies outside of the project, where no agent sees it, and is read again for each run (Trap A27).
A file that can't be used permits nothing, and says why.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.errors import WorkspaceFailed
from nanoclaw_trio.files import open_directory, read_if_present
from nanoclaw_trio.protocol.converters import own, structure
from nanoclaw_trio.protocol.json_text import dump_json, parse_json
from nanoclaw_trio.protocol.models import AllowedRoot, MountAllowlist

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEFAULT_BLOCKED_PATTERNS: Final = (
    ".ssh",
    ".gnupg",
    ".gpg",
    ".aws",
    ".azure",
    ".gcloud",
    ".kube",
    ".docker",
    "credentials",
    ".env",
    ".netrc",
    ".npmrc",
    ".pypirc",
    "id_rsa",
    "id_ed25519",
    "private_key",
    ".secret",
)
"""Blocked whatever the file says (wire-formats 7)."""


@frozen(kw_only=True)
class AllowlistProblem:
    """Why there is no allowlist to go by; every additional mount is refused with this reason."""

    reason: str


def load_allowlist(path: Path) -> MountAllowlist | AllowlistProblem:
    """Read the allowlist. Never raises: without a file that can be used, nothing is permitted."""
    try:
        content = read_if_present(path)
        if content is None:
            return AllowlistProblem(
                reason=f"there is no allowlist at {path}; `nanoclaw-trio mounts init` writes one"
            )
        allowlist = structure(own, parse_json(content), MountAllowlist)
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else str(error)
        return AllowlistProblem(reason=f"the allowlist {path} can't be used: {problem}")
    problems = "; ".join(_problems(allowlist))
    if problems:
        return AllowlistProblem(reason=f"the allowlist {path} can't be used: {problems}")
    return allowlist


def _problems(allowlist: MountAllowlist) -> Iterator[str]:
    for index, root in enumerate(allowlist.allowed_roots):
        if not (PurePosixPath(root.path).is_absolute() or root.path.startswith("~")):
            yield f"neither an absolute path nor one that starts with ~ @ $.allowedRoots[{index}].path"
    for index, pattern in enumerate(allowlist.blocked_patterns):
        # Taken as it is, it would block nothing, and its author would think that it does.
        if not pattern or "/" in pattern:
            yield f"not a part of one path component @ $.blockedPatterns[{index}]"


def allowlist_template() -> str:
    """An allowlist to start from: it permits reading one folder that most hosts don't have."""
    template = MountAllowlist(
        allowed_roots=(
            AllowedRoot(
                path="~/nanoclaw-shared",
                allow_read_write=False,
                description="what groups may be given, besides their own folders",
            ),
        ),
        blocked_patterns=("password", "*.pem"),
        non_main_read_only=True,
    )
    return dump_json(own.unstructure(template), indent=True).decode() + "\n"


def write_allowlist_template(path: Path) -> bool:
    """Write the template where there is nothing yet; False if there is, and then it is left alone.

    The directory is made for its user alone, and so is the file.

    Raises:
        WorkspaceFailed: the disk refuses.
    """
    try:
        with open_directory(path.parent, create=True, mode=0o700) as directory:
            return directory.create(path.name, allowlist_template().encode(), mode=0o600)
    except OSError as error:
        raise WorkspaceFailed(path, error.strerror or "an error of the system") from None
