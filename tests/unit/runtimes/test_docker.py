"""The docker runtime: its command lines and its engine's words as tables, its ways with a stand-in.

What the real engine says is in tests/e2e/test_docker_runtime.py.
"""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
import trio

from nanoclaw_trio.errors import (
    ImageMissing,
    RuntimeCommandFailed,
    RuntimeUnavailable,
    StartFailed,
)
from nanoclaw_trio.files import Owner
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.runtimes.abc import ContainerSpec, ContainerState, Phase
from nanoclaw_trio.runtimes.docker import (
    DockerRuntime,
    limit_arguments,
    root_arguments,
    selinux_enforced,
)
from nanoclaw_trio.settings import GracePeriods
from nanoclaw_trio.testing.docker_stand_in import (
    GARBAGE,
    HANG,
    Answer,
    Said,
    fail,
    living_containers,
    read_calls,
)

GUARD = 60.0
ROOT = Owner(uid=0, gid=0)

UNREACHABLE = (
    "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. "
    "Is the docker daemon running?"
)


def spec(**fields):
    """A spec with a name and an image, and what matters."""
    return ContainerSpec(**{"name": "nanoclaw-a-1", "image": "image:tag", **fields})


async def read_all(stream):
    """Everything up to its end."""
    return b"".join([chunk async for chunk in stream])


def open_descriptors():
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def runtime(settings):
    """A runtime whose client is never started."""
    return DockerRuntime(settings, host_user=ROOT, selinux=False)


def test_run_arguments(runtime):
    """The command line is that of wire-formats 5, hardened. Traps A15, A16."""
    arguments = runtime.run_arguments(
        spec(
            environment={"TZ": "Europe/Berlin"},
            labels={"nanoclaw.install": "x"},
            mounts=(VolumeMount(host_path=Path("/h"), container_path="/c", readonly=True),),
            memory=1024**3,
            cpus=1.5,
            pids_limit=100,
            network="none",
        )
    )
    assert arguments == [
        *("run", "-i", "--rm", "--name", "nanoclaw-a-1"),
        *("-e", "TZ=Europe/Berlin", "--label", "nanoclaw.install=x"),
        *("--init", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *("--pids-limit", "100", "--memory", "1073741824", "--memory-swap", "1073741824"),
        *("--cpus", "1.5", "--network", "none", "--pull=never", "--log-driver", "none"),
        *("--mount", "type=bind,source=/h,target=/c,readonly", "image:tag"),
    ]


def test_run_arguments_under_selinux(settings):
    """Where SELinux enforces, the container runs without its labels; the files keep theirs. Trap B6."""
    runtime = DockerRuntime(settings, host_user=ROOT, selinux=True)
    arguments = runtime.run_arguments(spec())
    assert arguments[arguments.index("label=disable") - 1] == "--security-opt"


@pytest.mark.parametrize(("content", "enforced"), [(b"1", True), (b"0", False), (None, False)])
def test_selinux_enforced(tmp_path, content, enforced):
    """The kernel's file says whether SELinux enforces; without it there is no SELinux."""
    path = tmp_path / "enforce"
    if content is not None:
        path.write_bytes(content)
    assert selinux_enforced(path) is enforced


@pytest.mark.parametrize(
    ("fields", "arguments"),
    [
        ({"pids_limit": 7}, ["--pids-limit", "7"]),
        ({"pids_limit": 7, "cpus": 2.0}, ["--pids-limit", "7", "--cpus", "2"]),
        (
            {"pids_limit": 7, "memory": 64},
            ["--pids-limit", "7", "--memory", "64", "--memory-swap", "64"],
        ),
    ],
)
def test_limits(fields, arguments):
    """Memory is limited together with swap; what has no limit isn't named."""
    assert limit_arguments(spec(**fields)) == arguments


def test_read_only_root():
    """A read-only root comes with two places to write to, where programs can be run, too."""
    options = "rw,exec,nosuid,nodev,mode=1777"
    assert root_arguments(spec()) == []
    assert root_arguments(spec(read_only=True)) == [
        *("--read-only", "--tmpfs", f"/tmp:{options}", "--tmpfs", f"/home/node:{options}")
    ]


def test_describe(runtime):
    """A run log gets a command line that a shell understands."""
    described = runtime.describe(spec(environment={"A": "b c"}))
    assert described.startswith("docker run -i --rm --name nanoclaw-a-1 -e 'A=b c' --init")


def test_describe_what_cannot_be_expressed(runtime):
    """A spec without a command line is still described, for the log of its failure."""
    mount = VolumeMount(host_path=Path("/a\nb"), container_path="/c", readonly=True)
    assert runtime.describe(spec(mounts=(mount,))).startswith("docker: ContainerSpec(")


@pytest.mark.parametrize(
    ("host_user", "workspace_owner", "process_user"),
    [
        (ROOT, Owner(uid=1000, gid=1000), None),
        (Owner(uid=1000, gid=1000), None, None),
        (Owner(uid=1000, gid=100), None, None),
        (Owner(uid=501, gid=20), None, Owner(uid=501, gid=20)),
    ],
)
def test_owners(settings, host_user, workspace_owner, process_user):
    """Root gives the files to the image's user; any other user runs the agent as itself."""
    runtime = DockerRuntime(settings, host_user=host_user)
    assert (runtime.workspace_owner(), runtime.process_user()) == (workspace_owner, process_user)


def test_owners_by_default(settings):
    """Without being told, the runtime goes by the user that this process runs as."""
    runtime = DockerRuntime(settings)
    assert runtime.workspace_owner() is not None or Path("/proc/self").stat().st_uid != 0


def test_files_can_be_mounted(runtime):
    """Docker mounts single files, so that .env can be covered."""
    assert runtime.mounts_files


def client(said):
    """What the client prints when it fails to run a container."""
    return f"docker: {said}\n\nRun 'docker run --help' for more information\n"


def daemon(said):
    """What the client prints when the engine refuses to run a container."""
    return client(f"Error response from daemon: {said}")


CREATE_FAILED = "failed to create shim task: OCI runtime create failed: runc create failed: "
DENIED = (
    "permission denied while trying to connect to the Docker daemon socket at unix:///x: EACCES"
)
PULL_DENIED = "pull access denied for image, repository does not exist"
NO_MANIFEST = "manifest for image:tag not found: manifest unknown: manifest unknown."
NO_SOURCE = 'invalid mount config for type "bind": bind source path does not exist: /nosuch'
CONFLICT = 'Conflict. The container name "/nanoclaw-a-1" is already in use by container "4b28".'
LOST = (
    "words of the agent's\n"
    'time="2026-11-23T12:22:15Z" level=error msg="error waiting for container: unexpected EOF"\n'
)
UNKNOWN_FLAG = "unknown flag: --pull\n\nUsage:  docker run [OPTIONS] IMAGE\n\nRun 'docker run --help' for more\n"
INVALID_FLAG = 'invalid argument "x" for "--cpus" flag: no number\nSee \'docker run --help\'.\n'


@pytest.mark.parametrize(
    ("exit_code", "stderr", "kind", "message"),
    [
        (
            125,
            daemon("No such image: image:tag"),
            ImageMissing,
            "nanoclaw_trio build --tag image:tag",
        ),
        (125, f"Unable to find image\n{daemon(PULL_DENIED)}", ImageMissing, "nanoclaw_trio build"),
        (125, daemon(NO_MANIFEST), ImageMissing, "nanoclaw_trio build"),
        (125, client(UNREACHABLE), RuntimeUnavailable, "Cannot connect"),
        (125, client("error during connect: Post: EOF."), RuntimeUnavailable, "during connect"),
        (125, client(DENIED), RuntimeUnavailable, "permission denied"),
        (
            125,
            client("failed to connect to the docker API at unix:///x"),
            RuntimeUnavailable,
            "API",
        ),
        (125, LOST, RuntimeUnavailable, "error waiting for container: unexpected EOF;"),
        (125, "error waiting for container: EOF\n", RuntimeUnavailable, "container: EOF;"),
        (125, daemon(CONFLICT), StartFailed, "nanoclaw-a-1 could not be started: Error response"),
        (125, daemon(NO_SOURCE), StartFailed, "/nosuch"),
        (125, daemon("network mine not found"), StartFailed, "network mine not found"),
        (125, UNKNOWN_FLAG, StartFailed, "unknown flag: --pull"),
        (125, INVALID_FLAG, StartFailed, "invalid argument"),
        (126, daemon(f'{CREATE_FAILED}exec: "/tmp": permission denied'), StartFailed, "/tmp"),
        (
            127,
            "[FATAL tini (7)] exec agent failed: No such file\n",
            StartFailed,
            "exec agent failed",
        ),
        (127, daemon(f"{CREATE_FAILED}executable file not found"), StartFailed, "file not found"),
    ],
)
def test_explain_exit(runtime, exit_code, stderr, kind, message):
    """An exit of the client's making is told from the agent's, and named by whose fault it is."""
    error = runtime.explain_exit(spec(), exit_code, stderr)
    assert type(error) is kind
    assert message in str(error)


@pytest.mark.parametrize(
    ("exit_code", "stderr"),
    [
        (0, f"docker: {UNREACHABLE}"),
        (1, f"docker: {UNREACHABLE}"),
        (125, ""),
        (125, "the agent gave up\n"),
        (125, "unknown flag: --of-the-agent\n"),
        (126, "sh: ./tool: Permission denied\n"),
        (127, "sh: tool: not found\n"),
        (137, "Killed\n"),
    ],
)
def test_an_exit_of_the_agents_own(runtime, exit_code, stderr):
    """An agent that ends with one of the client's statuses and other words explains itself."""
    assert runtime.explain_exit(spec(), exit_code, stderr) is None


async def test_check(docker_world):
    """A docker that answers is named with its version."""
    assert await docker_world.runtime().check() == "docker 28.0.0-stand-in"


async def test_check_without_docker(settings):
    """Without the program the error says that, and what to do."""
    runtime = DockerRuntime(settings, executable="/nonexistent/docker")
    with pytest.raises(RuntimeUnavailable, match=r"no program `/nonexistent/docker`.*install"):
        await runtime.check()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (fail(1, UNREACHABLE), "Cannot connect to the Docker daemon"),
        (Answer(says=Said(status=0, stdout="\n")), "said: nothing"),
        (GARBAGE, "Bad Gateway"),
        (
            fail(125, "Error: template: version:1:15: can't evaluate field MinAPIVersion"),
            "use `--runtime podman`",
        ),
    ],
)
async def test_check_of_a_docker_that_does_not_work(docker_world, answer, why):
    """A docker without an engine behind it, or that is something else, can't be used."""
    docker_world.play(answers={"version": answer})
    with pytest.raises(RuntimeUnavailable, match=why):
        await docker_world.runtime().check()


async def test_check_of_an_engine_that_hangs(docker_world):
    """An engine that doesn't answer within the bound can't be used."""
    docker_world.play(answers={"version": HANG})
    with trio.fail_after(GUARD), pytest.raises(RuntimeUnavailable, match="did not answer within"):
        await docker_world.brief_runtime().check()


async def test_require_image(docker_world):
    """An image that is there is asked for once, however many runs there are."""
    docker_world.play(images=("image:tag",))
    runtime = docker_world.runtime()
    await runtime.require_image("image:tag")
    await runtime.require_image("image:tag")
    assert docker_world.commands() == ["image"]


async def test_missing_image(docker_world):
    """A missing image stops a run before it starts, with the command that builds it. Trap A15."""
    docker_world.play(images=())
    command = r"`python -m nanoclaw_trio build --tag image:tag --project /\S+`"
    build = rf"run {command}, or use `--runtime bubblewrap`"
    with pytest.raises(ImageMissing, match=build):
        await docker_world.runtime().start(spec())
    assert docker_world.commands() == ["image"]


async def test_image_that_was_removed(docker_world):
    """An image that a run found missing is asked for again before the next one."""
    docker_world.play(images=("image:tag",))
    runtime = docker_world.runtime()
    await runtime.require_image("image:tag")
    docker_world.play(images=())
    container = await runtime.start(spec())
    stderr = (await read_all(container.stderr)).decode()
    exit_code = await container.wait()
    await container.aclose()
    assert isinstance(runtime.explain_exit(spec(), exit_code, stderr), ImageMissing)
    with pytest.raises(ImageMissing):
        await runtime.start(spec())


@pytest.mark.parametrize("answer", [fail(1, UNREACHABLE), HANG])
async def test_image_of_an_engine_that_does_not_answer(docker_world, answer):
    """An engine that doesn't say whether it has the image isn't one without the image."""
    docker_world.play(answers={"image inspect": answer})
    with trio.fail_after(GUARD), pytest.raises(RuntimeUnavailable):
        await docker_world.brief_runtime().require_image("image:tag")


async def test_a_run(docker_world):
    """A container is heard on its three streams, known while it runs, and gone after its end."""
    with trio.fail_after(GUARD):
        docker_world.play(agent=("sh", "-c", "cat; echo no >&2; exit 3"))
        runtime = docker_world.runtime()
        container = await runtime.start(spec(labels={"nanoclaw.install": "x"}))
        await container.stdin.send_all(b"question")
        assert await container.stdout.receive_some() == b"question"
        state = ContainerState(
            name="nanoclaw-a-1", phase=Phase.RUNNING, labels={"nanoclaw.install": "x"}
        )
        assert await runtime.inspect("nanoclaw-a-1") == state
        await container.stdin.aclose()
        assert await read_all(container.stdout) == b""
        assert await read_all(container.stderr) == b"no\n"
        assert await container.wait() == 3
        assert await runtime.inspect("nanoclaw-a-1") is None
        await container.aclose()


async def test_mounts_are_checked_before_the_start(docker_world, tmp_path):
    """A mount without a source is refused, naming it, and nothing is started. Trap A16."""
    mount = VolumeMount(host_path=tmp_path / "nosuch", container_path="/x", readonly=True)
    with pytest.raises(StartFailed, match=r"nosuch isn't there"):
        await docker_world.runtime().start(spec(mounts=(mount,)))
    assert "run" not in docker_world.commands()


async def test_mounts_reach_the_engine(docker_world, tmp_path):
    """Mounts whose sources are there reach the engine in their order, files and directories."""
    with trio.fail_after(GUARD):
        docker_world.play(agent=("sh", "-c", 'echo "$STAND_IN_MOUNTS"'))
        mounts = (
            VolumeMount(host_path=tmp_path, container_path="/x,y", readonly=True),
            VolumeMount(host_path=Path("/dev/null"), container_path="/x,y/.env", readonly=True),
        )
        container = await docker_world.runtime().start(spec(mounts=mounts))
        places = json.loads(await read_all(container.stdout))
        assert list(places.items()) == [("/x,y", str(tmp_path)), ("/x,y/.env", "/dev/null")]
        await container.wait()
        await container.aclose()


async def test_mounts_that_cannot_be_looked_at(docker_world):
    """A mount whose source can't even be looked at is refused, too."""
    mount = VolumeMount(host_path=Path("/" + "x" * 300), container_path="/x", readonly=True)
    with pytest.raises(StartFailed, match="File name too long"):
        await docker_world.runtime().start(spec(mounts=(mount,)))


async def test_start_that_the_system_refuses(docker_world):
    """A client that can't be started is an error of that start."""
    runtime = docker_world.runtime()
    await runtime.require_image("image:tag")
    with pytest.raises(StartFailed, match="Argument list too long"):
        await runtime.start(spec(environment={"A": "x" * 3_000_000}))
    with pytest.raises(StartFailed, match="null byte"):
        await runtime.start(spec(environment={"A": "nul: \0"}))


async def test_start_without_docker(docker_world):
    """A client that vanished after the first run is an error of the runtime."""
    runtime = docker_world.runtime()
    await runtime.require_image("image:tag")
    (docker_world.directory / "docker").unlink()
    with pytest.raises(RuntimeUnavailable, match="no program"):
        await runtime.start(spec())


async def test_client_that_dies(docker_world):
    """The death of the client is heard at once, and the container lives until it is stopped."""
    with trio.fail_after(GUARD):
        docker_world.play(
            agent=("sh", "-c", "echo output; exec sleep 600"), client_dies_after_output=True
        )
        runtime = docker_world.runtime()
        container = await runtime.start(spec())
        assert await read_all(container.stdout) == b"output\n"
        assert await container.wait() == 128 + signal.SIGKILL
        assert living_containers(docker_world.directory) == ("nanoclaw-a-1",)
        assert await runtime.stop("nanoclaw-a-1", 10.0)
        assert await runtime.inspect("nanoclaw-a-1") is None
        assert living_containers(docker_world.directory) == ()
        await container.aclose()


async def test_letting_go(docker_world):
    """Letting go of a container ends its client only. Trap A7."""
    with trio.fail_after(GUARD):
        docker_world.play(agent=("sh", "-c", "echo ready; exec sleep 600"))
        runtime = docker_world.runtime()
        container = await runtime.start(spec())
        assert await container.stdout.receive_some() == b"ready\n"
        await container.aclose()
        assert living_containers(docker_world.directory) == ("nanoclaw-a-1",)
        assert await runtime.remove("nanoclaw-a-1")
        assert living_containers(docker_world.directory) == ()


@pytest.mark.parametrize("rung", ["stop", "kill", "remove"])
async def test_rungs_of_the_stop_ladder(docker_world, rung):
    """Each rung ends a container that ignores SIGTERM, and finds nothing after that."""
    with trio.fail_after(GUARD):
        script = "trap '' TERM; echo ready; while :; do sleep 600; done"
        docker_world.play(agent=("sh", "-c", script))
        runtime = docker_world.runtime()
        container = await runtime.start(spec())
        await container.stdout.receive_some()
        arguments = ("nanoclaw-a-1", 0.1) if rung == "stop" else ("nanoclaw-a-1",)
        assert await getattr(runtime, rung)(*arguments) is True
        assert await container.wait() == 137
        assert await getattr(runtime, rung)(*arguments) is False
        assert await runtime.inspect("nanoclaw-a-1") is None
        await container.aclose()


async def test_stop_asks_for_whole_seconds(docker_world):
    """A grace is rounded up for the engine: a container never gets less than it was promised."""
    await docker_world.runtime().stop("nanoclaw-a-1", 2.1)
    assert read_calls(docker_world.directory)[-1].argv == ("stop", "-t", "3", "nanoclaw-a-1")


@pytest.mark.parametrize(
    ("stderr", "killed"),
    [
        ("Error response from daemon: Cannot kill container: x: Container 4b28 is not running",
         False),
        ("Error response from daemon: Cannot kill container: x: No such container: x", False),
    ],
)  # fmt: skip
async def test_kill_of_what_does_not_run(docker_world, stderr, killed):
    """Killing what doesn't run, or isn't there, says so."""
    docker_world.play(answers={"kill": fail(1, stderr)})
    assert await docker_world.runtime().kill("x") is killed


IN_PROGRESS = "Error response from daemon: removal of container x is already in progress"


async def test_remove_of_what_is_being_removed(docker_world):
    """A removal that is under way already is waited for, and is one."""
    with trio.fail_after(GUARD):
        there = Answer(says=Said(stdout='["/x","removing",{}]\n'))
        refusal = fail(1, IN_PROGRESS)
        docker_world.play(answers={"rm": refusal, "container inspect": there})
        removed = trio.Event()

        async def remove():
            assert await docker_world.runtime().remove("x") is True
            removed.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(remove)
            while "container" not in docker_world.commands():  # noqa: ASYNC110 - a process calls
                await trio.sleep(0.01)
            assert not removed.is_set()
            docker_world.play(answers={"rm": refusal})


async def test_removal_that_does_not_end(docker_world):
    """A removal that is under way for too long may leave something."""
    there = Answer(says=Said(stdout='["/x","removing",{}]\n'))
    docker_world.play(answers={"rm": fail(1, IN_PROGRESS), "container inspect": there})
    runtime = docker_world.runtime(GracePeriods(command=2.0))
    with trio.fail_after(GUARD), pytest.raises(RuntimeCommandFailed):
        await runtime.remove("x")


COMMANDS = {
    "stop": ("stop", ("x", 0.0)),
    "kill": ("kill", ("x",)),
    "rm": ("remove", ("x",)),
    "container inspect": ("inspect", ("x",)),
    "ps": ("list", ({},)),
    "events": ("find_out_of_memory", ("x", 0.0)),
}


@pytest.mark.parametrize("command", COMMANDS)
async def test_commands_that_hang(docker_world, command):
    """A command that never answers is given up within its bound, and says nothing. Trap A7."""
    method, arguments = COMMANDS[command]
    docker_world.play(answers={command: HANG})
    with trio.fail_after(GUARD), pytest.raises(RuntimeCommandFailed, match="did not answer within"):
        await getattr(docker_world.brief_runtime(), method)(*arguments)


@pytest.mark.parametrize("command", COMMANDS)
async def test_commands_that_fail(docker_world, command):
    """A command that fails for a reason that we don't know tells that reason, and nothing else."""
    method, arguments = COMMANDS[command]
    docker_world.play(answers={command: fail(1, f"{UNREACHABLE}\n")})
    with pytest.raises(RuntimeCommandFailed, match=rf"`docker {command} .*Cannot connect to the"):
        await getattr(docker_world.runtime(), method)(*arguments)


@pytest.mark.parametrize("command", COMMANDS)
async def test_commands_of_a_program_that_is_not_there(settings, command):
    """Without the program nothing is known of a container."""
    method, arguments = COMMANDS[command]
    runtime = DockerRuntime(settings, executable="/nonexistent/docker")
    with pytest.raises(RuntimeCommandFailed, match="can't be started"):
        await getattr(runtime, method)(*arguments)


@pytest.mark.parametrize("command", ["container inspect", "ps"])
async def test_answers_that_are_garbage(docker_world, command):
    """Garbage is neither a container nor its absence."""
    method, arguments = COMMANDS[command]
    docker_world.play(answers={command: GARBAGE})
    with pytest.raises(RuntimeCommandFailed, match=r"answered garbage .*502 Bad"):
        await getattr(docker_world.runtime(), method)(*arguments)


@pytest.mark.parametrize("stdout", ["", '["/another","running",{}]\n'])
async def test_answers_about_something_else(docker_world, stdout):
    """An answer about another container, or about none, says nothing of this one."""
    docker_world.play(answers={"container inspect": Answer(says=Said(stdout=stdout))})
    with pytest.raises(RuntimeCommandFailed, match="answered about something else"):
        await docker_world.runtime().inspect("nanoclaw-a-1")


async def test_list(docker_world):
    """Containers are found by all of the given labels, with all that they carry. Trap A26."""
    with trio.fail_after(GUARD):
        docker_world.play(agent=("sh", "-c", "echo ready; exec sleep 600"))
        runtime = docker_world.runtime()
        labels = {"nanoclaw.install": "x", "nanoclaw.group": "a,b=c"}
        containers = [
            await runtime.start(spec(name="a", labels=labels)),
            await runtime.start(spec(name="b", labels={"nanoclaw.install": "y"})),
        ]
        for container in containers:
            await container.stdout.receive_some()
        state = ContainerState(name="a", phase=Phase.RUNNING, labels=labels)
        assert await runtime.list({"nanoclaw.install": "x"}) == (state,)
        assert await runtime.list(labels) == (state,)
        assert len(await runtime.list({})) == 2
        assert await runtime.list({"nanoclaw.install": "z"}) == ()
        for container in containers:
            await runtime.remove(container.name)
            await container.aclose()


@pytest.mark.parametrize(
    ("stderr", "known"),
    [
        ("Error response from daemon: No such container: 00\n", True),
        (f"Error response from daemon: No such container: 00\n{UNREACHABLE}\n", False),
        ("", False),
    ],
)
async def test_list_of_what_vanishes(docker_world, stderr, known):
    """A container that ends while they are listed is left out; any other failure is one."""
    docker_world.play(
        answers={
            "ps": Answer(says=Said(stdout="0" * 64 + "\n")),
            "container inspect": Answer(
                says=Said(status=1, stdout='["/a","running",null]\n', stderr=stderr)
            ),
        }
    )
    listing = docker_world.runtime().list({})
    if known:
        assert await listing == (ContainerState(name="a", phase=Phase.RUNNING),)
    else:
        with pytest.raises(RuntimeCommandFailed):
            await listing


@pytest.mark.parametrize("stdout", ["", '["/a","running",null]\n'])
async def test_list_of_what_is_not_told_of(docker_world, stdout):
    """A success that doesn't tell of all that were listed doesn't mean that the rest is gone."""
    listed = f"{'0' * 64}\n{'1' * 64}\n"
    docker_world.play(
        answers={
            "ps": Answer(says=Said(stdout=listed)),
            "container inspect": Answer(says=Said(stdout=stdout)),
        }
    )
    with pytest.raises(RuntimeCommandFailed, match="of 2 containers"):
        await docker_world.runtime().list({})


@pytest.mark.parametrize("out_of_memory", [True, False])
async def test_find_out_of_memory(docker_world, out_of_memory):
    """The engine remembers that a container ran out of memory, even after it was removed."""
    with trio.fail_after(GUARD):
        docker_world.play(agent=("sh", "-c", "kill -9 $$"), out_of_memory=out_of_memory)
        started = time.time()
        runtime = docker_world.runtime()
        container = await runtime.start(spec())
        assert await container.wait() == 137
        await container.aclose()
        assert await runtime.find_out_of_memory("nanoclaw-a-1", started) is out_of_memory
        assert not await runtime.find_out_of_memory("nanoclaw-a-2", started)


async def test_no_secret_reaches_the_client(docker_world, monkeypatch):
    """A client's environment holds no secret of this process."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary")
    monkeypatch.setenv("HARMLESS", "1")
    runtime = docker_world.runtime()
    container = await runtime.start(spec())
    await container.aclose()
    await runtime.remove("nanoclaw-a-1")
    for call in read_calls(docker_world.directory):
        assert "HARMLESS" in call.environment
        assert "ANTHROPIC_API_KEY" not in call.environment


async def test_cancelled_commands_leave_no_process(docker_world):
    """A command that is cancelled is killed, so that none piles up behind a hung engine."""
    docker_world.play(answers={"stop": HANG})
    with trio.fail_after(GUARD):
        before = open_descriptors()
        with trio.move_on_after(0.2):
            await docker_world.runtime().stop("x", 0.0)
        assert open_descriptors() == before
