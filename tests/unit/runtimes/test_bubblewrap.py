"""The bubblewrap runtime without a sandbox: what it decides, and how a start fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.errors import RuntimeUnavailable, StartFailed
from nanoclaw_trio.files import Owner
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.runtimes.abc import ContainerSpec
from nanoclaw_trio.runtimes.bubblewrap import (
    LESS_ISOLATED,
    BubblewrapRuntime,
    find_missing_source,
    require_linux,
    see_start,
)
from nanoclaw_trio.settings import Settings

SPEC = ContainerSpec(name="nanoclaw-x-1", image="none", environment={"NANOCLAW_AGENT": "echo"})


def open_descriptors():
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def program(tmp_path):
    """A program that passes for a bwrap that works."""
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho bubblewrap 9.9\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def runtime(tmp_path, program):
    """A runtime with that program."""
    project = tmp_path / "project"
    project.mkdir()
    return BubblewrapRuntime(Settings(project_root=project), str(program))


async def test_what_works_is_remembered(runtime, program):
    """A bwrap is tried once, and not again while it worked."""
    with trio.fail_after(60):
        assert await runtime.check() == f"bubblewrap 9.9 ({program})"
        program.unlink()
        assert await runtime.check() == f"bubblewrap 9.9 ({program})"


async def test_what_does_not_work_is_tried_again(runtime, program):
    """After the operator mended it, a bwrap is found without a restart."""
    program.chmod(0o644)
    with trio.fail_after(60):
        with pytest.raises(RuntimeUnavailable, match="Permission denied"):
            await runtime.check()
        program.chmod(0o755)
        await runtime.check()


async def test_a_bwrap_that_vanished_is_looked_for_again(runtime, program):
    """A start whose bwrap is gone says so, and the next looks for one."""
    with trio.fail_after(60):
        await runtime.check()
        program.unlink()
        with pytest.raises(RuntimeUnavailable, match=r"No such file or directory; install it"):
            await runtime.start(SPEC)
        with pytest.raises(RuntimeUnavailable, match="can't be started"):
            await runtime.check()


@pytest.mark.parametrize(
    ("environment", "why"),
    [({"LONG": "x" * 200_000}, "Argument list too long"), ({"ZERO": "\0"}, "embedded null byte")],
)
async def test_arguments_that_the_system_refuses(runtime, environment, why):
    """A command line that can't be executed is a failed start that says why."""
    with trio.fail_after(60), pytest.raises(StartFailed, match=why):
        await runtime.start(evolve(SPEC, environment=environment))


async def test_without_descriptors_nothing_is_started(runtime, no_free_descriptor):
    """A host without a free descriptor has a failed start, and as many as before."""
    with trio.fail_after(60):
        await runtime.check()
        before = open_descriptors()
        for leaving in range(9):
            free = no_free_descriptor(leaving)
            with pytest.raises(StartFailed, match="Too many open files"):
                await runtime.start(SPEC)
            free()
            assert open_descriptors() == before


async def test_a_mount_without_a_source_is_refused(runtime, tmp_path):
    """A missing source is named, and nothing is started (Trap A16)."""
    mount = VolumeMount(host_path=tmp_path / "nothing", container_path="/c", readonly=True)
    with (
        trio.fail_after(60),
        pytest.raises(StartFailed, match=r"nothing at /c: No such file or directory"),
    ):
        await runtime.start(evolve(SPEC, mounts=(mount,)))
    assert find_missing_source((evolve(mount, host_path=tmp_path),)) is None


async def test_images_are_no_concern(runtime):
    """Any image will do, as none is used."""
    await runtime.require_image("there/is:none")
    assert runtime.mounts_files
    assert runtime.process_user() is None


def test_root_has_the_workspace_made_its_own():
    """A host that is root owns the workspace; any other owns its files already."""
    owner = BubblewrapRuntime(Settings(project_root=Path("/"))).workspace_owner()
    assert owner == (Owner(uid=0, gid=os.getegid()) if os.geteuid() == 0 else None)


async def test_the_run_log_gets_the_command_line(runtime):
    """Once a bwrap was found, a spec is described by its command line."""
    assert SPEC.name in runtime.describe(SPEC)
    with trio.fail_after(60):
        await runtime.check()
    assert "--setenv NANOCLAW_CONTAINER nanoclaw-x-1 " in runtime.describe(SPEC)
    # It is a descriptor of each start's own.
    assert "--seccomp" not in runtime.describe(SPEC)
    # What can't be started has no command line, and the run log is written all the same.
    assert "network='backend'" in runtime.describe(evolve(SPEC, network="backend"))


@pytest.mark.parametrize("platform", ["darwin", "win32", "freebsd14"])
def test_it_is_for_linux(platform):
    """On another system it says that it is for Linux."""
    with pytest.raises(RuntimeUnavailable, match=f"Linux only, and this is {platform}"):
        require_linux(platform)


@pytest.mark.parametrize(
    ("exit_code", "stderr", "failed"),
    [
        (1, "bwrap: Can't find source path /x: Permission denied\n", True),
        (1, "", False),
        (1, "Traceback\nbwrap: x", False),
        (1, "bwrap: x\nand then the agent's own words", False),
        (2, "bwrap: x", False),
        (0, "bwrap: x", False),
    ],
)
def test_a_failure_of_bwrap_is_no_failure_of_the_agent(exit_code, stderr, failed):
    """Bwrap's own failure is told from the agent's by its one line."""
    runtime = BubblewrapRuntime(Settings(project_root=Path("/")))
    explained = runtime.explain_exit(SPEC, exit_code, stderr)
    assert isinstance(explained, StartFailed) is failed
    assert (explained is None) is not failed


def test_what_it_isolates_less_is_said():
    """The runtime carries the words that tell people what it doesn't do."""
    caveat = BubblewrapRuntime(Settings(project_root=Path("/"))).caveat
    assert caveat == LESS_ISOLATED
    for word in ("/usr", "network", "memory", "processors", "user"):
        assert word in caveat


def test_a_start_that_can_not_be_looked_at(no_free_descriptor):
    """A sandbox that was just started isn't left without an owner where /proc can't be read: when it
    began isn't known then."""
    assert see_start(os.getpid()) > 0
    free = no_free_descriptor()
    unknown = see_start(os.getpid())
    free()
    assert unknown == 0
