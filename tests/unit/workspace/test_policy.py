"""What mounts are decided by: the allowlist as it is now, its roots, and the guarded places."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nanoclaw_trio.proxy.place import socket_directory
from nanoclaw_trio.workspace.allowlist import AllowlistProblem
from nanoclaw_trio.workspace.policy import look_at_policy
from nanoclaw_trio.workspace.rules import find_guarded


def test_without_a_file(paths, nanoclaw_settings):
    """No allowlist is a problem, and not an error."""
    policy = look_at_policy(paths, nanoclaw_settings.allowlist_path)
    assert isinstance(policy, AllowlistProblem)


def test_roots_are_resolved(paths, nanoclaw_settings, write_allowlist, tmp_path, monkeypatch):
    """Links in roots are followed, ~ is expanded, and roots that aren't there are left out."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_allowlist({"~/link": True, tmp_path / "missing": True, "/etc": False})
    policy = look_at_policy(paths, nanoclaw_settings.allowlist_path)
    assert not isinstance(policy, AllowlistProblem)
    assert [root.resolved for root in policy.roots] == [tmp_path / "real", Path("/etc")]
    assert policy.roots[0].root.path == "~/link"


def test_guards(paths, nanoclaw_settings, write_allowlist, tmp_path):
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


@pytest.mark.parametrize("has_home", [True, False])
def test_sockets_are_guarded(
    paths, nanoclaw_settings, write_allowlist, tmp_path, monkeypatch, has_home
):
    """No mount holds the directory of the sockets by which agents come to the host, though the
    operator may have allowed what is around it: who can write there can stand between the two."""
    if has_home:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    else:
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    around = tmp_path if has_home else Path("/tmp")
    write_allowlist({around: True})
    policy = look_at_policy(paths, nanoclaw_settings.allowlist_path)
    socket = socket_directory(paths.project_root, "family", tmp_path if has_home else None)
    assert find_guarded(around, policy.guards) is not None
    assert find_guarded(socket, policy.guards) is not None
    assert find_guarded(around / "notes", policy.guards) is None


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "HOME"])
def test_programs_of_sandboxes_are_guarded(
    paths, nanoclaw_settings, write_allowlist, tmp_path, monkeypatch, variable
):
    """No mount holds the directory of the programs that sandboxes are given the key in, though the
    operator may have allowed what is around it: who can write there can put another in their place."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "me"))
    cache = tmp_path / "me" if variable == "XDG_CACHE_HOME" else tmp_path / "me" / ".cache"
    write_allowlist({tmp_path: True})
    policy = look_at_policy(paths, nanoclaw_settings.allowlist_path)
    programs = cache / "nanoclaw-trio" / "programs"
    for place in (cache, programs.parent, programs, programs / "program-1"):
        assert "where the programs of sandboxes are" in find_guarded(place, policy.guards)
    assert find_guarded(cache / "pip", policy.guards) is None


def test_without_a_home(paths, nanoclaw_settings, write_allowlist, monkeypatch):
    """A user without a home has no such directory, and everything else is guarded all the same."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    write_allowlist({})
    policy = look_at_policy(paths, nanoclaw_settings.allowlist_path)
    assert find_guarded(paths.data_dir, policy.guards) is not None
    assert not [guard for guard in policy.guards if "programs" in guard.what]


def test_read_anew_each_time(paths, nanoclaw_settings, write_allowlist, tmp_path):
    """Trap A27. A missing allowlist isn't remembered, nor is a present one."""
    path = nanoclaw_settings.allowlist_path
    assert isinstance(look_at_policy(paths, path), AllowlistProblem)
    write_allowlist({tmp_path: False})
    assert not isinstance(look_at_policy(paths, path), AllowlistProblem)
    path.write_text("{}")
    assert isinstance(look_at_policy(paths, path), AllowlistProblem)


def test_roots_that_do_not_count(paths, nanoclaw_settings, write_allowlist, tmp_path):
    """A root that an agent has sent elsewhere is told from the others."""
    paths.group_dir.mkdir(parents=True)
    (paths.group_dir / "shared").symlink_to(tmp_path)
    write_allowlist({paths.group_dir / "shared": True, "/etc": False})
    policy = look_at_policy(paths, nanoclaw_settings.allowlist_path)
    assert not isinstance(policy, AllowlistProblem)
    assert [root.resolved for root in policy.roots] == [Path("/etc")]
    assert [root.resolved for root in policy.refused_roots] == [tmp_path]
