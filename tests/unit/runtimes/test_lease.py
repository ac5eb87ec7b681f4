"""Who gets standard input as a lease, and who can hold it."""

from __future__ import annotations

import os
import signal
import sys

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.environment import child_environment
from nanoclaw_trio.runtimes.abc import ContainerSpec
from nanoclaw_trio.runtimes.apple import AppleRuntime
from nanoclaw_trio.runtimes.bubblewrap import BubblewrapRuntime
from nanoclaw_trio.runtimes.images import ImageFacts
from nanoclaw_trio.runtimes.lease import with_lease
from nanoclaw_trio.runtimes.process import ChildProcess
from nanoclaw_trio.testing.docker_stand_in import read_calls

GUARD = 60
"""Seconds; it guards against a hang and measures nothing."""

SPEC = ContainerSpec(name="nanoclaw-a-1", image="agent", environment={"TZ": "UTC"})
LEASED = evolve(SPEC, takes_lease=True)
LABELS = {"nanoclaw.stdin": "lease:nanoclaw_agent"}


def test_the_agent_is_told():
    """A lease is one more variable, and changes nothing else."""
    assert with_lease(SPEC) == evolve(SPEC, environment={"TZ": "UTC", "NANOCLAW_STDIN": "lease"})


OFFERS = pytest.mark.parametrize(
    ("spec", "labels", "leased"),
    [
        (LEASED, LABELS, True),
        (SPEC, LABELS, False),
        (LEASED, {}, False),
        (LEASED, {"nanoclaw.stdin": "pipe"}, False),
        # Inherited by an image that starts an agent of its own.
        (LEASED, {"nanoclaw.stdin": "lease:another_agent"}, False),
        (LEASED, {"nanoclaw.stdin": "lease"}, False),
    ],
)


@OFFERS
async def test_an_engine_offers_it_where_both_take_it(docker_world, spec, labels, leased):
    """Docker's containers get a lease if their image's label and the group's own source say so; the
    run log has the command line that was used."""
    docker_world.play(agent=("true",), labels=labels)
    runtime = docker_world.runtime()
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        assert container.holds_stdin is leased
        await container.wait()
        await container.aclose()
    (run,) = [call for call in read_calls(docker_world.directory) if call.argv[0] == "run"]
    assert ("NANOCLAW_STDIN=lease" in run.argv) is leased
    assert ("NANOCLAW_STDIN=lease" in runtime.describe(spec)) is leased


async def test_a_held_stdin_doesnt_hold_the_end(docker_world):
    """A container that ends by itself is heard to end while its standard input is open."""
    docker_world.play(agent=("sh", "-c", "read line; echo $line"), labels=LABELS)
    with trio.fail_after(GUARD):
        container = await docker_world.runtime().start(LEASED)
        await container.stdin.send_all(b"input\n")
        assert await container.wait() == 0
        assert await container.stdout.receive_some() == b"input\n"
        await container.aclose()


def test_apples_engine_offers_none(settings):
    """What wasn't tried isn't relied on."""
    runtime = AppleRuntime(settings)
    facts = ImageFacts(labels=LABELS)
    assert runtime._leased(LEASED, facts) == LEASED


@pytest.fixture
def sandbox_program(tmp_path):
    """A program that passes for a bwrap that works, and is no sandbox."""
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho bubblewrap 9.9\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("spec", [SPEC, LEASED])
async def test_a_sandbox_has_no_image_to_ask(settings, sandbox_program, spec):
    """A sandbox goes by the group's own source, which is all that runs there."""
    runtime = BubblewrapRuntime(settings, str(sandbox_program))
    spec = evolve(spec, environment={**spec.environment, "NANOCLAW_AGENT": "echo"})
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        assert container.holds_stdin is spec.takes_lease
        await container.wait()
        await container.aclose()
    assert ("NANOCLAW_STDIN lease" in runtime.describe(spec)) is spec.takes_lease


READER = (sys.executable, "-IS", "-c", "import sys; sys.stdin.buffer.read()")


async def test_no_other_child_holds_it_open():
    """A child's standard input ends with our end of it, though others were started before and
    after, and live: none of them has inherited it."""
    environment = child_environment()
    with trio.fail_after(GUARD):
        children = [ChildProcess(READER, environment) for _ in range(3)]
        for child in (children[1], children[0], children[2]):
            await child.stdin.aclose()
            assert await child.wait() == 0
        for child in children:
            await child.aclose()


HOST = """
import sys, time
from nanoclaw_trio.environment import child_environment
from nanoclaw_trio.runtimes.process import ChildProcess
import trio

async def main():
    argv = (sys.executable, "-IS", "-c", "import sys; sys.stdin.buffer.read()")
    children = [ChildProcess(argv, child_environment()) for _ in range(3)]
    print(*(child.pid for child in children), flush=True)
    time.sleep(600)

trio.run(main)
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux's pidfd_open")
async def test_it_ends_with_a_killed_host():
    """After SIGKILL of their host each of its children finds its standard input at its end."""
    with trio.fail_after(GUARD):
        host = ChildProcess((sys.executable, "-c", HOST), child_environment())
        pids = [int(pid) for pid in (await host.stdout.receive_some()).split()]
        children = [os.pidfd_open(pid) for pid in pids]
        os.kill(host.pid, signal.SIGKILL)
        for child in children:
            await trio.lowlevel.wait_readable(child)
            os.close(child)
        await host.aclose()
