"""Standard input: one JSON object, up to the end of file or of a line (docs/protocol 1).

Unknown keys are ignored, and null counts as absent, since hosts differ. A wrong type is an error
that names the path to it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

from nanoclaw_agent.errors import InvalidInput
from nanoclaw_agent.secrets import Secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

STDIN: Final = 0

_TYPE_NAMES: Final = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "true or false",
    int: "a number",
    float: "a number",
}


@dataclass(frozen=True, kw_only=True)
class ImageAttachment:
    """A picture that came with the prompt; its path is relative to the group's folder."""

    relative_path: str
    media_type: str


@dataclass(frozen=True, kw_only=True)
class ContainerInput:
    """What the host asks of this agent. The secrets that came with it are no part of it."""

    prompt: str
    group_folder: str
    chat_jid: str
    is_main: bool
    session_id: str | None = None
    is_scheduled_task: bool = False
    assistant_name: str | None = None
    image_attachments: tuple[ImageAttachment, ...] = ()


async def read_stdin() -> bytes:
    """Standard input up to its end; afterwards it is the null device.

    Closing the pipe keeps the secrets that came through it out of the reach of child processes
    (Trap A17).
    """
    async with trio.lowlevel.FdStream(os.dup(STDIN)) as stream:
        data = b"".join([bytes(chunk) async for chunk in stream])
    close_stdin()
    return data


def close_stdin() -> None:
    """Put the null device in the place of standard input."""
    # A closed descriptor 0 would be given to the next file that is opened.
    with Path(os.devnull).open("rb") as null:
        os.dup2(null.fileno(), STDIN)


def parse_input(data: bytes) -> tuple[ContainerInput, Secrets]:
    """The input in these bytes, and the secrets that came with it, which are kept apart.

    Raises InvalidInput, whose text holds none of the values.
    """
    document = _decode(data)
    # At once, so that nothing after this line can put them into an output or a log.
    secrets = document.pop("secrets", None)
    return _container_input(document), _secrets(secrets)


def _container_input(document: Mapping[str, object]) -> ContainerInput:
    return ContainerInput(
        prompt=_required(document, "prompt", str),
        group_folder=_required(document, "groupFolder", str),
        chat_jid=_required(document, "chatJid", str),
        is_main=_required(document, "isMain", bool),
        session_id=_optional(document, "sessionId", str),
        is_scheduled_task=_optional(document, "isScheduledTask", bool) or False,
        assistant_name=_optional(document, "assistantName", str),
        image_attachments=tuple(_images(_optional(document, "imageAttachments", list) or [])),
    )


def _decode(data: bytes) -> dict[str, Any]:
    try:
        return _typed(json.loads(data.decode()), dict, "$")
    except json.JSONDecodeError as error:
        problem = f"{error.msg} at character {error.pos}"
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 at byte {error.start}"
    except (RecursionError, ValueError):
        problem = "nested too deep, or a number too long"
    # Not in a handler: those errors carry the document, and the secrets in it.
    raise InvalidInput(problem)


def _secrets(item: object) -> Secrets:
    path = "$.secrets"
    document = {} if item is None else _typed(item, dict, path)
    # By its number: a name may be a value that somebody put in the wrong place.
    values = [
        _typed(value, str, f"{path}[{index}]") for index, value in enumerate(document.values())
    ]
    if not all(_fits_an_environment(*pair) for pair in zip(document, values, strict=True)):
        raise InvalidInput(f"a name or a value can't be an environment variable's @ {path}")
    return Secrets(dict(zip(document, values, strict=True)))


def _fits_an_environment(name: str, value: str) -> bool:
    has_name = name.isidentifier() and name.isascii()
    # JSON allows half a surrogate pair, UTF-8 doesn't.
    return has_name and "\0" not in value and value == value.encode(errors="replace").decode()


def _images(items: list[Any]) -> list[ImageAttachment]:
    return [_image(item, f"$.imageAttachments[{index}]") for index, item in enumerate(items)]


def _image(item: object, path: str) -> ImageAttachment:
    document = _typed(item, dict, path)
    return ImageAttachment(
        relative_path=_required(document, "relativePath", str, path),
        media_type=_required(document, "mediaType", str, path),
    )


def _required(document: Mapping[str, object], key: str, kind: type[T], path: str = "$") -> T:
    value = _optional(document, key, kind, path)
    if value is None:
        raise InvalidInput(f"required field missing @ {path}.{key}")
    return value


def _optional(document: Mapping[str, object], key: str, kind: type[T], path: str = "$") -> T | None:
    value = document.get(key)
    return None if value is None else _typed(value, kind, f"{path}.{key}")


def _typed(value: object, kind: type[T], path: str) -> T:
    if not isinstance(value, kind):
        found = _TYPE_NAMES.get(type(value), "null")
        raise InvalidInput(f"expected {_TYPE_NAMES[kind]}, got {found} @ {path}")
    return value
