"""What an image is built from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nanoclaw_trio.errors import InvalidFile
from nanoclaw_trio.runtimes.build_context import (
    content_hash,
    find_context,
    is_ignored,
    read_patterns,
)

CONTAINER = Path(__file__).parents[3] / "container"


@pytest.fixture
def context(tmp_path):
    """A context with a Dockerfile, a source, a link, and things that are left out."""
    root = tmp_path / "context"
    (root / "src").mkdir(parents=True)
    (root / "skills").mkdir()
    (root / "Dockerfile").write_text("FROM x\n")
    (root / "src/a.py").write_text("a")
    (root / "src/link").symlink_to("a.py")
    (root / "skills/s").write_text("s")
    (root / ".dockerignore").write_text("# what\n\nskills\n**/*.tmp\n")
    return root


def test_find_context(tmp_path):
    """The project's own Dockerfile comes first, then the shipped one; without one there is an end."""
    shipped = tmp_path / "shipped"
    with pytest.raises(InvalidFile, match=r"container/Dockerfile.*install nanoclaw-trio again"):
        find_context(tmp_path, (shipped,))
    for place in (shipped, tmp_path / "container"):
        place.mkdir()
        (place / "Dockerfile").touch()
        assert find_context(tmp_path, (shipped,)) == place


def test_the_checkout_has_a_context(tmp_path):
    """A project without a container/ builds the one that comes with the package."""
    assert find_context(tmp_path) == CONTAINER


def relink(path, target):
    """Make a link point elsewhere."""
    path.unlink()
    path.symlink_to(target)


CHANGES = {
    "content": lambda root: (root / "src/a.py").write_text("b"),
    "name": lambda root: (root / "src/a.py").rename(root / "src/b.py"),
    "mode": lambda root: (root / "src/a.py").chmod(0o755),
    "link": lambda root: (root / "src/c").symlink_to("../Dockerfile"),
    "a link's target": lambda root: relink(root / "src/link", "b.py"),
    "link out": lambda root: (root / "src/out").symlink_to("/etc"),
    "directory": lambda root: (root / "src/empty").mkdir(),
    "Dockerfile": lambda root: (root / "Dockerfile").write_text("FROM y\n"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_hash_changes_with_what_goes_into_the_image(context, change):
    """A name, a content, a mode or a link that changed makes another image."""
    before = content_hash(context, {})
    change(context)
    assert content_hash(context, {}) != before


def test_hash_stays_with_what_does_not(context):
    """Neither a time, nor a file that is left out, nor a copy elsewhere makes another image."""
    before = content_hash(context, {})
    os.utime(context / "src/a.py", (1, 1))
    (context / "skills/s").write_text("other")
    (context / "src/x.tmp").touch()
    (context / "src/__pycache__").mkdir()
    (context / "src/__pycache__/a.pyc").touch()
    moved = context.rename(context.with_name("moved"))
    assert content_hash(moved, {}) == before


def test_hash_knows_the_arguments(context):
    """Another base image makes another image."""
    assert content_hash(context, {}) != content_hash(context, {"BASE_IMAGE": "x"})


def test_hash_without_a_dockerignore(context):
    """Nothing is left out then."""
    (context / ".dockerignore").unlink()
    before = content_hash(context, {})
    (context / "skills/s").write_text("other")
    assert content_hash(context, {}) != before


@pytest.mark.parametrize("pattern", ["Dockerfile", "*", ".*\nDocker*"])
def test_a_dockerfile_counts_even_if_it_is_left_out(context, pattern):
    """Every image depends on its Dockerfile, which a .dockerignore may name all the same."""
    (context / ".dockerignore").write_text(pattern)
    before = content_hash(context, {})
    (context / "Dockerfile").write_text("FROM y\n")
    assert content_hash(context, {}) != before


@pytest.mark.parametrize("name", [".containerignore", "Dockerfile.dockerignore"])
def test_with_another_ignore_file_nothing_is_left_out(context, name):
    """Which of them counts depends on the builder: then all counts."""
    (context / name).touch()
    before = content_hash(context, {})
    (context / "skills/s").write_text("other")
    assert content_hash(context, {}) != before


def test_names_and_targets_that_are_no_text(context):
    """A name that isn't UTF-8 is a name like any other."""
    place = Path(os.fsdecode(bytes(context / "src") + b"/\xff"))
    before = content_hash(context, {})
    place.symlink_to(place)
    assert content_hash(context, {}) != before


@pytest.mark.parametrize(
    ("text", "path", "ignored"),
    [
        ("skills", "skills/chat/SKILL.md", True),
        ("skills", "src/skills/x", False),
        ("/skills/", "skills/x", True),
        ("**/__pycache__", "a/b/__pycache__/c.pyc", True),
        ("**/__pycache__", "__pycache__", True),
        ("*.md", "a.md", True),
        ("*.md", "src/a.md", False),
        ("src/*.md", "src/a.md", True),
        ("# skills", "skills", False),
        ("skills\n!skills/one", "skills/two", False),
        ("**/.", "a", True),
        ("**//a", "b/a", True),
        ("/", "a", False),
        ("[^a].md", "a.md", False),
        ("[!a].md", "b.md", False),
        ("", "a", False),
    ],
)
def test_ignored(text, path, ignored):
    """A pattern leaves out what it does for docker, or less; with an exception none counts."""
    assert is_ignored(path, read_patterns(text)) is ignored
