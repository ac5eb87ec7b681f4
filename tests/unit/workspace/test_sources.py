"""Sources: the project's own, else those that are shipped."""

from __future__ import annotations

from pathlib import Path

import pytest

import nanoclaw_trio
from nanoclaw_trio.errors import InvalidFile
from nanoclaw_trio.workspace.sources import container_sources, skill_sources

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
