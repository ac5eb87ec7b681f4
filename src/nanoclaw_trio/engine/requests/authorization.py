"""Who may ask for what (wire-formats 6). Pure.

A refusal is about who asks: from the main group the same request would have been carried out. It is
logged and consumed. What nobody could ask for with success, since it names nothing that there is or
says nothing that makes sense, is a broken request, and is kept in data/ipc/errors for a person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nanoclaw_trio.mailbox.requests import (
    CancelTask,
    PauseTask,
    RefreshGroups,
    RegisterGroup,
    ResumeTask,
    ScheduleTask,
    SendMessage,
    UpdateTask,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nanoclaw_trio.mailbox.requests import Request
    from nanoclaw_trio.store.models import Registration

_CHANGE: Final = "change another group's task"

MAIN_ALONE: Final[Mapping[type[Request], str]] = {
    SendMessage: "write to another group's chat",
    ScheduleTask: "schedule for another group",
    PauseTask: _CHANGE,
    ResumeTask: _CHANGE,
    CancelTask: _CHANGE,
    UpdateTask: _CHANGE,
    RefreshGroups: "refresh the list of groups",
    RegisterGroup: "register groups",
}
"""What only the main group may."""


class RequestRefused(Exception):
    """A group asked for what it may not have; the text says why, and has nothing of the request."""


def authorize(request: Request, sender: Registration, *, owner: str | None) -> None:
    """Return if a group may ask for this.

    Args:
        request: What is asked.
        sender: The group in whose directory it lay.
        owner: The folder of the group whose the chat or the task is that it is about; None if it is
            nobody's, or the request is about neither.

    Raises:
        RequestRefused: it may not.
    """
    if not sender.is_main and not (_is_for_all(request) and owner == sender.folder):
        raise RequestRefused(f"only the main group may {MAIN_ALONE[type(request)]}")


def _is_for_all(request: Request) -> bool:
    return not isinstance(request, RefreshGroups | RegisterGroup)
