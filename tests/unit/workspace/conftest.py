"""A project with one group, on a disk of its own."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from nanoclaw_trio.files import Owner
from nanoclaw_trio.protocol.models import AdditionalMount, AllowedRoot, MountAllowlist
from nanoclaw_trio.workspace.folders import GroupPaths


@pytest.fixture(autouse=True)
def _no_descriptor_left():
    before = sorted(Path("/dev/fd").iterdir())
    yield
    assert sorted(Path("/dev/fd").iterdir()) == before


@pytest.fixture
def project(nanoclaw_settings):
    """The project's root, which has a small agent-runner of its own and no skills."""
    root = nanoclaw_settings.project_root
    source = root / "container" / "agent-runner" / "src" / "agent"
    source.mkdir(parents=True)
    (source / "__main__.py").write_text("print('hello')\n")
    (root / "container" / "skills").mkdir()
    return root


@pytest.fixture
def paths(project):
    """The places of the group."""
    return GroupPaths.of(project, "family")


@pytest.fixture
def agent():
    """Whom the agent's files belong to; only root can give them away."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    return Owner(uid=1000, gid=1001)


@pytest.fixture
def plant(monkeypatch):
    """Put something that doesn't belong there at a path: what an agent may do."""

    def put(path, kind):
        match kind:
            case "link":
                path.symlink_to("/etc")
            case "dangling link":
                path.symlink_to("/no/such/place")
            case "pipe":
                os.mkfifo(path)
            case "socket":
                # A socket's path may have some hundred bytes only.
                monkeypatch.chdir(path.parent)
                with socket.socket(socket.AF_UNIX) as server:
                    server.bind(path.name)
            case "file":
                path.write_bytes(b"planted")
            case "directory":
                (path / "below").mkdir(parents=True)

    return put


@pytest.fixture
def write_allowlist(nanoclaw_settings):
    """Write the allowlist: {root: may it be written}, and the rest by name."""

    def write(roots, *, blocked=(), non_main_read_only=False):
        path = nanoclaw_settings.allowlist_path
        path.parent.mkdir(exist_ok=True)
        document = {
            "allowedRoots": [
                {"path": str(root), "allowReadWrite": writable} for root, writable in roots.items()
            ],
            "blockedPatterns": list(blocked),
            "nonMainReadOnly": non_main_read_only,
        }
        path.write_text(json.dumps(document))

    return write


@pytest.fixture
def make_allowlist():
    """An allowlist as a model: {root: may it be written}."""

    def make(roots, *, blocked=(), non_main_read_only=False):
        return MountAllowlist(
            allowed_roots=tuple(
                AllowedRoot(path=path, allow_read_write=writable)
                for path, writable in roots.items()
            ),
            blocked_patterns=tuple(blocked),
            non_main_read_only=non_main_read_only,
        )

    return make


@pytest.fixture
def ask():
    """A mount as a group asks for it."""

    def make(host_path, container_path=None, *, readonly=True):
        return AdditionalMount(
            host_path=str(host_path), container_path=container_path, readonly=readonly
        )

    return make
