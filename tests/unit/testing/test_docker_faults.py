"""The stand-in for docker with a plan of faults: each kind, as its callers see it."""

from __future__ import annotations

import subprocess
import time

import pytest

from nanoclaw_trio.testing.docker_program import main
from nanoclaw_trio.testing.docker_program.words import Reply
from nanoclaw_trio.testing.docker_program.world import World, new_container
from nanoclaw_trio.testing.docker_stand_in import (
    Scenario,
    kill_containers,
    known_containers,
    living_containers,
    write_docker_stand_in,
)
from nanoclaw_trio.testing.faults import SLOW_DELAY, parse_plan

GUARD = 60.0

AGENT = ("sh", "-c", "echo hello; exec sleep 600")

RUN = ("run", "-i", "--rm", "--name", "a", "image")

INSPECT = ("container", "inspect", "--format", "{{json .Name}}", "a")


@pytest.fixture
def world(tmp_path):
    """A folder whose containers are ended after the test."""
    yield tmp_path
    kill_containers(tmp_path)


def play(world, text, agent=AGENT):
    """Write the program, with this plan."""
    faults = parse_plan(text).faults if text else ()
    write_docker_stand_in(world, Scenario(agent=agent, faults=faults))


def call(world, *argv):
    """Call the program, and wait for its end."""
    return subprocess.run(
        [world / "docker", *argv],
        input="",
        capture_output=True,
        text=True,
        timeout=GUARD,
        check=False,
    )


def until(condition):
    """Wait for what another process does."""
    deadline = time.monotonic() + GUARD
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def docker(world, capsys):
    """Call the program in this process; what it says."""

    def call(*argv):
        status = main(str(world), argv)
        said = capsys.readouterr()
        return Reply(status, said.out, said.err)

    return call


def add_container(world, **fields):
    """Write down a container that has ended."""
    container = new_container({"--name": ["a"]}, "image") | {"status": "exited"} | fields
    World(str(world)).create(container)


@pytest.mark.parametrize(
    ("kind", "status", "stdout", "stderr"),
    [
        ("slow", 0, "a\n", ""),
        ("fail", 1, "", "Error from daemon: no\n"),
        ("fail-after", 1, "", "Error from daemon: no\n"),
        ("pretend", 0, "", ""),
        ("garbage", 0, "<html>502 Bad Gateway</html>\n", ""),
        ("flip", 1, "a\n", ""),
    ],
)
def test_a_command_that_fails(world, docker, kind, status, stdout, stderr):
    """The call that a fault is for goes wrong in its way; the next one doesn't."""
    play(world, f"rm#1={kind}")
    add_container(world)
    begin = time.monotonic()
    assert docker("rm", "-f", "a") == (status, stdout, stderr)
    assert kind != "slow" or time.monotonic() - begin >= SLOW_DELAY
    assert docker("rm", "-f", "a").status == 0
    assert known_containers(world) == ()


def test_a_wrong_status_of_a_failure(world, docker):
    """A command that fails may call that a success; its words say what it was."""
    play(world, "container inspect#1=flip")
    status, stdout, stderr = docker(*INSPECT)
    assert (status, stdout) == (0, "")
    assert "No such container" in stderr


@pytest.mark.parametrize("kind", ["refuse", "restart", "restart-live"])
def test_an_engine_that_is_not_there(world, docker, kind):
    """An engine that goes down refuses the calls after that one, whatever they are, then is back."""
    play(world, f"container inspect#1x3={kind}")
    add_container(world)
    words = [docker(*INSPECT).stderr for _ in range(3)]
    expected = "Cannot connect to the Docker daemon" if kind == "refuse" else "unexpected EOF"
    assert expected in words[0]
    assert all("Cannot connect to the Docker daemon" in word for word in words[1:])
    assert docker(*INSPECT) == (0, '"/a"\n', "")


def test_a_run_without_an_engine(world, docker):
    """A run says in its own way that the engine isn't there."""
    play(world, "run#1=refuse")
    status, _, stderr = docker(*RUN)
    assert status == 125
    assert stderr.startswith("docker: Cannot connect to the Docker daemon")


def test_faults_that_are_taken_back(world, docker):
    """Without faults in its scenario the stand-in behaves again, an outage included."""
    play(world, "ps#1x99=restart")
    assert docker("ps", "-aq").status == 1
    assert docker("ps", "-aq").status == 1
    play(world, "")
    assert docker("ps", "-aq") == (0, "", "")


@pytest.mark.parametrize("kind", ["hang", "hang-after"])
def test_a_command_that_hangs(world, kind):
    """A call that hangs has done its work before, or hasn't."""
    play(world, f"rm#1={kind}")
    add_container(world)
    with subprocess.Popen([world / "docker", "rm", "-f", "a"]) as client:
        until((world / "counts.json").exists)
        if kind == "hang-after":
            until(lambda: known_containers(world) == ())
        assert client.poll() is None
        client.kill()
    assert known_containers(world) == (("a",) if kind == "hang" else ())


@pytest.mark.parametrize(("kind", "said"), [("die", ""), ("die-after", ""), ("cut", "a")])
def test_a_command_that_is_killed(world, kind, said):
    """A call that is killed has done its work before, or hasn't, or is cut off in its answer."""
    play(world, f"rm#1={kind}")
    add_container(world)
    done = call(world, "rm", "-f", "a")
    assert (done.returncode, done.stdout) == (-9, said)
    assert known_containers(world) == (("a",) if kind == "die" else ())


@pytest.mark.parametrize(
    ("kind", "status", "stdout", "living"),
    [
        ("fail", 125, "", ()),
        ("fail-after", 125, "", ("a",)),
        ("pretend", 0, "", ()),
        ("refuse", 125, "", ()),
        ("die", -9, "", ()),
        ("die-after", -9, "hello\n", ("a",)),
        ("cut", -9, "hel", ("a",)),
        ("abandon", -9, "", ()),
        ("restart", 125, "hello\n", ()),
        ("restart-exited", 125, "hello\n", ()),
        ("restart-live", 125, "hello\n", ("a",)),
    ],
)
def test_a_run_that_goes_wrong(world, kind, status, stdout, living):
    """What becomes of a run's client, of its container, and of what the engine knows of it."""
    play(world, f"run#1={kind}")
    done = call(world, *RUN)
    assert (done.returncode, done.stdout) == (status, stdout)
    until(lambda: living_containers(world) == living)
    known = living or (("a",) if kind in {"abandon", "restart-exited"} else ())
    assert known_containers(world) == known


def test_a_run_with_a_wrong_status(world):
    """A run's client may end with another status than its agent."""
    play(world, "run#1=flip", agent=("sh", "-c", "exit 0"))
    assert call(world, *RUN).returncode == 1


def test_a_run_beside_one_that_meets_a_restart(world):
    """Each client that waits for a container loses it when the engine goes down."""
    play(world, "ps#1=restart-live")
    with subprocess.Popen(
        [world / "docker", *RUN],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as client:
        assert client.stdout.readline() == b"hello\n"
        assert call(world, "ps", "-aq").returncode == 1
        assert client.wait(GUARD) == 125
        assert client.stderr.read() == b"error waiting for container: unexpected EOF\n"
    assert living_containers(world) == ("a",)


@pytest.mark.parametrize(
    ("command", "status"), [(("stop", "-t", "1"), 0), (("kill",), 1), (("rm", "-f"), 0)]
)
def test_a_container_that_was_never_started(world, docker, command, status):
    """One that is created only can be stopped, which does nothing, and removed, but not killed."""
    play(world, "")
    add_container(world, status="created", abandoned=True)
    assert docker(*command, "a").status == status
    assert known_containers(world) == (() if command[0] == "rm" else ("a",))


def test_a_container_by_the_beginning_of_its_id(world, docker):
    """As docker's, a container is found by a part of its id."""
    play(world, "")
    add_container(world)
    start = docker("ps", "-aq").stdout[:12]
    assert docker(*INSPECT[:-1], start) == (0, '"/a"\n', "")
