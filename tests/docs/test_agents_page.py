"""Each example in docs/agents is what the host takes, or what it writes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from nanoclaw_trio.environment import SECRET_VARIABLES
from nanoclaw_trio.mailbox.follow_up import FollowUp, check_name
from nanoclaw_trio.protocol.convert import decode_output, structure, wire
from nanoclaw_trio.protocol.frames import Frame, FrameParser
from nanoclaw_trio.protocol.models import (
    AvailableGroup,
    ContainerInput,
    ContainerOutput,
    TaskSnapshot,
)

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "agents.md").read_text()

MESSAGE = ({"type", "chatJid", "text", "groupFolder", "timestamp"}, {"sender"})
"""The keys of a file in messages/: those that are always there, and the others (protocol 6)."""

REQUESTS = {
    "schedule_task": (
        {"prompt", "schedule_type", "schedule_value", "targetJid"},
        {"taskId", "context_mode"},
    ),
    "pause_task": ({"taskId"}, set()),
    "resume_task": ({"taskId"}, set()),
    "cancel_task": ({"taskId"}, set()),
    "update_task": ({"taskId"}, {"prompt", "schedule_type", "schedule_value"}),
    "refresh_groups": (set(), set()),
    "register_group": (
        {"jid", "name", "folder", "trigger"},
        {"requiresTrigger", "containerConfig"},
    ),
}
"""The same of each kind of file in tasks/, beside `type`."""


def blocks(heading, language="json"):
    """The blocks of one language below a heading, up to the next one."""
    text = re.split(rf"^#+ {heading}$", PAGE, flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", text, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def documents(heading):
    """The JSON below a heading."""
    return [json.loads(block) for block in blocks(heading)]


def is_whole(document, model):
    """Whether a document is a model's, and has no key that the model doesn't."""
    return wire.unstructure(structure(wire, document, model)) == document


def test_the_input_has_every_key():
    """The example input has each key that a host may write, and the secrets."""
    (document,) = documents("Standard input")
    assert set(document.pop("secrets")) <= set(SECRET_VARIABLES)
    container_input = structure(wire, document, ContainerInput)
    assert wire.unstructure(container_input) == document
    assert None not in (container_input.session_id, container_input.image_attachments)


@pytest.mark.parametrize("document", documents("Outputs"), ids=lambda document: document["status"])
def test_outputs_are_outputs(document):
    """Each output is one that the host takes as it is."""
    assert is_whole(document, ContainerOutput)


def test_outputs_are_of_three_kinds():
    """An answer, a session update and an error, in this order."""
    answer, update, error = (
        structure(wire, item, ContainerOutput) for item in documents("Outputs")
    )
    assert answer.result is not None
    assert update.is_session_update
    assert (error.status, error.result) == ("error", None)


def test_the_answer_names_a_follow_ups_file():
    """What says which follow-up it answers is an output with a name that the host would give."""
    (document,) = documents("What is answered")
    assert is_whole(document, ContainerOutput)
    (name,) = document["followUps"]
    assert check_name(name) == name


def test_the_frame_is_a_frame():
    """What stands between the markers is cut out and understood as the host does it."""
    (text,) = blocks("Outputs", "text")
    parser = FrameParser()
    parser.receive_data(text.encode())
    frame = parser.next_event()
    assert isinstance(frame, Frame)
    assert decode_output(frame.payload).result == "It is a cat."


def test_the_follow_up_is_one():
    """The host would write this file."""
    (document,) = documents("Follow-ups")
    assert is_whole(document, FollowUp)


def test_the_message_has_the_keys_of_one():
    """All keys that must be there, and those that may."""
    (document,) = documents("Say something in a chat")
    assert document.keys() == MESSAGE[0] | MESSAGE[1]


def test_every_request_is_shown():
    """One example of each kind."""
    assert [document["type"] for document in documents("Requests")] == list(REQUESTS)


@pytest.mark.parametrize("document", documents("Requests"), ids=lambda document: document["type"])
def test_requests_have_the_keys_of_theirs(document):
    """All keys that must be there, and no other than those that may."""
    required, optional = REQUESTS[document["type"]]
    assert required <= document.keys() - {"type"} <= required | optional


@pytest.mark.parametrize("kind", REQUESTS)
def test_the_other_page_has_the_same_keys(kind):
    """docs/protocol names each key of a request in the same way."""
    protocol = (DOCS / "protocol.md").read_text()
    row = re.search(rf"^\| (?:`\w+`, )*`{kind}`(?:, `\w+`)* \|(.*)\|$", protocol, re.MULTILINE)[1]
    required, optional = REQUESTS[kind]
    for key in required:
        assert re.search(rf"`{key}`(?!\?)", row)
    for key in optional:
        assert f"`{key}`?" in row


def test_the_snapshots_are_snapshots():
    """The host would write these files."""
    (tasks, groups) = documents("What the host tells")
    assert tasks
    assert groups["groups"]
    assert all(is_whole(task, TaskSnapshot) for task in tasks)
    assert all(is_whole(group, AvailableGroup) for group in groups["groups"])
    assert groups.keys() == {"groups", "lastSync"}


@pytest.mark.parametrize("name", SECRET_VARIABLES)
def test_every_secret_is_named(name):
    """Who writes an agent knows each name under which a key may come."""
    assert f"`{name}`" in PAGE


def test_no_json_is_left_out():
    """Each block of JSON on the page is one of those above."""
    headings = [
        *(
            "Standard input",
            "Outputs",
            "What is answered",
            "Follow-ups",
            "Say something in a chat",
            "Requests",
        ),
        "What the host tells",
    ]
    shown = sum(len(blocks(heading)) for heading in headings)
    assert shown == len(re.findall(r"^```json$", PAGE, re.MULTILINE))
