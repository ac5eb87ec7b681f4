"""What comes of trying out a copy. The bwraps here are small programs with an exit status."""

from __future__ import annotations

import pytest
import trio

from nanoclaw_trio.errors import KeyUnprotected
from nanoclaw_trio.runtimes.bubblewrap_check import WorkingBwrap
from nanoclaw_trio.runtimes.bubblewrap_host import Bind, Host, HostSystem
from nanoclaw_trio.runtimes.bubblewrap_probe import prove_unreadable, suggest_remedy
from nanoclaw_trio.settings import GracePeriods

COVER = Bind(source="/cache/program-1", target="/opt/venv/claude")


@pytest.fixture
def prove(tmp_path, python_tree, settings):
    """Tries out a copy in a sandbox that ends by this script."""

    async def prove(script, bound=30.0):
        bwrap = tmp_path / "bwrap"
        bwrap.write_text(f"#!/bin/sh\n{script}\n")
        bwrap.chmod(0o755)
        host = Host(system=HostSystem(), python=python_tree.python())
        working = WorkingBwrap(executable=str(bwrap), version="9.9", host=host)
        quick = settings.with_values(grace=GracePeriods(command=bound))
        with trio.fail_after(60):
            await prove_unreadable(COVER, "nanoclaw-a-1", working, quick)

    return prove


async def test_a_copy_that_keeps_the_key(prove):
    """Where the probe can't read the process, all is well."""
    await prove("exit 0")


async def test_the_copy_is_what_is_tried_out(prove, tmp_path):
    """The probe's sandbox has the copy over the program that it starts."""
    await prove(f'echo "$@" > {tmp_path}/argv')
    argv = (tmp_path / "argv").read_text()
    assert f"--ro-bind {COVER.source} {COVER.target} --remount-ro /" in argv
    assert argv.strip().endswith(COVER.target)


@pytest.mark.parametrize(
    ("script", "bound", "why"),
    [
        ("exit 3", 30.0, "tools: the kernel doesn't go by /cache/program-1's mode; "),
        (
            "echo 'PermissionError: [Errno 13]' >&2; exit 1",
            30.0,
            r"tools: /cache/program-1 can't be run: PermissionError: \[Errno 13\]; let XDG_CACHE",
        ),
        ("exit 7", 30.0, "can't be run: it ended with exit status 7; let XDG_CACHE_HOME"),
        (
            "exec sleep 1000",
            0.2,
            r"tools: a trial of its copy did not answer within 0\.2 s; let XDG",
        ),
    ],
)
async def test_a_copy_that_does_not(prove, script, bound, why):
    """A process that can be read, or a program that can't be run, is an error with a remedy."""
    with pytest.raises(KeyUnprotected, match=why) as caught:
        await prove(script, bound)
    assert caught.value.container == "nanoclaw-a-1"


@pytest.mark.parametrize(
    ("suid_dumpable", "remedy"),
    [
        ("1", "set `sysctl fs.suid_dumpable=0`"),
        ("0", "XDG_CACHE_HOME"),
        ("2", "XDG_CACHE_HOME"),
        ("", "XDG_CACHE_HOME"),
    ],
)
def test_the_remedy_fits_the_system(suid_dumpable, remedy):
    """A kernel that makes all processes readable is named; else the disk is at fault."""
    assert remedy in suggest_remedy(suid_dumpable)
