"""Whole trees: scanned once, mirrored cheaply, and never through a link."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nanoclaw_trio.errors import UnsafePath
from nanoclaw_trio.files import open_directory
from nanoclaw_trio.trees import mirror_tree, remove_paths, scan_directory, scan_tree


def content_of(root):
    """Everything below a directory: paths, with content, link target or None."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = path.readlink()
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


@pytest.fixture
def source(tmp_path):
    """A tree of the host's own."""
    root = tmp_path / "source"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "deep.py").write_bytes(b"deep")
    (root / "a" / "run.sh").write_bytes(b"#!")
    (root / "a" / "run.sh").chmod(0o700)
    (root / "top.txt").write_bytes(b"top")
    (root / "empty").mkdir()
    return root


@pytest.fixture
def target(tmp_path):
    """An open directory to mirror into."""
    with open_directory(tmp_path / "target", create=True) as directory:
        yield directory


class TestScan:
    def test_paths_are_all_entries(self, source):
        """Files and directories are named relative to the root, the root itself isn't."""
        tree = scan_tree(source)
        assert tree.paths == {
            "a",
            "a/b",
            "a/b/deep.py",
            "a/run.sh",
            "top.txt",
            "empty",
        }
        assert tree.skipped == ()

    def test_compiled_files_are_left_out(self, source):
        """__pycache__ is another interpreter's, and nobody needs to hear of it."""
        (source / "a" / "__pycache__").mkdir()
        (source / "a" / "__pycache__" / "deep.pyc").write_bytes(b"")
        tree = scan_tree(source)
        assert not any("pycache" in path for path in tree.paths)
        assert tree.skipped == ()

    @pytest.mark.parametrize(
        "target", ["/etc", "/etc/passwd", "../../outside", "b/../../../outside", "/"]
    )
    def test_links_that_leave_the_tree_are_left_out(self, source, target):
        """Trap A19. Neither followed nor kept, and there is a sentence about it."""
        (source / "a" / "link").symlink_to(target)
        tree = scan_tree(source)
        assert "a/link" not in tree.paths
        assert tree.skipped == (
            f"{source / 'a' / 'link'} is a link that leaves {source}; it was left out",
        )

    def test_a_link_that_leaves_by_way_of_another(self, source):
        """A chain of links is judged by where it ends."""
        (source / "a" / "out").symlink_to("/etc")
        (source / "through").symlink_to("a/out/passwd")
        assert len(scan_tree(source).skipped) == 2

    def test_pipes_are_left_out(self, source):
        """A pipe in the host's tree is neither waited for nor copied."""
        os.mkfifo(source / "a" / "pipe")
        tree = scan_tree(source)
        assert tree.skipped == (
            f"{source / 'a' / 'pipe'} is no file, directory or link; it was left out",
        )

    def test_an_agents_links_are_not_resolved(self, source):
        """Trap A28. Of a link in an agent's hands only what is written counts, wherever it leads."""
        (source / "a" / "out").symlink_to("/etc")
        (source / "a" / "long").symlink_to("../a/b/../b")
        with open_directory(source) as directory:
            tree = scan_directory(directory)
        assert tree.folders[1].links == (("long", "../a/b/../b"), ("out", "/etc"))
        assert tree.skipped == ()

    def test_missing(self, tmp_path):
        """A tree that isn't there is the system's own error."""
        with pytest.raises(FileNotFoundError):
            scan_tree(tmp_path / "missing")


class TestMirror:
    def test_makes_a_copy(self, source, target):
        """Content and executability are kept, and all is readable for the agent."""
        assert mirror_tree(scan_tree(source), target) == ()
        assert content_of(target.path) == content_of(source)
        assert stat.S_IMODE((target.path / "a" / "run.sh").stat().st_mode) == 0o755
        assert stat.S_IMODE((target.path / "top.txt").stat().st_mode) == 0o644

    def test_links_within_are_kept_as_relative_ones(self, source, target):
        """A link that stays in the tree works in the copy, wherever that is mounted."""
        (source / "a" / "up").symlink_to(source / "top.txt")
        (source / "a" / "self").symlink_to("..")
        (source / "b").symlink_to("a/b")
        mirror_tree(scan_tree(source), target)
        assert (target.path / "a" / "up").readlink().as_posix() == "../top.txt"
        assert (target.path / "a" / "self").readlink().as_posix() == ".."
        assert (target.path / "b" / "deep.py").read_bytes() == b"deep"

    def test_unchanged_files_are_not_written_again(self, source, target):
        """A second time costs a look at each file, and leaves each as it is."""
        (source / "link").symlink_to("top.txt")
        mirror_tree(scan_tree(source), target)
        before = {path: path.lstat().st_ino for path in target.path.rglob("*")}
        mirror_tree(scan_tree(source), target)
        assert {path: path.lstat().st_ino for path in target.path.rglob("*")} == before

    @pytest.mark.parametrize("change", ["content", "time", "mode", "gone", "link"])
    def test_changed_copies_are_made_again(self, source, target, change):
        """Whatever the agent did to a copy, the host's version comes back."""
        mirror_tree(scan_tree(source), target)
        copy = target.path / "top.txt"
        match change:
            case "content":
                copy.write_bytes(b"longer than before")
            case "time":
                copy.write_bytes(b"pot")
                os.utime(copy, ns=(1, 1))
            case "mode":
                copy.chmod(0o600)
            case "gone":
                copy.unlink()
            case "link":
                copy.unlink()
                copy.symlink_to("/etc/passwd")
        mirror_tree(scan_tree(source), target)
        assert copy.read_bytes() == b"top"
        assert not copy.is_symlink()
        assert stat.S_IMODE(copy.stat().st_mode) == 0o644

    def test_other_entries_stay(self, source, target):
        """What else is there isn't touched."""
        target.write("own.txt", b"own")
        mirror_tree(scan_tree(source), target)
        assert (target.path / "own.txt").read_bytes() == b"own"

    @pytest.mark.parametrize("kind", ["link", "file"])
    def test_what_is_in_the_way_of_a_directory_is_replaced(self, source, target, tmp_path, kind):
        """Trap A28. A planted link isn't followed: the host's own directory takes its place."""
        outside = tmp_path / "outside"
        outside.mkdir()
        if kind == "link":
            (target.path / "a").symlink_to(outside)
        else:
            (target.path / "a").write_bytes(b"")
        assert mirror_tree(scan_tree(source), target) == (
            f"{target.path / 'a'} was no directory; it was replaced by the host's",
        )
        assert list(outside.iterdir()) == []
        assert content_of(target.path) == content_of(source)

    def test_a_directory_in_the_way_of_a_file(self, source, target):
        """A directory in a file's place goes, with all below it."""
        with target.child("top.txt", "below", create=True):
            pass
        mirror_tree(scan_tree(source), target)
        assert content_of(target.path) == content_of(source)


class TestRemovePaths:
    def test_files_then_their_directories(self, source):
        """A whole mirror goes, in whatever order its paths come."""
        with open_directory(source) as directory:
            remove_paths(directory, scan_tree(source).paths)
            assert directory.names() == []

    def test_directories_in_use_stay(self, source):
        """What somebody else put into a directory stays, and so does the directory."""
        paths = scan_tree(source).paths
        (source / "a" / "b" / "own").write_bytes(b"own")
        with open_directory(source) as directory:
            remove_paths(directory, paths)
        assert content_of(source) == {"a": None, "a/b": None, "a/b/own": b"own"}

    def test_what_is_gone_or_behind_a_link_is_passed_over(self, source, tmp_path):
        """Trap A28. Nothing is removed through a link that was planted."""
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "file").write_bytes(b"kept")
        (source / "link").symlink_to(outside)
        with open_directory(source) as directory:
            remove_paths(directory, ["link/file", "missing", "missing/file", "top.txt/below"])
        assert (outside / "file").exists()
        assert (source / "top.txt").exists()


NAMES = st.sampled_from(["a", "b", "a-b", "a.b"])
TREES = st.recursive(
    st.binary(max_size=3), lambda below: st.dictionaries(NAMES, below, max_size=3), max_leaves=8
)


def build(root, tree):
    """Make directories for dictionaries and files for bytes."""
    root.mkdir()
    for name, below in tree.items():
        if isinstance(below, dict):
            build(root / name, below)
        else:
            (root / name).write_bytes(below)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    before=st.dictionaries(NAMES, TREES, max_size=3),
    after=st.dictionaries(NAMES, TREES, max_size=3),
)
def test_a_mirror_follows_any_change(tmp_path_factory, before, after):
    """Whatever a tree becomes, a mirror and the removal of what is gone make the copy the same."""
    place = tmp_path_factory.mktemp("trees")
    build(place / "before", before)
    build(place / "after", after)
    with open_directory(place / "copy", create=True) as copy:
        old, new = scan_tree(place / "before"), scan_tree(place / "after")
        mirror_tree(old, copy)
        remove_paths(copy, old.paths - new.paths)
        mirror_tree(new, copy)
    assert set(content_of(place / "copy")) == set(content_of(place / "after"))


def test_unsafe_path_names_the_place(source, tmp_path):
    """A link that appears between scan and copy is an error, and nothing is written through it."""
    tree = scan_tree(source)
    (source / "top.txt").unlink()
    (source / "top.txt").symlink_to("/etc/passwd")
    with (
        open_directory(tmp_path / "copy", create=True) as copy,
        pytest.raises(UnsafePath, match=r"top\.txt is a link"),
    ):
        mirror_tree(tree, copy)
