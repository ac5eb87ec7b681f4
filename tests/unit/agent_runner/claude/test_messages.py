"""A prompt, its notes and its pictures, as one message."""

from __future__ import annotations

import base64
import os

import pytest

from nanoclaw_agent.agents.claude.messages import (
    LARGEST_IMAGE,
    SCHEDULED,
    first_text,
    read_images,
    user_message,
    with_note,
)
from nanoclaw_agent.container_input import ContainerInput, ImageAttachment

PICTURE = {"type": "image", "source": {}}


@pytest.mark.parametrize(("scheduled", "text"), [(False, "Hello"), (True, f"{SCHEDULED}\n\nHello")])
def test_scheduled_prompt_says_so(scheduled, text):
    """A prompt of the scheduler's tells the model that no person has sent it."""
    container_input = ContainerInput(
        prompt="", group_folder="g", chat_jid="c", is_main=False, is_scheduled_task=scheduled
    )
    assert first_text(container_input, "Hello") == text


@pytest.mark.parametrize(
    ("images", "content"),
    [
        ([], "Hello"),
        ([PICTURE, PICTURE], [{"type": "text", "text": "Hello"}, PICTURE, PICTURE]),
    ],
)
def test_text_and_pictures_are_one_message(images, content):
    """Two messages would be two turns, so pictures are blocks of the one with the text."""
    assert user_message("Hello", iter(images)) == {
        "type": "user",
        "message": {"role": "user", "content": content},
        "parent_tool_use_id": None,
    }


@pytest.mark.parametrize("images", [[], [PICTURE]])
def test_note_comes_before_the_text(images):
    """A note is a block of its own, and the message that it is added to stays as it was."""
    message = user_message("Hello", images)
    noted = with_note(message, "Mind")
    blocks = [{"type": "text", "text": "Mind"}, {"type": "text", "text": "Hello"}, *images]
    assert noted == {**message, "message": {"role": "user", "content": blocks}}
    assert message == user_message("Hello", images)
    assert with_note(noted, "First")["message"]["content"][1:] == blocks


def read(group, path, media_type="image/png"):
    (block,) = read_images([ImageAttachment(relative_path=path, media_type=media_type)], group)
    return block


@pytest.fixture
def group(tmp_path):
    """A group's folder."""
    folder = tmp_path / "group"
    folder.mkdir()
    return folder


def test_picture_is_a_block(group):
    """Its bytes arrive unchanged, with the media type that the host gave."""
    (group / "a").mkdir()
    (group / "a" / "b.png").write_bytes(b"\x89PNG\0\xff")
    block = read(group, "a/b.png")
    assert base64.b64decode(block["source"].pop("data")) == b"\x89PNG\0\xff"
    assert block == {"type": "image", "source": {"type": "base64", "media_type": "image/png"}}


def test_picture_through_a_link_inside_is_shown(group):
    """A link that stays in the group's folder is followed."""
    (group / "real.png").write_bytes(b"data")
    (group / "link.png").symlink_to("real.png")
    assert read(group, "link.png")["type"] == "image"


def _large(group):
    with (group / "x").open("wb") as file:
        file.truncate(LARGEST_IMAGE + 1)
    return "x"


def _link(target):
    def make(group):
        (group.parent / "outside").write_text("canary")
        (group / "x").symlink_to(target)
        return "x"

    return make


def _pipe(group):
    os.mkfifo(group / "x")
    return "x"


def _unreadable(group):
    return "x" * 300


OUTSIDE = "it lies outside of the group's folder"
MISSING = "there is no such file"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda _: "missing.png", MISSING),
        (lambda _: ".", MISSING),
        (lambda _: "", MISSING),
        (_pipe, MISSING),
        (lambda _: "../outside", OUTSIDE),
        (lambda _: "/etc/passwd", OUTSIDE),
        (_link("../outside"), OUTSIDE),
        (_link("/etc"), OUTSIDE),
        (_link("nowhere"), MISSING),
        (_link("x"), ""),
        (lambda _: "a\0b", "embedded null"),
        (_unreadable, ""),
        (_large, f"it has more than {LARGEST_IMAGE} bytes"),
    ],
)
def test_picture_that_can_not_be_shown_is_a_text(group, caplog, make, reason):
    """The model is told which picture it doesn't see, and why; the prompt isn't lost for it."""
    path = make(group)
    block = read(group, path)
    assert block["type"] == "text"
    assert block["text"].startswith(f"[The picture {path} can't be shown: ")
    assert reason in block["text"]
    assert "canary" not in block["text"]
    assert "is left out" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any file")
def test_picture_without_permission_is_a_text(group):
    """The reason is the system's own word for it."""
    (group / "x").touch(mode=0)
    assert "Permission denied" in read(group, "x")["text"]
