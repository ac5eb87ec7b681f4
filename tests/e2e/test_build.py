"""The agent's image, built by real engines: the whole one once, and small ones for the rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import trio
from attrs import evolve, frozen

from nanoclaw_trio.errors import BuildFailed, ImageIncompatible
from nanoclaw_trio.runtimes.build import build_image
from nanoclaw_trio.runtimes.docker import DockerRuntime
from nanoclaw_trio.runtimes.podman import PodmanRuntime
from nanoclaw_trio.settings import Settings

GUARD = 120.0

POLL = 0.05

SCRATCH = """ARG BASE_IMAGE
FROM ${BASE_IMAGE}
"""
"""The beginning of each small Dockerfile; its base is the scratch image."""


@frozen
class Workshop:
    """A project with a small Dockerfile, and an engine that builds it."""

    root: Path
    engine: object
    base: str
    tag: str
    environment: dict

    def write(self, *steps):
        """Write the Dockerfile."""
        directory = self.root / "container"
        directory.mkdir(exist_ok=True)
        (directory / "Dockerfile").write_text(SCRATCH + "".join(f"{step}\n" for step in steps))

    def runtime(self):
        """The engine's runtime, and the settings that it has."""
        settings = Settings(
            project_root=self.root, container_image=self.tag, base_image=self.base, timezone="UTC"
        )
        kind = PodmanRuntime if Path(self.engine.program).name == "podman" else DockerRuntime
        return kind(settings), settings

    async def build(self, **options):
        """Build it by the library."""
        runtime, settings = self.runtime()
        with trio.fail_after(GUARD):
            return await build_image(settings, runtime=runtime, **options)

    def start(self, *words):
        """Start the command."""
        runtime = Path(self.engine.program).name
        command = [sys.executable, "-m", "nanoclaw_trio", *words, "--runtime", runtime]
        return subprocess.Popen(
            command,
            cwd=self.root,
            env={
                **self.environment,
                "CONTAINER_IMAGE": self.tag,
                "CONTAINER_BASE_IMAGE": self.base,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *words):
        """Run the command to its end."""
        process = self.start(*words)
        out, err = process.communicate(timeout=GUARD)
        return process.returncode, out, err

    def labels(self):
        """The image's."""
        (image,) = json.loads(self.engine.run("image", "inspect", self.tag))
        return image["Config"]["Labels"]


def make_workshop(tmp_path, engine, base):
    """A workshop with a cache of its own."""
    root = tmp_path / "project"
    root.mkdir()
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    tag = f"nanoclaw-trio-build:{uuid.uuid4().hex[:8]}"
    return Workshop(root, engine, base, tag, environment)


@pytest.fixture
def workshop(tmp_path, docker_engine, docker_image, monkeypatch):
    """A workshop with docker."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = make_workshop(tmp_path, docker_engine, docker_image)
    yield made
    docker_engine.attempt("image", "rm", "-f", made.tag)


@pytest.fixture
def podman_workshop(tmp_path, podman_engine, podman_image, monkeypatch):
    """A workshop with podman."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = make_workshop(tmp_path, podman_engine, podman_image)
    yield made
    podman_engine.attempt("image", "rm", "-f", made.tag)


@pytest.fixture(params=["workshop", "podman_workshop"], ids=["docker", "podman"])
def any_workshop(request):
    """One with each engine in turn."""
    return request.getfixturevalue(request.param)


def test_the_agents_image(docker_engine, agent_image):
    """The whole image: the agent's own user, its protocol, and the CLI that can't be read."""
    (image,) = json.loads(docker_engine.run("image", "inspect", agent_image))
    assert image["Config"]["User"] == "node"
    assert image["Config"]["Labels"]["nanoclaw.protocol"] == "1"
    script = """
        set -e
        cli=$(echo /opt/venv/lib/python3.*/site-packages/claude_agent_sdk/_bundled/claude)
        stat -c '%a %U' $cli /opt/nanoclaw/bin/bash
        if cat $cli >/dev/null 2>&1; then echo readable; fi
        $cli --version
        ANTHROPIC_API_KEY=sk-canary /opt/nanoclaw/bin/bash -c 'echo "key: $ANTHROPIC_API_KEY"'
        python -c 'import nanoclaw_agent, claude_agent_sdk, trio, watchfiles'
        echo $CLAUDE_CONFIG_DIR $(id -u)
    """
    options = [
        "--rm",
        "--init",
        "--cap-drop",
        "ALL",
        "--network",
        "none",
        "--entrypoint",
        "/bin/sh",
    ]
    said = docker_engine.run("run", *options, agent_image, "-c", script).splitlines()
    assert said[:2] == ["711 root", "755 root"]
    assert said[2].endswith("(Claude Code)")
    assert said[3:] == ["key: ", "/home/node/.claude 1000"]


def test_any_other_user_can_run_it(docker_engine, agent_image):
    """A host's user of another number has a home to write to, and may run all of it."""
    script = "claude=$(echo /opt/venv/lib/*/site-packages/*/_bundled/claude); touch ~/.claude/x && $claude -v"
    options = ("--rm", "--user", "1234:1234", "-e", "HOME=/home/node", "--entrypoint", "/bin/sh")
    assert "Claude Code" in docker_engine.run("run", *options, agent_image, "-c", script)


def test_build_then_nothing_to_do(any_workshop):
    """The command builds, says what, and has nothing to do the second time."""
    any_workshop.write("RUN echo begun && echo done >&2", "LABEL nanoclaw.protocol=1")
    status, out, err = any_workshop.call("build")
    assert status == 0, err
    assert out.startswith(f"{any_workshop.tag} ")
    assert ", built in " in out
    assert "RUN echo begun" in err
    assert len(any_workshop.labels()["nanoclaw.content"]) == 64
    status, out, err = any_workshop.call("build", "--json")
    assert (status, json.loads(out)["built"], err) == (0, False, "")


def test_a_step_that_fails(any_workshop):
    """The engine's own words are there, the exit status is 1, and no container is left."""
    mark = f"why-{uuid.uuid4().hex[:8]}"
    any_workshop.write(f"RUN echo {mark}; exit 3")
    status, out, err = any_workshop.call("build")
    assert (status, out) == (1, "")
    lines = err.splitlines()
    assert mark in lines
    assert "can't build image" in lines[-1]
    assert len(lines) < 30
    assert mark not in any_workshop.engine.run("ps", "-a", "--no-trunc", "--format", "{{.Command}}")


async def test_a_base_that_isnt_there(workshop):
    """What the engine says of a base image that it doesn't have is the end of the error."""
    workshop.write()
    with pytest.raises(BuildFailed) as raised:
        await workshop.build(base_image="nanoclaw-trio-nosuch:1")
    assert raised.value.tail


def running(mark):
    """The processes of this machine whose command line has this mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if mark.encode() in words:
            found.append(path.parent.name)
    return found


def wait_until(condition):
    """Wait for what nothing but looking can tell."""
    deadline = time.monotonic() + GUARD
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(POLL)


@pytest.mark.skipif(sys.platform != "linux", reason="it looks for the step's process in /proc")
@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_a_signal_ends_the_build(any_workshop, number, expected):
    """Neither the client nor the step under way is left, and no image either."""
    seconds = f"{6000 + uuid.uuid4().int % 3000}.25"
    any_workshop.write(f"RUN sleep {seconds}")
    process = any_workshop.start("build")
    wait_until(lambda: running(seconds))
    process.send_signal(number)
    out, err = process.communicate(timeout=GUARD)
    assert (process.returncode, out) == (expected, ""), err
    # Docker's engine ends the step when it notices that its client has gone.
    wait_until(lambda: not running(seconds))
    assert any_workshop.engine.attempt("image", "inspect", any_workshop.tag).returncode != 0


def test_concurrent_builds_build_once(workshop):
    """Of several commands at the same time one builds; the others wait for it and say so."""
    workshop.write("RUN sleep 2")
    processes = [workshop.start("build", "--json") for _ in range(3)]
    ended = [process.communicate(timeout=GUARD) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(json.loads(out)["built"] for out, _ in ended) == [False, False, True]
    waited = [err for _, err in ended if "another process builds this image; waiting" in err]
    assert len(waited) == 2
    assert len({json.loads(out)["id"] for out, _ in ended}) == 1


async def test_an_image_of_another_protocol(any_workshop):
    """It isn't started, and the error names both versions and the command."""
    any_workshop.write("LABEL nanoclaw.protocol=2")
    await any_workshop.build()
    runtime, settings = any_workshop.runtime()
    with pytest.raises(ImageIncompatible, match=r"'2' and this host '1'; run `python -m nano"):
        await runtime.require_image(settings.container_image)
    any_workshop.write()
    assert (await any_workshop.build()).built
    await runtime.require_image(settings.container_image)


@pytest.fixture
def echo_workshop(workshop, docker):
    """A workshop whose base is the echo agent's image, and whose container/ is the project's own."""
    del docker
    made = evolve(workshop, base="nanoclaw-echo:test")
    made.write("LABEL nanoclaw.protocol=1")
    source = made.root / "container" / "agent-runner"
    source.mkdir()
    (source / "src").symlink_to(Path(__file__).parents[2] / "container/agent-runner/src")
    return made


def test_run_builds_its_image_once(echo_workshop):
    """Runs that find no image build it, one for all of them, and then answer."""
    echo_workshop.environment["NANOCLAW_AGENT"] = "echo"
    processes = [
        echo_workshop.start("run", "--build", "--group", f"g{n}", "Hello") for n in range(2)
    ]
    ended = [process.communicate(timeout=GUARD) for process in processes]
    assert [
        (process.returncode, out) for process, (out, _) in zip(processes, ended, strict=True)
    ] == [(0, "echo: Hello\n")] * 2, ended
    assert sum(", built in " in err for _, err in ended) == 1
