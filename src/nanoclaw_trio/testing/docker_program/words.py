"""What the stand-in for docker is told on its command line, and what it says."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

FLAGS = {
    *("-i", "--rm", "--init", "-a", "-q", "-aq", "--no-trunc", "-f", "--read-only"),
    *("--force-rm", "--no-cache"),
}
"""The options without a value; a new one that has none must be added."""


LOST_CONNECTION = 'error during connect: Get "http://docker/v1.41/": unexpected EOF\n'
"""What a client says whose daemon went away in the middle of an answer."""

LOST_CONTAINER = "error waiting for container: unexpected EOF\n"
"""What one says that waits for a container, then."""


class Reply(NamedTuple):
    """What a command says, and its exit status."""

    status: int = 0
    stdout: str = ""
    stderr: str = ""


def say(reply: Reply) -> int:
    """Write a reply; its exit status."""
    for stream, text in ((sys.stdout, reply.stdout), (sys.stderr, reply.stderr)):
        stream.write(text)
        stream.flush()
    return reply.status


def parse(arguments: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Options with their values, and what follows them."""
    options: dict[str, list[str]] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        option, equals, value = rest.pop(0).partition("=")
        if not equals and option not in FLAGS:
            value = rest.pop(0)
        options.setdefault(option, []).append(value)
    return options, rest


def pairs(values: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE, each taken apart."""
    return {name: value for name, _, value in (each.partition("=") for each in values)}


def render(template: str, value: dict[str, Any]) -> str:
    """The part of Go's templates that is asked for: {{.Path.To.Field}} and {{json .Path}}."""

    def field(match: re.Match[str]) -> str:
        found: Any = value
        for name in match["path"].split("."):
            found = found[name]
        return json.dumps(found) if match["json"] else str(found)

    return re.sub(r"\{\{(?P<json>json )?\.(?P<path>[\w.]+)\}\}", field, template) + "\n"


def no_such_container(name: str) -> str:
    """The engine's words for it."""
    return f"Error response from daemon: No such container: {name}\n"


def run_failure(why: str) -> Reply:
    """How the client says that it couldn't run a container."""
    hint = "Run 'docker run --help' for more information"
    return Reply(125, stderr=f"docker: Error response from daemon: {why}\n\n{hint}\n")


def refusal(command: str) -> Reply:
    """How the client says that the daemon isn't there."""
    why = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."
    why += " Is the docker daemon running?"
    if command == "run":
        return Reply(125, stderr=f"docker: {why}\n\nRun 'docker run --help' for more information\n")
    return Reply(1, stderr=f"{why}\n")
