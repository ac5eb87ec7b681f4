"""Group folders: names that can't lead anywhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.errors import InvalidGroupFolder, UnsafePath
from nanoclaw_trio.workspace.folders import GroupPaths, validate_group_folder


@pytest.mark.parametrize(
    "folder", ["a", "A", "0", "family-chat", "Team_42", "a" * 64, "globals", "error"]
)
def test_good_names(folder):
    """Letters, digits, '_' and '-', up to 64 of them."""
    assert validate_group_folder(folder) == folder
    assert GroupPaths(project_root=Path("/p"), folder=folder).folder == folder


@pytest.mark.parametrize(
    "folder",
    [
        "",
        ".",
        "..",
        "a/b",
        "../a",
        "/a",
        "-a",
        "_a",
        ".a",
        "a b",
        "a\n",
        "\na",
        "a\0",
        "a" * 65,
        "ä",
        "٣",
        "a:b",
        "global",
        "Global",
        "GLOBAL",
        "errors",
        "Errors",
    ],
)
def test_bad_names(folder):
    """Anything else is the caller's error, and no paths are made from it."""
    with pytest.raises(InvalidGroupFolder, match=re.escape(repr(folder))):
        validate_group_folder(folder)
    with pytest.raises(InvalidGroupFolder):
        GroupPaths(project_root=Path("/p"), folder=folder)


@given(st.text(max_size=70))
def test_an_allowed_name_is_one_plain_component(folder):
    """Whatever is allowed stays below its base, and holds nothing that a shell or runtime reads."""
    try:
        validate_group_folder(folder)
    except InvalidGroupFolder:
        return
    assert Path("/base", folder).parent == Path("/base")
    assert re.search(r"[^a-zA-Z0-9_-]", folder) is None


def test_places():
    """Every place of a group, as the table of mounts and the mailbox have them."""
    paths = GroupPaths(project_root=Path("/p"), folder="family")
    assert paths.groups_dir == Path("/p/groups")
    assert paths.group_dir == Path("/p/groups/family")
    assert paths.logs_dir == Path("/p/groups/family/logs")
    assert paths.global_dir == Path("/p/groups/global")
    assert paths.data_dir == Path("/p/data")
    assert paths.sessions_dir == Path("/p/data/sessions/family")
    assert paths.claude_dir == Path("/p/data/sessions/family/.claude")
    assert paths.runner_dir == Path("/p/data/sessions/family/agent-runner-src")
    assert paths.ipc_dir == Path("/p/data/ipc/family")
    assert paths.input_dir == Path("/p/data/ipc/family/input")
    assert paths.errors_dir == Path("/p/data/ipc/errors")


class TestOf:
    def test_nothing_is_made(self, tmp_path):
        """Asking for the places makes none of them."""
        GroupPaths.of(tmp_path, "family")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("base", ["groups", "data/sessions", "data/ipc"])
    @pytest.mark.parametrize("target", ["/etc", "../..", ".", "family"])
    def test_a_link_out_of_its_base(self, tmp_path, base, target):
        """A group's directory that is a link out of its base, or to the base, is refused."""
        (tmp_path / base).mkdir(parents=True)
        (tmp_path / base / "family").symlink_to(target)
        if target == "family":
            # A link to itself leads nowhere; what opens it will say so.
            assert GroupPaths.of(tmp_path, "family").folder == "family"
            return
        with pytest.raises(UnsafePath, match=f"{base}/family is a link that leaves"):
            GroupPaths.of(tmp_path, "family")

    def test_a_link_within_its_base(self, tmp_path):
        """A group may share another's folder, if the operator links it."""
        (tmp_path / "groups" / "other").mkdir(parents=True)
        (tmp_path / "groups" / "family").symlink_to("other")
        assert GroupPaths.of(tmp_path, "family").group_dir == tmp_path / "groups" / "family"

    def test_a_base_that_is_a_link(self, tmp_path):
        """All groups may be on another disk."""
        (tmp_path / "disk" / "family").mkdir(parents=True)
        (tmp_path / "project").mkdir()
        (tmp_path / "project" / "groups").symlink_to(tmp_path / "disk")
        assert GroupPaths.of(tmp_path / "project", "family")
