"""The podman runtime with a real podman: what is peculiar to it."""

from __future__ import annotations

import time

import pytest
import trio

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


async def test_stop_that_was_cut_off(runtime, started, spec, podman_engine):
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


async def test_out_of_memory_that_was_none(runtime, ended, spec):
    """An agent that was killed for another reason didn't run out of memory."""
    with trio.fail_after(GUARD):
        begun = time.time()
        asked = spec("exec sh -c 'kill -9 $$'")
        _, exit_code, error = await ended(runtime, asked)
        assert (exit_code, error) == (137, None)
        assert await runtime.find_out_of_memory(asked.name, begun) is False
