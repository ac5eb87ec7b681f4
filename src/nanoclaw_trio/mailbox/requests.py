"""What an agent may ask of the host, as it stands in the files of its mailbox (wire-formats 6).

Who asks is not in here. A file lies in the directory of the group whose agent wrote it, and that
alone says who that was: keys such as `groupFolder` and `isMain` are ones that we don't know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import attrs
from attrs import frozen

from nanoclaw_trio.protocol.convert import parse_at_once, structure, wire
from nanoclaw_trio.protocol.converters import document_key
from nanoclaw_trio.protocol.models import ContainerConfig  # noqa: TC001 - cattrs reads it
from nanoclaw_trio.store.models import ContextMode, ScheduleType  # noqa: TC001 - cattrs reads them
from nanoclaw_trio.workspace.confinement import find_misfits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MESSAGES: Final = "messages"
TASKS: Final = "tasks"


@frozen(kw_only=True)
class SendMessage:
    """Say something in a chat now.

    Attributes:
        chat_jid: In which.
        text: What to say.
        sender: A name to speak under, if the agent chose one.
    """

    chat_jid: str
    text: str
    sender: str | None = None


@frozen(kw_only=True)
class ScheduleTask:
    """Have a group do something at times.

    Attributes:
        prompt: What its agent is to be told.
        schedule_type: How schedule_value is to be read.
        schedule_value: A cron expression, milliseconds, or a local time without zone.
        target_jid: The chat of the group that does it, where its answers go.
        context_mode: Whether it runs in the group's conversation, or in one of its own.
        task_id: The id that it shall have; None to be given one.
    """

    prompt: str
    schedule_type: ScheduleType
    schedule_value: str
    target_jid: str
    context_mode: ContextMode = "isolated"
    task_id: str | None = None


@frozen(kw_only=True)
class PauseTask:
    """Let a task rest until it is resumed."""

    task_id: str


@frozen(kw_only=True)
class ResumeTask:
    """Let a paused task go on."""

    task_id: str


@frozen(kw_only=True)
class CancelTask:
    """Delete a task."""

    task_id: str


@frozen(kw_only=True)
class UpdateTask:
    """Change what is given of a task, and leave the rest of it."""

    task_id: str
    prompt: str | None = None
    schedule_type: ScheduleType | None = None
    schedule_value: str | None = None


@frozen(kw_only=True)
class RefreshGroups:
    """Look for chats that could be registered anew."""


@frozen(kw_only=True)
class RegisterGroup:
    """Make a chat a group of its own.

    Attributes:
        jid: The chat.
        name: For people.
        folder: The group's folder.
        trigger: The word that addresses the assistant there.
        requires_trigger: Whether messages without it are left alone; None where nothing is said.
        container_config: What its container shall get besides the usual. The mounts in it are only
            asked for: the allowlist decides at each run (wire-formats 7). It may narrow the group's
            confinement and not widen it (:mod:`nanoclaw_trio.workspace.confinement`).
    """

    jid: str
    name: str
    folder: str
    trigger: str
    requires_trigger: bool | None = None
    container_config: ContainerConfig | None = None


TaskRequest: TypeAlias = ScheduleTask | PauseTask | ResumeTask | CancelTask | UpdateTask
Request: TypeAlias = SendMessage | TaskRequest | RefreshGroups | RegisterGroup

KINDS: Final[Mapping[str, Mapping[str, type[Request]]]] = {
    MESSAGES: {"message": SendMessage},
    TASKS: {
        "schedule_task": ScheduleTask,
        "pause_task": PauseTask,
        "resume_task": ResumeTask,
        "cancel_task": CancelTask,
        "update_task": UpdateTask,
        "refresh_groups": RefreshGroups,
        "register_group": RegisterGroup,
    },
}
"""What the files of a directory may hold, by their `type`."""

_MAY_BE_EMPTY: Final = frozenset({"sender"})
"""Attributes for which an empty text means the same as none: it is no reason to lose the rest."""


def decode_request(directory: str, content: bytes) -> Request:
    """The request in a file of `messages` or of `tasks`.

    Raises:
        ValueError: there is none. The text has the path into it, such as `not a string @ $.text`,
            and nothing of what the agent wrote.
    """
    document = parse_at_once(content)
    request = structure(wire, document, _kind_of(document, KINDS[directory]))
    problems = "; ".join(_misfits(request))
    if problems:
        raise ValueError(problems)
    return request


def _kind_of(document: object, kinds: Mapping[str, type[Request]]) -> type[Request]:
    if not isinstance(document, dict):
        raise ValueError("not an object @ $")  # noqa: TRY004 - the document's fault, as the others
    if "type" not in document:
        raise ValueError("required field missing @ $.type")
    kind = document["type"]
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"not one of {', '.join(kinds)} @ $.type")
    return kinds[kind]


def _misfits(request: Request) -> Iterator[str]:
    for name, value in attrs.asdict(request, recurse=False).items():
        if value == "" and name not in _MAY_BE_EMPTY:
            yield f"empty @ $.{document_key(name)}"
    if isinstance(request, RegisterGroup) and request.container_config is not None:
        yield from find_misfits(request.container_config, "$.containerConfig")
