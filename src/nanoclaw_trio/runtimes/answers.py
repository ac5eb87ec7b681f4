"""What container engines answer, understood. Pure; ValueError for what can't be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import orjson
from attrs import frozen

from nanoclaw_trio.runtimes.abc import ContainerState, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

EXCERPT_LIMIT: Final = 300
"""Characters of an engine's words in a message of ours."""

_HELP_HINT: Final = re.compile(r"^(Run|See) '.* --help'.*$", re.MULTILINE)
_CONTAINER_ID: Final = re.compile(r"[0-9a-f]{12,64}")

_PHASES: Final = {
    "configured": Phase.CREATED,
    "created": Phase.CREATED,
    "initialized": Phase.CREATED,
    "dead": Phase.EXITED,
    "exited": Phase.EXITED,
    "removing": Phase.EXITED,
    "stopped": Phase.EXITED,
}


@frozen(kw_only=True)
class EngineWords:
    """An engine's own words for what happened, as patterns to look for in its standard error.

    Attributes:
        no_container: There is no such container.
        not_running: The container is there and doesn't run.
        being_removed: Its removal is under way.
        no_image: There is no such image.
        unreachable: The client can't reach the engine, or lost it.
    """

    no_container: re.Pattern[str]
    not_running: re.Pattern[str]
    being_removed: re.Pattern[str]
    no_image: re.Pattern[str]
    unreachable: re.Pattern[str]


def words(pattern: str) -> re.Pattern[str]:
    """A pattern for :class:`EngineWords`: versions differ in the case of their messages."""
    return re.compile(pattern, re.IGNORECASE)


def excerpt(text: str) -> str:
    """The end of what a program said, on one line, without its hint at --help."""
    line = " ".join(_HELP_HINT.sub("", text).split())
    return line if len(line) <= EXCERPT_LIMIT else f"…{line[-EXCERPT_LIMIT:]}"


def read_phase(status: str) -> Phase:
    """The phase behind an engine's word for a state.

    A word that we don't know stands for a container that runs: then it is stopped, not forgotten.
    Paused, restarting and stopping ones have living processes.
    """
    return _PHASES.get(status.lower(), Phase.RUNNING)


def read_ids(output: str) -> tuple[str, ...]:
    """Container ids, one a line."""
    ids = tuple(output.split())
    for identifier in ids:
        if _CONTAINER_ID.fullmatch(identifier) is None:
            raise ValueError("no container id")
    return ids


def read_state_lines(output: str) -> tuple[ContainerState, ...]:
    """States, one JSON array of name, status and labels a line (docker.STATE_TEMPLATE)."""
    return tuple(map(_read_state, read_json_lines(output)))


def read_json_lines(output: str) -> list[Any]:
    """JSON documents, one a line; blank lines are none. ValueError for what isn't JSON."""
    # Not splitlines: a label may have a line's end of Unicode's.
    return [orjson.loads(line) for line in output.split("\n") if line.strip()]


def _read_state(state: Any) -> ContainerState:
    match state:
        case [str(name), str(status), (dict() | None) as labels]:
            return ContainerState(
                # docker writes the name of a container with a slash before it.
                name=name.removeprefix("/"),
                phase=read_phase(status),
                labels=read_labels(labels),
            )
    raise ValueError("no name, status and labels")


def read_apple_states(output: str) -> tuple[ContainerState, ...]:
    """States, from the JSON of Apple's `container inspect` and `container list`."""
    containers = orjson.loads(output)
    if not isinstance(containers, list):
        raise ValueError("no list")  # noqa: TRY004 - it is the text that is wrong, not a call
    return tuple(_read_apple_state(container) for container in containers)


def _read_apple_state(container: Any) -> ContainerState:
    match container:
        # `status` is the state's word up to version 1.0, and holds it as `state` later.
        case {
            "configuration": {"id": str(name), **configuration},
            "status": str(status) | {"state": str(status)},
        }:
            labels = read_labels(configuration.get("labels"))
            return ContainerState(name=name, phase=read_phase(status), labels=labels)
    raise ValueError("no container")


def read_labels(labels: Any) -> Mapping[str, str]:
    """A container's labels; none where there is no object."""
    if not isinstance(labels, dict | None):
        raise ValueError("no labels")  # noqa: TRY004 - it is the text that is wrong, not a call
    return {str(name): str(value) for name, value in (labels or {}).items()}
