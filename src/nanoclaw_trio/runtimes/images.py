"""What an engine says of an image, and how one is had that is right for us. Pure."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

import orjson
from attrs import field, frozen

from nanoclaw_trio.runtimes.abc import STDIN_LEASE
from nanoclaw_trio.settings import DEFAULT_IMAGE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PROTOCOL_LABEL: Final = "nanoclaw.protocol"
"""Names the version of the protocol that the agent in an image speaks."""

PROTOCOL_VERSION: Final = "1"
"""The version that this host speaks. An image without the label is one of the original's, whose
protocol this is."""

STDIN_LABEL: Final = "nanoclaw.stdin"
"""`lease:PROGRAM` says that this program takes standard input for a lease. Without it, for the input
and nothing more, as the original's agent does. Why the program: an image that is made from ours
inherits its labels, and may start an agent that waits for the end of its input."""

CONTENT_LABEL: Final = "nanoclaw.content"
"""Holds the hash of what an image was built from."""

FIRST_ENGINE: Final = "docker"
"""The engine that `--runtime auto` takes if it answers, and that needn't be named."""


@frozen(kw_only=True)
class ImageFacts:
    """An image that an engine has.

    Attributes:
        id: The engine's own name for it; None where its answer has none.
        size: Bytes; None where its answer doesn't tell.
        labels: Its labels.
        entrypoint: What it starts, in words.
    """

    id: str | None = None
    size: int | None = None
    labels: Mapping[str, str] = field(factory=dict)
    entrypoint: tuple[str, ...] = ()


def read_image(output: str) -> ImageFacts:
    """An image from the JSON of `image inspect`: docker's, podman's, or that of Apple's container.

    What isn't where it is expected isn't known, and nothing of it is an error: that the engine has
    the image is in the command's exit status.
    """
    try:
        answer = orjson.loads(output)
    except ValueError:
        return ImageFacts()
    image = answer[0] if isinstance(answer, list) and answer else answer
    return ImageFacts(
        id=_read_id(image),
        size=_read_size(image),
        labels=_read_labels(image),
        entrypoint=_read_entrypoint(image),
    )


def _read_id(image: Any) -> str | None:
    match image:
        case {"Id": str(name)} | {"index": {"digest": str(name)}}:
            return name
        case {"configuration": {"descriptor": {"digest": str(name)}}}:
            return name
    return None


def _read_size(image: Any) -> int | None:
    match image:
        case {"Size": int(size)} | {"variants": [{"size": int(size)}, *_]}:
            return size
    return None


def _read_labels(image: Any) -> dict[str, str]:
    match image:
        case {"Config": {"Labels": dict(labels)}} | {"Labels": dict(labels)}:
            pass
        case {"variants": [{"config": {"config": {"Labels": dict(labels)}}}, *_]}:
            pass
        case _:
            return {}
    return {str(name): str(value) for name, value in labels.items()}


def _read_entrypoint(image: Any) -> tuple[str, ...]:
    match image:
        case {"Config": {"Entrypoint": [*words]}}:
            return tuple(map(str, words))
    return ()


def protocol_of(image: ImageFacts) -> str:
    """The version of the protocol that the agent in an image speaks."""
    return image.labels.get(PROTOCOL_LABEL, PROTOCOL_VERSION)


def takes_lease(image: ImageFacts) -> bool:
    """Whether the agent that an image starts knows what a lease is."""
    kind, _, program = image.labels.get(STDIN_LABEL, "").partition(":")
    return kind == STDIN_LEASE and program in image.entrypoint


def build_command(image: str, *, program: str, project: Path | None) -> str:
    """The command by which a person builds this image with this engine, as a shell takes it.

    `project` is its folder, or None for the current one.
    """
    words = ["python", "-m", "nanoclaw_trio", "build"]
    if program != FIRST_ENGINE:
        words += ["--runtime", program]
    if image != DEFAULT_IMAGE:
        words += ["--tag", image]
    if project is not None:
        words += ["--project", str(project)]
    return shlex.join(words)
