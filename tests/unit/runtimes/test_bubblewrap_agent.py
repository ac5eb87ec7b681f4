"""The Claude agent in the host's Python environment: found or missed, and never imported."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nanoclaw_trio.errors import AgentNotInstalled
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.runtimes.bubblewrap_agent import (
    PACKAGES,
    brings_claude,
    find_claude,
    find_package,
    wants_claude,
)

PROGRAM = "claude_agent_sdk/_bundled/claude"


@pytest.mark.parametrize(
    ("environment", "wants"),
    [
        ({}, True),
        ({"NANOCLAW_AGENT": ""}, True),
        ({"NANOCLAW_AGENT": "claude"}, True),
        ({"NANOCLAW_AGENT": "echo"}, False),
        ({"NANOCLAW_AGENT": "mine", "TZ": "UTC"}, False),
    ],
)
def test_claude_is_meant_where_none_is_named(environment, wants):
    """Without a name it is Claude, so that the key is kept where nobody said anything."""
    assert wants_claude(environment) is wants


def test_an_agent_runner_with_claude(tmp_path):
    """Whether an agent-runner has a Claude agent is seen in the one that is mounted."""
    source = VolumeMount(host_path=tmp_path, container_path="/app/src", readonly=True)
    elsewhere = VolumeMount(host_path=tmp_path, container_path="/workspace/group", readonly=True)
    assert not brings_claude((source,))
    (tmp_path / "nanoclaw_agent/agents/claude").mkdir(parents=True)
    assert brings_claude((elsewhere, source))
    assert not brings_claude((elsewhere,))
    assert not brings_claude(())


def test_the_program_in_an_environment(python_tree):
    """The program is found with its version, and where a sandbox sees the environment."""
    claude = find_claude(python_tree.python())
    assert claude.source == python_tree.program
    assert claude.target == f"/opt/venv/lib/python3.12/site-packages/{PROGRAM}"
    assert claude.version == "2.1.330"


def test_the_program_in_an_installation(python_tree):
    """Outside of a virtual environment it is where it is on the host."""
    prefix = str(python_tree.prefix)
    python = python_tree.python(base_prefix=prefix, real_base_prefix=prefix)
    assert find_claude(python).target == str(python_tree.program)


def test_the_program_in_a_directory_of_packages(python_tree, tmp_path):
    """What lies beside the environment is found where a sandbox sees it, and first."""
    beside = tmp_path / "beside/site-packages"
    shutil.copytree(python_tree.packages, beside)
    python = python_tree.python(
        package_directories=("/else/site-packages", str(beside)),
        search_path=(str(beside), str(python_tree.packages)),
    )
    claude = find_claude(python)
    assert (claude.source, claude.target) == (beside / PROGRAM, f"/opt/packages/1/{PROGRAM}")


@pytest.mark.parametrize("name", PACKAGES)
def test_each_missing_package_is_told(python_tree, name):
    """A package that isn't there is named, with the command that installs it."""
    shutil.rmtree(python_tree.packages / name)
    with pytest.raises(AgentNotInstalled, match=rf"venv has no {name}; install it with `pip "):
        find_claude(python_tree.python())


def test_what_a_sandbox_does_not_see_is_missing(python_tree, tmp_path):
    """A package that only the host can import doesn't count."""
    hidden = tmp_path / "project/src"
    hidden.mkdir(parents=True)
    (python_tree.packages / "mcp").rename(hidden / "mcp")
    python = python_tree.python(search_path=(str(hidden), str(python_tree.packages)))
    with pytest.raises(AgentNotInstalled, match="has no mcp;"):
        find_claude(python)


@pytest.mark.parametrize("kind", ["nothing", "directory", "link"])
def test_without_a_program(python_tree, kind):
    """An SDK for another system has no program, and no other program of that name is taken."""
    python_tree.program.unlink()
    if kind == "directory":
        python_tree.program.mkdir()
    if kind == "link":
        python_tree.program.symlink_to("/no/such/claude")
    with pytest.raises(AgentNotInstalled, match="has no program `claude` for this system"):
        find_claude(python_tree.python())


@pytest.mark.parametrize(
    ("said", "version"),
    [
        (b"2.1.330 (Claude Code)\n", "2.1.330"),
        (b"3.0.0rc1", "3.0.0rc1"),
        (b"", "unknown"),
        (b"../../escape", "unknown"),
        (b"\xff", "unknown"),
    ],
)
def test_the_version_can_be_part_of_a_name(python_tree, said, version):
    """A version is letters, digits and dots; anything else doesn't get into a file's name."""
    python_tree.program.with_suffix(".version").write_bytes(said)
    assert find_claude(python_tree.python()).version == version


def test_without_a_version(python_tree):
    """Older ones don't say which they are, and are found all the same."""
    python_tree.program.with_suffix(".version").unlink()
    assert find_claude(python_tree.python()).version == "unknown"


def test_a_directory_is_no_package(tmp_path):
    """A directory that merely has the name isn't taken for the package."""
    (tmp_path / "mcp").mkdir()
    assert find_package("mcp", (str(tmp_path),)) is None
    (tmp_path / "mcp/__init__.py").touch()
    assert find_package("mcp", (str(tmp_path),)) == Path(tmp_path, "mcp")
