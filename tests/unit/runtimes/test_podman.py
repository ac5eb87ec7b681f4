"""The podman runtime where it differs from docker's, with a scripted program.

What the real one says is in tests/e2e/test_podman_runtime.py.
"""

from __future__ import annotations

import pytest

from nanoclaw_trio.errors import (
    ImageMissing,
    RuntimeCommandFailed,
    RuntimeUnavailable,
    StartFailed,
)
from nanoclaw_trio.files import Owner
from nanoclaw_trio.runtimes.abc import ContainerSpec, ContainerState, Phase
from nanoclaw_trio.runtimes.podman import PodmanRuntime, read_out_of_memory

ROOT = Owner(uid=0, gid=0)
NO_CONTAINER = 'Error: no container with name or ID "x" found: no such container\n'
UNREACHABLE = (
    "Cannot connect to Podman. Please verify your connection to the Linux system\n"
    "Error: unable to connect to Podman socket: connection refused\n"
)
NO_COMMAND = (
    'Error: runc: runc create failed: exec: "agent": executable file not found in $PATH: '
    "OCI runtime attempted to invoke a command that was not found\n"
)
KEEP_ID = "--userns=keep-id:uid=1000,gid=1000"


def spec(**fields):
    """A spec with a name and an image, and what matters."""
    return ContainerSpec(**{"name": "nanoclaw-a-1", "image": "image:tag", **fields})


@pytest.mark.parametrize(
    ("host_user", "keeps_id", "workspace_owner", "process_user"),
    [
        (ROOT, False, Owner(uid=1000, gid=1000), None),
        (Owner(uid=1000, gid=1000), True, None, None),
        (Owner(uid=501, gid=20), True, None, None),
    ],
)
def test_owners(settings, host_user, keeps_id, workspace_owner, process_user):
    """Rootless, the host's user is the image's own inside; as root it is as with docker."""
    runtime = PodmanRuntime(settings, host_user=host_user)
    assert (KEEP_ID in runtime.run_arguments(spec())) is keeps_id
    assert (runtime.workspace_owner(), runtime.process_user()) == (workspace_owner, process_user)


def test_run_arguments(settings):
    """The command line is docker's, hardened in the same way. Trap A15."""
    runtime = PodmanRuntime(settings, host_user=ROOT, selinux=True)
    assert runtime.run_arguments(spec(labels={"k": "v"})) == [
        *("run", "-i", "--rm", "--name", "nanoclaw-a-1", "--label", "k=v"),
        *("--init", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *("--security-opt", "label=disable", "--pids-limit", "512"),
        *("--pull=never", "--log-driver", "none", "image:tag"),
    ]


@pytest.mark.parametrize(
    ("exit_code", "stderr", "kind", "message"),
    [
        (
            125,
            "Error: image:tag: image not known\n",
            ImageMissing,
            "nanoclaw_trio build --runtime podman --tag image:tag",
        ),
        (
            125,
            'Error: short-name "image:tag" did not resolve to an alias\n',
            ImageMissing,
            "no image",
        ),
        (125, UNREACHABLE, RuntimeUnavailable, "unable to connect"),
        (
            125,
            'Error: creating container storage: the container name "x" is already in use by 66b0\n',
            StartFailed,
            "already in use",
        ),
        (125, "Error: statfs /nosuch: no such file or directory\n", StartFailed, "statfs /nosuch"),
        (
            125,
            "Error: container-init binary not found on the host: stat /usr/libexec/podman/x\n",
            StartFailed,
            "container-init binary not found",
        ),
        (
            125,
            "Error: unknown flag: --x\nSee 'podman run --help'\n",
            StartFailed,
            "unknown flag: --x",
        ),
        (127, NO_COMMAND, StartFailed, "OCI runtime attempted"),
        (126, "Error: OCI runtime error: crun: bad\n", StartFailed, "OCI runtime error"),
    ],
)
def test_explain_exit(settings, exit_code, stderr, kind, message):
    """An exit of podman's making is told from the agent's, and named by whose fault it is."""
    error = PodmanRuntime(settings).explain_exit(spec(), exit_code, stderr)
    assert type(error) is kind
    assert message in str(error)


@pytest.mark.parametrize(
    ("exit_code", "stderr"),
    [
        (0, "Error: something that was mended\n"),
        (1, "Error: of the agent's\n"),
        (125, "the agent gave up\n"),
        (126, "Error: of the agent's\n"),
        (127, "sh: tool: not found\n"),
        (137, ""),
    ],
)
def test_an_exit_of_the_agents_own(settings, exit_code, stderr):
    """An agent that ends with one of podman's statuses and other words explains itself."""
    assert PodmanRuntime(settings).explain_exit(spec(), exit_code, stderr) is None


async def test_check(patient_settings, program):
    """Podman is asked whether it works, and not only for its version."""
    executable = program.answer(info=(0, "4.3.1\n", ""))
    assert await PodmanRuntime(patient_settings, executable).check() == "podman 4.3.1"


async def test_check_of_a_podman_that_does_not_work(patient_settings, program):
    """A podman that can't work here can't be used, and says why."""
    executable = program.answer(info=(125, "", "Error: cannot find newuidmap: exit status 1\n"))
    with pytest.raises(RuntimeUnavailable, match="cannot find newuidmap"):
        await PodmanRuntime(patient_settings, executable).check()


async def test_what_is_not_there(patient_settings, program):
    """Podman's own words for a container that isn't there are understood in every command."""
    executable = program.answer(
        stop=(125, "", NO_CONTAINER),
        kill=(125, "", NO_CONTAINER),
        rm=(0, "", ""),
        container_inspect=(125, "[]\n", "Error: inspecting object: no such container x\n"),
    )
    runtime = PodmanRuntime(patient_settings, executable)
    assert await runtime.stop("x", 1.0) is False
    assert await runtime.kill("x") is False
    assert await runtime.remove("x") is False
    assert await runtime.inspect("x") is None


async def test_what_is_there(patient_settings, program):
    """So are its words for one that is."""
    words = "Error: can only kill running containers. 66b0 is in state exited: container state "
    executable = program.answer(
        stop=(0, "x\n", "level=warning msg=StopSignal SIGTERM failed to stop container\n"),
        kill=(125, "", f"{words}improper\n"),
        rm=(0, "x\n", ""),
        container_inspect=(0, '["x","stopping",{}]\n', ""),
    )
    runtime = PodmanRuntime(patient_settings, executable)
    assert await runtime.stop("x", 1.0) is True
    assert await runtime.kill("x") is False
    assert await runtime.remove("x") is True
    assert await runtime.inspect("x") == ContainerState(name="x", phase=Phase.RUNNING)


async def test_remove_kills_first(patient_settings, program):
    """A container is killed before it is removed: podman may forget it alive. Trap A7."""
    executable = program.answer(kill=(0, "x\n", ""), rm=(0, "x\n", ""))
    assert await PodmanRuntime(patient_settings, executable).remove("x") is True
    # Without -t podman would wait for ten seconds.
    assert program.calls() == [["kill", "x"], ["rm", "-f", "-t", "0", "x"]]


async def test_what_cannot_be_killed_is_not_forgotten(patient_settings, program):
    """A container that can't be killed isn't removed, so that it stays known."""
    executable = program.answer(kill=(125, "", "Error: OCI runtime error\n"), rm=(0, "x\n", ""))
    with pytest.raises(RuntimeCommandFailed):
        await PodmanRuntime(patient_settings, executable).remove("x")
    assert program.calls() == [["kill", "x"]]


@pytest.mark.parametrize(
    "why",
    ["image:tag: image not known", "repository name must be lowercase", "invalid reference format"],
)
async def test_missing_image(patient_settings, program, why):
    """A missing image, and a name that none can have, stop a run before it starts."""
    executable = program.answer(image=(125, "[]\n", f"Error: inspecting object: {why}\n"))
    with pytest.raises(ImageMissing, match="nanoclaw_trio build --runtime podman"):
        await PodmanRuntime(patient_settings, executable).start(spec())


@pytest.mark.parametrize(
    ("output", "out_of_memory"),
    [
        ("", False),
        ('{"ContainerExitCode":137,"Name":"x","Status":"died","Attributes":{}}\n', False),
        ('{"ContainerExitCode":137,"OOMKilled":true,"Name":"x","Status":"died"}\n', True),
        ('{"OOMKilled":false}\n\n{"OOMKilled":true}\n', True),
        ("[]\n", False),
    ],
)
def test_read_out_of_memory(output, out_of_memory):
    """One event of an end by want of memory is enough."""
    assert read_out_of_memory(output) is out_of_memory


async def test_find_out_of_memory(patient_settings, program):
    """Podman is asked for the events of the container's end, without following new ones."""
    executable = program.answer(events=(0, '{"OOMKilled":true}\n', ""))
    runtime = PodmanRuntime(patient_settings, executable)
    assert await runtime.find_out_of_memory("x", 1795436245.9) is True
    assert program.calls() == [
        [
            *("events", "--stream=false", "--since", "1795436245", "--format", "json"),
            *("--filter", "container=x", "--filter", "event=died"),
        ]
    ]


@pytest.mark.parametrize("answer", [(125, "", "Error: no events\n"), (0, "<html>\n", "")])
async def test_out_of_memory_that_is_not_told(patient_settings, program, answer):
    """A failure and garbage are errors, and not a no."""
    runtime = PodmanRuntime(patient_settings, program.answer(events=answer))
    with pytest.raises(RuntimeCommandFailed):
        await runtime.find_out_of_memory("x", 0.0)
