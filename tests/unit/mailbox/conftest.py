"""A group's mailbox on a disk of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanoclaw_trio.mailbox.writer import Mailbox


@pytest.fixture
def ipc_dir(tmp_path: Path) -> Path:
    """data/ipc/FOLDER of a group that has never run."""
    return tmp_path / "data" / "ipc" / "family"


@pytest.fixture
def errors_dir(ipc_dir: Path) -> Path:
    """Where what can't be handled goes."""
    return ipc_dir.parent / "errors"


@pytest.fixture
def input_dir(ipc_dir: Path) -> Path:
    """The agent's inbox, made."""
    directory = ipc_dir / "input"
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def mailbox(ipc_dir: Path) -> Mailbox:
    """The host's side of it."""
    return Mailbox(ipc_dir)


@pytest.fixture
def _no_descriptor_left():
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("there is no /proc to count descriptors in")
    before = count_descriptors()
    yield
    assert count_descriptors() == before


def count_descriptors() -> int:
    """How many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
