"""`reap`, in memory, with a runtime of scripts."""

from __future__ import annotations

import json
import os
import signal
import socket

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.cli.reap import ReapOptions, reap_command
from nanoclaw_trio.errors import RuntimeCommandFailed, RuntimeUnavailable
from nanoclaw_trio.run.host import this_process
from nanoclaw_trio.runtimes.abc import GROUP_LABEL, INSTALL_LABEL, OWNER_LABEL, ContainerSpec
from nanoclaw_trio.testing.fake import open_fake_runtime

IDENTITY = "0123456789abcdef0123456789abcdef"
DEAD = f"{socket.gethostname()}:999999999:1"


@pytest.fixture
def options(settings):
    """The options of a plain `reap`, in a project whose id is known."""
    record = {"id": IDENTITY, "root": os.path.realpath(settings.project_root)}
    (settings.project_root / "data").mkdir()
    (settings.project_root / "data" / "install-id").write_text(json.dumps(record))
    return ReapOptions(dry_run=False, project=settings.project_root, runtime="auto", as_json=False)


@pytest.fixture
async def runtime():
    """A runtime with an orphan, and with a container of a host that lives."""

    async def agent(container):
        await trio.sleep_forever()

    async with open_fake_runtime(agent) as runtime:
        for name, owner in (("c1", DEAD), ("c2", this_process())):
            labels = {INSTALL_LABEL: IDENTITY, GROUP_LABEL: "family", OWNER_LABEL: owner}
            await runtime.start(ContainerSpec(name=name, image="agent", labels=labels))
        yield runtime


@pytest.fixture
def reap(make_desk, choose, options, runtime):
    """Reap; the exit status and the desk."""

    async def reap_it(**change):
        desk = make_desk()
        status = await reap_command(evolve(options, **change), desk.world, choose=choose(runtime))
        return status, desk

    return reap_it


async def test_reap(virtual_clock, reap, runtime):
    """Trap A26. Orphans are removed and seen gone; a container of a host that lives is let be."""
    status, desk = await reap()
    assert (status, sorted(runtime.containers)) == (0, ["c2"])
    assert desk.written() == "c1 is gone: fake has no container c1\n"


async def test_json(virtual_clock, reap):
    """The same for programs, with what was done to get there."""
    status, desk = await reap(as_json=True)
    (record,) = desk.records()
    assert status == 0
    assert (record["type"], record["container"], record["gone"]) == ("receipt", "c1", True)
    assert (record["why"], record["steps"]) == ("fake has no container c1", ["stop: done"])


async def test_nothing_to_do(virtual_clock, reap):
    """Without orphans nothing is written."""
    await reap()
    status, desk = await reap()
    assert (status, desk.written()) == (0, "")


async def test_dry_run(virtual_clock, reap, runtime):
    """A dry run lists what would go, and touches nothing."""
    status, desk = await reap(dry_run=True)
    assert (status, sorted(runtime.containers)) == (0, ["c1", "c2"])
    assert desk.written() == "c1: running, family; its host is gone\n"


async def test_dry_run_as_json(virtual_clock, reap):
    """The same for programs."""
    _, desk = await reap(dry_run=True, as_json=True)
    assert desk.records() == [
        {"type": "orphan", "container": "c1", "phase": "running", "group": "family"}
    ]


async def test_unconfirmed(virtual_clock, reap, runtime):
    """Where one isn't confirmed gone, the exit status says so."""
    for method in ("stop", "kill", "remove"):
        runtime.before[method] = trio.sleep_forever
    status, desk = await reap()
    assert status == 1
    assert desk.written().startswith("c1 may still run: ")
    status, desk = await reap(as_json=True)
    assert (status, desk.records()[0]["gone"]) == (1, False)
    # So that the runtime of the test can end.
    runtime.before.clear()


async def refuse():
    """A command that fails."""
    raise RuntimeCommandFailed("fake ps", "refuses")


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_runtime_that_refuses(virtual_clock, reap, runtime, dry_run):
    """A runtime that doesn't say what there is has its own exit status."""
    runtime.before["list"] = refuse
    status, desk = await reap(dry_run=dry_run)
    assert (status, desk.said()) == (3, ["`fake ps` refuses"])


async def test_without_a_runtime(make_desk, options):
    """So has a runtime that isn't to be had."""

    async def choose(_name, _settings):
        await trio.lowlevel.checkpoint()
        raise RuntimeUnavailable("docker", "it is down", "start it")

    desk = make_desk()
    assert await reap_command(options, desk.world, choose=choose) == 3
    assert desk.said() == ["docker can't be used: it is down; start it"]


async def test_bad_usage(reap):
    """A project that isn't there is bad usage."""
    status, _ = await reap(project="/nowhere")
    assert status == 2


async def test_a_signal(virtual_clock, make_desk, choose, options, runtime):
    """A signal ends it once what it was at is done with."""
    desk = make_desk()

    async def stop():
        desk.world.interruption.receive(signal.SIGTERM)
        await trio.sleep(5)

    runtime.before["stop"] = stop
    assert await reap_command(options, desk.world, choose=choose(runtime)) == 143
    assert sorted(runtime.containers) == ["c2"]
