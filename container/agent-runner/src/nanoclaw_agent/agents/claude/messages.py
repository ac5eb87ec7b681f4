"""A prompt, as the CLI takes it: one message with the text and all of its pictures.

Two messages would be two turns, with two answers.
"""

from __future__ import annotations

import base64
import logging
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from nanoclaw_agent.container_input import ContainerInput, ImageAttachment

SCHEDULED: Final = (
    "[SCHEDULED TASK: the scheduler sent this message when it was due. "
    "It does not come from a person in the chat, and nobody may be reading.]"
)

LOST_SESSION: Final = (
    "[The conversation that this message continues can't be found. This is a new session, "
    "which knows nothing of what was said before.]"
)

LARGEST_IMAGE: Final = 32 * 1024 * 1024
"""Bytes of a picture: more than the API takes, and far from what would fill the memory."""

log: Final = logging.getLogger(__name__)


def first_text(container_input: ContainerInput, prompt: str) -> str:
    """The first prompt of a session; a scheduled one says so."""
    return f"{SCHEDULED}\n\n{prompt}" if container_input.is_scheduled_task else prompt


def user_message(text: str, images: Iterable[dict[str, Any]] = ()) -> dict[str, Any]:
    """A message of streaming input."""
    blocks = list(images)
    content = [{"type": "text", "text": text}, *blocks] if blocks else text
    return {
        "type": "user",
        "message": {"role": "user", "content": content},
        "parent_tool_use_id": None,
    }


def with_note(message: dict[str, Any], note: str) -> dict[str, Any]:
    """The same message, with something said before it."""
    content = message["message"]["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    content = [{"type": "text", "text": note}, *blocks]
    return message | {"message": message["message"] | {"content": content}}


def read_images(attachments: Iterable[ImageAttachment], group: Path) -> list[dict[str, Any]]:
    """A block for each picture. One that can't be read is a text that says so to the model."""
    return [_image(attachment, group) for attachment in attachments]


def _image(attachment: ImageAttachment, group: Path) -> dict[str, Any]:
    try:
        data = _read(group, attachment.relative_path)
    # RuntimeError: links that go round in a circle, before Python 3.13.
    except (OSError, ValueError, RuntimeError) as problem:
        log.warning("picture %r is left out: %s", attachment.relative_path, problem)
        reason = problem.strerror if isinstance(problem, OSError) else problem
        text = f"[The picture {attachment.relative_path} can't be shown: {reason}]"
        return {"type": "text", "text": text}
    source = {
        "type": "base64",
        "media_type": attachment.media_type,
        "data": base64.b64encode(data).decode(),
    }
    return {"type": "image", "source": source}


def _read(group: Path, relative_path: str) -> bytes:
    path = (group / relative_path).resolve()
    if not path.is_relative_to(group.resolve()):
        raise ValueError("it lies outside of the group's folder")
    if not path.is_file():
        raise ValueError("there is no such file")
    if path.stat().st_size > LARGEST_IMAGE:
        raise ValueError(f"it has more than {LARGEST_IMAGE} bytes")
    return path.read_bytes()
