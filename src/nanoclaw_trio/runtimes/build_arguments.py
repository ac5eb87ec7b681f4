"""What an image is built from, and the command line that builds it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from nanoclaw_trio.runtimes.arguments import assignments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@frozen(kw_only=True)
class BuildSpec:
    """Everything an engine needs to know to build an image.

    Attributes:
        image: The name that the image gets.
        context: The directory with the Dockerfile, an absolute path.
        arguments: Values for the Dockerfile's ARGs.
        labels: What the image carries besides the Dockerfile's own labels.
        use_cache: Whether layers may come from an earlier build.
    """

    image: str
    context: Path
    arguments: Mapping[str, str] = field(factory=dict)
    labels: Mapping[str, str] = field(factory=dict)
    use_cache: bool = True


def build_arguments(spec: BuildSpec, options: Sequence[str] = ()) -> list[str]:
    """`build`, after the program's name; `options` are the engine's own.

    Docker, podman and Apple's container have all of these in common, and none of them needs
    BuildKit.
    """
    return [
        *("build", *options),
        *(() if spec.use_cache else ("--no-cache",)),
        *("--tag", spec.image),
        *assignments("--build-arg", spec.arguments),
        *assignments("--label", spec.labels),
        str(spec.context),
    ]
