"""What was asked for on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from pathlib import Path


@frozen(kw_only=True)
class Options:
    """The options of `run` and `chat`; None for what wasn't given.

    Attributes:
        prompt: The prompt, or `-` for standard input.
        input: A file with a ContainerInput as JSON, or `-` for standard input.
        project: The project's folder.
        group: The group's folder name.
        main: Whether it is the main group.
        session: The Claude session to resume.
        runtime: A runtime's name, or `auto`.
        image: The agent's image.
        agent: Which agent the agent-runner is to be.
        timeout: Seconds of silence that end a run.
        json: Whether standard output is for programs.
        credential_proxy: How agents reach the proxy that has the key, or `off`.
        build: Whether the image is to be built first, where it isn't what container/ says.
    """

    prompt: str | None
    input: str | None
    project: Path
    group: str | None
    main: bool | None
    session: str | None
    runtime: str
    image: str | None
    agent: str | None
    timeout: float | None
    json: bool
    credential_proxy: str | None = None
    build: bool = False
