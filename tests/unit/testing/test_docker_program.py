"""The stand-in's program, command by command, on a world that is written down.

What forks is shown in test_docker_stand_in.py, with the program as an executable.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress

import pytest

from nanoclaw_trio.testing.docker_program import main
from nanoclaw_trio.testing.docker_program.keeper import agent_environment
from nanoclaw_trio.testing.docker_program.words import Reply, parse, render, run_failure
from nanoclaw_trio.testing.docker_program.world import World, new_container, write_down_end
from nanoclaw_trio.testing.docker_stand_in import Answer, Said, Scenario, write_docker_stand_in


@pytest.fixture
def world(tmp_path):
    """An empty world with a scenario."""
    write_docker_stand_in(tmp_path, Scenario(agent=("true",), images=("there",)))
    return World(str(tmp_path))


@pytest.fixture
def docker(world, capsys):
    """Call the program in this process; what it says."""

    def call(*argv):
        status = main(str(world.directory), argv)
        said = capsys.readouterr()
        return Reply(status, said.out, said.err)

    return call


def container(name, status="exited", pid=0, **labels):
    """A container as it is written down."""
    made = new_container({"--name": [name]}, "there")
    return {**made, "status": status, "pid": pid, "labels": labels}


@pytest.fixture
def kept(world):
    """Run a shell in a container, kept by a thread of this process."""
    threads = []

    def run(name, script):
        agent = subprocess.Popen(
            ["sh", "-c", f"{script}; echo ready; while :; do sleep 600; done"],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        made = container(name, "running", agent.pid)
        world.create(made)

        def keep():
            with agent:
                status = agent.wait()
                with suppress(ProcessLookupError):
                    os.killpg(agent.pid, signal.SIGKILL)
                write_down_end(world, made, status, out_of_memory=False)

        threads.append(threading.Thread(target=keep))
        assert agent.stdout.readline() == b"ready\n"
        threads[-1].start()

    yield run
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    ("arguments", "parsed"),
    [
        ([], ({}, [])),
        (["-f", "a"], ({"-f": [""]}, ["a"])),
        (["-t", "3", "a"], ({"-t": ["3"]}, ["a"])),
        (
            ["--pull=never", "--init", "i", "-x"],
            ({"--pull": ["never"], "--init": [""]}, ["i", "-x"]),
        ),
        (["-e", "A=1", "-e", "B=2"], ({"-e": ["A=1", "B=2"]}, [])),
    ],
)
def test_parse(arguments, parsed):
    """Options end with the first word that is none."""
    assert parse(arguments) == parsed


def test_render():
    """The two forms of a template's field are known."""
    value = {"A": {"B": ["c"]}, "D": "e"}
    assert render("[{{json .A.B}},{{.D}}]", value) == '[["c"],e]\n'


def test_version(docker):
    """The version has the fields that docker's has."""
    template = "{{.Server.Version}} {{.Server.MinAPIVersion}}"
    assert docker("version", "--format", template) == Reply(stdout="28.0.0-stand-in 1.24\n")


def test_image_inspect(docker):
    """An image is there or it isn't."""
    assert docker("image", "inspect", "there").status == 0
    assert docker("image", "inspect", "x").stderr.endswith("No such image: x\n")


def test_build(docker, tmp_path):
    """The steps of the Dockerfile are said, and then the image is there with its labels."""
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM x\nRUN y\n")
    options = ("--force-rm", "--tag", "new:1", "--label", "a=1", "--label", "b=c=d")
    said = docker("build", *options, str(context))
    assert said.stdout == "Step 1/2 : FROM x\nStep 2/2 : RUN y\nSuccessfully tagged new:1\n"
    (image,) = json.loads(docker("image", "inspect", "new:1").stdout)
    assert image["Config"]["Labels"] == {"a": "1", "b": "c=d"}
    assert image["Id"].startswith("sha256:")
    assert docker("image", "inspect", "new:2").status == 1


@pytest.mark.parametrize(
    ("argv", "reply"),
    [
        (["stop", "-t", "1", "x"], Reply(1, "", "Error response from daemon: No such container: x\n")),
        (
            ["kill", "x"],
            Reply(
                1,
                "",
                "Error response from daemon: Cannot kill container: x: No such container: x\n",
            ),
        ),
        (["rm", "-f", "x"], Reply(0, "", "Error response from daemon: No such container: x\n")),
        (
            ["container", "inspect", "--format", "{{.Name}}", "x"],
            Reply(1, "", "Error response from daemon: No such container: x\n"),
        ),
        (["ps", "-aq"], Reply()),
    ],
)  # fmt: skip
def test_what_is_not_there(docker, argv, reply):
    """A container that isn't there is missing in docker's own words."""
    assert docker(*argv) == reply


def test_what_has_ended(docker, world):
    """A container that ended, and was not removed, is known by its name and by its id."""
    made = container("a", group="main")
    world.create(made)
    assert docker("stop", "-t", "1", "a") == Reply(stdout="a\n")
    assert "is not running" in docker("kill", "a").stderr
    assert docker("ps", "-aq", "--filter", "label=group=main").stdout == f"{made['id']}\n"
    assert docker("ps", "-aq", "--filter", "label=group=x").stdout == ""
    template = "[{{json .Name}},{{json .State.Status}},{{json .Config.Labels}}]"
    inspected = docker("container", "inspect", "--format", template, made["id"])
    assert json.loads(inspected.stdout) == ["/a", "exited", {"group": "main"}]
    assert docker("rm", "-f", "a") == Reply(stdout="a\n")
    assert world.all() == []


@pytest.mark.parametrize(
    ("command", "script", "exit_code"),
    [
        (["stop", "-t", "60"], "true", 143),
        (["stop", "-t", "0"], "trap '' TERM", 137),
        (["kill"], "trap '' TERM", 137),
    ],
)
def test_ending_what_runs(docker, world, kept, command, script, exit_code):
    """A container that runs is ended with real signals, politely or by force."""
    kept("a", script)
    assert docker(*command, "a") == Reply(stdout="a\n")
    assert world.find("a")["exit_code"] == exit_code


def test_removing_what_runs(docker, world, kept):
    """A container that runs is ended before it is removed."""
    kept("a", "trap '' TERM")
    assert docker("rm", "-f", "a") == Reply(stdout="a\n")
    assert world.find("a") is None


def test_waiting_for_a_start(docker, world):
    """A container whose start is under way is waited for before it is ended."""
    started = container("a", "created")
    world.create(started)
    starter = threading.Timer(0.1, lambda: world.save({**started, "status": "exited"}))
    starter.start()
    assert "is not running" in docker("kill", "a").stderr
    starter.join()


def test_create_twice(world):
    """A name is taken as long as its container is there."""
    assert world.create(container("a"))
    assert not world.create(container("a"))
    world.forget(container("a"))
    assert world.create(container("a"))


def test_files_that_are_half_way(world):
    """A container that is just being written down isn't known yet."""
    (world.containers / "a.json").touch()
    assert world.all() == []


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["run", "-i", "--name", "a", "missing"], "No such image: missing"),
        (["run", "-i", "--name", "taken", "there"], "Conflict"),
    ],
)
def test_run_that_fails(docker, world, argv, words):
    """A run without its image, or under a taken name, fails in docker's own words."""
    world.create(container("taken"))
    reply = docker(*argv)
    assert reply.status == 125
    assert words in reply.stderr
    assert reply == run_failure(reply.stderr.partition("daemon: ")[2].partition("\n")[0])


def test_an_end_is_written_down(docker, world):
    """An end leaves its events, and its container only if that shall not be removed."""
    for name, auto_remove in (("a", True), ("b", False)):
        made = {**container(name, "running"), "auto_remove": auto_remove}
        world.create(made)
        write_down_end(world, made, -9, out_of_memory=auto_remove)
    (left,) = world.all()
    assert (left["name"], left["exit_code"]) == ("b", 137)
    options = ["--since", "0", "--until", f"{time.time():.6f}", "--format", "{{.Action}}"]
    for name, event, count in (("a", "oom", 1), ("b", "oom", 0), ("b", "die", 1)):
        filters = ["--filter", f"container={name}", "--filter", f"event={event}"]
        assert docker("events", *options, *filters).stdout == f"{event}\n" * count


def test_events_of_an_empty_world(docker):
    """Where nothing happened there is nothing to tell."""
    options = ["--since", "0", "--until", "1", "--format", "{{.Action}}"]
    filters = ["--filter", "container=a", "--filter", "event=oom"]
    assert docker("events", *options, *filters) == Reply()


def test_agent_environment(monkeypatch):
    """The agent has its container's variables and a PATH, and knows where its mounts are."""
    monkeypatch.setenv("PATH", "/bin")
    options = {
        "-e": ["TZ=UTC"],
        "--mount": ['type=bind,"source=/a,b",target=/workspace/ipc,readonly'],
    }
    assert agent_environment(options) == {
        "PATH": "/bin",
        "TZ": "UTC",
        "STAND_IN_MOUNTS": '{"/workspace/ipc": "/a,b"}',
    }


def test_answers_of_the_scenario(docker, world):
    """What a scenario says is said, after the work or instead of it, and later if it says so."""
    world.create(container("a"))
    says = Said(status=3, stdout="out", stderr="err")
    scenario = Scenario(agent=("true",), answers={"rm": Answer(acts=False, says=says, delay=0.01)})
    write_docker_stand_in(world.directory, scenario)
    assert docker("rm", "-f", "a") == Reply(3, "out", "err")
    assert world.find("a") is not None
    scenario = Scenario(agent=("true",), answers={"rm": Answer(says=says)})
    write_docker_stand_in(world.directory, scenario)
    assert docker("rm", "-f", "a") == Reply(3, "out", "err")
    assert world.find("a") is None
