"""The docker runtime with a real engine: what is peculiar to it."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.environment import child_environment
from nanoclaw_trio.errors import (
    RuntimeCommandFailed,
    RuntimeUnavailable,
    StartFailed,
)
from nanoclaw_trio.files import Owner
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.runtimes.abc import INSTALL_LABEL, Phase
from nanoclaw_trio.runtimes.docker import DockerRuntime
from nanoclaw_trio.runtimes.images import ImageFacts

GUARD = 120.0

READY = "echo ready; "
ENDLESS = "while :; do sleep 600; done"


@pytest.fixture
def runtime(settings, docker_engine, install):
    """A runtime, and no container after the test."""
    yield DockerRuntime(settings)
    docker_engine.remove_all(install)


@pytest.fixture
def spec(docker_image, scripted_spec):
    """Make a spec whose container runs a script."""

    def make(script, **fields):
        return scripted_spec(docker_image, script, **fields)

    return make


async def test_labels_are_kept_apart(runtime, started, spec, install):
    """Labels are told whole, with commas and quotation marks. Trap A26."""
    with trio.fail_after(GUARD):
        labels = {INSTALL_LABEL: install, "x": 'a,b="c', "y": ""}
        async with started(runtime, spec(f"{READY}{ENDLESS}", labels=labels)):
            (state,) = await runtime.list({INSTALL_LABEL: install, "x": 'a,b="c'})
            assert state.labels == labels
            assert await runtime.list({INSTALL_LABEL: install, "x": "a"}) == ()


async def test_stop_that_was_cut_off(runtime, started, spec):
    """A container whose stop was cut off can be removed, and is dead after that."""
    with trio.fail_after(GUARD):
        asked = spec(f"trap 'echo asked' TERM; {READY}while :; do sleep 0.1; done")
        async with started(runtime, asked) as container:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(runtime.stop, asked.name, 600.0)
                assert await container.stdout.receive_some() == b"asked\n"
                nursery.cancel_scope.cancel()
            assert await runtime.remove(asked.name) is True
            assert await container.wait() == 137
            assert await runtime.inspect(asked.name) is None


async def test_polite_stop(runtime, started, spec):
    """A container that heeds SIGTERM ends with its own status, long before its grace. Trap A18."""
    with trio.fail_after(GUARD):
        asked = spec(f"trap 'exit 9' TERM; {READY}while :; do sleep 0.1; done")
        async with started(runtime, asked) as container:
            assert await runtime.stop(asked.name, 3600.0) is True
            assert await container.wait() == 9


async def test_hardening(runtime, spec, docker_engine):
    """A container has no capability, gains none, and keeps to its limits. Trap A15."""
    with trio.fail_after(GUARD):
        script = (
            "while read name value; do case $name in CapBnd:|NoNewPrivs:) echo $value;; esac; "
            f"done < /proc/self/status; {READY}{ENDLESS}"
        )
        asked = spec(script, memory=64 * 1024**2, cpus=0.5, pids_limit=50, network="none")
        container = await runtime.start(asked)
        heard = b""
        while b"ready" not in heard:
            heard += await container.stdout.receive_some()
        host = "{{.HostConfig"
        fields = (
            f"{host}.PidsLimit}}}} {host}.Memory}}}} {host}.MemorySwap}}}} {host}.NanoCpus}}}} "
            f"{host}.LogConfig.Type}}}} {host}.NetworkMode}}}} {host}.Init}}}}"
        )
        said = docker_engine.run("inspect", "--format", fields, asked.name)
        await runtime.remove(asked.name)
        await container.aclose()
    assert heard.split() == [b"0000000000000000", b"1", b"ready"]
    assert said == "50 67108864 67108864 500000000 none none true"


async def test_another_user(runtime, ended, spec):
    """A container runs as the user it was asked to, with a home. Wire-formats 5."""
    with trio.fail_after(GUARD):
        asked = spec('echo "$(id -u):$(id -g) $HOME"', user=Owner(uid=1234, gid=5678))
        stdout, _, _ = await ended(runtime, asked)
    assert stdout == "1234:5678 /home/node\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_owner_of_the_workspace(runtime, ended, spec, tmp_path):
    """What root gives to the owner that the runtime names, the image's user can change."""
    with trio.fail_after(GUARD):
        owner = runtime.workspace_owner()
        (tmp_path / "_close").touch()
        os.chown(tmp_path, owner.uid, owner.gid)
        mount = VolumeMount(host_path=tmp_path, container_path="/w", readonly=False)
        asked = spec("echo x > /w/new && cat /w/new", mounts=(mount,), user=owner)
        stdout, _, _ = await ended(runtime, asked)
    assert stdout == "x\n"


@pytest.mark.parametrize("limited", [True, False])
async def test_out_of_memory(runtime, ended, spec, limited):
    """A container that ran out of memory is known to have, although it was removed at once."""
    with trio.fail_after(GUARD):
        begun = time.time()
        script = "tail /dev/zero" if limited else "kill -9 $$"
        asked = spec(f"exec sh -c '{script}'", memory=32 * 1024**2)
        _, exit_code, error = await ended(runtime, asked)
        assert (exit_code, error) == (137, None)
        assert await runtime.inspect(asked.name) is None
        assert await runtime.find_out_of_memory(asked.name, begun) is limited


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "no spaces allowed"}, "Invalid container name"),
        (
            {
                "mounts": (
                    VolumeMount(host_path=Path("/"), container_path="relative", readonly=True),
                )
            },
            "absolute",
        ),
    ],
)
async def test_what_else_docker_refuses(runtime, ended, spec, fields, words):
    """A name or a mount that the engine can't use is a failed start, with its words."""
    _, exit_code, error = await ended(runtime, spec("", **fields))
    assert exit_code == 125
    assert isinstance(error, StartFailed)
    assert words in str(error)


async def test_command_that_is_not_in_the_image(runtime, ended, docker_engine, scripted_spec):
    """An image whose program isn't there is a failed start, and not an agent that failed."""
    tag = f"nanoclaw-trio-broken:{uuid.uuid4().hex[:8]}"
    docker_engine.import_scratch_image(tag, ["/bin/nosuch"])
    try:
        _, exit_code, error = await ended(runtime, scripted_spec(tag, ""))
    finally:
        docker_engine.run("image", "rm", tag)
    assert exit_code == 127
    assert isinstance(error, StartFailed)
    assert "nosuch" in str(error)


@pytest.fixture
def unreachable(tmp_path, docker_engine):
    """A client of an engine that isn't there."""
    program = tmp_path / "docker"
    socket_path = tmp_path / "nosuch.sock"
    program.write_text(f'#!/bin/sh\nexec {docker_engine.program} -H unix://{socket_path} "$@"\n')
    program.chmod(0o755)
    return program


async def test_engine_that_is_down(ended, settings, unreachable, spec):
    """An engine that is down can't be used, and never means that a container is gone."""
    runtime = DockerRuntime(settings, str(unreachable))
    with pytest.raises(RuntimeUnavailable):
        await runtime.check()
    with pytest.raises(RuntimeUnavailable):
        await runtime.require_image("image")
    for command in (
        runtime.stop("x", 0.0),
        runtime.kill("x"),
        runtime.remove("x"),
        runtime.inspect("x"),
        runtime.list({}),
        runtime.find_out_of_memory("x", 0.0),
    ):
        with pytest.raises(RuntimeCommandFailed):
            await command
    container = evolve(spec(""), name="x")
    _, exit_code, error = await ended(with_image_seen(runtime, container.image), container)
    assert exit_code == 125
    assert isinstance(error, RuntimeUnavailable)


def with_image_seen(runtime, image):
    """A runtime that has seen an image before its engine went down."""
    runtime._remember_image(image, ImageFacts())
    return runtime


class Relay:
    """A way to the engine that can be cut."""

    def __init__(self, path):
        self.path = path
        self._connections = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect("/var/run/docker.sock")
                self._connections += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source, sink):
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def cut(self):
        """Close every connection, and take no more."""
        for connection in (*self._connections, self._listener):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


@pytest.mark.skipif(not Path("/var/run/docker.sock").is_socket(), reason="no local engine")
async def test_engine_that_goes_down(settings, runtime, unreachable, spec):
    """An engine that is lost during a run is told as that; the container is found again later."""
    with trio.fail_after(GUARD):
        relay = Relay(unreachable.with_name("nosuch.sock"))
        asked = spec(f"{READY}{ENDLESS}")
        container = await DockerRuntime(settings, str(unreachable)).start(asked)
        assert await container.stdout.receive_some() == b"ready\n"
        relay.cut()
        stderr = b"".join([chunk async for chunk in container.stderr]).decode()
        exit_code = await container.wait()
        await container.aclose()
        error = runtime.explain_exit(asked, exit_code, stderr)
        assert isinstance(error, RuntimeUnavailable)
        assert (await runtime.inspect(asked.name)).phase is Phase.RUNNING
        assert await runtime.remove(asked.name) is True


async def test_killed_client(runtime, started, spec):
    """A client that somebody kills is heard to end, and its container isn't gone."""
    with trio.fail_after(GUARD):
        asked = spec(f"{READY}{ENDLESS}")
        async with started(runtime, asked) as container:
            os.kill(container.pid, signal.SIGKILL)
            assert await container.wait() == 128 + signal.SIGKILL
            assert (await runtime.inspect(asked.name)).phase is Phase.RUNNING


def test_clients_get_no_secret(monkeypatch):
    """What a client is given as its environment holds no secret."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary")
    assert "canary" not in child_environment().values()
