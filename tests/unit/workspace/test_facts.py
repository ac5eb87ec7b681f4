"""What the disk says about mounts: looked at, and never opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanoclaw_trio.workspace.allowlist import AllowlistProblem
from nanoclaw_trio.workspace.facts import (
    FoundPath,
    PathKind,
    UnusablePath,
    look_at_path,
    look_at_policy,
)


class TestPath:
    @pytest.mark.parametrize(
        ("kind", "found"),
        [
            ("directory", PathKind.DIRECTORY),
            ("file", PathKind.FILE),
            ("link", PathKind.DIRECTORY),
            ("socket", PathKind.SOCKET),
            ("pipe", PathKind.FIFO),
        ],
    )
    def test_kinds(self, tmp_path, plant, kind, found):
        """Links are followed, and nothing is opened."""
        plant(tmp_path / "entry", kind)
        path = look_at_path(f"{tmp_path}/entry")
        assert isinstance(path, FoundPath)
        assert path.kind is found
        assert path.resolved == (tmp_path / "entry").resolve()

    def test_device(self):
        """A device is told from a file."""
        path = look_at_path("/dev/null")
        assert isinstance(path, FoundPath)
        assert path.kind is PathKind.DEVICE

    @pytest.mark.parametrize(
        ("asked", "expanded"),
        [("~", ""), ("~/notes", "/notes"), ("~/notes/../notes", "/notes/../notes")],
    )
    def test_home(self, tmp_path, monkeypatch, asked, expanded):
        """A leading ~ is the home directory."""
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "notes").mkdir()
        path = look_at_path(asked)
        assert isinstance(path, FoundPath)
        assert path.expanded == f"{tmp_path}{expanded}"

    @pytest.mark.parametrize("asked", ["//etc", "/etc/../etc", "/./etc//"])
    def test_one_place_is_one_path(self, asked):
        """However a path is written, what is decided on is the one way to write it."""
        path = look_at_path(asked)
        assert isinstance(path, FoundPath)
        assert path.resolved == Path("/etc")
        assert str(path.resolved) == "/etc"

    @pytest.mark.parametrize(
        ("asked", "words"),
        [
            ("", "neither absolute"),
            ("notes", "neither absolute"),
            ("./notes", "neither absolute"),
            ("~no-such-user-here/notes", "neither absolute"),
            ("/no/such/place", "can't be used: No such file or directory"),
            ("/etc/passwd/below", "can't be used: Not a directory"),
            ("/" + "x" * 300, "can't be used: File name too long"),
            ("/etc\n", "holds control characters"),
            ("/etc\0", "holds control characters"),
            ("/\x1b[31m", "holds control characters"),
            ("/\udcff", "holds control characters or isn't text"),
        ],
    )
    def test_unusable(self, asked, words):
        """Trap A16. A path that isn't there is refused before any runtime could make it."""
        path = look_at_path(asked)
        assert isinstance(path, UnusablePath)
        assert words in path.reason

    def test_a_loop(self, tmp_path):
        """A link that leads to itself leads nowhere."""
        (tmp_path / "loop").symlink_to("loop")
        assert isinstance(look_at_path(str(tmp_path / "loop")), UnusablePath)

    def test_leading_to_a_strange_name(self, tmp_path):
        """A line's end in the path that a link leads to is found, too."""
        (tmp_path / "a\nb").mkdir()
        (tmp_path / "link").symlink_to("a\nb")
        path = look_at_path(str(tmp_path / "link"))
        assert path == UnusablePath(
            reason="the host path leads to one that holds control characters"
        )


class TestPolicy:
    def test_without_a_file(self, paths, nanoclaw_settings):
        """No allowlist is a problem, and not an error."""
        policy = look_at_policy(paths, nanoclaw_settings.allowlist_path)
        assert isinstance(policy, AllowlistProblem)

    def test_roots_are_resolved(
        self, paths, nanoclaw_settings, write_allowlist, tmp_path, monkeypatch
    ):
        """Links in roots are followed, ~ is expanded, and roots that aren't there are left out."""
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        write_allowlist({"~/link": True, tmp_path / "missing": True, "/etc": False})
        policy = look_at_policy(paths, nanoclaw_settings.allowlist_path)
        assert not isinstance(policy, AllowlistProblem)
        assert [root.resolved for root in policy.roots] == [tmp_path / "real", Path("/etc")]
        assert policy.roots[0].root.path == "~/link"

    def test_guards(self, paths, nanoclaw_settings, write_allowlist, tmp_path):
        """What no mount may hold: by the way there, and where it really is."""
        (tmp_path / "big").mkdir()
        paths.data_dir.symlink_to(tmp_path / "big")
        (paths.project_root / ".env").symlink_to(tmp_path / "keys")
        write_allowlist({})
        policy = look_at_policy(paths, nanoclaw_settings.allowlist_path)
        assert not isinstance(policy, AllowlistProblem)
        guarded = {guard.path for guard in policy.guards}
        root = paths.project_root
        assert guarded >= {
            nanoclaw_settings.allowlist_path.parent,
            nanoclaw_settings.allowlist_path,
            paths.data_dir,
            tmp_path / "big",
            root / ".env",
            tmp_path / "keys",
            paths.groups_dir,
            Path("/proc"),
            Path("/sys"),
            Path("/dev"),
            Path("/run"),
        }
        assert policy.project_root == root
        assert policy.groups_dir == paths.groups_dir

    def test_read_anew_each_time(self, paths, nanoclaw_settings, write_allowlist, tmp_path):
        """Trap A27. A missing allowlist isn't remembered, nor is a present one."""
        path = nanoclaw_settings.allowlist_path
        assert isinstance(look_at_policy(paths, path), AllowlistProblem)
        write_allowlist({tmp_path: False})
        assert not isinstance(look_at_policy(paths, path), AllowlistProblem)
        path.write_text("{}")
        assert isinstance(look_at_policy(paths, path), AllowlistProblem)
