"""Fixtures for pytest. In your conftest.py: `pytest_plugins = ["nanoclaw_trio.testing.fixtures"]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from nanoclaw_trio.settings import Settings
    from nanoclaw_trio.testing.clock import VirtualClock


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """A clock that jumps when all wait, threads included; pytest-trio runs the test on it."""
    from nanoclaw_trio.testing.clock import VirtualClock

    return VirtualClock()


@pytest.fixture
def nanoclaw_settings(tmp_path: Path) -> Settings:
    """Settings of an empty project in a temporary folder, apart from the user's own files."""
    from nanoclaw_trio.settings import Settings

    project = tmp_path / "project"
    project.mkdir()
    return Settings(project_root=project, allowlist_path=tmp_path / "config" / "allowlist.json")
