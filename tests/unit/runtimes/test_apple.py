"""The runtime for Apple's `container`, with a scripted program: it runs on macOS only.

Options and forms of output are those of its command reference, 1.0 and later.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nanoclaw_trio.errors import (
    ImageMissing,
    RuntimeCommandFailed,
    RuntimeUnavailable,
    StartFailed,
)
from nanoclaw_trio.files import Owner
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.runtimes.abc import ContainerSpec, ContainerState, Phase
from nanoclaw_trio.runtimes.apple import AppleRuntime

DOCUMENTED_RUN_OPTIONS = {
    *("-i", "--rm", "--progress", "--name", "--user", "-e", "--label", "--init", "--cap-drop"),
    *("--memory", "--cpus", "--network", "--mount", "--read-only", "--tmpfs"),
}

NO_CONTAINER = (
    'Error: internalError: "failed to stop container" '
    '(cause: "notFound: "container with ID x not found"")\n'
)


def spec(**fields):
    """A spec with a name and an image, and what matters."""
    return ContainerSpec(**{"name": "nanoclaw-a-1", "image": "image:tag", **fields})


def container(name, state, labels=None):
    """A container as `container list` and `container inspect` print it."""
    configuration = {"id": name, "labels": labels or {}, "mounts": []}
    return {"id": name, "configuration": configuration, "status": {"state": state, "networks": []}}


@pytest.fixture
def runtime(settings):
    """A runtime whose client is never started."""
    return AppleRuntime(settings, host_user=Owner(uid=501, gid=20))


def test_run_arguments(runtime):
    """The command line has what there is of wire-formats 5 and of hardening. Traps A15, A16."""
    arguments = runtime.run_arguments(
        spec(
            environment={"TZ": "UTC"},
            labels={"k": "v"},
            user=Owner(uid=501, gid=20),
            mounts=(VolumeMount(host_path=Path("/h"), container_path="/c", readonly=True),),
            memory=1024**3 + 1,
            cpus=1.5,
            network="none",
            read_only=True,
        )
    )
    assert arguments == [
        *("run", "-i", "--rm", "--progress", "none", "--name", "nanoclaw-a-1"),
        *("--user", "501:20", "-e", "TZ=UTC", "-e", "HOME=/home/node", "--label", "k=v"),
        *("--init", "--cap-drop", "ALL", "--memory", "1025M", "--cpus", "2", "--network", "none"),
        *("--read-only", "--tmpfs", "/tmp", "--tmpfs", "/home/node"),
        *("--mount", "type=bind,source=/h,target=/c,readonly", "image:tag"),
    ]
    assert {word for word in arguments if word.startswith("-")} == DOCUMENTED_RUN_OPTIONS


def test_run_arguments_without_limits(runtime):
    """What has no limit isn't named."""
    assert not {"--memory", "--cpus", "--network", "--read-only"} & set(
        runtime.run_arguments(spec())
    )


@pytest.mark.parametrize("path", ["/a,b", "/a=b", "/a\nb"])
def test_mounts_that_cannot_be_expressed(runtime, path):
    """A path that its mounts have no way to quote is refused, naming it."""
    mount = VolumeMount(host_path=Path(path), container_path="/c", readonly=False)
    with pytest.raises(StartFailed, match="can't mount"):
        runtime.run_arguments(spec(mounts=(mount,)))


def test_a_name_that_is_too_long(runtime):
    """Its names have 63 characters at most; a longer one is refused with what to do."""
    with pytest.raises(StartFailed, match="shorter name"):
        runtime.run_arguments(spec(name="n" * 64))


def test_directories_only(runtime):
    """A single file can't be mounted."""
    assert not runtime.mounts_files
    assert not runtime.mounts_sockets


@pytest.mark.parametrize(
    ("output", "version"),
    [
        (
            "FIELD              VALUE\nstatus             running\napiserver.version  1.2.0\n",
            "1.2.0",
        ),
        ("apiserver is running\n", "running"),
    ],
)
async def test_check(patient_settings, program, output, version):
    """The services are asked for their status."""
    executable = program.answer(system_status=(0, output, ""))
    assert await AppleRuntime(patient_settings, executable).check() == f"container {version}"


async def test_check_of_services_that_do_not_run(patient_settings, program):
    """Services that don't run can't be used, and the error says how to start them."""
    executable = program.answer(system_status=(1, "apiserver is not running\n", ""))
    with pytest.raises(RuntimeUnavailable, match=r"not running.*container system start"):
        await AppleRuntime(patient_settings, executable).check()


async def test_missing_image(patient_settings, program):
    """A missing image stops a run before it starts: `container run` would fetch one. Trap A15."""
    executable = program.answer(
        image_inspect=(1, "", 'Error: notFound: "image not found: image:tag"\n')
    )
    with pytest.raises(
        ImageMissing, match="nanoclaw_trio build --runtime container --tag image:tag"
    ):
        await AppleRuntime(patient_settings, executable).require_image("image:tag")


async def test_image_is_asked_for_each_time(patient_settings, program):
    """An image that was there may be gone, and nothing else stands before a fetch."""
    runtime = AppleRuntime(patient_settings, program.answer(image_inspect=(0, "[]\n", "")))
    await runtime.require_image("image:tag")
    await runtime.require_image("image:tag")
    assert program.calls() == [["image", "inspect", "image:tag"]] * 2


async def test_commands(patient_settings, program):
    """Stop, kill and remove are called as documented, and a success is one."""
    executable = program.answer(stop=(0, "x\n", ""), kill=(0, "x\n", ""), rm=(0, "x\n", ""))
    runtime = AppleRuntime(patient_settings, executable)
    assert await runtime.stop("x", 1.5) is True
    assert await runtime.kill("x") is True
    assert await runtime.remove("x") is True
    assert program.calls() == [["stop", "-t", "2", "x"], ["kill", "x"], ["rm", "-f", "x"]]


async def test_what_is_not_there(patient_settings, program):
    """Its words for a container that isn't there are understood in every command."""
    executable = program.answer(
        stop=(1, "", NO_CONTAINER),
        kill=(1, "", NO_CONTAINER.replace("stop", "kill")),
        rm=(1, "", NO_CONTAINER.replace("stop", "delete")),
        inspect=(1, "", 'Error: notFound: "container not found: x"\n'),
    )
    runtime = AppleRuntime(patient_settings, executable)
    assert await runtime.stop("x", 1.0) is False
    assert await runtime.kill("x") is False
    assert await runtime.remove("x") is False
    assert await runtime.inspect("x") is None


async def test_kill_of_what_does_not_run(patient_settings, program):
    """Killing a container that is stopped says so."""
    words = 'Error: invalidState: "no runtime client exists: container is stopped"\n'
    runtime = AppleRuntime(patient_settings, program.answer(kill=(1, "", words)))
    assert await runtime.kill("x") is False


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ([], None),
        ([container("x", "running")], ContainerState(name="x", phase=Phase.RUNNING)),
        ([container("x", "stopped")], ContainerState(name="x", phase=Phase.EXITED)),
        ([container("y", "running")], None),
    ],
)
async def test_inspect(patient_settings, program, answer, state):
    """A container is told by its id; an empty list means that there is none, as up to 1.0."""
    executable = program.answer(inspect=(0, json.dumps(answer), ""))
    assert await AppleRuntime(patient_settings, executable).inspect("x") == state


async def test_list(patient_settings, program):
    """There is no filter by label, so all containers are listed and filtered here. Trap A26."""
    labels = {"nanoclaw.install": "i", "nanoclaw.group": "g"}
    answer = [
        container("a", "running", labels),
        container("b", "stopped", {"nanoclaw.install": "i"}),
        container("c", "running"),
    ]
    executable = program.answer(list=(0, json.dumps(answer), ""))
    runtime = AppleRuntime(patient_settings, executable)
    found = await runtime.list({"nanoclaw.install": "i"})
    assert [state.name for state in found] == ["a", "b"]
    assert [state.name for state in await runtime.list(labels)] == ["a"]
    assert program.calls()[0] == ["list", "--all", "--format", "json"]


@pytest.mark.parametrize("answer", [(1, "", "Error: XPC\n"), (0, "ID IMAGE\n", "")])
@pytest.mark.parametrize(("method", "arguments"), [("inspect", ("x",)), ("list", ({},))])
async def test_answers_that_say_nothing(patient_settings, program, method, arguments, answer):
    """A failure and garbage are errors, and not an absence."""
    executable = program.answer(inspect=answer, list=answer)
    with pytest.raises(RuntimeCommandFailed):
        await getattr(AppleRuntime(patient_settings, executable), method)(*arguments)


XPC_ERROR = (
    'Error: interrupted: "XPC connection error: Connection invalid"\n'
    "Ensure container system service has been started with `container system start`.\n"
)


@pytest.mark.parametrize(
    ("exit_code", "stderr", "kind"),
    [
        (1, 'Error: exists: "container with id nanoclaw-a-1 already exists"\n', StartFailed),
        (1, "noise\nError: invalidArgument: \"path '/x' does not exist\"\n", StartFailed),
        (1, 'Error: notFound: "image not found: image:tag"\n', ImageMissing),
        (1, XPC_ERROR, RuntimeUnavailable),
        (1, "Error: of the agent's\n", type(None)),
        (2, 'Error: exists: "x"\n', type(None)),
        (0, "", type(None)),
    ],
)
def test_explain_exit(runtime, exit_code, stderr, kind):
    """The client's errors begin with a code of theirs, which tells them from the agent's."""
    assert type(runtime.explain_exit(spec(), exit_code, stderr)) is kind
