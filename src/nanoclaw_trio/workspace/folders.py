"""Group folders: which names they may have, and which places on the host belong to one."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from nanoclaw_trio.errors import InvalidGroupFolder, UnsafePath
from nanoclaw_trio.files import is_link, real_path

if TYPE_CHECKING:
    from pathlib import Path

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

RESERVED: Final = frozenset({"global", "errors"})
"""Names of directories that stand beside the groups' own, under groups/ and data/ipc/: a group
named `errors` would see the files of other groups that could not be handled."""


def validate_group_folder(folder: str) -> str:
    """The name itself, if a group's folder may have it (wire-formats 8).

    Raises:
        InvalidGroupFolder: the caller's fault.
    """
    # Not `match` and `$`: that one matches before a newline at the end, too.
    if _NAME.fullmatch(folder) is None or folder.lower() in RESERVED:
        raise InvalidGroupFolder(folder)
    return folder


def _validate(_instance: Any, _attribute: Any, folder: str) -> None:
    validate_group_folder(folder)


# Without slots: they have no room for what is cached.
@frozen(kw_only=True, slots=False)
class GroupPaths:
    """The places on the host that belong to one group.

    The entries named after the group in groups/, data/sessions/ and data/ipc/ are the host's own.
    What is below :attr:`group_dir`, :attr:`claude_dir`, :attr:`runner_dir` and :attr:`ipc_dir` is in
    the agent's hands: go there by way of :class:`nanoclaw_trio.files.Directory` only.
    """

    project_root: Path
    folder: str = field(validator=_validate)

    @classmethod
    def of(cls, project_root: Path, folder: str) -> GroupPaths:
        """The places of a group of this project. Looks at the disk for links, and only for them.

        Raises:
            InvalidGroupFolder: the name isn't allowed.
            UnsafePath: one of the group's directories is a link that leaves its base.
        """
        paths = cls(project_root=project_root, folder=folder)
        for directory in (paths.group_dir, paths.sessions_dir, paths.ipc_dir):
            # What is no link is where it is.
            if is_link(directory):
                _require_inside(directory, directory.parent)
        return paths

    @cached_property
    def groups_dir(self) -> Path:
        """Where the folders of all groups are."""
        return self.project_root / "groups"

    @cached_property
    def group_dir(self) -> Path:
        """The group's own folder, /workspace/group inside."""
        return self.project_root.joinpath("groups", self.folder)

    @cached_property
    def logs_dir(self) -> Path:
        """Where the group's run logs are."""
        return self.group_dir / "logs"

    @cached_property
    def global_dir(self) -> Path:
        """What all groups but the main one may read, /workspace/global inside."""
        return self.groups_dir / "global"

    @cached_property
    def data_dir(self) -> Path:
        """The engine's own data on all groups."""
        return self.project_root / "data"

    @cached_property
    def sessions_dir(self) -> Path:
        """The group's sessions; the host's own, and not mounted itself."""
        return self.project_root.joinpath("data", "sessions", self.folder)

    @cached_property
    def claude_dir(self) -> Path:
        """/home/node/.claude inside."""
        return self.sessions_dir / ".claude"

    @cached_property
    def runner_dir(self) -> Path:
        """The group's copy of the agent-runner's source, /app/src inside."""
        return self.sessions_dir / "agent-runner-src"

    @cached_property
    def cover_dir(self) -> Path:
        """What the main group sees in the place of :attr:`data_dir`: the names of what it may see."""
        return self.data_dir / "cover"

    @cached_property
    def locks_dir(self) -> Path:
        """Which groups have a run just now; the host's own."""
        return self.data_dir / "locks"

    @cached_property
    def ipc_dir(self) -> Path:
        """The group's mailbox (wire-formats 6), /workspace/ipc inside."""
        return self.project_root.joinpath("data", "ipc", self.folder)

    @cached_property
    def input_dir(self) -> Path:
        """Follow-ups for the running agent."""
        return self.ipc_dir / "input"

    @cached_property
    def errors_dir(self) -> Path:
        """Files of all groups that could not be handled; the host's own."""
        return self.data_dir / "ipc" / "errors"


def _require_inside(path: Path, base: Path) -> None:
    if real_path(base) not in real_path(path).parents:
        raise UnsafePath(str(path), f"a link that leaves {base}")
