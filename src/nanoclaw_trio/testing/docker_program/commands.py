"""The commands of the stand-in for docker that look at a world and end what is in it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .words import Reply, no_such_container, pairs, parse, render
from .world import POLL

if TYPE_CHECKING:
    from .world import World

IMAGE_SIZE = 123_000_000
"""Bytes of each image."""

ENTRYPOINT = ["python", "-m", "nanoclaw_agent"]
"""What each image starts."""

END_BOUND = 10.0
"""Seconds that a killed container may take to be written down as ended."""


def show_version(_world: World, arguments: list[str]) -> Reply:
    """`docker version`."""
    options, _ = parse(arguments)
    server = {"Version": "28.0.0-stand-in", "MinAPIVersion": "1.24"}
    return Reply(stdout=render(options["--format"][0], {"Server": server}))


def inspect_image(world: World, arguments: list[str]) -> Reply:
    """`docker image inspect`."""
    image = arguments[-1]
    if not has_image(world, image):
        return Reply(1, "[]\n", f"Error response from daemon: No such image: {image}\n")
    labels = world.built_images().get(image) or world.scenario()["labels"]
    config = {"Labels": labels, "Entrypoint": ENTRYPOINT}
    described = {"Id": image_id(image), "Size": IMAGE_SIZE, "Config": config}
    return Reply(stdout=json.dumps([{"RepoTags": [image], **described}]) + "\n")


def image_id(image: str) -> str:
    """An id as docker's are."""
    return f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def has_image(world: World, image: str) -> bool:
    """Whether it was built, or the scenario has it; without a list it has them all."""
    images = world.scenario()["images"]
    return images is None or image in images or image in world.built_images()


def build(world: World, arguments: list[str]) -> Reply:
    """`docker build`: the steps of the Dockerfile are said, and not done."""
    options, (context,) = parse(arguments)
    image = options["--tag"][0]
    steps = (Path(context) / "Dockerfile").read_text().splitlines()
    lines = [f"Step {n}/{len(steps)} : {step}\n" for n, step in enumerate(steps, 1)]
    world.append("images.jsonl", {"name": image, "labels": pairs(options.get("--label", []))})
    return Reply(stdout="".join([*lines, f"Successfully tagged {image}\n"]))


def stop(world: World, arguments: list[str]) -> Reply:
    """`docker stop`: SIGTERM to the agent, and SIGKILL to all of its processes after a while."""
    options, (name,) = parse(arguments)
    container = world.find_started(name)
    if container is None:
        return Reply(1, stderr=no_such_container(name))
    send_signal(container, signal.SIGTERM)
    if not wait_for_end(world, name, float(options["-t"][0])):
        kill_container(world, container)
    return Reply(stdout=f"{name}\n")


def kill(world: World, arguments: list[str]) -> Reply:
    """`docker kill`."""
    (name,) = arguments
    container = world.find_started(name)
    cannot = f"Error response from daemon: Cannot kill container: {name}: "
    if container is None:
        return Reply(1, stderr=f"{cannot}No such container: {name}\n")
    if container["status"] != "running":
        return Reply(1, stderr=f"{cannot}Container {container['id']} is not running\n")
    kill_container(world, container)
    return Reply(stdout=f"{name}\n")


def remove(world: World, arguments: list[str]) -> Reply:
    """`docker rm -f`."""
    _, (name,) = parse(arguments)
    container = world.find_started(name)
    if container is None:
        return Reply(0, stderr=no_such_container(name))
    kill_container(world, container)
    world.forget(container)
    return Reply(stdout=f"{name}\n")


def kill_container(world: World, container: dict[str, Any]) -> None:
    """End all of its processes, and wait until its keeper wrote that down."""
    if container["status"] == "running":
        with suppress(ProcessLookupError):
            os.killpg(container["pid"], signal.SIGKILL)
        wait_for_end(world, container["name"], END_BOUND)


def send_signal(container: dict[str, Any], number: signal.Signals) -> None:
    """Send it to the agent, as an init process in the container does."""
    if container["status"] == "running":
        with suppress(ProcessLookupError):
            os.kill(container["pid"], number)


def wait_for_end(world: World, name: str, seconds: float) -> bool:
    """Wait until a container doesn't run any more, so long at most; whether it doesn't."""
    deadline = time.monotonic() + seconds
    while True:
        container = world.find(name)
        if container is None or container["status"] != "running":
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL)


def inspect_container(world: World, arguments: list[str]) -> Reply:
    """`docker container inspect`."""
    options, names = parse(arguments)
    found = {name: world.find(name) for name in names}
    lines = [render(options["--format"][0], describe(each)) for each in found.values() if each]
    missing = [no_such_container(name) for name, each in found.items() if each is None]
    return Reply(1 if missing else 0, "".join(lines), "".join(missing))


def describe(container: dict[str, Any]) -> dict[str, Any]:
    """A container in docker's own structure."""
    return {
        "Name": f"/{container['name']}",
        "State": {"Status": container["status"]},
        "Config": {"Labels": container["labels"]},
    }


def list_containers(world: World, arguments: list[str]) -> Reply:
    """`docker ps -aq`, with filters by label."""
    options, _ = parse(arguments)
    filters = [each.removeprefix("label=") for each in options.get("--filter", [])]
    wanted = pairs(filters).items()
    found = [each for each in world.all() if wanted <= each["labels"].items()]
    return Reply(stdout="".join(f"{each['id']}\n" for each in found))


def show_events(world: World, arguments: list[str]) -> Reply:
    """`docker events`, of one container and one kind, between two times."""
    options, _ = parse(arguments)
    since, until = float(options["--since"][0]), float(options["--until"][0])
    time.sleep(max(0.0, until - time.time()))
    wanted = pairs(options["--filter"])
    found = [
        event
        for event in world.events()
        if since <= event["time"] <= until
        and (event["name"], event["Action"]) == (wanted["container"], wanted["event"])
    ]
    return Reply(stdout="".join(render(options["--format"][0], event) for event in found))
