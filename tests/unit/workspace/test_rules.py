"""The single rules for additional mounts."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.workspace.allowlist import DEFAULT_BLOCKED_PATTERNS
from nanoclaw_trio.workspace.facts import FoundPath, PathKind
from nanoclaw_trio.workspace.policy import Guard
from nanoclaw_trio.workspace.rules import (
    find_blocked,
    find_guarded,
    find_kind_problem,
    find_name_problem,
)


def found(expanded, resolved=None):
    """A directory that was asked for, and what it leads to."""
    return FoundPath(
        expanded=expanded, resolved=Path(resolved or expanded), kind=PathKind.DIRECTORY
    )


class TestBlocked:
    @pytest.mark.parametrize("pattern", DEFAULT_BLOCKED_PATTERNS)
    @pytest.mark.parametrize("path", ["/home/a/{}", "/home/a/{}/below", "/home/a/x{}y", "/{}"])
    def test_defaults(self, pattern, path):
        """Every default is blocked anywhere in a path, whatever the allowlist says."""
        assert pattern in (find_blocked(found(path.format(pattern)), ()) or "")

    @pytest.mark.parametrize(
        "path",
        [
            "/home/a/credentials.json",
            "/home/a/aws-credentials/x",
            "/home/a/.env.local",
            "/home/a/my.environment",
            "/home/a/.SSH",
            "/home/a/ID_RSA.pub",
        ],
    )
    def test_containment_in_any_case(self, path):
        """A component is blocked by what it holds, not only by what it is."""
        assert find_blocked(found(path), ()) is not None

    @pytest.mark.parametrize(
        "path", ["/home/a/projects", "/home/a/environment", "/home/a/ssh", "/home/a/cred/entials"]
    )
    def test_other_paths(self, path):
        """Trap A27. A pattern is looked for in each component by itself."""
        assert find_blocked(found(path), ("d/e",)) is None

    def test_the_path_it_leads_to(self):
        """A harmless name that leads to a blocked place is blocked."""
        assert "'.ssh'" in (find_blocked(found("/home/a/notes", "/home/a/.ssh"), ()) or "")

    def test_the_path_asked_for(self):
        """A blocked name that leads to a harmless place is blocked as well."""
        assert "'.ssh'" in (find_blocked(found("/home/a/.ssh", "/srv/keys"), ()) or "")

    @pytest.mark.parametrize(
        ("pattern", "component", "blocked"),
        [
            ("private", "my-private-notes", True),
            ("Private", "my-PRIVATE-notes", True),
            ("*.pem", "key.pem", True),
            ("*.pem", "key.pem.txt", True),
            ("*.pem", "pem", False),
            ("te?t", "a-test-b", True),
            ("[0-9]", "v2", True),
            ("[0-9]", "v", False),
            ("[", "a[b", True),
        ],
    )
    def test_own_patterns(self, pattern, component, blocked):
        """The operator's patterns are added; wildcards do what they do in a shell."""
        reason = find_blocked(found(f"/home/{component}/x"), (pattern,))
        assert (reason is not None) is blocked
        if reason:
            assert repr(component) in reason
            assert repr(pattern) in reason

    @given(st.text("ab.*?[", min_size=1, max_size=4), st.text("ab.", min_size=1, max_size=8))
    def test_at_least_containment(self, pattern, component):
        """Whatever a pattern is, a component that holds it literally is blocked."""
        if pattern in component and component not in {".", ".."}:
            path = FoundPath(expanded=f"/{component}", resolved=Path("/x"), kind=PathKind.DIRECTORY)
            assert find_blocked(path, (pattern,)) is not None


@pytest.mark.parametrize(
    ("kind", "mounts_files", "words"),
    [
        (PathKind.DIRECTORY, True, None),
        (PathKind.DIRECTORY, False, None),
        (PathKind.FILE, True, None),
        (PathKind.FILE, False, "this runtime mounts directories only"),
        (PathKind.SOCKET, True, "is a socket"),
        (PathKind.DEVICE, True, "is a device"),
        (PathKind.FIFO, True, "is a pipe"),
        (PathKind.FIFO, False, "is a pipe"),
    ],
)
def test_kinds(kind, mounts_files, words):
    """Trap A27. Directories, and files where the runtime can; never sockets and devices."""
    problem = find_kind_problem(kind, mounts_files=mounts_files)
    assert problem is None if words is None else words in (problem or "")


CONFIGURATION = Guard(path=Path("/home/a/.config/nanoclaw"), what="the configuration")
PROJECT = Guard(path=Path("/srv/project/groups"), what="the groups", inside=False)
RUN = Guard(path=Path("/run"), what="the system's own", but=Path("/run/media"))
GUARDS = (CONFIGURATION, PROJECT, RUN)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/home/a/.config/nanoclaw", "it is or holds /home/a/.config/nanoclaw, the configuration"),
        ("/home/a/.config/nanoclaw/x", "it lies in /home/a/.config/nanoclaw, the configuration"),
        ("/home/a/.config", "it is or holds"),
        ("/home/a", "it is or holds"),
        ("/", "it is or holds"),
        ("/HOME/A/.Config/NanoClaw/x", "it lies in"),
        ("/home/a/.config/nanoclaw2", None),
        ("/home/a/projects", None),
        ("/srv/project/groups", "it is or holds /srv/project/groups, the groups"),
        ("/srv/project", "it is or holds"),
        ("/srv/project/groups/family", None),
        ("/run/user/1000", "it lies in /run, the system's own"),
        ("/run/media/a/stick", None),
        ("/run/mediator", "it lies in"),
    ],
)
def test_guards(path, words):
    """Trap A27. What a mount would hold or lie in is refused, in any writing of the path."""
    problem = find_guarded(PurePosixPath(path), GUARDS)
    assert problem is None if words is None else words in (problem or "")


def test_accents_are_one_however_written():
    """A guard isn't passed by the other way to write an accent."""
    guard = Guard(path=Path("/home/r\u00e9n\u00e9"), what="x")
    assert find_guarded(PurePosixPath("/home/re\u0301ne\u0301/x"), (guard,)) is not None


@pytest.mark.parametrize(
    "name", ["a", "a/b", "./a", "a/", "two words", ".hidden", "ä", "a'b", "-a"]
)
def test_good_names(name):
    """A relative path of ordinary characters."""
    assert find_name_problem(name) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        (".", "is empty"),
        ("./", "is empty"),
        ("/", "is absolute"),
        ("/a", "is absolute"),
        ("/workspace/extra/a", "is absolute"),
        ("..", "holds '..'"),
        ("a/../b", "holds '..'"),
        ("a..b", "holds '..'"),
        ("a:ro", "holds ':'"),
        ("a,readonly=false", "holds ','"),
        ('a"b', "holds '\"'"),
        ("a\nb", "control characters"),
        ("a\0b", "control characters"),
        ("a\x7f", "control characters"),
        ("a\x85", "control characters"),
        ("a\udcff", "control characters"),
    ],
)
def test_bad_names(name, words):
    """What would lead elsewhere, or mean something to a runtime, is refused by its name."""
    assert words in (find_name_problem(name) or "")
