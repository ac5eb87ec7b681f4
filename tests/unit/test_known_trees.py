"""Trees that are scanned anew only after a change."""

from __future__ import annotations

import os
import shutil
import time

import pytest

from nanoclaw_trio import known_trees
from nanoclaw_trio.known_trees import KNOWN, scan_known_tree
from nanoclaw_trio.trees import scan_tree

LONG_AGO = 10**18


@pytest.fixture
def source(tmp_path):
    """A tree of the host's own."""
    root = tmp_path / "source"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "deep.py").write_bytes(b"deep")
    (root / "top.txt").write_bytes(b"top")
    return root


@pytest.fixture
def settled(monkeypatch):
    """Everything on the disk has lain still for long."""
    monkeypatch.setattr(known_trees, "SETTLING", -(10**10))


def replace(path):
    other = path.with_name("other")
    other.write_bytes(b"abc")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.rename(path)


CHANGES = {
    "a new file": lambda root: (root / "a" / "new.py").write_bytes(b"new"),
    "a new directory": lambda root: (root / "a" / "b" / "c").mkdir(),
    "a file less": lambda root: (root / "a" / "b" / "deep.py").unlink(),
    "another content": lambda root: (root / "top.txt").write_bytes(b"another"),
    "another content of one size": lambda root: (root / "top.txt").write_bytes(b"pot"),
    "another file of one size and time": lambda root: replace(root / "top.txt"),
    "another mode": lambda root: (root / "top.txt").chmod(0o755),
    "another name": lambda root: (root / "top.txt").rename(root / "pot.txt"),
    "another place": lambda root: (root / "top.txt").rename(root / "a" / "top.txt"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_seen(source, settled, change):
    """A tree that was known is scanned anew after any change in it."""
    before = scan_known_tree(source)
    assert scan_known_tree(source) is before
    change(source)
    after = scan_known_tree(source)
    assert after is not before
    assert after == scan_tree(source)
    assert scan_known_tree(source) is after


def test_what_has_just_changed_is_looked_at_again(source):
    """Two changes within one step of the disk's clock leave one time: nothing is known so soon."""
    assert scan_known_tree(source) is not scan_known_tree(source)


def test_old_times_of_a_new_tree_say_nothing(source):
    """A copy has its original's times; when it was made, nobody can set."""
    for path in [source, *source.rglob("*")]:
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
    assert time.time_ns() - source.stat().st_ctime_ns < known_trees.SETTLING
    assert scan_known_tree(source) is not scan_known_tree(source)


def test_a_tree_with_links_is_scanned_each_time(source, settled):
    """Where a link leads to may change without it."""
    (source / "link").symlink_to("top.txt")
    assert scan_known_tree(source) is not scan_known_tree(source)


def test_a_tree_with_something_else_is_scanned_each_time(source, settled):
    """What is left out is said at each run."""
    os.mkfifo(source / "pipe")
    assert scan_known_tree(source).skipped
    assert scan_known_tree(source) is not scan_known_tree(source)


def test_a_root_that_leads_elsewhere(tmp_path, source, settled):
    """A link in the way to a tree may lead to another one the next time."""
    other = tmp_path / "other"
    other.mkdir()
    root = tmp_path / "root"
    root.symlink_to(source)
    assert scan_known_tree(root) == scan_tree(source)
    root.unlink()
    root.symlink_to(other)
    assert scan_known_tree(root) == scan_tree(other)


def test_a_root_that_was_renamed_behind_a_link(tmp_path, source, settled):
    """The same tree at another place is another one: by the old place nothing can be copied."""
    root = tmp_path / "root"
    root.symlink_to(source)
    scan_known_tree(root / "a")
    source.rename(tmp_path / "renamed")
    root.unlink()
    root.symlink_to(tmp_path / "renamed")
    assert scan_known_tree(root / "a") == scan_tree(tmp_path / "renamed" / "a")


def test_a_root_that_leads_elsewhere_while_it_is_looked_at(tmp_path, source, settled, monkeypatch):
    """What was scanned isn't taken for what the root leads to by then."""
    root = tmp_path / "root"
    root.symlink_to(source)
    shutil.copytree(source, tmp_path / "other")

    def scan_and_lead_elsewhere(root):
        tree = scan_tree(root)
        root.unlink()
        root.symlink_to(tmp_path / "other")
        return tree

    with monkeypatch.context() as patch:
        patch.setattr(known_trees, "scan_tree", scan_and_lead_elsewhere)
        scan_known_tree(root)
    assert scan_known_tree(root) == scan_tree(tmp_path / "other")


def test_a_tree_that_is_gone(source, settled):
    """It isn't known any more: reading it fails, as a scan does."""
    scan_known_tree(source)
    source.rename(source.with_name("elsewhere"))
    with pytest.raises(FileNotFoundError):
        scan_known_tree(source)


def test_a_file_that_goes_while_it_is_looked_at(source, settled, monkeypatch):
    """A scan in the midst of a change isn't taken for known."""

    def scan_and_lose(root):
        tree = scan_tree(root)
        (root / "top.txt").unlink()
        return tree

    with monkeypatch.context() as patch:
        patch.setattr(known_trees, "scan_tree", scan_and_lose)
        scan_known_tree(source)
    assert scan_known_tree(source) == scan_tree(source)


def test_only_some_are_kept_in_mind(tmp_path, settled):
    """Projects that come and go leave no more than so many trees."""
    for index in range(KNOWN + 5):
        (tmp_path / str(index)).mkdir()
        scan_known_tree(tmp_path / str(index))
    assert known_trees._known.cache_info().currsize <= KNOWN
