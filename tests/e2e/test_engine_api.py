"""Docker by its socket: what is peculiar to that."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.errors import ImageMissing, RuntimeUnavailable, StartFailed
from nanoclaw_trio.files import Owner
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.runtimes.abc import INSTALL_LABEL, Phase
from nanoclaw_trio.runtimes.docker import DockerRuntime
from nanoclaw_trio.runtimes.engine_api.docker import DockerApiRuntime

GUARD = 120.0
DOCKER_SOCKET = "/var/run/docker.sock"
MIB = 1024 * 1024

READY = "echo ready; "
ENDLESS = "while :; do sleep 600; done"

HOST = """
import os, sys, trio
from pathlib import Path
from nanoclaw_trio import Settings, ContainerSpec
from nanoclaw_trio.runtimes.engine_api.docker import DockerApiRuntime

async def main():
    project, name, image, label, value = sys.argv[1:]
    runtime = DockerApiRuntime(Settings(project_root=Path(project)))
    spec = ContainerSpec(
        name=name, image=image, network="none", labels={label: value},
        environment={"SCRIPT": "echo ready; cat; exit 0"},
    )
    container = await runtime.start(spec)
    assert await container.stdout.receive_some() == b"ready\\n"
    print("ready", flush=True)
    await trio.sleep_forever()

trio.run(main)
"""
"""A host that holds a container's input open."""


@pytest.fixture
def runtime(settings, docker_engine, install):
    """A runtime, and no container after the test."""
    if not Path(DOCKER_SOCKET).is_socket():
        pytest.skip("no local engine")
    yield DockerApiRuntime(settings, DOCKER_SOCKET)
    docker_engine.remove_all(install)


@pytest.fixture
def spec(docker_image, scripted_spec):
    """Make a spec whose container runs a script, without a network of its own to set up."""

    def make(script, **fields):
        return scripted_spec(docker_image, script, **{"network": "none", **fields})

    return make


async def test_as_confined_as_by_the_client(
    settings, runtime, started, spec, docker_engine, tmp_path
):
    """A container is what docker's own client would have made of the same spec. Trap A15."""
    mount = VolumeMount(host_path=tmp_path, container_path="/workspace/x", readonly=True)
    fields = {
        "memory": 64 * MIB,
        "cpus": 0.5,
        "pids_limit": 50,
        "user": Owner(uid=1234, gid=5678),
        "mounts": (mount,),
        "read_only": True,
    }
    seen = []
    with trio.fail_after(GUARD):
        for each in (runtime, DockerRuntime(settings)):
            asked = spec(f"{READY}{ENDLESS}", **fields)
            async with started(each, asked):
                (document,) = json.loads(docker_engine.run("inspect", asked.name))
                seen.append(comparable(document))
    for ours, theirs in zip(*seen, strict=True):
        assert ours == theirs


def comparable(document):
    """What of a container's description isn't its own, and what isn't nothing."""
    config = {key: value for key, value in document["Config"].items() if key != "Hostname"}
    # Docker gives variables in any order.
    config["Env"] = sorted(config["Env"])
    host = {key: value for key, value in document["HostConfig"].items() if value}
    return config, host, document["Mounts"]


async def test_no_process_of_the_hosts(runtime, started, spec):
    """A container that runs has no process of the host's beside it."""
    with trio.fail_after(GUARD):
        before = children()
        async with started(runtime, spec(f"{READY}{ENDLESS}")) as container:
            assert container.pid is None
            assert children() == before


def children():
    """The processes that this thread has started, and that live."""
    return Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()


async def test_output_before_anybody_listens(runtime, spec):
    """Nothing that an agent writes at its very start is lost, on either stream."""
    with trio.fail_after(GUARD):
        for number in range(5):
            container = await runtime.start(
                spec(f"echo {number}; echo e{number} >&2; exit {number}")
            )
            stderr = b"".join([chunk async for chunk in container.stderr])
            stdout = b"".join([chunk async for chunk in container.stdout])
            assert (stdout, stderr) == (f"{number}\n".encode(), f"e{number}\n".encode())
            assert await container.wait() == number
            await container.aclose()


async def test_a_stream_that_nobody_reads(runtime, started, spec, watch_memory):
    """A flood on standard output that nobody reads keeps the agent waiting, and nobody else.

    Standard error is heard all the same, and the host keeps nothing of the flood.
    """
    script = f"{READY}read go; tail -c 268435456 /dev/zero & echo told >&2; wait"
    with trio.fail_after(GUARD):
        async with started(runtime, spec(script)) as container:
            grown = watch_memory()
            await container.stdin.send_all(b"go\n")
            assert await container.stderr.receive_some() == b"told\n"
            heard = 0
            while heard < 64 * MIB:
                heard += len(await container.stdout.receive_some())
            assert grown() < 8 * MIB


async def test_host_that_is_killed(runtime, install, docker_image, scripted_spec, settings):
    """A host that is killed with SIGKILL closes its containers' input by that."""
    name = scripted_spec(docker_image, "").name
    argv = [sys.executable, "-c", HOST, settings.project_root, name, docker_image]
    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            start = partial(trio.run_process, stdout=subprocess.PIPE, stdin=b"", check=False)
            host = await nursery.start(start, [*argv, INSTALL_LABEL, install])
            assert (await host.stdout.receive_some()).startswith(b"ready")
            assert (await runtime.inspect(name)).phase is Phase.RUNNING
            host.send_signal(signal.SIGKILL)
        while await runtime.inspect(name) is not None:  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.05)


@pytest.mark.parametrize("steps", [4, 8, 12, 16, 20, 24, 28])
async def test_cancelled_anywhere(runtime, spec, steps):
    """Trap A10. A start that is cancelled anywhere has left no container when it returns."""
    asked = spec(f"{READY}{ENDLESS}")
    container = None
    with trio.fail_after(GUARD):
        await runtime.require_image(asked.image)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def cancel():
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                        await trio.sleep(0.002)
                    scope.cancel()

                nursery.start_soon(cancel)
                container = await runtime.start(asked)
                nursery.cancel_scope.cancel()
        if container is None:
            assert await runtime.inspect(asked.name) is None
        else:
            await runtime.remove(asked.name)
            await container.aclose()


async def test_what_docker_refuses(runtime, spec, started, docker_engine, docker_image):
    """What the engine refuses is a failed start with its words, and leaves nothing."""
    with trio.fail_after(GUARD):
        relative = VolumeMount(host_path=Path("/"), container_path="relative", readonly=True)
        for fields, words in (
            ({"name": "no spaces allowed"}, "Invalid container name"),
            ({"mounts": (relative,)}, "absolute"),
            ({"network": "nanoclaw-nosuch"}, "nanoclaw-nosuch"),
        ):
            asked = spec("", **fields)
            with pytest.raises(StartFailed, match=words):
                await runtime.start(asked)
            assert await runtime.inspect(asked.name) is None
        asked = spec(f"{READY}{ENDLESS}")
        async with started(runtime, asked):
            with pytest.raises(StartFailed, match="already in use"):
                await runtime.start(asked)
            assert (await runtime.inspect(asked.name)).phase is Phase.RUNNING


async def test_image_that_was_removed(runtime, spec, docker_engine, docker_image):
    """An image that was removed since the last run is missed, and never pulled."""
    tag = f"localhost/nanoclaw-trio-removed:{os.getpid()}"
    docker_engine.run("tag", docker_image, tag)
    with trio.fail_after(GUARD):
        await runtime.require_image(tag)
        docker_engine.run("rmi", tag)
        with pytest.raises(ImageMissing):
            await runtime.start(evolve(spec(""), image=tag))
        with pytest.raises(ImageMissing):
            await runtime.require_image(tag)


async def test_command_that_is_not_in_the_image(runtime, ended, docker_engine, scripted_spec):
    """An image whose program isn't there is a failed start, and not an agent that failed."""
    tag = f"nanoclaw-trio-broken-api:{os.getpid()}"
    docker_engine.import_scratch_image(tag, ["/bin/nosuch"])
    try:
        with trio.fail_after(GUARD):
            _, exit_code, error = await ended(runtime, scripted_spec(tag, "", network="none"))
    finally:
        docker_engine.run("image", "rm", tag)
    assert exit_code == 127
    assert isinstance(error, StartFailed)
    assert "nosuch" in str(error)


@pytest.mark.parametrize("limited", [True, False])
async def test_out_of_memory(runtime, ended, spec, limited):
    """A container that ran out of memory is known to have, although it was removed at once."""
    with trio.fail_after(GUARD):
        begun = time.time()
        script = "tail /dev/zero" if limited else "kill -9 $$"
        asked = spec(f"exec sh -c '{script}'", memory=32 * MIB)
        _, exit_code, error = await ended(runtime, asked)
        assert (exit_code, error) == (137, None)
        assert await runtime.inspect(asked.name) is None
        assert await runtime.find_out_of_memory(asked.name, begun) is limited


async def test_output_that_is_closed_from_within(runtime, spec):
    """A container that closes its output and lives on is heard to its end: that is no loss."""
    with trio.fail_after(GUARD):
        container = await runtime.start(spec("exec >&-; sleep 1; echo said >&2; exit 3"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(container.stdout.receive_some)
            assert await container.wait() == 3
            assert await container.stderr.receive_some() == b"said\n"
        await container.aclose()


async def test_output_that_is_lost(runtime, spec, started):
    """An output that is cut off while its container runs on is a loss, and told at once."""
    asked = spec(f"{READY}{ENDLESS}")
    with trio.fail_after(GUARD):
        async with started(runtime, asked) as container:
            # Both ways: as the kernel tells it when the other side has closed the connection.
            container._connections.output.stream.socket.shutdown(socket.SHUT_RDWR)
            assert await container.stdout.receive_some() == b""
            assert await container.wait() == 125
            assert "its output was lost" in str(runtime.explain_exit(asked, 125, ""))


async def test_engine_that_goes_down(settings, runtime, spec, relay):
    """An engine that is lost during a run is told as that; the container is found again later."""
    asked = spec(f"{READY}{ENDLESS}")
    far = DockerApiRuntime(settings, relay.path)
    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            await nursery.start(relay.serve)
            container = await far.start(asked)
            assert await container.stdout.receive_some() == b"ready\n"
            nursery.cancel_scope.cancel()
        assert await container.wait() == 125
        assert isinstance(far.explain_exit(asked, 125, ""), RuntimeUnavailable)
        for stream in (container.stdout, container.stderr):
            with suppress(trio.BrokenResourceError):
                assert await stream.receive_some() == b""
        await container.aclose()
        assert (await runtime.inspect(asked.name)).phase is Phase.RUNNING
        assert await runtime.remove(asked.name) is True
