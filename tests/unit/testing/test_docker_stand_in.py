"""The stand-in for docker, as the executable that embedders' tests start."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest

from nanoclaw_trio.testing.docker_program import World
from nanoclaw_trio.testing.docker_stand_in import (
    HANG,
    Answer,
    Call,
    Scenario,
    fail,
    kill_containers,
    living_containers,
    read_calls,
    write_docker_stand_in,
)

GUARD = 60.0
RUN = ("run", "-i", "--rm", "--name", "a", "image")


@pytest.fixture
def world(tmp_path):
    """A folder whose containers are ended after the test."""
    yield tmp_path
    kill_containers(tmp_path)


def call(world, *argv, **options):
    """Call the program, and wait for its end."""
    program = str(world / "docker")
    return subprocess.run(
        [program, *argv], capture_output=True, text=True, timeout=GUARD, check=False, **options
    )


def start(world, *argv):
    """Call the program, and go on."""
    pipe = subprocess.PIPE
    return subprocess.Popen([world / "docker", *argv], stdin=pipe, stdout=pipe, stderr=pipe)


def until(condition):
    """Wait for what another process does."""
    deadline = time.monotonic() + GUARD
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_run(world):
    """A run passes all three streams on, and ends with the agent's status."""
    write_docker_stand_in(world, Scenario(agent=("sh", "-c", "cat; echo no >&2; exit 3")))
    done = call(world, *RUN, input="question")
    assert (done.returncode, done.stdout, done.stderr) == (3, "question", "no\n")


def test_an_agent_that_does_not_read(world):
    """A run whose agent leaves its input alone takes it from the caller all the same."""
    write_docker_stand_in(world, Scenario(agent=("sh", "-c", "exec <&-; exit 4")))
    assert call(world, *RUN, input="x" * 1_000_000).returncode == 4


def test_status_of_a_signal(world):
    """An agent that was killed by a signal N ends a run with 128 + N."""
    write_docker_stand_in(world, Scenario(agent=("sh", "-c", "kill -9 $$")))
    assert call(world, *RUN).returncode == 137


def test_an_agent_that_cannot_be_started(world):
    """A program that isn't there fails as one that isn't in the image."""
    write_docker_stand_in(world, Scenario(agent=("/nonexistent/agent",)))
    done = call(world, *RUN)
    assert done.returncode == 127
    assert done.stderr.startswith("docker: Error response from daemon: OCI runtime create failed")
    assert call(world, "ps", "-aq").stdout == ""


@pytest.mark.parametrize("fields", [{"client_dies_after": 0.0}, {"client_dies_after_output": True}])
def test_a_client_that_dies(world, fields):
    """A scenario can kill the client; the container lives, its output goes nowhere."""
    agent = ("sh", "-c", "echo ready; head -c 1000000 /dev/zero; exec sleep 600")
    write_docker_stand_in(world, Scenario(agent=agent, **fields))
    client = start(world, *RUN)
    assert client.wait(GUARD) == -signal.SIGKILL
    client.communicate()
    until(lambda: living_containers(world) == ("a",))
    assert call(world, "stop", "-t", "10", "a").stdout == "a\n"
    assert living_containers(world) == ()
    assert call(world, "ps", "-aq").stdout == ""


def test_a_client_that_is_killed(world):
    """A container outlives its client, as docker's do, until it is stopped by its name."""
    write_docker_stand_in(world, Scenario(agent=("sh", "-c", "echo ready; exec sleep 600")))
    with start(world, *RUN) as client:
        assert client.stdout.readline() == b"ready\n"
        client.kill()
    assert living_containers(world) == ("a",)
    assert call(world, "rm", "-f", "a").stdout == "a\n"
    assert living_containers(world) == ()


def test_a_grandchild_ends_with_its_container(world):
    """When the agent ends, everything that it started in its session ends, and the run too."""
    write_docker_stand_in(world, Scenario(agent=("sh", "-c", "sleep 600 & echo $!; exit 0")))
    assert call(world, *RUN).returncode == 0


@pytest.mark.parametrize("command", [("stop", "-t", "0"), ("kill",), ("rm", "-f")])
def test_ending_a_stubborn_container(world, command):
    """A container that ignores SIGTERM is killed; the client hears that."""
    script = "trap '' TERM; echo ready; while :; do sleep 600; done"
    write_docker_stand_in(world, Scenario(agent=("sh", "-c", script)))
    with start(world, *RUN) as client:
        assert client.stdout.readline() == b"ready\n"
        assert call(world, *command, "a").stdout == "a\n"
        assert client.wait(GUARD) == 137


def test_commands_that_hang(world):
    """A command that hangs does so whatever signal it gets but SIGKILL."""
    write_docker_stand_in(world, Scenario(agent=("true",), answers={"version": HANG}))
    with start(world, "version") as client:
        until(lambda: read_calls(world))
        client.kill()
        assert client.wait(GUARD) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("answer", "status"), [(Answer(hangs=True), -signal.SIGKILL), (fail(125, "x"), 125)]
)
def test_a_run_whose_client_says_something_else(world, answer, status):
    """A container may have been started although the client hangs; or not, when it fails."""
    scenario = Scenario(agent=("sleep", "600"), answers={"run": answer})
    write_docker_stand_in(world, scenario)
    with start(world, *RUN) as client:
        if answer.hangs:
            until(lambda: living_containers(world) == ("a",))
            client.kill()
        assert client.wait(GUARD) == status
    assert living_containers(world) == (("a",) if answer.acts else ())


def test_calls_are_written_down(world, monkeypatch):
    """Every call is told with its arguments, and with the names of its variables only."""
    monkeypatch.setenv("SECRET_NAME", "canary-value")
    write_docker_stand_in(world, Scenario(agent=("true",)))
    call(world, "ps", "-aq")
    (told,) = read_calls(world)
    assert isinstance(told, Call)
    assert told.argv == ("ps", "-aq")
    assert "SECRET_NAME" in told.environment
    assert "canary-value" not in (world / "calls.jsonl").read_text()


def test_no_calls(world):
    """Before the first call there is none."""
    write_docker_stand_in(world, Scenario(agent=("true",)))
    assert read_calls(world) == ()


def test_a_scenario_can_change(world):
    """A command goes by the scenario that it finds when it starts."""
    write_docker_stand_in(world, Scenario(agent=("true",), answers={"ps": fail(1, "no")}))
    assert call(world, "ps", "-aq").returncode == 1
    write_docker_stand_in(world, Scenario(agent=("true",)))
    assert call(world, "ps", "-aq").returncode == 0


def test_an_unknown_command(world):
    """A scenario for a command that docker doesn't have here is a mistake that is told at once."""
    with pytest.raises(ValueError, match="no command inspect"):
        write_docker_stand_in(world, Scenario(agent=("true",), answers={"inspect": HANG}))


def test_kill_containers(world):
    """At the end of a test everything that still runs can be ended, and again."""
    write_docker_stand_in(world, Scenario(agent=("sh", "-c", "echo ready; exec sleep 600")))
    with start(world, *RUN) as client:
        assert client.stdout.readline() == b"ready\n"
        kill_containers(world)
        assert client.wait(GUARD) == 137
    kill_containers(world)
    assert living_containers(world) == ()


def test_a_container_that_nobody_keeps(world):
    """A container whose process is gone doesn't live, whatever is written down of it."""
    write_docker_stand_in(world, Scenario(agent=("true",)))
    with start(world, "version", "--format", "x") as ended:
        ended.wait(GUARD)
    World(str(world)).create({"name": "a", "id": "0", "status": "running", "pid": ended.pid})
    assert living_containers(world) == ()
    kill_containers(world)


def test_mounts_are_told(world):
    """An agent learns where on the host's disk its mounts are."""
    write_docker_stand_in(world, Scenario(agent=("sh", "-c", 'echo "$STAND_IN_MOUNTS"')))
    mount = ("--mount", "type=bind,source=/host,target=/workspace/ipc")
    done = call(world, *RUN[:-1], *mount, "image")
    assert json.loads(done.stdout) == {"/workspace/ipc": "/host"}
