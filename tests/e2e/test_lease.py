"""An engine passes the end of its client's standard input on: what a lease is made of."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager

import pytest
import trio

GUARD = 120
"""Seconds; it guards against a hang and measures nothing."""

HOST = """
import sys
from pathlib import Path
import trio
from nanoclaw_trio.runtimes.abc import INSTALL_LABEL, ContainerSpec
from nanoclaw_trio.runtimes.docker import DockerRuntime
from nanoclaw_trio.runtimes.podman import PodmanRuntime
from nanoclaw_trio.settings import Settings

engine, root, name, image, install = sys.argv[1:]
runtime = {"docker": DockerRuntime, "podman": PodmanRuntime}[engine](
    Settings(project_root=Path(root))
)
spec = ContainerSpec(
    name=name,
    image=image,
    environment={"SCRIPT": "echo ready; cat >/dev/null"},
    labels={INSTALL_LABEL: install},
    network="none",
)

async def main():
    container = await runtime.start(spec)
    print((await container.stdout.receive_some()).decode(), end="", flush=True)
    await trio.sleep_forever()

trio.run(main)
"""


@pytest.fixture(params=["docker", "podman"])
def host_of(request, tmp_path, install):
    """A host with a container that lives until its standard input ends; the engine and the host."""
    engine = request.getfixturevalue(f"{request.param}_engine")
    image = request.getfixturevalue(f"{request.param}_image")
    words = (request.param, str(tmp_path), f"nanoclaw-{install}", image, install)

    @contextmanager
    def start():
        host = subprocess.Popen([sys.executable, "-c", HOST, *words], stdout=subprocess.PIPE)
        try:
            assert host.stdout.readline() == b"ready\n"
            yield engine, host
        finally:
            host.kill()
            host.wait()
            host.stdout.close()
            engine.remove_all(install)

    return start


async def test_a_killed_host_ends_its_containers_input(host_of, install):
    """Nobody but the host holds a container's standard input: after its SIGKILL the container finds
    the end of it, and ends."""
    with trio.fail_after(GUARD), host_of() as (engine, host):
        assert len(engine.containers(install)) == 1
        host.kill()
        while engine.containers(install):  # noqa: ASYNC110 - an engine sets no event
            await trio.sleep(0.05)
