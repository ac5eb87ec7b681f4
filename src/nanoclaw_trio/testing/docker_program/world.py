"""The directory that the stand-in for docker keeps everything in."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from contextlib import contextmanager, suppress
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
        self._fault: dict[str, Any] | None = None
        self._answers: dict[str, Any] = {}

    def scenario(self) -> dict[str, Any]:
        """How to behave, as it was last written; and as this call's fault says."""
        scenario: dict[str, Any] = json.loads((self.directory / "scenario.json").read_text())
        return scenario | {"fault": self._fault, "answers": scenario["answers"] | self._answers}

    @property
    def fault(self) -> str | None:  # pragma: no cover - asked by `run`
        """The kind of this call's fault; None for none."""
        return self._fault["kind"] if self._fault else None

    def disturb(self, command: str, fault: dict[str, Any], answer: dict[str, Any]) -> None:
        """Have a fault in this call; a command that it gives no answer for keeps its own."""
        self._fault = fault
        self._answers = {command: answer} if answer else {}

    def append(self, name: str, entry: object) -> None:
        """Add a line to one of the files of lines."""
        with (self.directory / name).open("a") as file:
            file.write(json.dumps(entry) + "\n")

    @contextmanager
    def _counts(self) -> Iterator[dict[str, int]]:
        """Numbers that all calls share, for who has them alone."""
        with (self.directory / "counts.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            path = self.directory / "counts.json"
            counts = json.loads(path.read_text()) if path.exists() else {}
            yield counts
            # Whole, whenever a caller is killed.
            path.with_suffix(".new").write_text(json.dumps(counts))
            path.with_suffix(".new").replace(path)

    def count(self, name: str) -> int:
        """Count one more of something; how many there were now."""
        with self._counts() as counts:
            counts[name] = counts.get(name, 0) + 1
            return counts[name]

    def go_down(self, calls: int) -> None:
        """Be a daemon that went down and refuses so many calls before it is back."""
        with self._counts() as counts:
            counts["restarts"] = counts.get("restarts", 0) + 1
            counts["refusals"] = calls

    def restarts(self) -> int:  # pragma: no cover - asked by clients of running containers
        """How often the daemon went down."""
        with self._counts() as counts:
            return counts.get("restarts", 0)

    def is_refused(self) -> bool:
        """Whether the daemon isn't there for this call, which is one less until it is back."""
        with self._counts() as counts:
            left = counts.get("refusals", 0)
            counts["refusals"] = max(0, left - 1)
            return left > 0

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
        """A container by its name or id, or by the beginning of its id."""
        known = self.all()
        named = (found for found in known if name == found["name"] or found["id"].startswith(name))
        return next(named, None)

    def find_started(self, name: str) -> dict[str, Any] | None:
        """As find, once its start is over: until then it can be neither stopped nor removed."""
        deadline = time.monotonic() + START_BOUND
        container = self.find(name)
        while container and is_starting(container) and time.monotonic() < deadline:
            time.sleep(POLL)
            container = self.find(name)
        return container

    def _path(self, container: dict[str, Any]) -> Path:
        return self.containers / f"{container['name']}.json"


def is_starting(container: dict[str, Any]) -> bool:
    """Whether it is about to run; one whose client was killed before never will."""
    return container["status"] == "created" and not container["abandoned"]


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
        "abandoned": False,
    }


def write_down_end(
    world: World, container: dict[str, Any], status: int, *, out_of_memory: bool
) -> None:
    """Everything that the engine remembers of a container's end."""
    container |= {"status": "exited", "exit_code": 128 - status if status < 0 else status}
    if out_of_memory:
        world.record_event(container, "oom")
    world.record_event(container, "die")
    # Looked up: a daemon that goes down doesn't remove what ends with it.
    kept = world.find(container["name"]) or container
    if kept["auto_remove"]:
        world.forget(container)
    else:
        world.save(container)
