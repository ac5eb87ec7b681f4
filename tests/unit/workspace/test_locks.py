"""Locks of the host's own, and the records beside them."""

from __future__ import annotations

import pytest
from attrs import frozen

from nanoclaw_trio.errors import UnsafePath
from nanoclaw_trio.files import open_directory
from nanoclaw_trio.workspace.locks import is_locked, read_record


@frozen(kw_only=True)
class Owner:
    """A record."""

    pid: int


@pytest.fixture
def directory(tmp_path):
    """A directory to lock files in."""
    with open_directory(tmp_path) as directory:
        yield directory


def test_a_lock_from_its_taking_to_its_release(directory):
    """A file is locked from its locking to its release, and asking makes and changes nothing."""
    assert not is_locked(directory, "x.lock")
    assert directory.kind("x.lock") is None
    lock = directory.lock("x.lock")
    assert is_locked(directory, "x.lock")
    lock.release()
    assert not is_locked(directory, "x.lock")
    directory.lock("x.lock").release()


@pytest.mark.parametrize("make", ["mkdir", "symlink"])
def test_what_is_no_file_is_not_locked(directory, tmp_path, make):
    """Trap A28. Nothing but a regular file is a lock, and a link isn't followed."""
    path = tmp_path / "x.lock"
    if make == "mkdir":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    assert not is_locked(directory, "x.lock")
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(UnsafePath):
        directory.lock("x.lock")


@pytest.mark.parametrize(
    ("content", "record"),
    [
        (None, None),
        ("", None),
        ("{", None),
        ("{}", None),
        ('{"pid": "1"}', None),
        ('{"pid": 1, "x": 2}', None),
        ('{"pid": 1}', Owner(pid=1)),
    ],
)
def test_a_record_is_read_or_there_is_none(directory, tmp_path, content, record):
    """What isn't there, or isn't what we write, says nothing."""
    if content is not None:
        (tmp_path / "x.json").write_text(content)
    assert read_record(directory, "x.json", Owner) == record
