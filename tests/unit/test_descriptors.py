"""Names relative to descriptors: deep trees, and access that an agent took away."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from nanoclaw_trio.descriptors import (
    LOOK_LIMIT,
    is_directory,
    is_temporary,
    remove_tree,
    status_of,
    temporary_name,
)
from nanoclaw_trio.errors import UnsafePath
from nanoclaw_trio.files import Owner, open_directory

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

DEEP = 3000
"""More levels than Python recurses, and more than a process may have files open."""


@pytest.fixture
def open_place():
    """A directory that every user may go through, unlike pytest's own."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    yield place
    with open_directory(place.parent) as parent:
        parent.remove(place.name)


@contextmanager
def as_user(uid):
    """Be another user for a while, without root's way around modes."""
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


def stale(_descriptor):
    """What a disk on the network says of a file that is gone."""
    raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))


def make_deep(place, levels):
    """A tree of so many levels, with a file at its end."""
    with open_directory(place) as top:
        descriptor = os.dup(top.descriptor)
    for _ in range(levels):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)


def test_temporary_names_differ():
    """Two temporary names are never one, both are hidden, and both are known for what they are."""
    first, second = temporary_name(), temporary_name()
    assert first != second
    assert first.startswith(".")
    assert is_temporary(first)
    assert not any(map(is_temporary, (".claude", f"{first}x", f"x{first}", ".tmp")))


def test_status_and_directories(tmp_path):
    """A link to a directory isn't one, and what isn't there has no status."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("directory")
    with open_directory(tmp_path) as here:
        assert is_directory("directory", here.descriptor)
        assert not is_directory("link", here.descriptor)
        assert not is_directory("missing", here.descriptor)
        status = status_of("link", here.descriptor)
        assert status is not None
        assert stat.S_ISLNK(status.st_mode)
        assert status_of("missing", here.descriptor) is None


def test_a_tree_of_any_depth_is_removed(tmp_path):
    """Trap A28. No tree that an agent makes is too deep to be removed."""
    make_deep(tmp_path, DEEP)
    with open_directory(tmp_path) as here:
        here.remove("d")
        assert here.names() == []


def test_a_wide_tree_is_removed_and_links_are_not_followed(tmp_path):
    """All entries go, and what links lead to stays."""
    (tmp_path / "kept").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "tree" / name / "below").mkdir(parents=True)
        (tmp_path / "tree" / name / "file").write_bytes(b"")
        (tmp_path / "tree" / name / "link").symlink_to(tmp_path / "kept")
    with open_directory(tmp_path) as here:
        remove_tree("tree", here.descriptor)
        assert here.names() == ["kept"]


def test_a_tree_with_more_than_a_look_is_removed(tmp_path):
    """A directory with more entries than are held in memory at a time goes, whatever they are."""
    for name in "abc":
        (tmp_path / "tree" / name / "below").mkdir(parents=True)
    for number in range(LOOK_LIMIT):
        (tmp_path / "tree" / str(number)).touch()
    with open_directory(tmp_path) as here:
        here.remove("tree")
        assert here.names() == []


@root_only
def test_a_deep_tree_is_given_away(tmp_path):
    """Trap A28. The last level of a tree of any depth gets its owner, too."""
    make_deep(tmp_path, DEEP)
    with open_directory(tmp_path, owner=Owner(uid=1000, gid=1000)) as here:
        here.give_away_tree()
        with here.child(*["d"] * DEEP) as deepest:
            assert deepest.belongs_to_owner()
        here.remove("d")


@root_only
def test_a_deep_tree_is_given_away_in_time(tmp_path, monkeypatch):
    """Trap A28. Twice as deep a tree takes twice as long, and not four times."""
    make_deep(tmp_path, 500)
    opened, really_open = [], os.open
    monkeypatch.setattr(os, "open", lambda *a, **k: opened.append(a) or really_open(*a, **k))
    with open_directory(tmp_path, owner=Owner(uid=1000, gid=1000)) as here:
        here.give_away_tree()
    assert len(opened) < 20 * 500


@root_only
def test_a_directory_that_is_moved_while_it_is_given_away(tmp_path, monkeypatch):
    """Trap A28. The way up from a directory that an agent moves elsewhere meanwhile isn't taken."""
    outside = tmp_path / "outside"
    (outside / "kept").mkdir(parents=True)
    (tmp_path / "tree" / "a" / "b").mkdir(parents=True)
    really_list = os.listdir

    def list_and_move(descriptor):
        names = really_list(descriptor)
        if not names:
            (tmp_path / "tree" / "a" / "b").rename(outside / "b")
        return names

    monkeypatch.setattr(os, "listdir", list_and_move)
    with (
        open_directory(tmp_path / "tree", owner=Owner(uid=1000, gid=1000)) as tree,
        pytest.raises(UnsafePath, match="tree/a is another directory than before"),
    ):
        tree.give_away_tree()
    assert {path.stat().st_uid for path in (outside, outside / "kept")} == {0}


@root_only
@pytest.mark.parametrize("mode", [0o000, 0o111, 0o500, 0o444, 0o700])
def test_access_that_was_taken_away_is_taken_back(open_place, mode):
    """An agent with the host's own number can't keep the host out of the mailbox."""
    (open_place / "input").mkdir()
    os.chown(open_place / "input", 1000, 1000)
    (open_place / "input").chmod(mode)
    with as_user(1000), open_directory(open_place) as here, here.child("input") as below:
        below.write("_close", b"")
    assert (open_place / "input" / "_close").exists()


@root_only
def test_a_tree_without_access_is_removed(open_place):
    """Directories that their owner closed are removed all the same."""
    (open_place / "top" / "tree" / "a" / "b").mkdir(parents=True)
    for path in (open_place / "top", *(open_place / "top").rglob("*")):
        os.chown(path, 1000, 1000)
    (open_place / "top" / "tree" / "a" / "b").chmod(0o000)
    (open_place / "top" / "tree" / "a").chmod(0o500)
    (open_place / "top" / "tree").chmod(0o000)
    with as_user(1000), open_directory(open_place / "top") as here:
        here.remove("tree")
        assert here.names() == []


def test_a_directory_that_goes_as_it_is_opened(tmp_path, monkeypatch):
    """No descriptor stays open where a disk on the network takes back what it has just given."""
    (tmp_path / "a").mkdir()
    with open_directory(tmp_path) as here:
        before = sorted(Path("/dev/fd").iterdir())
        with monkeypatch.context() as patch:
            patch.setattr(os, "fstat", stale)
            with pytest.raises(OSError, match="Stale"), here.child("a"):
                pass
        assert sorted(Path("/dev/fd").iterdir()) == before


@root_only
def test_somebody_elses_directory_stays_closed(open_place):
    """What belongs to another user is an error, and its mode isn't touched."""
    (open_place / "closed").mkdir(mode=0o700)
    with (
        as_user(1000),
        open_directory(open_place) as here,
        pytest.raises(PermissionError, match="closed"),
        here.child("closed"),
    ):
        pass
    assert stat.S_IMODE((open_place / "closed").stat().st_mode) == 0o700


@root_only
def test_a_link_is_not_opened_up(open_place):
    """Nobody gets a directory's mode changed by a link to it."""
    shutil.copymode("/", open_place)
    (open_place / "target").mkdir()
    os.chown(open_place / "target", 1000, 1000)
    (open_place / "target").chmod(0o000)
    (open_place / "link").symlink_to("target")
    with (
        as_user(1000),
        open_directory(open_place) as here,
        pytest.raises(UnsafePath),
        here.child("link"),
    ):
        pass
    assert stat.S_IMODE((open_place / "target").stat().st_mode) == 0o000
