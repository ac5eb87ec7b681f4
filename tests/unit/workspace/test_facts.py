"""What the disk says about mounts: looked at, and never opened."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from nanoclaw_trio.workspace.facts import (
    FoundPath,
    PathKind,
    UnusablePath,
    look_at_path,
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

    def test_a_chain_of_links(self, tmp_path):
        """Trap A28. Links in a row, as many as Python recurses, lead nowhere: so says the kernel."""
        length = sys.getrecursionlimit() + 100
        for number in range(length):
            (tmp_path / str(number)).symlink_to(str(number + 1))
        (tmp_path / str(length)).mkdir()
        path = look_at_path(str(tmp_path / "0"))
        assert isinstance(path, UnusablePath)
        assert "Too many levels of symbolic links" in path.reason

    @pytest.mark.parametrize("kind", ["chain", "loop", "gone"])
    def test_exchanged_while_looked_at(self, tmp_path, monkeypatch, kind):
        """Trap A28. A directory in whose place an agent puts such links, after the kernel has followed
        it and before its links are resolved, is refused like any that leads nowhere."""
        length = sys.getrecursionlimit() + 100
        (tmp_path / "notes").mkdir()
        (tmp_path / "loop").symlink_to("notes")
        for number in range(length):
            (tmp_path / str(number)).symlink_to(str(number + 1))
        (tmp_path / "0").rename(tmp_path / "chain")
        lstat = os.lstat

        def exchanged(path, **options):
            # With it the resolving begins.
            monkeypatch.setattr(os, "lstat", lstat)
            (tmp_path / "notes").rmdir()
            if kind != "gone":
                (tmp_path / kind).rename(tmp_path / "notes")
            return lstat(path, **options)

        monkeypatch.setattr(os, "lstat", exchanged)
        path = look_at_path(str(tmp_path / "notes"))
        assert isinstance(path, UnusablePath)
        assert "the host path can't be used: " in path.reason

    def test_leading_to_a_strange_name(self, tmp_path):
        """A line's end in the path that a link leads to is found, too."""
        (tmp_path / "a\nb").mkdir()
        (tmp_path / "link").symlink_to("a\nb")
        path = look_at_path(str(tmp_path / "link"))
        assert path == UnusablePath(
            reason="the host path leads to one that holds control characters"
        )
