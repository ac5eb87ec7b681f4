"""Sources: the project's own, else those that are shipped."""

from __future__ import annotations

from pathlib import Path

import pytest

import nanoclaw_trio
from nanoclaw_trio.errors import InvalidFile
from nanoclaw_trio.workspace.sources import (
    SHELL_PROGRAMS,
    container_sources,
    shell_sources,
    skill_sources,
)

CHECKOUT = Path(nanoclaw_trio.__file__).resolve().parents[2] / "container"


def test_the_projects_own(project):
    """A project that has an agent-runner uses that."""
    assert container_sources(project) == project / "container"
    assert skill_sources(project) == project / "container" / "skills"


def test_a_project_without(tmp_path):
    """A project without its own uses what is shipped."""
    assert container_sources(tmp_path) == CHECKOUT
    assert (container_sources(tmp_path) / "agent-runner" / "src" / "nanoclaw_agent").is_dir()
    assert skill_sources(tmp_path) == CHECKOUT / "skills"


def test_skills_without_an_agent_runner(tmp_path):
    """A project may have skills and leave the agent-runner to us."""
    (tmp_path / "container" / "skills").mkdir(parents=True)
    assert container_sources(tmp_path) == CHECKOUT
    assert skill_sources(tmp_path) == tmp_path / "container" / "skills"


def test_the_first_of_the_shipped_ones_counts(tmp_path, project):
    """The installed package's sources come before those of a checkout."""
    empty, full = tmp_path / "empty", project / "container"
    assert container_sources(tmp_path, shipped=(empty, full, CHECKOUT)) == full


def test_none_at_all(tmp_path):
    """Without any sources the installation is broken, and skills are just not there."""
    with pytest.raises(InvalidFile, match="has no agent-runner/src; install nanoclaw-trio again"):
        container_sources(tmp_path, shipped=())
    assert skill_sources(tmp_path, shipped=()) is None


@pytest.fixture
def shell(tmp_path):
    """A project's own programs for the secrets."""
    shell = tmp_path / "container/shell"
    shell.mkdir(parents=True)
    for name in SHELL_PROGRAMS:
        (shell / name).write_text("#!/bin/sh\n")
        (shell / name).chmod(0o755)
    return shell


def test_the_projects_own_shell(tmp_path, shell):
    """A project's own come before those that are shipped."""
    assert shell_sources(tmp_path) == shell


@pytest.mark.parametrize("name", SHELL_PROGRAMS)
@pytest.mark.parametrize("kind", ["nothing", "directory", "not a program"])
def test_a_project_without_one_of_them(tmp_path, shell, name, kind):
    """A project whose container/ lacks one that can be run uses those that are shipped."""
    (shell / name).unlink()
    if kind == "directory":
        (shell / name).mkdir()
    if kind == "not a program":
        (shell / name).touch(mode=0o644)
    assert shell_sources(tmp_path) == CHECKOUT / "shell"
    with pytest.raises(InvalidFile, match=r"has no shell/ with bash that .*; install nanoc"):
        shell_sources(tmp_path, shipped=())
