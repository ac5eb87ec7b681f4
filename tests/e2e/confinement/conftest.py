"""Groups whose agent tells how far it is confined, in real runtimes."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.protocol.models import ContainerInput, RegisteredGroup
from nanoclaw_trio.run.open_run import open_run
from nanoclaw_trio.run.outcome import Cause
from nanoclaw_trio.runtimes.choose import open_runtime

GUARD = 120
"""Seconds; it guards against a hang and measures nothing."""

PROBE = Path(__file__).with_name("look_around.py")


@pytest.fixture
def project(real_settings):
    """A project whose agent-runner is the probe."""
    source = real_settings.project_root / "container" / "agent-runner" / "src" / "nanoclaw_agent"
    source.mkdir(parents=True)
    (source / "__init__.py").touch()
    shutil.copyfile(PROBE, source / "__main__.py")
    return real_settings.project_root


@pytest.fixture
def look_around(project, real_settings):
    """Run a group's agent in a runtime, and have it look at these things; what it found."""

    async def look(runtime, asked, *, config=None, is_main=False, **changes):
        settings = evolve(real_settings, **changes)
        group = RegisteredGroup(name="Family", folder="family", container_config=config)
        question = ContainerInput(
            prompt=json.dumps(asked), group_folder="family", chat_jid="c", is_main=is_main
        )
        engine = await open_runtime(runtime, settings)
        with trio.fail_after(GUARD):
            async with open_run(group, question, settings=settings, runtime=engine) as run:
                answers = [output.result async for output in run]
            assert run.result.cause is Cause.COMPLETED, run.result
        return json.loads(answers[0])

    return look


@pytest.fixture
def internal_network(docker_engine):
    """An internal network of docker's own making; its name."""
    name = f"nanoclaw-test-{uuid.uuid4().hex[:8]}"
    docker_engine.run("network", "create", "--internal", name)
    yield name
    docker_engine.run("network", "rm", name)


@pytest.fixture
def gateway(docker_engine, internal_network):
    """Somebody who listens on this host at that network's gateway: an address and a port."""
    template = "{{(index .IPAM.Config 0).Gateway}}"
    address = docker_engine.run("network", "inspect", "--format", template, internal_network)
    with socket.create_server((address, 0)) as listener:
        yield listener.getsockname()


OUTSIDER = """
import socket, sys
with socket.create_server(("", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()
"""
"""Listens until its input ends; the kernel takes the connections."""


@pytest.fixture
def outsider():
    """Somebody who listens beyond this host, which is the only way there: an address and a port.

    It is in a network of its own, with a cable to the host's.
    """
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network of one's own takes root, and the program ip")
    near, far = random_link()
    argv = ["unshare", "--net", sys.executable, "-c", OUTSIDER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, **pipes) as process:
        port = int(process.stdout.readline())
        # The kernel removes the cable with the network, and that with the process.
        cable, there = f"nc{process.pid}", ("nsenter", "--net", f"--target={process.pid}")
        run("ip", "link", "add", cable, "type", "veth", "peer", "eth0", "netns", str(process.pid))
        run("ip", "address", "add", f"{near}/30", "dev", cable)
        run("ip", "link", "set", cable, "up")
        run(*there, "ip", "address", "add", f"{far}/30", "dev", "eth0")
        run(*there, "ip", "link", "set", "eth0", "up")
        yield far, port


def random_link():
    """Both ends' addresses, out of those that are set aside for trials (RFC 2544)."""
    third, fourth = secrets.randbelow(256), secrets.randbelow(64) * 4
    return f"198.18.{third}.{fourth + 1}", f"198.18.{third}.{fourth + 2}"


def run(*argv):
    """A program that has to succeed."""
    subprocess.run(argv, check=True, timeout=GUARD)
