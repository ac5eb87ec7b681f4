"""The podman runtime with a real podman: what the tables take for granted."""

from __future__ import annotations

import os
import time
import uuid
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from nanoclaw_trio.errors import ImageMissing, StartFailed
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.runtimes.abc import INSTALL_LABEL, ContainerState, Phase
from nanoclaw_trio.runtimes.podman import PodmanRuntime

GUARD = 120.0

READY = "echo ready; "
ENDLESS = "while :; do sleep 600; done"
IGNORES_SIGTERM = f"trap '' TERM; {READY}{ENDLESS}"


@pytest.fixture
def runtime(settings, podman_engine, install):
    """A runtime, and no container after the test."""
    yield PodmanRuntime(settings)
    podman_engine.remove_all(install)


@pytest.fixture
def spec(podman_image, scripted_spec):
    """Make a spec whose container runs a script, without a network of its own to set up."""

    def make(script, **fields):
        return scripted_spec(podman_image, script, **{"network": "none", **fields})

    return make


@asynccontextmanager
async def started(runtime, spec):
    """A container that has said that it is ready."""
    container = await runtime.start(spec)
    try:
        assert await container.stdout.receive_some() == b"ready\n"
        yield container
    finally:
        await container.aclose()
        with trio.CancelScope(shield=True):
            await runtime.remove(spec.name)


async def ended(runtime, spec):
    """A container's output, its exit status, and how the runtime explains that."""
    container = await runtime.start(spec)
    await container.stdin.aclose()
    stdout = b"".join([chunk async for chunk in container.stdout]).decode()
    stderr = b"".join([chunk async for chunk in container.stderr]).decode()
    exit_code = await container.wait()
    await container.aclose()
    return stdout, exit_code, runtime.explain_exit(spec, exit_code, stderr)


async def test_check(runtime):
    """The podman that is here answers, with its version."""
    assert (await runtime.check()).startswith("podman ")


async def test_a_run(runtime, spec, install):
    """A container is heard on all three streams, listed by its label, and gone after its end."""
    with trio.fail_after(GUARD):
        labels = {INSTALL_LABEL: install, "x": 'a,b="c'}
        asked = spec(f"{READY}cat; echo complaint >&2; exit 3", labels=labels)
        container = await runtime.start(asked)
        assert await container.stdout.receive_some() == b"ready\n"
        state = ContainerState(name=asked.name, phase=Phase.RUNNING, labels=labels)
        assert await runtime.inspect(asked.name) == state
        assert await runtime.list({INSTALL_LABEL: install}) == (state,)
        await container.stdin.send_all(b"question")
        await container.stdin.aclose()
        assert b"".join([chunk async for chunk in container.stdout]) == b"question"
        assert b"complaint\n" in b"".join([chunk async for chunk in container.stderr])
        assert await container.wait() == 3
        assert await runtime.inspect(asked.name) is None
        assert await runtime.list({INSTALL_LABEL: install}) == ()
        await container.aclose()


@pytest.mark.parametrize("rung", ["stop", "kill", "remove"])
async def test_rungs_of_the_stop_ladder(runtime, spec, rung):
    """Each rung ends a container that ignores SIGTERM, and finds nothing after that. Trap A7."""
    with trio.fail_after(GUARD):
        asked = spec(IGNORES_SIGTERM)
        async with started(runtime, asked) as container:
            arguments = (asked.name, 0.5) if rung == "stop" else (asked.name,)
            assert await getattr(runtime, rung)(*arguments) is True
            assert await container.wait() == 137
            assert await getattr(runtime, rung)(*arguments) is False
            assert await runtime.inspect(asked.name) is None


async def test_stop_that_was_cut_off(runtime, spec, podman_engine):
    """A container whose stop was cut off is dead after its removal, and not only forgotten."""
    with trio.fail_after(GUARD):
        asked = spec(IGNORES_SIGTERM)
        async with started(runtime, asked) as container:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(runtime.stop, asked.name, 600.0)
                while state_of(podman_engine, asked.name) != "stopping":  # noqa: ASYNC110 - no event
                    await trio.sleep(0.01)
                nursery.cancel_scope.cancel()
            assert await runtime.remove(asked.name) is True
            assert await container.wait() == 137
            assert await runtime.inspect(asked.name) is None


def state_of(engine, name):
    """Podman's own word for a container's state."""
    return engine.run("container", "inspect", "--format", "{{.State.Status}}", name)


async def test_container_outlives_its_client(runtime, spec):
    """Letting go of a container ends its client only; by its name it can be stopped. Trap A7."""
    with trio.fail_after(GUARD):
        asked = spec(f"{READY}{ENDLESS}")
        async with started(runtime, asked) as container:
            await container.aclose()
            assert (await runtime.inspect(asked.name)).phase is Phase.RUNNING
            assert await runtime.stop(asked.name, 0.0) is True
            await runtime.remove(asked.name)
            assert await runtime.inspect(asked.name) is None


async def test_what_is_not_there(runtime):
    """Podman's words for a container that isn't there are understood in every command."""
    name = f"nanoclaw-test-{uuid.uuid4().hex[:12]}"
    assert await runtime.stop(name, 0.0) is False
    assert await runtime.kill(name) is False
    assert await runtime.remove(name) is False
    assert await runtime.inspect(name) is None


async def test_container_that_was_only_created(runtime, podman_engine, podman_image, install):
    """A container that was never started is known, and can be removed."""
    name = f"nanoclaw-test-{uuid.uuid4().hex[:12]}"
    label = f"{INSTALL_LABEL}={install}"
    podman_engine.run("create", "--name", name, "--label", label, podman_image)
    assert (await runtime.inspect(name)).phase is Phase.CREATED
    assert await runtime.kill(name) is False
    assert await runtime.remove(name) is True
    assert await runtime.inspect(name) is None


async def test_hardening(runtime, spec):
    """A container has no capability, and gains none. Trap A15."""
    with trio.fail_after(GUARD):
        script = (
            "while read name value; do case $name in CapBnd:|NoNewPrivs:) echo $value;; esac; "
            "done < /proc/self/status"
        )
        stdout, _, _ = await ended(runtime, spec(script))
    assert stdout.split() == ["0000000000000000", "1"]


async def test_mounts(runtime, spec, tmp_path):
    """Any path can be mounted, read-only where asked, and a file over one in it. Trap A16.

    What the agent writes there, as whom the runtime says, it can write.
    """
    with trio.fail_after(GUARD):
        folder = tmp_path / 'a:b,c "d=e'
        folder.mkdir()
        (folder / ".env").write_text("SECRET=canary")
        owner = runtime.workspace_owner()
        if owner is not None:
            os.chown(folder, owner.uid, owner.gid)
        mounts = (
            VolumeMount(host_path=folder, container_path="/workspace/project", readonly=True),
            VolumeMount(
                host_path=Path("/dev/null"),
                container_path="/workspace/project/.env",
                readonly=True,
            ),
            VolumeMount(host_path=folder, container_path="/workspace/a,b", readonly=False),
        )
        script = (
            "cd /workspace/project; cat .env; (echo x > new) 2>/dev/null || echo refused; "
            "ls -A; echo y > /workspace/a,b/new"
        )
        asked = spec(script, mounts=mounts, user=owner or runtime.process_user())
        stdout, exit_code, _ = await ended(runtime, asked)
    assert (stdout.split(), exit_code) == (["refused", ".env"], 0)
    assert (folder / "new").read_text() == "y\n"


async def test_out_of_memory_that_was_none(runtime, spec):
    """An agent that was killed for another reason didn't run out of memory."""
    with trio.fail_after(GUARD):
        begun = time.time()
        asked = spec("exec sh -c 'kill -9 $$'")
        _, exit_code, error = await ended(runtime, asked)
        assert (exit_code, error) == (137, None)
        assert await runtime.find_out_of_memory(asked.name, begun) is False


async def test_missing_image(runtime, scripted_spec):
    """An image that isn't there is missed before anything starts, and nothing is pulled."""
    with pytest.raises(ImageMissing, match="podman build"):
        await runtime.start(scripted_spec("nanoclaw-trio-nosuch:1", ""))


async def test_image_that_was_removed(runtime, podman_engine, podman_image, scripted_spec):
    """An image that was removed since the last run is told by podman's words, and missed."""
    tag = f"localhost/nanoclaw-trio-removed:{uuid.uuid4().hex[:8]}"
    podman_engine.run("tag", podman_image, tag)
    await runtime.require_image(tag)
    podman_engine.run("untag", podman_image, tag)
    _, exit_code, error = await ended(runtime, scripted_spec(tag, ""))
    assert exit_code == 125
    assert isinstance(error, ImageMissing)
    with pytest.raises(ImageMissing):
        await runtime.require_image(tag)


async def test_name_conflict(runtime, spec):
    """A second container of the same name isn't started, and the first isn't harmed."""
    with trio.fail_after(GUARD):
        asked = spec(f"{READY}{ENDLESS}")
        async with started(runtime, asked):
            _, exit_code, error = await ended(runtime, asked)
            assert exit_code == 125
            assert isinstance(error, StartFailed)
            assert "already in use" in str(error)
            assert (await runtime.inspect(asked.name)).phase is Phase.RUNNING


async def test_what_podman_refuses(runtime, spec):
    """What podman refuses to start is a failed start, with its words."""
    _, exit_code, error = await ended(runtime, spec("", network="nanoclaw-nosuch"))
    assert exit_code == 125
    assert isinstance(error, StartFailed)
    assert "nanoclaw-nosuch" in str(error)


@pytest.mark.parametrize("exit_code", [125, 126, 127])
async def test_an_exit_of_the_agents_own(runtime, spec, exit_code):
    """An agent may end with podman's statuses, and says itself why."""
    script = f"echo 'the agent gave up' >&2; exit {exit_code}"
    assert (await ended(runtime, spec(script)))[1:] == (exit_code, None)
