"""What goes wrong with a call of the stand-in for docker, by its scenario's faults."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from .commands import kill_container
from .words import LOST_CONNECTION, Reply, refusal, run_failure

if TYPE_CHECKING:
    from .world import World

SLOW_DELAY = 0.15
"""Seconds that a slow call waits; nanoclaw_trio.testing.faults has the same number."""

RESTARTS = {"restart", "restart-live", "restart-exited"}
"""The faults with which the daemon goes down."""


def find_fault(faults: list[dict[str, Any]], command: str, number: int) -> dict[str, Any] | None:
    """The first fault that concerns this call of a command, counted from 1."""
    for fault in faults:
        calls = 1 if fault["kind"] in RESTARTS else fault["calls"]
        if fault["command"] == command and fault["first"] <= number < fault["first"] + calls:
            return fault
    return None


def as_answer(command: str, kind: str) -> dict[str, Any]:
    """How a command answers with this fault, in a scenario's own terms; empty for as always."""
    refused = run_failure("no") if command == "run" else Reply(1, stderr="Error from daemon: no\n")
    answers: dict[str, dict[str, Any]] = {
        "hang": {"acts": False, "hangs": True},
        "hang-after": {"hangs": True},
        "slow": {"delay": SLOW_DELAY},
        "fail": {"acts": False, "says": refused._asdict()},
        "fail-after": {"says": refused._asdict()},
        "pretend": {"acts": False},
        "garbage": {"acts": False, "says": {"stdout": "<html>502 Bad Gateway</html>\n"}},
        "refuse": {"acts": False, "says": refusal(command)._asdict()},
    }
    return answers.get(kind, {})


def before_work(kind: str) -> None:
    """What happens to a client that doesn't come to its work."""
    if kind == "die":  # pragma: no cover - ends its process
        be_killed()


def after_work(world: World, command: str, fault: dict[str, Any], reply: Reply) -> Reply:
    """What becomes of a reply when the work is done."""
    kind = fault["kind"]
    if kind == "flip":
        return reply._replace(status=0 if reply.status else 1)
    if kind in RESTARTS and command != "run":
        restart(world, kind, fault["calls"])
        return Reply(1, stderr=LOST_CONNECTION)
    if kind == "cut":  # pragma: no cover - ends its process
        os.write(1, reply.stdout.encode()[: len(reply.stdout) // 2])
    if kind in {"cut", "die-after"}:  # pragma: no cover - ends its process
        be_killed()
    return reply


def restart(world: World, kind: str, calls: int) -> None:
    """The daemon goes down, for a number of calls with this one; then it is back."""
    world.go_down(calls - 1)
    for container in world.all():
        if kind != "restart-live":
            end_with_daemon(world, container, stays=kind == "restart-exited")


def end_with_daemon(world: World, container: dict[str, Any], *, stays: bool) -> None:
    """End a container whose daemon went down; with `stays` nobody removes what is left of it."""
    if container["status"] == "running":  # pragma: no cover - it is its caller's process's
        world.save(container | {"auto_remove": not stays})
        kill_container(world, container)


def be_killed() -> None:  # pragma: no cover - ends its process
    """End as one that was killed by force."""
    os.kill(os.getpid(), signal.SIGKILL)
