"""The stand-in's `docker run`: a client, a keeper and an agent, each a process of its own."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from .commands import has_image
from .faults import RESTARTS, be_killed, restart
from .words import LOST_CONTAINER, Reply, pairs, parse, run_failure
from .world import new_container, write_down_end

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .world import World

CHUNK = 65536

WATCH_POLL = 0.05
"""Seconds between two looks of a client whether the daemon is the one that it talks to."""


class Ends(NamedTuple):
    """One side of the four pipes between a client and a keeper."""

    stdin: int
    stdout: int
    stderr: int
    status: int


def run(world: World, arguments: list[str]) -> Reply:
    """`docker run -i`: start the scenario's agent, and attach to it until it ends."""
    options, (image, *_) = parse(arguments)
    container = new_container(options, image)
    if not has_image(world, image):
        return run_failure(f"No such image: {image}")
    if not world.create(container):
        name = container["name"]
        return run_failure(f'Conflict. The container name "/{name}" is already in use.')
    if world.fault == "abandon":  # pragma: no cover - ends its process
        world.save(container | {"abandoned": True})
        be_killed()
    return start_and_attach(world, container, options)  # pragma: no cover - forks


def agent_environment(options: dict[str, list[str]]) -> dict[str, str]:
    """The container's variables, and where its mounts are, since it sees the host's disk."""
    import csv

    mounts = [pairs(next(csv.reader([each]))) for each in options.get("--mount", [])]
    places = {mount["target"]: mount["source"] for mount in mounts}
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "STAND_IN_MOUNTS": json.dumps(places),
        **pairs(options.get("-e", [])),
    }


def start_and_attach(  # pragma: no cover - forks, and wants standard streams of its own
    world: World, container: dict[str, Any], options: dict[str, list[str]]
) -> Reply:
    """Start a container, and be its client unless the scenario has something else to say."""
    ours = start_keeper(world, container, options)
    scenario = world.scenario()
    answer = scenario["answers"].get("run") or {}
    if answer.get("hangs") or answer.get("says"):
        return Reply()
    return attach(world, ours, scenario)


def start_keeper(  # pragma: no cover - forks
    world: World, container: dict[str, Any], options: dict[str, list[str]]
) -> Ends:
    """Fork the keeper; the client's side of the pipes."""
    theirs_in, ours_in = os.pipe()
    ours_out, theirs_out = os.pipe()
    ours_err, theirs_err = os.pipe()
    ours_status, theirs_status = os.pipe()
    ours = Ends(ours_in, ours_out, ours_err, ours_status)
    theirs = Ends(theirs_in, theirs_out, theirs_err, theirs_status)
    if os.fork() == 0:
        close_all(ours)
        keep_and_exit(world, container, options, theirs)
    close_all(theirs)
    return ours


def close_all(descriptors: Sequence[int]) -> None:  # pragma: no cover - around a fork
    """Close each of them."""
    for descriptor in descriptors:
        os.close(descriptor)


def attach(  # pragma: no cover - as its caller
    world: World, ours: Ends, scenario: dict[str, Any]
) -> Reply:
    """Be the client of a container until it ends; its exit status."""
    restarts = world.restarts()
    if scenario["faults"] and world.fault not in RESTARTS:
        start_thread(watch, world, restarts)
    start_thread(pump, 0, ours.stdin)
    output = start_thread(*hear_output(world, ours.stdout, scenario))
    errors = start_thread(pump, ours.stderr, os.dup(2))
    if scenario["client_dies_after"] is not None:
        start_thread(die, scenario["client_dies_after"])
    status = os.read(ours.status, CHUNK)
    output.join()
    errors.join()
    # Ended by the daemon's restart: that was heard before it.
    if not status or world.restarts() != restarts:
        return Reply(125, stderr=LOST_CONTAINER)
    return Reply(int(status))


def hear_output(  # pragma: no cover - as its caller
    world: World, source: int, scenario: dict[str, Any]
) -> tuple[Callable[..., object], *tuple[object, ...]]:
    """What passes the agent's output on, with its arguments: as far as there is no fault."""
    sink = os.dup(1)
    if world.fault == "cut":
        return pump_half, source, sink
    if world.fault in RESTARTS:
        return pump, source, sink, lambda: restart_and_lose(world, scenario["fault"])
    dies = scenario["client_dies_after_output"] or world.fault == "die-after"
    return pump, source, sink, die if dies else None


def pump_half(source: int, sink: int) -> None:  # pragma: no cover - ends its process
    """Pass half of the first output on, and be killed."""
    if chunk := os.read(source, CHUNK):
        os.write(sink, chunk[: len(chunk) // 2])
        die()


def restart_and_lose(  # pragma: no cover - ends its process
    world: World, fault: dict[str, Any]
) -> None:
    """Have the daemon go down, which is heard here as everywhere."""
    restart(world, fault["kind"], fault["calls"])
    lose()


def watch(world: World, restarts: int) -> None:  # pragma: no cover - in a client that is lost
    """End when the daemon goes down, as clients do."""
    while world.restarts() == restarts:
        time.sleep(WATCH_POLL)
    lose()


def lose() -> None:  # pragma: no cover - ends its process
    """End as a client that has lost its daemon."""
    os.write(2, LOST_CONTAINER.encode())
    os._exit(125)


def die(after: float = 0.0) -> None:  # pragma: no cover - ends its process
    """Be killed, after some seconds."""
    time.sleep(after)
    os.kill(os.getpid(), signal.SIGKILL)


def start_thread(  # pragma: no cover - in the client's or the keeper's process
    function: Callable[..., object], *arguments: object
) -> Any:
    """Run a function in a thread that holds nobody back at the end."""
    import threading

    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def pump(  # pragma: no cover - in the client's or the keeper's process
    source: int, sink: int, after_first: Callable[[], None] | None = None
) -> None:
    """Pass bytes on to their end; what nobody takes any more is drained all the same."""
    heard = True
    while chunk := os.read(source, CHUNK):
        try:
            while heard and chunk:
                chunk = chunk[os.write(sink, chunk) :]
        except OSError:
            heard = False
        if after_first is not None:
            after_first()
    os.close(sink)


def keep_and_exit(  # pragma: no cover - in the keeper's process
    world: World, container: dict[str, Any], options: dict[str, list[str]], theirs: Ends
) -> None:
    """Keep a container to its end; never returns to the client's code."""
    try:
        os.setsid()
        leave_stdio()
        keep(world, container, options, theirs)
    finally:
        os._exit(0)


def leave_stdio() -> None:  # pragma: no cover - in the keeper's process
    """Let go of the client's streams, so that they end with the client."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


def keep(  # pragma: no cover - in the keeper's process
    world: World, container: dict[str, Any], options: dict[str, list[str]], theirs: Ends
) -> None:
    """Start the agent, pass its streams on, and write down its end."""
    scenario = world.scenario()
    try:
        agent = start_agent(scenario["agent"], agent_environment(options))
    except OSError as error:
        world.forget(container)
        os.write(theirs.stderr, run_failure(f"OCI runtime create failed: {error}").stderr.encode())
        os.write(theirs.status, b"127")
        return
    container |= {"status": "running", "pid": agent.pid}
    world.save(container)
    world.record_event(container, "start")
    start_thread(pump, theirs.stdin, agent.stdin.fileno())
    output = start_thread(pump, agent.stdout.fileno(), theirs.stdout)
    errors = start_thread(pump, agent.stderr.fileno(), theirs.stderr)
    status = agent.wait()
    with suppress(ProcessLookupError):
        os.killpg(agent.pid, signal.SIGKILL)
    output.join()
    errors.join()
    write_down_end(world, container, status, out_of_memory=scenario["out_of_memory"])
    with suppress(OSError):
        os.write(theirs.status, str(container["exit_code"]).encode())


def start_agent(  # pragma: no cover - in the keeper's process
    command: Sequence[str], environment: dict[str, str]
) -> Any:
    """The agent's process, in a session of its own."""
    import subprocess

    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
    )
