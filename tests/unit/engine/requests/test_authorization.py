"""Who may ask for what: every request, from the main group and from others, about own and foreign."""

from __future__ import annotations

from typing import get_args

import pytest

from nanoclaw_trio.engine.requests.authorization import MAIN_ALONE, RequestRefused, authorize
from nanoclaw_trio.mailbox.requests import (
    KINDS,
    CancelTask,
    PauseTask,
    RefreshGroups,
    RegisterGroup,
    Request,
    ResumeTask,
    ScheduleTask,
    SendMessage,
    UpdateTask,
)
from nanoclaw_trio.protocol.models import RegisteredGroup
from nanoclaw_trio.store.models import Registration

MAIN = Registration(
    jid="main@chat", group=RegisteredGroup(name="Main", folder="main"), is_main=True
)
FAMILY = Registration(jid="family@chat", group=RegisteredGroup(name="Family", folder="family"))

SCHEDULE = ScheduleTask(
    prompt="canary", schedule_type="interval", schedule_value="60000", target_jid="a@chat"
)
REGISTER = RegisterGroup(jid="a@chat", name="canary", folder="work", trigger="@Andy")

ABOUT_SOMETHING = [
    SendMessage(chat_jid="a@chat", text="canary"),
    SCHEDULE,
    PauseTask(task_id="canary"),
    ResumeTask(task_id="canary"),
    CancelTask(task_id="canary"),
    UpdateTask(task_id="canary", prompt="canary"),
]
FOR_MAIN_ALONE = [RefreshGroups(), REGISTER]


def may(request: Request, sender: Registration, owner: str | None) -> bool:
    """Whether a group may ask for this."""
    try:
        authorize(request, sender, owner=owner)
    except RequestRefused:
        return False
    return True


def test_the_tables_have_every_request() -> None:
    """A request that is added to the format is added here."""
    tested = {type(request) for request in (*ABOUT_SOMETHING, *FOR_MAIN_ALONE)}
    assert tested == set(get_args(Request))
    assert tested == set(MAIN_ALONE)
    assert tested == {cls for kinds in KINDS.values() for cls in kinds.values()}


@pytest.mark.parametrize("request_", ABOUT_SOMETHING, ids=lambda request: type(request).__name__)
@pytest.mark.parametrize(
    ("sender", "owner", "allowed"),
    [
        (MAIN, "main", True),
        (MAIN, "family", True),
        (MAIN, None, True),
        (FAMILY, "family", True),
        (FAMILY, "main", False),
        (FAMILY, "work", False),
        (FAMILY, "Family", False),
        (FAMILY, None, False),
    ],
)
def test_others_ask_for_their_own_alone(
    request_: Request, sender: Registration, owner: str | None, *, allowed: bool
) -> None:
    """The main group may speak in, schedule for and change whatever there is; another one what is
    its own, and not what is nobody's."""
    assert may(request_, sender, owner) is allowed


@pytest.mark.parametrize("request_", FOR_MAIN_ALONE, ids=lambda request: type(request).__name__)
@pytest.mark.parametrize("owner", ["main", "family", None])
def test_main_group_alone_administers(request_: Request, owner: str | None) -> None:
    """Refreshing and registering is the main group's, whoever's the thing is."""
    assert may(request_, MAIN, owner)
    assert not may(request_, FAMILY, owner)


@pytest.mark.parametrize(
    "request_", [*ABOUT_SOMETHING, *FOR_MAIN_ALONE], ids=lambda request: type(request).__name__
)
def test_refusal_says_why_and_nothing_of_the_request(request_: Request) -> None:
    """The reason is for a log: it says what only the main group may, and holds no text."""
    with pytest.raises(RequestRefused, match="only the main group may") as caught:
        authorize(request_, FAMILY, owner="work")
    assert "canary" not in str(caught.value)
