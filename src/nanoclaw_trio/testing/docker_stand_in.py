"""A scripted stand-in for the `docker` program, as a real executable.

For tests of what must hold when an engine misbehaves: it hangs, fails, answers garbage, loses its
client while the container lives on, or runs out of memory.

    program = write_docker_stand_in(tmp_path, Scenario(agent=("sleep", "60"), answers={"stop": HANG}))
    runtime = DockerRuntime(settings, executable=str(program))

Its containers are real processes, each in a session of its own, and as hard to lose as the real
ones: call :func:`kill_containers` at the end of a test. The agent sees the host's disk; the variable
STAND_IN_MOUNTS tells it, as a JSON object, where each path of the container is there.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
from attrs import asdict, field, frozen

from nanoclaw_trio.files import open_directory, read_if_present
from nanoclaw_trio.testing import docker_program
from nanoclaw_trio.testing.docker_program.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nanoclaw_trio.testing.faults import Fault

_LIMIT: Final = 16 * 1024 * 1024


@frozen(kw_only=True)
class Said:
    """Words in place of the answer: an exit status and what is written.

    The field names are those of the program's Reply.
    """

    status: int = 0
    stdout: str = ""
    stderr: str = ""


@frozen(kw_only=True)
class Answer:
    """How one of docker's commands answers.

    Attributes:
        delay: Seconds before it does anything.
        acts: Whether it does its work.
        hangs: Whether it never answers after that.
        says: What it answers instead of the truth.
    """

    delay: float = 0.0
    acts: bool = True
    hangs: bool = False
    says: Said | None = None


HANG: Final = Answer(acts=False, hangs=True)
"""It does nothing and never answers, whatever signal asks for it but SIGKILL."""

GARBAGE: Final = Answer(acts=False, says=Said(stdout="<html>502 Bad Gateway</html>\n"))
"""It does nothing, answers something else, and calls that a success."""


def fail(status: int, stderr: str) -> Answer:
    """It does nothing, and fails with this exit status and these words."""
    return Answer(acts=False, says=Said(status=status, stderr=stderr))


@frozen(kw_only=True)
class Scenario:
    """How the stand-in behaves.

    Attributes:
        agent: The program, with its arguments, that every container runs.
        answers: How commands answer, by name: version, build, image inspect, run, stop, kill,
            rm, container inspect, ps, events. What isn't named behaves as docker does.
        images: The images that are there besides those that were built; None for any.
        client_dies_after: Seconds after which the client of `run` is killed; the container lives.
        client_dies_after_output: Whether it is killed after it passed on the first output.
        out_of_memory: Whether an agent's end is recorded as one by want of memory.
        labels: Those of the images that weren't built.
        faults: What goes wrong with single calls, of a :mod:`~nanoclaw_trio.testing.faults` plan;
            calls are counted from the first with faults on. Of the rest the other fields say it.
    """

    agent: tuple[str, ...]
    answers: Mapping[str, Answer] = field(factory=dict)
    images: tuple[str, ...] | None = None
    client_dies_after: float | None = None
    client_dies_after_output: bool = False
    out_of_memory: bool = False
    labels: Mapping[str, str] = field(factory=dict)
    faults: tuple[Fault, ...] = ()


@frozen(kw_only=True)
class Call:
    """One time that the stand-in was called: its arguments, and the names of its variables."""

    argv: tuple[str, ...]
    environment: tuple[str, ...]


def write_docker_stand_in(directory: Path, scenario: Scenario) -> Path:
    """Write an executable `docker` into a directory, whose containers and state live below it.

    Call it again to change the scenario, at any time; a command goes by the one it finds when it
    starts. OSError if the disk refuses; ValueError for a command that docker doesn't have here.
    """
    unknown = scenario.answers.keys() - docker_program.COMMANDS.keys()
    if unknown:
        raise ValueError(f"the stand-in has no command {', '.join(sorted(unknown))}")
    with open_directory(directory, create=True) as folder:
        folder.write("scenario.json", orjson.dumps(asdict(scenario)))
        folder.write("docker", _program(directory.resolve()).encode(), mode=0o755)
    return directory / "docker"


def read_calls(directory: Path) -> tuple[Call, ...]:
    """Every time that the stand-in in this directory was called, in order."""
    return tuple(
        Call(argv=tuple(call["argv"]), environment=tuple(call["environment"]))
        for call in _read_lines(directory / "calls.jsonl")
    )


def living_containers(directory: Path) -> tuple[str, ...]:
    """The names of the containers whose agent is alive, asked of the system, not the stand-in."""
    return tuple(each["name"] for each in _running(directory) if _is_alive(each["pid"]))


def known_containers(directory: Path) -> tuple[str, ...]:
    """The names of the containers that the engine would list, whatever became of them."""
    return tuple(each["name"] for each in World(str(directory)).all())


def kill_containers(directory: Path) -> None:
    """End everything that still runs in the stand-in's containers. For the end of a test."""
    for container in _running(directory):
        with suppress(ProcessLookupError):
            os.killpg(container["pid"], signal.SIGKILL)


def _running(directory: Path) -> list[dict[str, Any]]:
    containers = World(str(directory)).all()
    return [each for each in containers if each["status"] == "running"]


def _is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def _read_lines(path: Path) -> Iterator[Any]:
    for line in (read_if_present(path, limit=_LIMIT) or b"").splitlines():
        yield orjson.loads(line)


def _program(directory: Path) -> str:
    package = Path(docker_program.__file__).parent
    # -I and -S: nothing of the caller's Python environment, and a start in a few milliseconds.
    return (
        f"#!{sys.executable} -IS\n"
        "import sys\n"
        f"sys.path.append({str(package.parent)!r})\n"
        f"from {package.name} import main\n"
        f"sys.exit(main({str(directory)!r}, sys.argv[1:]))\n"
    )
