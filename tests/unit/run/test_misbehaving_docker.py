"""Whole runs against a `docker` that misbehaves: a real executable, real processes, real pipes.

Each ends within its bound, with an honest receipt.
"""

from __future__ import annotations

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.run.open_run import open_run, run_container_agent
from nanoclaw_trio.run.outcome import Cause
from nanoclaw_trio.run.receipt import Gone, Unconfirmed
from nanoclaw_trio.runtimes.docker import DockerRuntime
from nanoclaw_trio.settings import GracePeriods
from nanoclaw_trio.testing.docker_stand_in import (
    GARBAGE,
    HANG,
    Answer,
    Scenario,
    fail,
    kill_containers,
    living_containers,
    read_calls,
    write_docker_stand_in,
)

GRACE = GracePeriods(close=0.1, stop=0.5, command=4.0, settle=1.0, drain=2.0)
"""Short, where it is waited for nothing; a command that answers may take its time."""

GUARD = 120
"""Seconds; it guards against a hang and measures nothing."""

FRAME = """---NANOCLAW_OUTPUT_START---
{"status":"success","result":"awake","newSessionId":"s"}
---NANOCLAW_OUTPUT_END---
"""

SCRIPT = f"""
cat >/dev/null
printf '%s' '{FRAME}'
"""

ANSWERS = ("sh", "-c", f"{SCRIPT} exec sleep 600")
"""An agent that answers and stays."""

DAEMON_GONE = "docker: Cannot connect to the Docker daemon at unix:///var/run/docker.sock.\n"


@pytest.fixture
def docker_world(tmp_path):
    """The stand-in's directory; whatever still runs there is ended afterwards."""
    directory = tmp_path / "docker"
    yield directory
    kill_containers(directory)


@pytest.fixture
def run_docker(docker_world, group, container_input, settings):
    """Open a run with a stand-in that plays a scenario."""

    def run(*, executable=None, agent=ANSWERS, changes=None, **scenario):
        program = write_docker_stand_in(docker_world, Scenario(agent=agent, **scenario))
        changed = evolve(settings, **{"grace": GRACE, **(changes or {})})
        runtime = DockerRuntime(changed, executable=executable or str(program))
        return open_run(group, container_input, settings=changed, runtime=runtime)

    return run


async def take_one_and_leave(opened):
    """Take the first output and leave the block: the run is stopped. The run."""
    with trio.fail_after(GUARD):
        async with opened as run:
            async for _ in run:
                break
    return run


async def read_to_the_end(opened):
    """All outputs' results, and the run."""
    with trio.fail_after(GUARD):
        async with opened as run:
            return [output.result async for output in run], run


@pytest.mark.parametrize(
    "answers",
    [
        {"stop": HANG},
        {"stop": fail(1, "Error response from daemon: no\n")},
        {"stop": GARBAGE},
        {"stop": fail(1, "no\n"), "kill": HANG},
        {"stop": fail(1, "no\n"), "kill": fail(1, "permission denied\n")},
        {"container inspect": Answer(delay=0.5)},
    ],
    ids=["stop hangs", "stop fails", "stop lies", "kill hangs", "kill fails", "slow"],
)
async def test_it_is_gone_all_the_same(run_docker, docker_world, answers):
    """Trap A7. Whatever one rung of the ladder does, a later one ends the container."""
    run = await take_one_and_leave(run_docker(answers=answers))
    assert isinstance(run.receipt, Gone), run.receipt
    assert living_containers(docker_world) == ()


@pytest.mark.parametrize(
    "answer", [HANG, fail(1, "no\n"), GARBAGE], ids=["hangs", "fails", "garbage"]
)
async def test_a_runtime_that_does_nothing_is_not_believed(run_docker, docker_world, answer):
    """Trap A7. Where no rung works, the receipt says that the container may live on: it does."""
    answers = dict.fromkeys(("stop", "kill", "rm", "container inspect"), answer)
    changes = {"grace": evolve(GRACE, command=1.0)}
    run = await take_one_and_leave(run_docker(answers=answers, changes=changes))
    assert isinstance(run.receipt, Unconfirmed)
    assert living_containers(docker_world) == (run.container_name,)


async def test_the_client_dies_while_the_container_lives(run_docker, docker_world):
    """Trap A7. The client's death is noticed as that, and the container is stopped by its name."""
    heard, run = await read_to_the_end(run_docker(client_dies_after_output=True))
    assert heard == ["awake"]
    assert run.result.cause is Cause.KILLED_FROM_OUTSIDE
    assert run.result.gone
    assert living_containers(docker_world) == ()


async def test_a_timeout_with_a_hanging_stop(run_docker, docker_world):
    """Trap A7. A limit passes and `docker stop` hangs: the container is killed, and gone."""
    heard, run = await read_to_the_end(
        run_docker(
            answers={"stop": HANG}, changes={"container_timeout": 1.0, "idle_timeout": -30.0}
        )
    )
    assert heard == ["awake"]
    assert (run.result.cause, run.result.gone) == (Cause.IDLE_CLOSED, True)
    assert living_containers(docker_world) == ()


async def test_a_missing_executable(run_docker, docker_world, tmp_path):
    """No `docker` at all is an outcome that says what to install."""
    _, run = await read_to_the_end(run_docker(executable=str(tmp_path / "nowhere" / "docker")))
    assert run.result.cause is Cause.RUNTIME_UNAVAILABLE
    assert "nowhere" in str(run.result.error)


@pytest.mark.parametrize(
    ("scenario", "cause"),
    [
        ({"images": ()}, Cause.IMAGE_MISSING),
        ({"answers": {"image inspect": fail(1, DAEMON_GONE)}}, Cause.RUNTIME_UNAVAILABLE),
        ({"answers": {"run": fail(125, DAEMON_GONE)}}, Cause.RUNTIME_UNAVAILABLE),
        (
            {"answers": {"run": fail(125, "docker: Error response from daemon: Conflict.\n")}},
            Cause.SPAWN_FAILED,
        ),
        ({"answers": {"image inspect": HANG}}, Cause.RUNTIME_UNAVAILABLE),
    ],
    ids=["no image", "no daemon", "daemon goes", "conflict", "hangs"],
)
async def test_it_cannot_start(run_docker, docker_world, scenario, cause):
    """What stands in the way of a start is the outcome's cause, and nothing is left."""
    _, run = await read_to_the_end(run_docker(**scenario))
    assert run.result.cause is cause, run.result
    assert living_containers(docker_world) == ()


async def test_a_start_that_never_comes_about(run_docker, docker_world):
    """A client that hangs before its container is there: an honest receipt, within the bound."""
    with trio.fail_after(GUARD):
        async with run_docker(answers={"run": HANG}) as run:
            pass
    assert isinstance(run.receipt, Unconfirmed)
    assert "still under way" in run.receipt.why


async def test_an_agent_that_does_not_read_its_input(run_docker, container_input):
    """Trap A1. A container that ends without reading its input is an event of that run only."""
    _, run = await read_to_the_end(
        run_docker(agent=("sh", "-c", "exec <&-; echo it broke >&2; exit 4"))
    )
    assert run.result.error == "Container exited with code 4: it broke"


async def test_a_grandchild_that_keeps_the_pipe_open(run_docker, docker_world):
    """A grandchild that holds the pipes after the container's end doesn't hold the run."""
    agent = ("sh", "-c", f"{SCRIPT} sleep 600 & exit 0")
    heard, run = await read_to_the_end(run_docker(agent=agent))
    assert heard == ["awake"]
    assert run.result.cause in (Cause.COMPLETED, Cause.KILLED_FROM_OUTSIDE)


async def test_out_of_memory(run_docker):
    """An end for want of memory is named, from the engine's own events."""
    agent = ("sh", "-c", "cat >/dev/null; kill -9 $$")
    _, run = await read_to_the_end(run_docker(agent=agent, out_of_memory=True))
    assert run.result.cause is Cause.OUT_OF_MEMORY


async def test_no_key_in_any_command(run_docker, docker_world, settings, group, container_input):
    """Trap A17. A key in .env is in no argument of any call, and its variable in no environment."""
    canary = "sk-canary-ca11-that-is-a-key"
    (settings.project_root / ".env").write_text(f"ANTHROPIC_API_KEY={canary}\n")
    await take_one_and_leave(run_docker(answers={"stop": fail(1, "no\n")}))
    calls = read_calls(docker_world)
    assert {call.argv[0] for call in calls} >= {"image", "run", "stop", "kill", "container"}
    for call in calls:
        assert canary not in " ".join(call.argv)
        assert "ANTHROPIC_API_KEY" not in call.environment


async def test_a_result_without_callbacks(docker_world, group, container_input, settings):
    """Not streaming, an agent that answers and ends has its answer in the result."""
    agent = ("sh", "-c", SCRIPT)
    program = write_docker_stand_in(docker_world, Scenario(agent=agent))
    runtime = DockerRuntime(settings, executable=str(program))
    with trio.fail_after(GUARD):
        result = await run_container_agent(
            group, container_input, settings=settings, runtime=runtime
        )
    assert (result.result, result.gone) == ("awake", True)


async def test_the_engines_own_words_may_be_long(run_docker):
    """What the engine says of a failed start is understood, though only its end is shown."""
    words = (
        f"docker: Error response from daemon: {'a long story, ' * 40}\nSee 'docker run --help'.\n"
    )
    _, run = await read_to_the_end(run_docker(answers={"run": fail(125, words)}))
    assert run.result.cause is Cause.SPAWN_FAILED


async def test_a_client_that_nobody_reads_any_more(run_docker, docker_world):
    """A container that has ended, whose client is stuck in what it writes: gone, and no doubt."""
    script = f"{SCRIPT} head -c 4000000 /dev/zero | tr '\\0' x"
    changes = {"grace": evolve(GRACE, settle=30.0)}
    with trio.fail_after(GUARD):
        async with run_docker(agent=("sh", "-c", script), changes=changes) as run:
            async for _ in run:
                while living_containers(docker_world):  # noqa: ASYNC110 - nobody tells
                    await trio.sleep(0.05)
                break
    assert isinstance(run.receipt, Gone), run.receipt
