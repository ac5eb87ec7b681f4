"""What crosses the line between host and container, and what the operator writes about groups.

The nouns and their fields are the original's; on the wire the keys are camelCase
(see :mod:`nanoclaw_trio.protocol.convert`). Times in milliseconds on the wire stay milliseconds
here only where the name says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from attrs import frozen


@frozen(kw_only=True)
class ImageAttachment:
    """A picture that goes with the prompt. The path is relative to the group's folder."""

    relative_path: str
    media_type: str


@frozen(kw_only=True)
class ContainerInput:
    """What the agent reads on its standard input (wire-formats 1).

    Secrets are no field of it: they meet it in
    :func:`~nanoclaw_trio.protocol.convert.encode_input` and nowhere else.

    Attributes:
        prompt: What the agent is asked.
        group_folder: The group's folder name.
        chat_jid: The chat's address, opaque to the engine.
        is_main: Whether this is the main group, which is trusted and administers.
        session_id: The Claude session to resume, or None for a new one.
        is_scheduled_task: Whether the scheduler started this, rather than a person.
        assistant_name: The display name, used in archived transcripts.
        image_attachments: Pictures that go with the prompt.
    """

    prompt: str
    group_folder: str
    chat_jid: str
    is_main: bool
    session_id: str | None = None
    is_scheduled_task: bool | None = None
    assistant_name: str | None = None
    image_attachments: tuple[ImageAttachment, ...] | None = None


@frozen(kw_only=True)
class ContainerOutput:
    """What an agent writes between two markers (wire-formats 2).

    A success whose result is None and which has a session id is a session update: the query
    ended, and the agent waits for follow-ups.

    Attributes:
        status: Whether it went well.
        result: The answer; None if this is none.
        new_session_id: The session that it belongs to.
        error: What went wrong, for people.
        follow_ups: The files in the mailbox that this output or an earlier one has answered; each
            is named until its query's session update and then no more. None from an agent that
            doesn't say it, as the original's don't.
    """

    status: Literal["success", "error"]
    result: str | None
    new_session_id: str | None = None
    error: str | None = None
    follow_ups: tuple[str, ...] | None = None

    @property
    def is_session_update(self) -> bool:
        """Whether this says "the query ended" rather than an answer."""
        return self.status == "success" and self.result is None and self.new_session_id is not None


@frozen(kw_only=True)
class AdditionalMount:
    """A mount that a group asks for, and that the allowlist has to permit (wire-formats 7).

    Attributes:
        host_path: A path on the host; a leading `~` stands for the home directory.
        container_path: Below /workspace/extra; by default the host path's last component.
        readonly: False asks for read-write.
    """

    host_path: str
    container_path: str | None = None
    readonly: bool = True


@frozen(kw_only=True)
class ContainerConfig:
    """What a group's registration says about its container.

    Attributes:
        additional_mounts: Mounts besides the usual ones, subject to the allowlist.
        timeout: Milliseconds without a marker before a run is stopped; overrides the setting.
        network: Instead of CONTAINER_NETWORK.
        memory: Bytes, instead of CONTAINER_MEMORY.
        cpus: Instead of CONTAINER_CPUS.
        read_only: Instead of CONTAINER_READ_ONLY.
    """

    additional_mounts: tuple[AdditionalMount, ...] = ()
    timeout: int | None = None
    network: str | None = None
    memory: int | None = None
    cpus: float | None = None
    read_only: bool | None = None


@frozen(kw_only=True)
class RegisteredGroup:
    """A chat group that the assistant serves.

    Attributes:
        name: For people.
        folder: Its folder's name (wire-formats 8).
        trigger: The word that addresses the assistant in this group.
        added_at: ISO time of its registration.
        requires_trigger: Whether messages without the trigger are left alone.
        container_config: What its container gets besides the usual.
    """

    name: str
    folder: str
    trigger: str = ""
    added_at: str = ""
    requires_trigger: bool | None = None
    container_config: ContainerConfig | None = None


@frozen(kw_only=True)
class AllowedRoot:
    """A directory of the host below which additional mounts are permitted."""

    path: str
    allow_read_write: bool
    description: str | None = None


@frozen(kw_only=True)
class MountAllowlist:
    """The operator's word on additional mounts (wire-formats 7)."""

    allowed_roots: tuple[AllowedRoot, ...]
    blocked_patterns: tuple[str, ...]
    non_main_read_only: bool


@frozen(kw_only=True)
class TaskSnapshot:
    """A scheduled task as the agent sees it in current_tasks.json.

    Its keys are the original's: `groupFolder` is camelCase there, the others snake_case.
    """

    id: str
    group_folder: str
    prompt: str
    schedule_type: Literal["cron", "interval", "once"]
    schedule_value: str
    status: str
    next_run: str | None


@frozen(kw_only=True)
class AvailableGroup:
    """A chat that could be registered, as the main group sees it in available_groups.json."""

    jid: str
    name: str
    last_activity: str
    is_registered: bool


@frozen(kw_only=True)
class VolumeMount:
    """A directory or file of the host that a container sees."""

    host_path: Path
    container_path: str
    readonly: bool
