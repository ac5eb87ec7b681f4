"""Podman's socket, for the runtime that goes by it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import trio

from nanoclaw_trio.errors import NanoclawError, RuntimeUnavailable
from nanoclaw_trio.runtimes.engine_api.podman import PodmanApiRuntime
from nanoclaw_trio.settings import Settings
from nanoclaw_trio.testing.images import build_echo_image

GUARD = 60.0

CONFIGURATION = """[containers]
default_ulimits = []
init_path = "{init}"
[engine]
runtime = "{runtime}"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
"""For machines where podman's defaults don't work: within a container or a small virtual machine."""

ECHO_IMAGE = "localhost/nanoclaw-echo:test"


def absent(why):
    """Skip, unless this machine has promised to have podman."""
    if os.environ.get("NANOCLAW_REQUIRE_PODMAN") == "1":
        pytest.fail(f"NANOCLAW_REQUIRE_PODMAN=1, but {why}")
    pytest.skip(why)


def try_out(program, environment):
    """Start a container that does nothing; what podman says if it can't."""
    command = [program, "run", "--rm", "--init", "--network", "none"]
    command += ["--entrypoint", "/bin/sh", ECHO_IMAGE, "-c", ":"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=GUARD
    )
    return done.stderr.strip() if done.returncode != 0 else None


async def until_it_answers(runtime):
    """Wait for the service to have started."""
    with trio.fail_after(GUARD):
        while True:
            try:
                return await runtime.check()
            except RuntimeUnavailable:
                await trio.sleep(0.05)


@pytest.fixture(scope="session")
def podman_environment(tmp_path_factory):
    """The environment in which podman can run a container: as it is, or with a configuration."""
    program = shutil.which("podman")
    if program is None:
        absent("there is no program `podman`")
    container = Path(__file__).parents[2] / "container"
    try:
        trio.run(lambda: build_echo_image(container_dir=container, engine=program, tag=ECHO_IMAGE))
    except NanoclawError as error:
        absent(str(error))
    configuration = tmp_path_factory.mktemp("podman") / "containers.conf"
    configuration.write_text(
        CONFIGURATION.format(
            init=shutil.which("catatonit") or shutil.which("tini"),
            runtime=shutil.which("crun") or shutil.which("runc"),
        )
    )
    for environment in (dict(os.environ), {**os.environ, "CONTAINERS_CONF": str(configuration)}):
        why = try_out(program, environment)
        if why is None:
            return environment
    return absent(f"podman can't run a container: {why}")


@pytest.fixture(scope="session")
def podman_socket(podman_environment, tmp_path_factory):
    """The socket of a service of podman's, which ends with the tests."""
    path = tmp_path_factory.mktemp("podman-service") / "podman.sock"
    command = ["podman", "system", "service", "--time", "0", f"unix://{path}"]
    with subprocess.Popen(
        command, env=podman_environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as service:
        try:
            settings = Settings(project_root=path.parent)
            trio.run(until_it_answers, PodmanApiRuntime(settings, str(path)))
            yield str(path)
        finally:
            service.terminate()
