"""What an engine says of containers, understood. Pure; ValueError for what can't be."""

from __future__ import annotations

from typing import Any

from nanoclaw_trio.runtimes.abc import ContainerState
from nanoclaw_trio.runtimes.answers import read_labels, read_phase


def read_container(document: Any) -> ContainerState:
    """The answer to `GET /containers/NAME/json`."""
    match document:
        case {
            "Name": str(name),
            "State": {"Status": str(status)},
            "Config": {"Labels": labels},
        }:
            return _state(name, status, labels)
    raise ValueError("no name, status and labels")


def read_containers(document: Any) -> tuple[ContainerState, ...]:
    """The answer to `GET /containers/json`."""
    if not isinstance(document, list):
        raise ValueError("no list")  # noqa: TRY004 - it is the text that is wrong, not a call
    return tuple(_read_listed(container) for container in document)


def _read_listed(container: Any) -> ContainerState:
    match container:
        case {"Names": [str(name), *_], "State": str(status), "Labels": labels}:
            return _state(name, status, labels)
    raise ValueError("no name, state and labels")


def _state(name: str, status: str, labels: Any) -> ContainerState:
    return ContainerState(
        # Engines write the name with a slash before it.
        name=name.removeprefix("/"),
        phase=read_phase(status),
        labels=read_labels(labels),
    )
