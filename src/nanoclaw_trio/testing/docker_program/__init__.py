"""The program behind :mod:`nanoclaw_trio.testing.docker_stand_in`: docker, as far as we use it.

It runs as a program of its own, with nothing but the standard library and without site-packages,
and keeps its world in a directory: the scenario, a file for each container, the events, and a line
for each time it was called. A container is a process that lives on when the client is killed:

    client ──fork──> keeper ──starts──> agent, in a session of its own
       └──── pipes ─────┘└───── pipes ────┘

The keeper is what the engine's daemon is to the real client: it drains the agent's output whether
or not anybody listens, writes down the agent's end, and passes it on to the client if there is one.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from .commands import (
    build,
    inspect_container,
    inspect_image,
    kill,
    list_containers,
    remove,
    show_events,
    show_version,
    stop,
)
from .faults import after_work, as_answer, before_work, find_fault
from .keeper import run
from .words import Reply, refusal, say
from .world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TWO_WORDS = {"container", "image"}
"""The commands that have a second word."""

COMMANDS: dict[str, Callable[[World, list[str]], Reply]] = {
    "version": show_version,
    "build": build,
    "image inspect": inspect_image,
    "run": run,
    "stop": stop,
    "kill": kill,
    "rm": remove,
    "container inspect": inspect_container,
    "ps": list_containers,
    "events": show_events,
}


def main(directory: str, argv: Sequence[str]) -> int:
    """Act as docker with these arguments; the exit status."""
    world = World(directory)
    world.append("calls.jsonl", {"argv": list(argv), "environment": sorted(os.environ)})
    words = 2 if argv[0] in TWO_WORDS else 1
    command, arguments = " ".join(argv[:words]), list(argv[words:])
    if world.scenario()["faults"]:
        return act_faultily(world, command, arguments)
    return say(act(world, command, arguments))


def act(world: World, command: str, arguments: list[str]) -> Reply:
    """Do what the scenario's answer for a command says."""
    answer = world.scenario()["answers"].get(command) or {}
    time.sleep(answer.get("delay", 0))
    reply = COMMANDS[command](world, arguments) if answer.get("acts", True) else Reply()
    if answer.get("hangs"):
        hang()  # pragma: no cover - never returns
    return Reply(**answer["says"]) if answer.get("says") else reply


def act_faultily(world: World, command: str, arguments: list[str]) -> int:
    """Do it as the scenario's fault for this call says, if there is one; the exit status."""
    number = world.count(command)
    if world.is_refused():
        return say(refusal(command))
    fault = find_fault(world.scenario()["faults"], command, number)
    if fault is None:
        return say(act(world, command, arguments))
    world.disturb(command, fault, as_answer(command, fault["kind"]))
    before_work(fault["kind"])
    return say(after_work(world, command, fault, act(world, command, arguments)))


def hang() -> None:  # pragma: no cover - never returns; its process is killed
    """Never answer, whatever signal asks for it."""
    while True:
        signal.pause()
