"""What is known of a group, for people and for programs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from nanoclaw_trio.cli.records import group_record
from nanoclaw_trio.cli.table import align
from nanoclaw_trio.protocol.converters import wire
from nanoclaw_trio.protocol.json_text import dump_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nanoclaw_trio.store.models import Registration
    from nanoclaw_trio.workspace.claim import Holder


@frozen(kw_only=True)
class GroupPicture:
    """What is known of a group.

    Attributes:
        registration: As it is registered.
        has_session: Whether there is a session to go on with.
        waiting: Messages that no agent has yet, those without the trigger word among them.
        owed: Those of them that ask for an answer.
        tasks: Scheduled tasks, the paused ones among them.
        holder: Whose run has the group now; None if it has none.
    """

    registration: Registration
    has_session: bool
    waiting: int
    owed: int
    tasks: int
    holder: Holder | None = None


def removal_lines(picture: GroupPicture) -> Iterator[str]:
    """What is said of a group that was removed, for people."""
    registration = picture.registration
    yield f"{registration.folder} answers no more in {registration.jid}"
    if picture.tasks:
        yield f"its tasks are kept ({picture.tasks}), and run again once it is registered again"


def list_lines(pictures: Sequence[GroupPicture]) -> tuple[str, ...]:
    """Groups below each other, for people."""
    heading = ("FOLDER", "CHAT", "NAME", "TRIGGER", "WAITING")
    return align(heading, [_row(picture) for picture in pictures])


def _row(picture: GroupPicture) -> tuple[str, ...]:
    registration = picture.registration
    folder = f"{registration.folder} (main)" if registration.is_main else registration.folder
    group = registration.group
    return folder, registration.jid, group.name, trigger_text(registration), str(picture.owed)


def trigger_text(registration: Registration) -> str:
    """The word that addresses the assistant, or `-` where none is needed."""
    requires = registration.group.requires_trigger
    is_needed = not registration.is_main if requires is None else requires
    return registration.group.trigger if is_needed else "-"


def list_record(picture: GroupPicture) -> dict[str, Any]:
    """A group, for programs."""
    return {
        "type": "group",
        **group_record(picture.registration),
        "hasSession": picture.has_session,
        "waiting": picture.waiting,
        "owed": picture.owed,
        "tasks": picture.tasks,
    }


def show_record(picture: GroupPicture) -> dict[str, Any]:
    """A group and whose run has it, for programs."""
    holder = picture.holder
    return {**list_record(picture), "run": None if holder is None else wire.unstructure(holder)}


def show_lines(picture: GroupPicture) -> Iterator[str]:
    """All that is known of a group, for people."""
    registration = picture.registration
    group = registration.group
    yield f"folder:    {group.folder}{' (the main group)' if registration.is_main else ''}"
    yield f"chat:      {registration.jid}"
    yield f"name:      {group.name}"
    yield f"trigger:   {trigger_text(registration)}"
    yield f"added:     {group.added_at or 'not known'}"
    if group.container_config is not None:
        yield f"container: {dump_json(wire.unstructure(group.container_config)).decode()}"
    yield f"session:   {'one to go on with' if picture.has_session else 'none yet'}"
    yield f"waiting:   {picture.owed} messages for an answer, {picture.waiting - picture.owed} others"
    yield f"tasks:     {picture.tasks}"
    yield f"run:       {_holder_text(picture.holder)}"


def _holder_text(holder: Holder | None) -> str:
    if holder is None:
        return "none now"
    return f"container {holder.container} of process {holder.pid}, since {holder.since}"
