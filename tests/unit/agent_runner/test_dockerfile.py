"""The Dockerfile, as far as it can be judged without building it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import nanoclaw_trio.testing.images
from nanoclaw_trio.environment import SECRET_VARIABLES

ROOT = Path(__file__).parents[3]


@pytest.fixture
def instructions(container_directory) -> list[str]:
    """The Dockerfile's instructions, one a line."""
    text = (container_directory / "Dockerfile").read_text().replace("\\\n", "")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_test_image_agrees_with_it(instructions):
    """What the registry-free image says of itself, the Dockerfile says in the same words."""
    assert set(nanoclaw_trio.testing.images.CHANGES) <= set(instructions)


def test_image_has_the_version_of_the_package(instructions):
    """The version that the image's label names is the package's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"ARG VERSION={project['version']}" in instructions
    assert 'LABEL org.opencontainers.image.version="${VERSION}"' in instructions


def test_no_shell_stands_before_the_agent(instructions):
    """The entry point is a list of words, so that SIGTERM reaches the agent itself. Trap A18."""
    assert [x for x in instructions if x.startswith(("CMD", "ENTRYPOINT"))] == [
        'ENTRYPOINT ["/opt/venv/bin/python", "-P", "-m", "nanoclaw_agent"]'
    ]


def test_old_builders_can_build_it(instructions):
    """Nothing in it needs BuildKit: no mounts, no here-documents, no --chmod."""
    assert not [x for x in instructions if re.search(r"--mount|<<|--chmod|--link", x)]


def test_every_requirement_is_pinned(container_directory):
    """The same sources make the same environment."""
    text = (container_directory / "agent-runner" / "requirements.txt").read_text()
    requirements = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in requirements)
    names = [line.partition("==")[0] for line in requirements]
    assert len(set(names)) == len(names)
    assert {"claude-agent-sdk", "mcp", "trio", "watchfiles"} <= set(names)


def test_key_is_kept_from_the_tools(instructions, container_directory):
    """The CLI can't be read in the very layer that brings it, and the shell takes the keys away."""
    (install,) = [line for line in instructions if "pip install" in line]
    assert re.search(r"&& chmod 0711 \S+/claude_agent_sdk/_bundled/claude$", install)
    assert "COPY shell /opt/nanoclaw/bin" in instructions
    shell = (container_directory / "shell" / "bash").read_text()
    assert all(name in shell for name in SECRET_VARIABLES)


def test_no_mirror_is_needed_unless_asked_for(instructions):
    """Packages of Debian's are an argument, which is empty by default."""
    assert 'ARG EXTRA_PACKAGES=""' in instructions
    (apt,) = [line for line in instructions if "apt-get" in line]
    assert apt.startswith('RUN if [ -n "${EXTRA_PACKAGES}" ]; then')
