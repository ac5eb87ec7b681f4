"""What an agent may know of tasks and groups, written before its run (wire-formats 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nanoclaw_trio.clock import iso_timestamp, utc_now
from nanoclaw_trio.files import in_thread, open_directory
from nanoclaw_trio.protocol.convert import encode_groups, encode_tasks
from nanoclaw_trio.workspace.folders import GroupPaths

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from nanoclaw_trio.files import Owner
    from nanoclaw_trio.protocol.models import AvailableGroup, TaskSnapshot
    from nanoclaw_trio.settings import Settings

TASKS_FILE: Final = "current_tasks.json"
GROUPS_FILE: Final = "available_groups.json"


async def write_tasks_snapshot(
    group_folder: str,
    is_main: bool,  # noqa: FBT001 - the original's order of arguments
    tasks: Iterable[TaskSnapshot],
    *,
    settings: Settings,
    owner: Owner | None = None,
) -> None:
    """Tell a group's agent which tasks there are: the main group all, others their own.

    A reader sees the old file or the new one, never a part (Trap A20). What is made belongs to
    `owner`, where there is one. Done whole or, when cancelled before it began, not at all.

    Raises:
        InvalidGroupFolder: the caller's fault; nothing was written.
        UnsafePath: the group's directory was replaced by something else.
        OSError: the disk refuses.
    """
    visible = tuple(task for task in tasks if is_main or task.group_folder == group_folder)
    content = encode_tasks(visible)
    await in_thread(_write, settings.project_root, group_folder, owner, TASKS_FILE, content)


async def write_groups_snapshot(
    group_folder: str,
    is_main: bool,  # noqa: FBT001 - the original's order of arguments
    groups: Iterable[AvailableGroup],
    *,
    settings: Settings,
    owner: Owner | None = None,
) -> None:
    """Tell a group's agent which chats could be registered: the main group all, others none.

    Otherwise as :func:`write_tasks_snapshot`.
    """
    content = encode_groups(tuple(groups) if is_main else (), iso_timestamp(utc_now()))
    await in_thread(_write, settings.project_root, group_folder, owner, GROUPS_FILE, content)


def _write(
    project_root: Path, group_folder: str, owner: Owner | None, name: str, content: bytes
) -> None:
    ipc_dir = GroupPaths.of(project_root, group_folder).ipc_dir
    with (
        open_directory(ipc_dir.parent, create=True, owner=owner) as root,
        root.child(ipc_dir.name, create=True) as directory,
    ):
        directory.write(name, content)
