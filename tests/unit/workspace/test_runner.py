"""A group's copy of the agent-runner: what an upgrade, a crash and the agent make of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from nanoclaw_trio.files import open_directory
from nanoclaw_trio.trees import scan_directory, scan_tree
from nanoclaw_trio.workspace.runner import (
    ENTRY_LIMIT,
    RECORD_NAME,
    is_up_to_date,
    make_runner,
    takes_lease,
)

CRASHES = """
import os, signal, sys
from pathlib import Path
from nanoclaw_trio.files import open_directory
from nanoclaw_trio.workspace.folders import GroupPaths
from nanoclaw_trio.workspace.runner import make_runner

left = int(sys.argv[2])

def die(event, _arguments):
    global left
    if event in {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.utime"}:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

paths = GroupPaths.of(Path(sys.argv[1]), "family")
with open_directory(paths.sessions_dir) as sessions:
    sys.addaudithook(die)
    make_runner(paths, sessions, None)
"""
"""A program that makes the copy, and is killed before one of its changes to the disk."""


@pytest.fixture
def source(paths):
    """The host's agent-runner."""
    return paths.project_root / "container/agent-runner/src"


@pytest.fixture
def make(paths):
    """Make the copy; the warnings."""

    def call():
        with open_directory(paths.sessions_dir, create=True) as sessions:
            return make_runner(paths, sessions, None)

    return call


def files_of(root):
    """The content of each file below a directory."""
    return {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}


def test_without_a_source(make, paths, source):
    """A copy that is there does without the source that it was made from."""
    make()
    shutil.rmtree(source)
    source.symlink_to(source)
    assert make() == ()
    with open_directory(paths.sessions_dir) as sessions:
        assert is_up_to_date(paths, sessions)


def test_a_copy_that_cannot_be_looked_at(make, paths, source):
    """Where the disk doesn't say what the copy is, it takes no lease."""
    make()
    shutil.rmtree(paths.runner_dir)
    paths.runner_dir.symlink_to(paths.runner_dir)
    assert not takes_lease(paths)


def test_without_a_source_and_without_a_copy(make, source):
    """A group that has nothing to run can't start, and the disk says why."""
    shutil.rmtree(source)
    source.symlink_to(source)
    with pytest.raises(OSError, match="symbolic links"):
        make()


@pytest.mark.parametrize("deep", [False, True])
def test_an_agents_huge_tree_is_not_looked_through(make, paths, source, deep):
    """A tree that no host could have copied is a changed one, however deep or wide it is."""
    make()
    with open_directory(paths.runner_dir) as copy:
        if deep:
            with copy.child(*["d"] * (sys.getrecursionlimit() + 100), create=True):
                pass
        else:
            for number in range(ENTRY_LIMIT):
                copy.link(str(number), "agent")
    (source / "new.py").write_text("")
    assert "was changed by the group" in make()[0]
    with open_directory(paths.sessions_dir) as sessions:
        sessions.remove(paths.runner_dir.name)


def test_a_chain_of_links_is_a_change(make, paths, source):
    """Trap A28. As many links in a row as Python recurses are no reason to fail."""
    make()
    length = sys.getrecursionlimit() + 100
    for number in range(length):
        (paths.runner_dir / f"link{number}").symlink_to(f"link{number + 1}")
    (paths.runner_dir / f"link{length}").mkdir()
    (source / "new.py").write_text("")
    assert "was changed by the group" in make()[0]


def test_links_of_the_hosts_are_no_change(make, paths, source):
    """A source with links, whatever they lead to, has copies that an upgrade replaces."""
    (source / "up").symlink_to(source / "agent" / "..")
    (source / "through").symlink_to("up/agent/__main__.py")
    (source / "dangling").symlink_to("agent/../none")
    (source / "loop").symlink_to("loop")
    make()
    (source / "new.py").write_text("")
    assert make() == ()
    assert (paths.runner_dir / "through").readlink().as_posix() == "agent/__main__.py"
    assert files_of(paths.runner_dir) == files_of(source)
    (paths.sessions_dir / RECORD_NAME).unlink()
    assert make() == ()


@pytest.mark.parametrize("kind", ["link", "pipe", "socket"])
def test_what_no_copy_has_is_a_change(make, paths, source, plant, kind):
    """What the host would have left out, a link that leaves the tree too, is the group's own."""
    make()
    plant(paths.runner_dir / "odd", kind)
    (source / "new.py").write_text("")
    assert "was changed by the group" in make()[0]
    assert os.path.lexists(paths.runner_dir / "odd")


def test_a_disk_with_coarse_times(make, paths, source):
    """A copy whose disk keeps whole seconds only is known by what it looks like there."""
    make()
    copy = paths.runner_dir / "agent" / "__main__.py"
    os.utime(copy, ns=(0, 10**9))
    with open_directory(paths.runner_dir) as directory:
        looks = scan_directory(directory).signature
    record = {"source": scan_tree(source).signature, "copy": looks}
    (paths.sessions_dir / RECORD_NAME).write_text(json.dumps(record))
    (source / "new.py").write_text("")
    assert make() == ()
    assert files_of(paths.runner_dir) == files_of(source)


@pytest.mark.parametrize("is_upgrade", [False, True])
def test_killed_at_any_step(make, paths, source, is_upgrade):
    """Whenever the host is killed, the next run has the whole of the new source and nothing else."""
    for step in range(100):
        if is_upgrade:
            make()
            (source / "agent" / "__main__.py").write_text(f"print({step})\n" * (step + 1))
        else:
            paths.sessions_dir.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, "-c", CRASHES, str(paths.project_root), str(step)]
        status = subprocess.run(argv, check=False).returncode
        assert make() == ()
        assert files_of(paths.runner_dir) == files_of(source)
        left = {entry.name for entry in paths.sessions_dir.iterdir()}
        assert left == {paths.runner_dir.name, RECORD_NAME}
        if not is_upgrade:
            with open_directory(paths.sessions_dir) as sessions:
                for name in sessions.names():
                    sessions.remove(name)
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert step > 3


def test_a_copy_with_the_module_takes_a_lease(make, paths, source):
    """A copy of this host's source takes standard input for a lease."""
    assert not takes_lease(paths)
    (source / "nanoclaw_agent").mkdir(exist_ok=True)
    (source / "nanoclaw_agent" / "lease.py").write_text("")
    make()
    assert takes_lease(paths)


@pytest.mark.parametrize("kind", ["link", "pipe", "socket"])
@pytest.mark.parametrize("name", ["nanoclaw_agent", "nanoclaw_agent/lease.py"])
def test_an_agents_own_copy_takes_none(make, paths, plant, kind, name):
    """Trap A28. One without the module, or with something else in its place, is given its input and
    the end of it; nothing is followed, and nothing is an error."""
    make()
    entry = paths.runner_dir / name
    entry.parent.mkdir(exist_ok=True)
    plant(entry, kind)
    assert not takes_lease(paths)
