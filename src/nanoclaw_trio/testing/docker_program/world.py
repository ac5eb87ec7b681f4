"""The directory that the stand-in for docker keeps everything in."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .words import pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

POLL = 0.02
"""Seconds between two looks at a container that starts or ends."""

START_BOUND = 10.0
"""Seconds that a container's start may take."""


class World:
    """The directory that everything is kept in."""

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)
        self.containers = self.directory / "containers"
        self.containers.mkdir(exist_ok=True)

    def scenario(self) -> dict[str, Any]:
        """How to behave, as it was last written."""
        scenario: dict[str, Any] = json.loads((self.directory / "scenario.json").read_text())
        return scenario

    def append(self, name: str, entry: object) -> None:
        """Add a line to one of the files of lines."""
        with (self.directory / name).open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def record_event(self, container: dict[str, Any], action: str) -> None:
        """Remember that something happened to a container."""
        self.append(
            "events.jsonl", {"time": time.time(), "name": container["name"], "Action": action}
        )

    def events(self) -> Iterator[dict[str, Any]]:
        """Everything that was remembered."""
        with suppress(FileNotFoundError):
            for line in (self.directory / "events.jsonl").read_text().splitlines():
                yield json.loads(line)

    def built_images(self) -> dict[str, dict[str, str]]:
        """The labels of each image that was built, by its name."""
        images = {}
        with suppress(FileNotFoundError):
            for line in (self.directory / "images.jsonl").read_text().splitlines():
                image = json.loads(line)
                images[image["name"]] = image["labels"]
        return images

    def create(self, container: dict[str, Any]) -> bool:
        """Add a container, unless one of this name is there."""
        try:
            self._path(container).touch(exist_ok=False)
        except FileExistsError:
            return False
        self.save(container)
        return True

    def save(self, container: dict[str, Any]) -> None:
        """Write down what became of it, whole."""
        temporary = self._path(container).with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(container))
        temporary.replace(self._path(container))

    def forget(self, container: dict[str, Any]) -> None:
        """Remove it."""
        self._path(container).unlink(missing_ok=True)

    def all(self) -> list[dict[str, Any]]:
        """All containers, in the order of their names."""
        found = []
        for path in sorted(self.containers.glob("*.json")):
            # Removed since, or created but not yet saved.
            with suppress(FileNotFoundError, ValueError):
                found.append(json.loads(path.read_text()))
        return found

    def find(self, name: str) -> dict[str, Any] | None:
        """A container by its name or id."""
        known = self.all()
        return next((found for found in known if name in {found["name"], found["id"]}), None)

    def find_started(self, name: str) -> dict[str, Any] | None:
        """As find, once its start is over: until then it can be neither stopped nor removed."""
        deadline = time.monotonic() + START_BOUND
        container = self.find(name)
        while container and container["status"] == "created" and time.monotonic() < deadline:
            time.sleep(POLL)
            container = self.find(name)
        return container

    def _path(self, container: dict[str, Any]) -> Path:
        return self.containers / f"{container['name']}.json"


def new_container(options: dict[str, list[str]], image: str) -> dict[str, Any]:
    """A container as its command line asks for it."""
    name = options["--name"][0]
    return {
        "id": hashlib.sha256(name.encode()).hexdigest(),
        "name": name,
        "image": image,
        "labels": pairs(options.get("--label", [])),
        "status": "created",
        "pid": 0,
        "exit_code": None,
        "auto_remove": "--rm" in options,
    }


def write_down_end(
    world: World, container: dict[str, Any], status: int, *, out_of_memory: bool
) -> None:
    """Everything that the engine remembers of a container's end."""
    container |= {"status": "exited", "exit_code": 128 - status if status < 0 else status}
    if out_of_memory:
        world.record_event(container, "oom")
    world.record_event(container, "die")
    if container["auto_remove"]:
        world.forget(container)
    else:
        world.save(container)
