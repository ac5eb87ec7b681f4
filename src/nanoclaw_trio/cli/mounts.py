"""`nanoclaw-trio mounts`: the allowlist, and what it makes of a group's mounts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from nanoclaw_trio.cli.conduct import conduct
from nanoclaw_trio.cli.container_config import container_config
from nanoclaw_trio.cli.ending import BAD_USAGE_STATUS
from nanoclaw_trio.cli.exit_status import SUCCESS
from nanoclaw_trio.cli.output import json_line, write_text
from nanoclaw_trio.cli.request import MAIN_GROUP
from nanoclaw_trio.cli.terminal import neutralize
from nanoclaw_trio.errors import InvalidFile
from nanoclaw_trio.files import in_thread, read_if_present
from nanoclaw_trio.protocol.converters import own
from nanoclaw_trio.protocol.json_text import parse_json
from nanoclaw_trio.protocol.models import RegisteredGroup
from nanoclaw_trio.settings import Settings
from nanoclaw_trio.workspace.allowlist import write_allowlist_template
from nanoclaw_trio.workspace.prepare import explain_mounts

if TYPE_CHECKING:
    from nanoclaw_trio.cli.program import World
    from nanoclaw_trio.protocol.models import ContainerConfig
    from nanoclaw_trio.workspace.mounts import MountExplanation

REFUSED: Final = 1
"""The exit status where a mount that was asked for is refused."""


@frozen(kw_only=True)
class CheckOptions:
    """The options of `mounts check`; `config` is a file with a ContainerConfig as JSON."""

    group: str
    project: Path
    main: bool | None
    config: Path | None
    as_json: bool


async def init_command(world: World) -> int:
    """Write an allowlist template where there is no allowlist; the exit status."""

    async def write() -> int:
        # The place is the user's, and the same for every project.
        path = Settings(project_root=Path()).allowlist_path
        if not await in_thread(write_allowlist_template, path):
            world.streams.say(f"{path} is there already and was left as it is")
            return BAD_USAGE_STATUS
        await write_text(world.streams, world.interruption, f"{path}\n")
        return SUCCESS

    return await conduct(world, write)


async def check_command(options: CheckOptions, world: World) -> int:
    """Explain each mount of a group; the exit status."""

    async def check() -> int:
        rows = await in_thread(_explain, options)
        terminal = world.streams.stdout_is_terminal
        for row in rows:
            line = _line(row, as_json=options.as_json, terminal=terminal)
            await write_text(world.streams, world.interruption, line)
        return REFUSED if any(map(is_refusal, rows)) else SUCCESS

    return await conduct(world, check)


def _explain(options: CheckOptions) -> tuple[MountExplanation, ...]:
    settings = Settings.load(options.project)
    config = None if options.config is None else read_config(options.config)
    group = RegisteredGroup(name=options.group, folder=options.group, container_config=config)
    is_main = options.group == MAIN_GROUP if options.main is None else options.main
    return explain_mounts(group, is_main=is_main, settings=settings)


def read_config(path: Path) -> ContainerConfig:
    """A group's containerConfig from a file of the operator's.

    Raises:
        InvalidFile: it isn't there, or doesn't fit; the message has the path into it.
    """
    try:
        content = read_if_present(path)
        if content is None:
            raise InvalidFile(path, "no such file", "name another")
        return container_config(parse_json(content))
    except OSError as error:
        raise InvalidFile(path, error.strerror or "can't be read", "name another") from None
    except ValueError as error:
        raise InvalidFile(path, str(error), "mend it") from None


def is_refusal(row: MountExplanation) -> bool:
    """Whether the group asked for this mount and doesn't get it.

    Of those that groups have by themselves the path inside is known, even where this one lacks it.
    """
    return not row.allowed and row.container_path is None


def mount_text(row: MountExplanation) -> str:
    """A mount for people."""
    if not row.allowed:
        return f"no   {row.container_path or row.host_path}: {row.reason}"
    mode = "read-only" if row.readonly else "read-write"
    return f"yes  {row.container_path} = {row.host_path}, {mode}: {row.reason}"


def mount_record(row: MountExplanation) -> dict[str, Any]:
    """A mount for programs."""
    return {"type": "mount", **own.unstructure(row)}


def _line(row: MountExplanation, *, as_json: bool, terminal: bool) -> str:
    if as_json:
        return json_line(mount_record(row), terminal=terminal)
    text = mount_text(row)
    return f"{neutralize(text) if terminal else text}\n"
