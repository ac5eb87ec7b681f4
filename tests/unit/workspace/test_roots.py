"""Allowed roots: whether they are where their operator wrote, or where an agent sent them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanoclaw_trio.workspace.roots import MOST_LINKS, look_at_roots, lookups


@pytest.fixture
def private(tmp_path):
    """A folder of the host's that is nobody's business."""
    folder = tmp_path / "private"
    folder.mkdir()
    return folder


@pytest.fixture
def shared(tmp_path):
    """A folder that agents may write to."""
    folder = tmp_path / "shared"
    (folder / "below").mkdir(parents=True)
    return folder


@pytest.fixture
def look(paths, make_allowlist):
    """Which of these roots count, and which don't, by the paths in the allowlist."""

    def look_at(roots):
        allowlist = make_allowlist({str(path): writable for path, writable in roots.items()})
        counting, refused = look_at_roots(allowlist, paths)
        return [Path(r.root.path) for r in counting], {Path(r.root.path): r for r in refused}

    return look_at


@pytest.mark.parametrize("writable", [True, False])
@pytest.mark.parametrize("place", ["group_dir", "claude_dir", "runner_dir", "ipc_dir"])
@pytest.mark.parametrize("depth", [1, 2])
def test_sent_elsewhere(look, paths, private, place, depth, writable):
    """Trap A28. A root in a folder that an agent has read-write, with a link in its place or above
    it, doesn't count; nor does what is below it."""
    link = getattr(paths, place).joinpath(*["x"] * depth)
    link.parent.mkdir(parents=True)
    link.symlink_to(private)
    (private / "below").mkdir()
    roots = {link: writable, link / "below": writable}
    counting, refused = look(roots)
    assert counting == []
    assert refused.keys() == roots.keys()
    assert refused[link].resolved == private
    assert f"and on to {private}; write the place that is meant" in refused[link].reason


def test_into_another_groups_folder(look, paths):
    """Trap A28. One group's agent can't open another group's folder in this way either."""
    paths.group_dir.mkdir(parents=True)
    other = paths.groups_dir / "friends"
    other.mkdir()
    (paths.group_dir / "x").symlink_to(other)
    counting, refused = look({paths.group_dir / "x": True})
    assert (counting, len(refused)) == ([], 1)


def test_by_way_of_a_link_of_the_hosts(look, paths, private, tmp_path):
    """Trap A28. A way that only leads through such a folder is found, though it isn't written."""
    paths.group_dir.mkdir(parents=True)
    (paths.group_dir / "x").symlink_to(private)
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to(paths.group_dir / "x")
    counting, refused = look({tmp_path / "first": False})
    assert counting == []
    assert str(paths.group_dir) in refused[tmp_path / "first"].reason


def test_out_of_another_root(look, shared, private):
    """Trap A28. A root in one that agents may write to counts as long as it stays in there."""
    (shared / "out").symlink_to(private)
    (shared / "in").symlink_to("below")
    roots = {shared: True, shared / "out": False, shared / "in": False, shared / "below": False}
    counting, refused = look(roots)
    assert counting == [shared, shared / "in", shared / "below"]
    assert list(refused) == [shared / "out"]


def test_a_root_that_nobody_writes_to(look, shared, private):
    """Links of the host's own are followed, in a root that is read-only too."""
    (shared / "out").symlink_to(private)
    counting, refused = look({shared: False, shared / "out": True})
    assert (counting, refused) == ([shared, shared / "out"], {})


def test_where_nothing_was_redirected(look, paths, tmp_path, monkeypatch):
    """Roots in groups' folders count, and so do a group's own folder and that of all groups."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (paths.group_dir / "x").mkdir(parents=True)
    roots = [paths.groups_dir, paths.group_dir, paths.group_dir / "x", Path("~/project/groups")]
    counting, refused = look(dict.fromkeys(roots, False))
    assert (counting, refused) == (roots, {})


def test_a_groups_folder_that_is_a_link(look, paths, private):
    """The entry of a group in groups/ is the host's own."""
    paths.groups_dir.mkdir()
    (paths.groups_dir / "global").symlink_to(private)
    counting, _ = look({paths.groups_dir / "global": False})
    assert counting == [paths.groups_dir / "global"]


def test_another_spelling(look, paths, private):
    """Where a disk tells no case apart, a root that is written otherwise lies there too."""
    shouted = paths.project_root / "GROUPS" / "family"
    shouted.mkdir(parents=True)
    (shouted / "x").symlink_to(private)
    paths.groups_dir.mkdir()
    counting, refused = look({shouted / "x": False})
    assert (counting, len(refused)) == ([], 1)


def test_a_root_that_is_not_there(look, tmp_path):
    """It neither counts nor is it refused."""
    assert look({tmp_path / "missing": True}) == ([], {})


def test_lookups(tmp_path):
    """Each name is looked at where it really is, those of links' targets too."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "c").symlink_to("a/../a")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "root").symlink_to(tmp_path)
    seen = [
        str(entry.relative_to(tmp_path))
        for entry in lookups(tmp_path / "c" / "root" / "a" / "up" / "a" / "b")
        if entry.is_relative_to(tmp_path) and entry != tmp_path
    ]
    assert seen == ["c", "a", "a", "a/root", "a", "a/up", "a", "a/b"]


def test_lookups_end(tmp_path):
    """Trap A28. A loop that an agent made just now is no way to hold the host up."""
    (tmp_path / "loop").symlink_to("loop")
    seen = [entry for entry in lookups(tmp_path / "loop") if entry == tmp_path / "loop"]
    assert len(seen) == MOST_LINKS + 1
