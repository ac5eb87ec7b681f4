"""What is laid over a sandbox so that its tools don't get at the key, and why none is started."""

from __future__ import annotations

import fcntl
import os
import stat

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.errors import AgentNotInstalled, KeyUnprotected
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.runtimes.abc import ContainerSpec
from nanoclaw_trio.runtimes.bubblewrap_agent import find_claude
from nanoclaw_trio.runtimes.bubblewrap_check import WorkingBwrap
from nanoclaw_trio.runtimes.bubblewrap_host import Host, HostSystem
from nanoclaw_trio.runtimes.bubblewrap_key import (
    PROGRAMS_TARGET,
    KeyGuard,
    find_exposing_mount,
    keep_copy,
)
from nanoclaw_trio.workspace.sources import SHELL_PROGRAMS

SPEC = ContainerSpec(name="nanoclaw-a-1", image="none")
ECHO = evolve(SPEC, environment={"NANOCLAW_AGENT": "echo"})


@pytest.fixture
def environ(tmp_path):
    """An environment with a cache of its own."""
    return {"XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.fixture
def cache(tmp_path):
    """Where the copies are."""
    return tmp_path / "cache/nanoclaw-trio/programs"


@pytest.fixture
def guard(settings, environ):
    """A guard for an empty project."""
    return KeyGuard(settings, environ)


@pytest.fixture
def working(tmp_path, python_tree):
    """A bwrap that counts its sandboxes, and that finds every copy good."""
    bwrap = tmp_path / "bwrap"
    bwrap.write_text(f"#!/bin/sh\necho >> {tmp_path}/sandboxes\n")
    bwrap.chmod(0o755)
    host = Host(system=HostSystem(), python=python_tree.python())
    return WorkingBwrap(executable=str(bwrap), version="9.9", host=host)


def mount(host_path, container_path="/workspace/extra", *, readonly=False):
    """A mount."""
    return VolumeMount(host_path=host_path, container_path=container_path, readonly=readonly)


async def test_a_copy_and_a_shell(guard, working, cache, python_tree):
    """A Claude agent's program is covered by a copy that can't be read, and the shell is there."""
    with trio.fail_after(60):
        program, shell = await guard.make_covers(SPEC, working)
    (copy,) = cache.glob("program-*")
    assert (program.source, stat.S_IMODE(copy.stat().st_mode)) == (str(copy), 0o111)
    assert program.target == (
        "/opt/venv/lib/python3.12/site-packages/claude_agent_sdk/_bundled/claude"
    )
    assert shell.source.endswith("container/shell")
    assert shell.target == PROGRAMS_TARGET


async def test_the_copy_is_told_of_once(guard, working, capsys):
    """Only the start that copies says so."""
    with trio.fail_after(60):
        await guard.make_covers(SPEC, working)
        await guard.make_covers(SPEC, working)
    assert capsys.readouterr().err.count("copying the program `claude`") == 1


async def test_a_copy_is_tried_out_once(guard, working, tmp_path, python_tree):
    """A process tries a copy out before its first use, and another after the program changed."""
    with trio.fail_after(60):
        for _ in range(3):
            await guard.make_covers(SPEC, working)
        assert (tmp_path / "sandboxes").read_text().count("\n") == 1
        python_tree.program.write_text("#!/bin/sh\n# newer\n")
        await guard.make_covers(SPEC, working)
    assert (tmp_path / "sandboxes").read_text().count("\n") == 2


async def test_runs_that_start_together_share_a_copy(guard, working, cache, tmp_path):
    """Of several starts at once one copies and tries out, and all get the same."""
    heard = []

    async def start():
        heard.append(await guard.make_covers(SPEC, working))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(start)
    assert len(heard) == 5
    assert len(set(heard)) == 1
    assert len(list(cache.glob("program-*"))) == 1
    assert (tmp_path / "sandboxes").read_text().count("\n") == 1


async def test_what_is_known_is_for_the_run_log(guard, working):
    """The last covers are known afterwards, for an agent that has them."""
    assert guard.known_covers(SPEC) == ()
    with trio.fail_after(60):
        covers = await guard.make_covers(SPEC, working)
    assert guard.known_covers(SPEC) == covers
    assert guard.known_covers(ECHO) == ()


async def test_another_agent_needs_nothing(guard, working, cache, python_tree):
    """Nothing is looked for, copied or covered for an agent that isn't Claude."""
    python_tree.program.unlink()
    with trio.fail_after(60):
        assert await guard.make_covers(ECHO, working) == ()
    assert not cache.exists()


async def test_the_sdk_is_missing(guard, working, python_tree, tmp_path):
    """Without the SDK our agent-runner isn't started, and one that needs none is."""
    python_tree.program.unlink()
    (tmp_path / "runner/nanoclaw_agent/agents/claude").mkdir(parents=True)
    (tmp_path / "another/nanoclaw_agent").mkdir(parents=True)
    ours = evolve(SPEC, mounts=(mount(tmp_path / "runner", "/app/src"),))
    another = evolve(SPEC, mounts=(mount(tmp_path / "another", "/app/src"),))
    with trio.fail_after(60):
        with pytest.raises(AgentNotInstalled, match="the agent 'claude' isn't installed"):
            await guard.make_covers(ours, working)
        assert await guard.make_covers(another, working) == ()


async def test_a_cache_that_can_not_be_made(guard, working, tmp_path):
    """Where no copy can be kept nothing is started, and the variable is named that helps."""
    (tmp_path / "cache").write_text("a file")
    with (
        trio.fail_after(60),
        pytest.raises(
            KeyUnprotected,
            match=r"nanoclaw-a-1 could not .* can't be copied to .*cache/nanoclaw-trio/programs: "
            r"Not a directory; mend that, or let XDG_CACHE_HOME name",
        ),
    ):
        await guard.make_covers(SPEC, working)


async def test_without_a_home(settings, working, monkeypatch):
    """A user without a home is told to name a directory."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    with trio.fail_after(60), pytest.raises(KeyUnprotected, match="there is no home directory"):
        await KeyGuard(settings, {}).make_covers(SPEC, working)


@pytest.mark.parametrize("place", ["cache", "project/container/shell"])
async def test_a_mount_that_could_change_them(guard, working, tmp_path, place):
    """An agent that could change the copy or the shell from inside isn't started."""
    shell = tmp_path / "project/container/shell"
    shell.mkdir(parents=True)
    for name in SHELL_PROGRAMS:
        (shell / name).write_text("#!/bin/sh\n")
        (shell / name).chmod(0o755)
    writable = evolve(SPEC, mounts=(mount(tmp_path / place),))
    with (
        trio.fail_after(60),
        pytest.raises(KeyUnprotected, match=rf"by its mount .*/{place} the agent may change "),
    ):
        await guard.make_covers(writable, working)
    readonly = evolve(SPEC, mounts=(mount(tmp_path / place, readonly=True),))
    with trio.fail_after(60):
        assert (await guard.make_covers(readonly, working))[1].source == str(shell)


@pytest.mark.parametrize("released", [True, False])
async def test_while_another_process_copies(virtual_clock, python_tree, cache, released):
    """Who finds the copy in the making waits, for as long as it is not called away."""
    program = find_claude(python_tree.python())
    cache.mkdir(parents=True, mode=0o700)
    copies = []

    async def keep():
        copies.append(await keep_copy(program, cache))

    with (cache / "lock").open("w") as lock, trio.move_on_after(100):
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep)
            await trio.sleep(10)
            assert copies == []
            if released:
                fcntl.flock(lock, fcntl.LOCK_UN)
    assert copies == list(cache.glob("program-*"))
    assert len(copies) == released


async def test_a_copying_can_be_cancelled(python_tree, cache):
    """Who is called away before the copy is whole leaves none."""
    program = find_claude(python_tree.python())
    with trio.CancelScope() as scope:
        scope.cancel()
        await keep_copy(program, cache)
    assert scope.cancelled_caught
    assert not list(cache.glob("program-*"))


@pytest.mark.parametrize(
    ("host_path", "readonly", "exposes"),
    [
        ("cache/programs", False, True),
        ("cache", False, True),
        ("", False, True),
        ("link", False, True),
        ("cache/programs/program-1", False, True),
        ("cache", True, False),
        ("", True, False),
        ("cache-2", False, False),
        ("other", False, False),
    ],
)
def test_which_mounts_expose_a_directory(tmp_path, host_path, readonly, exposes):
    """A writable mount of what holds it or lies in it, by way of links too."""
    (tmp_path / "cache/programs").mkdir(parents=True)
    (tmp_path / "link").symlink_to("cache")
    path = tmp_path / host_path
    mounts = (mount(tmp_path / "other"), mount(path, readonly=readonly))
    found = find_exposing_mount(mounts, tmp_path / "cache/programs")
    assert found == (path if exposes else None)
