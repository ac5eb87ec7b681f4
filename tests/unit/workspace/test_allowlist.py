"""The allowlist: strict, read each time, and never overwritten."""

from __future__ import annotations

import json
import stat

import pytest

from nanoclaw_trio.errors import WorkspaceFailed
from nanoclaw_trio.protocol.models import MountAllowlist
from nanoclaw_trio.workspace.allowlist import (
    AllowlistProblem,
    allowlist_template,
    load_allowlist,
    write_allowlist_template,
)

GOOD = {"allowedRoots": [], "blockedPatterns": [], "nonMainReadOnly": True}
ROOT = {"path": "~/x", "allowReadWrite": False}


def test_a_good_file(tmp_path):
    """All keys of the format are read."""
    document = {
        "allowedRoots": [{**ROOT, "description": "notes"}, {"path": "/x", "allowReadWrite": True}],
        "blockedPatterns": ["*.pem"],
        "nonMainReadOnly": False,
    }
    (tmp_path / "list.json").write_text(json.dumps(document))
    allowlist = load_allowlist(tmp_path / "list.json")
    assert isinstance(allowlist, MountAllowlist)
    assert [root.path for root in allowlist.allowed_roots] == ["~/x", "/x"]
    assert [root.allow_read_write for root in allowlist.allowed_roots] == [False, True]
    assert allowlist.allowed_roots[0].description == "notes"
    assert allowlist.blocked_patterns == ("*.pem",)
    assert allowlist.non_main_read_only is False


def test_no_file(tmp_path):
    """The reason names the file and the command that writes one."""
    problem = load_allowlist(tmp_path / "list.json")
    assert isinstance(problem, AllowlistProblem)
    assert problem.reason == (
        f"there is no allowlist at {tmp_path / 'list.json'}; `nanoclaw-trio mounts init` writes one"
    )


BAD = [
    ("", "not JSON"),
    ("{", "not JSON"),
    ("[]", "not an object @ $"),
    ("null", "not an object @ $"),
    ("{}", "required field missing @ $.allowedRoots"),
    (json.dumps({**GOOD, "allowedRoots": [{"allowReadWrite": True}]}), "required field missing @ $.allowedRoots[0].path"),
    (json.dumps({**GOOD, "allowedRoots": [{"path": "/x"}]}), "required field missing @ $.allowedRoots[0].allowReadWrite"),
    (json.dumps({**GOOD, "allowedRoots": [{**ROOT, "path": 7}]}), "not a string @ $.allowedRoots[0].path"),
    (json.dumps({**GOOD, "allowedRoots": "/x"}), "not an array @ $.allowedRoots"),
    (json.dumps({**GOOD, "nonMainReadOnly": "false"}), "not true or false @ $.nonMainReadOnly"),
    (json.dumps({**GOOD, "nonMainReadOnly": 0}), "not true or false @ $.nonMainReadOnly"),
    (json.dumps({**GOOD, "blockedPaterns": []}), "unknown key 'blockedPaterns' @ $"),
    (json.dumps({**GOOD, "allowedRoots": [{**ROOT, "readonly": True}]}), "unknown key 'readonly' @ $.allowedRoots[0]"),
    (json.dumps({**GOOD, "allowedRoots": [ROOT, {**ROOT, "path": "x"}]}), "neither an absolute path nor one that starts with ~ @ $.allowedRoots[1].path"),
    (json.dumps({**GOOD, "allowedRoots": [{**ROOT, "path": ""}]}), "neither an absolute path nor one that starts with ~ @ $.allowedRoots[0].path"),
    (json.dumps({**GOOD, "blockedPatterns": ["a", ""]}), "not a part of one path component @ $.blockedPatterns[1]"),
    (json.dumps({**GOOD, "blockedPatterns": ["secrets/prod"]}), "not a part of one path component @ $.blockedPatterns[0]"),
    (" " * 2_000_000, "larger than 1048576 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), BAD, ids=[words for _, words in BAD])
def test_a_bad_file(tmp_path, text, words):
    """A file that doesn't fit permits nothing, and the reason has the path into it."""
    (tmp_path / "list.json").write_text(text)
    problem = load_allowlist(tmp_path / "list.json")
    assert isinstance(problem, AllowlistProblem)
    assert words in problem.reason
    assert str(tmp_path / "list.json") in problem.reason


@pytest.mark.parametrize("content", [b"\xff\xfe", b'{"allowedRoots": "\xff"}'])
def test_bytes_that_are_no_text(tmp_path, content):
    """Bytes that aren't UTF-8 are a problem like any other."""
    (tmp_path / "list.json").write_bytes(content)
    assert isinstance(load_allowlist(tmp_path / "list.json"), AllowlistProblem)


def test_a_directory_in_its_place(tmp_path):
    """What the system says becomes the reason."""
    (tmp_path / "list.json").mkdir()
    problem = load_allowlist(tmp_path / "list.json")
    assert problem == AllowlistProblem(
        reason=f"the allowlist {tmp_path / 'list.json'} can't be used: Is a directory"
    )


class TestTemplate:
    def test_is_a_good_file(self, tmp_path):
        """What is written can be read, and permits no writing."""
        path = tmp_path / ".config" / "nanoclaw" / "list.json"
        assert write_allowlist_template(path)
        assert path.read_text() == allowlist_template()
        allowlist = load_allowlist(path)
        assert isinstance(allowlist, MountAllowlist)
        assert allowlist.non_main_read_only
        assert not any(root.allow_read_write for root in allowlist.allowed_roots)

    def test_is_the_users_alone(self, tmp_path):
        """Nobody else sees the directory or the file."""
        path = tmp_path / ".config" / "nanoclaw" / "list.json"
        write_allowlist_template(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    @pytest.mark.parametrize("kind", ["file", "link", "dangling link", "directory"])
    def test_never_overwrites(self, tmp_path, plant, kind):
        """Whatever is there stays as it is."""
        path = tmp_path / "list.json"
        plant(path, kind)
        before = path.lstat()
        assert not write_allowlist_template(path)
        assert path.lstat() == before

    def test_disk_refuses(self, tmp_path):
        """A file where the directory should be is an error that names the path."""
        (tmp_path / "config").write_bytes(b"")
        with pytest.raises(WorkspaceFailed, match=r"config/list\.json can't be prepared"):
            write_allowlist_template(tmp_path / "config" / "list.json")
