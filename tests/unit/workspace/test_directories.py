"""What two processes that prepare one group at once do to each other."""

from __future__ import annotations

import errno

import pytest

from nanoclaw_trio.errors import WorkspaceFailed
from nanoclaw_trio.files import open_directory
from nanoclaw_trio.workspace.directories import _rename_unless_made, blamed_on


@pytest.fixture
def sessions(tmp_path):
    """Where two copies of the agent-runner meet."""
    with open_directory(tmp_path) as directory:
        yield directory


def test_the_slower_one_gives_way(sessions, tmp_path):
    """A copy that is there already stays, and the slower process is content with it."""
    for name in ("slow", "made"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    _rename_unless_made(sessions, "slow", "made")
    assert (tmp_path / "made" / "file").read_text() == "made"


def test_an_empty_one_is_replaced(sessions, tmp_path):
    """A directory with nothing in it is no copy."""
    (tmp_path / "slow").mkdir()
    (tmp_path / "made").mkdir()
    (tmp_path / "slow" / "file").write_text("slow")
    _rename_unless_made(sessions, "slow", "made")
    assert (tmp_path / "made" / "file").read_text() == "slow"


def test_another_error_goes_on(sessions):
    """Where no other copy is there, what the disk said counts."""
    with pytest.raises(FileNotFoundError):
        _rename_unless_made(sessions, "slow", "made")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "settings.json"),
            "No space left on device (settings.json)",
        ),
        (OSError(errno.EIO, "Input/output error", 7), "Input/output error;"),
        (OSError("odd"), "an error of the system;"),
    ],
)
def test_blame(tmp_path, error, words):
    """An error of the disk names the place, the entry in it, and what the system said."""
    with pytest.raises(WorkspaceFailed) as caught, blamed_on(tmp_path):
        raise error
    assert words in str(caught.value)
    assert caught.value.path == tmp_path
    assert caught.value.__cause__ is error
