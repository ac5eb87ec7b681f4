"""What the disk says about a project: where its keys are, and what all may read."""

from __future__ import annotations

import pytest

from nanoclaw_trio.workspace.project import ProjectFacts, look_at_project


def test_empty(paths):
    """A fresh project has neither a .env nor a global folder."""
    facts = ProjectFacts(data_place="data", data_shown=("ipc", "sessions"))
    assert look_at_project(paths, is_main=True) == facts


@pytest.mark.parametrize("kind", ["file", "pipe", "socket", "directory"])
def test_env_of_any_kind(paths, plant, kind):
    """Whatever is called .env is hidden where it is."""
    plant(paths.project_root / ".env", kind)
    facts = look_at_project(paths, is_main=True)
    assert (facts.has_env, facts.env_places) == (True, (".env",))


@pytest.mark.parametrize(
    ("target", "places"),
    [
        ("config/real.env", ("config/real.env",)),
        ("{root}/config/real.env", ("config/real.env",)),
        ("link", ("config/real.env",)),
        ("/etc/passwd", ()),
        ("../outside", ()),
        ("missing", ()),
    ],
)
def test_env_that_is_a_link(paths, target, places):
    """What a link leads to is hidden: the keys could be read there, whatever lies on the link."""
    root = paths.project_root
    (root / "config").mkdir()
    (root / "config" / "real.env").write_bytes(b"")
    (root / "link").symlink_to("config/real.env")
    (root / ".env").symlink_to(target.format(root=root))
    facts = look_at_project(paths, is_main=True)
    assert (facts.has_env, facts.env_places) == (True, places)


@pytest.mark.parametrize(("target", "place"), [("disk/data", "disk/data"), ("/var", None)])
def test_data_that_is_a_link(paths, target, place):
    """The engine's data is covered where it really is; out of the project nobody sees it."""
    (paths.project_root / "disk" / "data" / "ipc").mkdir(parents=True)
    paths.data_dir.symlink_to(target)
    assert look_at_project(paths, is_main=True).data_place == place


def test_a_part_of_the_data_that_is_a_link(paths, plant):
    """Only what really lies there is shown of the data: a link leads nowhere inside either."""
    paths.data_dir.mkdir()
    plant(paths.data_dir / "sessions", "link")
    assert look_at_project(paths, is_main=True).data_shown == ("ipc",)


def test_others_than_the_main_group(paths, plant):
    """What only the main group sees isn't even looked at for others."""
    plant(paths.project_root / ".env", "file")
    assert look_at_project(paths, is_main=False) == ProjectFacts()


@pytest.mark.parametrize(
    ("kind", "has_global", "is_link"),
    [
        ("directory", True, False),
        ("link", False, True),
        ("dangling link", False, True),
        ("file", False, False),
    ],
)
def test_global(paths, plant, kind, has_global, is_link):
    """Only a real directory is what all groups may read."""
    paths.groups_dir.mkdir()
    plant(paths.global_dir, kind)
    facts = look_at_project(paths, is_main=False)
    assert (facts.has_global, facts.global_is_link) == (has_global, is_link)
