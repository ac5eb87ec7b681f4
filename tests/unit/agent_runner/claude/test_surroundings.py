"""What is found in a workspace, and what isn't."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nanoclaw_agent.agents.claude.surroundings import look_around


def test_empty_workspace(tmp_path):
    """What isn't there is left out; the rest is where it will be."""
    found = look_around(tmp_path, is_main=False, shell=tmp_path / "bash")
    assert found.group == tmp_path / "group"
    assert found.conversations == tmp_path / "group" / "conversations"
    assert found.ipc == tmp_path / "ipc"
    assert (found.extra, found.memory, found.shell, found.cli) == ((), None, None, None)
    assert found.is_root is (os.geteuid() == 0)


def test_directories_are_the_extra_ones(tmp_path):
    """Directories and links to some, in the order of their names; files aren't any."""
    extra = tmp_path / "extra"
    for name in ("b", "a"):
        (extra / name).mkdir(parents=True)
    (extra / "c").symlink_to(tmp_path)
    (extra / "file").touch()
    (extra / "dangling").symlink_to("nowhere")
    found = look_around(tmp_path, is_main=False)
    assert found.extra == (extra / "a", extra / "b", extra / "c")


@pytest.mark.parametrize("is_main", [True, False])
def test_memory_is_what_all_groups_are_told(tmp_path, is_main):
    """The global CLAUDE.md; the main group has the project's own instead."""
    memory = tmp_path / "global" / "CLAUDE.md"
    memory.parent.mkdir()
    memory.touch()
    assert look_around(tmp_path, is_main=is_main).memory == (None if is_main else memory)


def test_memory_that_is_no_file_is_none(tmp_path):
    """A directory of that name doesn't keep the agent from starting."""
    (tmp_path / "global" / "CLAUDE.md").mkdir(parents=True)
    assert look_around(tmp_path, is_main=False).memory is None


@pytest.mark.parametrize("mode", [0o755, 0o644])
def test_shell_is_one_that_can_be_run(tmp_path, mode):
    """A shell without permission to run it is none."""
    shell = tmp_path / "bash"
    shell.touch()
    shell.chmod(mode)
    found = look_around(tmp_path, is_main=False, shell=shell)
    assert found.shell == (shell if mode == 0o755 else None)


def test_an_image_may_name_another_cli(tmp_path, monkeypatch):
    """By a variable of the container's own environment."""
    monkeypatch.setenv("NANOCLAW_CLI", "/usr/bin/claude")
    assert look_around(tmp_path, is_main=False).cli == Path("/usr/bin/claude")
