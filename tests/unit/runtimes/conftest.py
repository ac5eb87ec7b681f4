"""Engines to drive: a scripted docker, and programs that answer as they are told."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, ClassVar

import pytest
from attrs import evolve, frozen

from nanoclaw_trio.files import Owner
from nanoclaw_trio.runtimes import proc
from nanoclaw_trio.runtimes.bubblewrap_agent import PACKAGES
from nanoclaw_trio.runtimes.bubblewrap_host import HostPython
from nanoclaw_trio.runtimes.docker import DockerRuntime
from nanoclaw_trio.settings import GracePeriods
from nanoclaw_trio.testing.docker_stand_in import (
    Scenario,
    kill_containers,
    read_calls,
    write_docker_stand_in,
)

if TYPE_CHECKING:
    from pathlib import Path

    from nanoclaw_trio.settings import Settings

PATIENT = GracePeriods(command=30.0)
"""For commands that answer: so much that a busy machine doesn't matter."""

BRIEF = GracePeriods(command=0.2)
"""For commands that never answer."""

SCRIPTED = """#!{python} -IS
import json, sys
directory = {directory!r}
with open(directory + "/calls", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
for start, (status, stdout, stderr) in {answers!r}:
    if " ".join(sys.argv[1:]).startswith(start):
        sys.stdout.write(stdout)
        sys.stderr.write(stderr)
        sys.exit(status)
sys.exit("not scripted: " + " ".join(sys.argv[1:]))
"""


@frozen(kw_only=True)
class DockerWorld:
    """A stand-in for docker, and the runtime that drives it."""

    directory: Path
    settings: Settings

    def play(self, **fields):
        """Write the program, or change how it behaves."""
        return write_docker_stand_in(self.directory, Scenario(**{"agent": ("cat",), **fields}))

    def runtime(self, grace=PATIENT, **arguments):
        """A runtime with this stand-in for its client."""
        settings = evolve(self.settings, grace=grace)
        return DockerRuntime(settings, str(self.directory / "docker"), **arguments)

    def brief_runtime(self):
        """A runtime that doesn't wait long for an answer."""
        return self.runtime(BRIEF)

    def commands(self):
        """The first word of each command that was called."""
        return [call.argv[0] for call in read_calls(self.directory)]


@pytest.fixture
def docker_world(tmp_path, settings):
    """A stand-in for docker whose containers are ended after the test."""
    world = DockerWorld(directory=tmp_path / "docker-world", settings=settings)
    world.play()
    yield world
    kill_containers(world.directory)


@frozen(kw_only=True)
class ScriptedProgram:
    """A program that gives the first of its answers whose words its arguments begin with."""

    directory: Path

    def answer(self, **answers):
        """Write it: words of the command, with '_' between, and (status, stdout, stderr)."""
        table = [(words.replace("_", " "), answer) for words, answer in answers.items()]
        path = self.directory / "program"
        path.write_text(
            SCRIPTED.format(python=sys.executable, directory=str(self.directory), answers=table)
        )
        path.chmod(0o755)
        return str(path)

    def calls(self):
        """The arguments of each call."""
        return [json.loads(line) for line in (self.directory / "calls").read_text().splitlines()]


@pytest.fixture
def program(tmp_path):
    """A program to be scripted."""
    return ScriptedProgram(directory=tmp_path)


@pytest.fixture
def patient_settings(settings):
    """Settings for commands that answer."""
    return evolve(settings, grace=PATIENT)


@pytest.fixture
def other_user():
    """A host's user that is neither root nor the image's."""
    return Owner(uid=1234, gid=5678)


@frozen(kw_only=True)
class MadeUpProc:
    """A /proc in which there is this process, and what is added."""

    directory: Path

    FORBIDDEN: ClassVar = "/proc/sys/vm/drop_caches"
    """A file that the kernel lets nobody read, root neither: EACCES."""

    BROKEN: ClassVar = "/proc/self/mem"
    """A file that can be opened, and whose first byte can't be read: EIO."""

    def add(self, pid, **files):
        """Add a process, each of its files a link to what is given."""
        (self.directory / str(pid)).mkdir()
        for name, target in files.items():
            (self.directory / str(pid) / name).symlink_to(target)


@pytest.fixture
def made_up_proc(tmp_path, monkeypatch):
    """A /proc to look for processes in, in the place of this system's."""
    made_up = MadeUpProc(directory=tmp_path / "proc")
    made_up.directory.mkdir()
    (made_up.directory / str(os.getpid())).symlink_to(f"/proc/{os.getpid()}")
    monkeypatch.setattr(proc, "PROC", made_up.directory)
    return made_up


@frozen(kw_only=True)
class PythonTree:
    """A virtual environment on the disk, as far as packages are looked for in there."""

    prefix: Path

    @property
    def packages(self):
        """Where its packages are."""
        return self.prefix / "lib/python3.12/site-packages"

    @property
    def program(self):
        """The program that the SDK brings along."""
        return self.packages / "claude_agent_sdk/_bundled/claude"

    def python(self, **fields):
        """It as a sandbox is told of it."""
        known = {
            "executable": str(self.prefix / "bin/python"),
            "prefix": str(self.prefix),
            "base_prefix": "/usr",
            "real_base_prefix": "/usr",
            "search_path": ("", "/usr/lib/python3.12", str(self.packages)),
        }
        return HostPython(**known | fields)


@pytest.fixture
def python_tree(tmp_path):
    """An environment in which the Claude agent is installed, with a program that does nothing."""
    tree = PythonTree(prefix=tmp_path / "venv")
    for name in PACKAGES:
        (tree.packages / name).mkdir(parents=True)
        (tree.packages / name / "__init__.py").touch()
    tree.program.parent.mkdir()
    tree.program.write_text("#!/bin/sh\n")
    tree.program.chmod(0o755)
    tree.program.with_suffix(".version").write_text("2.1.330 (Claude Code)\n")
    return tree
