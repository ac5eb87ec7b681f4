"""Additional mounts: who gets what, how, and the sentence that says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from nanoclaw_trio.protocol.models import AllowedRoot
from nanoclaw_trio.workspace.allowlist import AllowlistProblem
from nanoclaw_trio.workspace.decisions import decide_mount, decide_mounts
from nanoclaw_trio.workspace.facts import FoundPath, PathKind, UnusablePath
from nanoclaw_trio.workspace.policy import Guard, MountPolicy
from nanoclaw_trio.workspace.roots import RefusedRoot, ResolvedRoot

HOME = "/home/a/projects"


def found(path, resolved=None, kind=PathKind.DIRECTORY):
    """What the disk says about a path."""
    return FoundPath(expanded=str(path), resolved=Path(resolved or path), kind=kind)


@pytest.fixture
def make_policy(make_allowlist):
    """A policy whose roots are where they say."""

    def make(roots, **values):
        allowlist = make_allowlist(roots, **values)
        return MountPolicy(
            allowlist=allowlist,
            roots=tuple(
                ResolvedRoot(root=root, resolved=Path(root.path))
                for root in allowlist.allowed_roots
            ),
            guards=(Guard(path=Path("/srv/project/data"), what="the engine's own data"),),
            project_root=Path("/srv/project"),
            groups_dir=Path("/srv/project/groups"),
        )

    return make


MODES = [
    # asked read-only, root writable, nonMainReadOnly, main → mounted read-only, why
    (True, True, False, True, True, "read-only, as asked"),
    (True, False, True, False, True, "read-only, as asked"),
    (False, True, False, True, False, "read-write, as asked"),
    (False, True, False, False, False, "read-write, as asked"),
    (False, True, True, True, False, "read-write, as asked"),
    (
        False,
        True,
        True,
        False,
        True,
        "read-only: read-write was asked for, but nonMainReadOnly is true and the group isn't main",
    ),
    (
        False,
        False,
        False,
        True,
        True,
        "read-only: read-write was asked for, but this root allows no writing",
    ),
    (
        False,
        False,
        True,
        False,
        True,
        "read-only: read-write was asked for, but this root allows no writing",
    ),
]


@pytest.mark.parametrize(
    ("asked_readonly", "root_writable", "non_main_read_only", "is_main", "readonly", "why"), MODES
)
def test_modes(
    make_policy, ask, asked_readonly, root_writable, non_main_read_only, is_main, readonly, why
):
    """Read-write needs the group's wish, the root's leave, and main or nonMainReadOnly false."""
    policy = make_policy({HOME: root_writable}, non_main_read_only=non_main_read_only)
    asked = ask(f"{HOME}/x", readonly=asked_readonly)
    decision = decide_mount(asked, found(f"{HOME}/x"), policy, is_main=is_main)
    assert decision.allowed
    assert decision.asked is asked
    assert decision.readonly is readonly
    assert decision.reason == f"under {HOME}; {why}"
    assert decision.host_path == Path(f"{HOME}/x")
    assert decision.container_path == "/workspace/extra/x"


@pytest.mark.parametrize(
    ("path", "container_path", "inside"),
    [
        (f"{HOME}/x", None, "x"),
        (f"{HOME}/x/", None, "x"),
        (f"{HOME}/x/.", None, "x"),
        (HOME, None, "projects"),
        (f"{HOME}/x", "y", "y"),
        (f"{HOME}/x", "y/z", "y/z"),
        (f"{HOME}/x", "./y/", "y"),
        (f"{HOME}/with:colon", "colon", "colon"),
        (f"{HOME}/with,comma", "comma", "comma"),
    ],
)
def test_container_paths(make_policy, ask, path, container_path, inside):
    """By default the last component of the path asked for, else what was asked for."""
    decision = decide_mount(
        ask(path, container_path), found(path), make_policy({HOME: True}), is_main=True
    )
    assert decision.container_path == f"/workspace/extra/{inside}"


def test_the_name_is_the_links_and_the_place_is_its_target(make_policy, ask):
    """A link is mounted as what it leads to, under the name it has."""
    decision = decide_mount(
        ask("~/work"), found("/home/a/work", f"{HOME}/w"), make_policy({HOME: True}), is_main=True
    )
    assert decision.host_path == Path(f"{HOME}/w")
    assert decision.container_path == "/workspace/extra/work"


REFUSED = [
    (f"{HOME}/.ssh", f"{HOME}/.ssh", None, PathKind.DIRECTORY, "blocked pattern '.ssh'"),
    (f"{HOME}/x", f"{HOME}/.env.d", None, PathKind.DIRECTORY, "blocked pattern '.env'"),
    (f"{HOME}/own-block", f"{HOME}/own-block", None, PathKind.DIRECTORY, "'own-block'"),
    (f"{HOME}/docker.sock", f"{HOME}/docker.sock", None, PathKind.SOCKET, "is a socket"),
    ("/srv/project/data/x", "/srv/project/data/x", None, PathKind.DIRECTORY, "engine's own data"),
    ("/srv/project", "/srv/project", None, PathKind.DIRECTORY, "engine's own data"),
    (f"{HOME}/x", f"{HOME}/x", "", PathKind.DIRECTORY, "container path is empty"),
    (f"{HOME}/x", f"{HOME}/x", "/etc", PathKind.DIRECTORY, "is absolute"),
    (f"{HOME}/x:y", f"{HOME}/x:y", None, PathKind.DIRECTORY, "give it another containerPath"),
    ("/", "/", None, PathKind.DIRECTORY, "engine's own data"),
    ("/home/b", "/home/b", None, PathKind.DIRECTORY, f"/home/b lies under no allowed root ({HOME}"),
    (f"{HOME}-2", f"{HOME}-2", None, PathKind.DIRECTORY, "under no allowed root"),
    (f"{HOME}/x", "/home/b", None, PathKind.DIRECTORY, "/home/b lies under no allowed root"),
]


@pytest.mark.parametrize(("path", "resolved", "name", "kind", "words"), REFUSED)
@pytest.mark.parametrize("is_main", [True, False])
def test_refused(make_policy, ask, path, resolved, name, kind, words, is_main):
    """Refused for the main group as for any other, and the reason says why."""
    policy = make_policy({HOME: True, "/srv": True}, blocked=["own-block"])
    decision = decide_mount(ask(path, name), found(path, resolved, kind), policy, is_main=is_main)
    assert not decision.allowed
    assert decision.container_path is None
    assert decision.host_path is None
    assert words in decision.reason


def test_a_file_where_only_directories_can_be_mounted(make_policy, ask):
    """A runtime without file mounts gets no file."""
    path = found(f"{HOME}/notes.md", kind=PathKind.FILE)
    policy = make_policy({HOME: False})
    asked = ask(f"{HOME}/notes.md")
    assert decide_mount(asked, path, policy, is_main=True).allowed
    refused = decide_mount(asked, path, policy, is_main=True, mounts_files=False)
    assert refused.reason == "the host path is a file, and this runtime mounts directories only"


def test_without_an_allowlist(ask):
    """Every mount is refused with the reason for which there is none."""
    problem = AllowlistProblem(reason="there is no allowlist")
    decision = decide_mount(ask(HOME), found(HOME), problem, is_main=True)
    assert (decision.allowed, decision.reason) == (False, "there is no allowlist")


def test_an_unusable_path(make_policy, ask):
    """What the disk says about a path is its reason."""
    path = UnusablePath(reason="the host path can't be used: No such file or directory")
    decision = decide_mount(ask(HOME), path, make_policy({HOME: True}), is_main=True)
    assert (decision.allowed, decision.reason) == (False, path.reason)


def test_an_allowlist_without_roots(make_policy, ask):
    """An allowlist that names no roots permits nothing."""
    decision = decide_mount(ask(HOME), found(HOME), make_policy({}), is_main=True)
    assert decision.reason == f"{HOME} lies under no allowed root (the allowlist names none)"


def test_a_root_that_does_not_count(make_policy, ask):
    """What lies under nothing else is refused, and the reason says why that root doesn't count."""
    policy = make_policy({HOME: True})
    root = AllowedRoot(path="/srv/project/groups/a/shared", allow_read_write=False)
    refused = RefusedRoot(root=root, resolved=Path("/home/b"), reason="it leads elsewhere")
    policy = evolve(policy, refused_roots=(refused,))
    decision = decide_mount(
        ask("/srv/project/groups/a/shared/x"),
        found("/srv/project/groups/a/shared/x", "/home/b/x"),
        policy,
        is_main=True,
    )
    assert decision.reason == (
        f"/home/b/x lies under no allowed root ({HOME}); "
        "/srv/project/groups/a/shared doesn't count: it leads elsewhere"
    )
    other = decide_mount(ask("/opt"), found("/opt"), policy, is_main=True)
    assert other.reason == f"/opt lies under no allowed root ({HOME})"


@pytest.mark.parametrize(
    ("roots", "readonly"),
    [
        ([(HOME, True), (f"{HOME}/vendor", False)], True),
        ([(f"{HOME}/vendor", False), (HOME, True)], True),
        ([(HOME, False), (f"{HOME}/vendor", True)], False),
        ([(f"{HOME}/vendor", True), (HOME, False)], False),
        ([(f"{HOME}/vendor", True), (f"{HOME}/vendor", False)], True),
        ([(f"{HOME}/vendor", False), (f"{HOME}/vendor", True)], True),
    ],
)
def test_nested_roots(make_policy, ask, roots, readonly):
    """The deepest root counts, in whatever order they stand; of two for one place the stricter."""
    policy = evolve(
        make_policy({}),
        roots=tuple(
            ResolvedRoot(
                root=AllowedRoot(path=path, allow_read_write=writable), resolved=Path(path)
            )
            for path, writable in roots
        ),
    )
    path = f"{HOME}/vendor/x"
    decision = decide_mount(ask(path, readonly=False), found(path), policy, is_main=True)
    assert decision.readonly is readonly
    assert decision.reason.startswith(f"under {HOME}/vendor; ")


@pytest.mark.parametrize(
    ("path", "held"),
    [
        (HOME, True),
        (f"{HOME}/old", True),
        (f"{HOME}/old/archive/open", False),
        (f"{HOME}/old/archive-2", False),
        (f"{HOME}/new", False),
    ],
)
def test_a_mount_that_holds_a_root(make_policy, ask, path, held):
    """What allows no writing isn't written through a mount of what is above it, and the reason names
    it; one that allows it deeper down does."""
    archive = f"{HOME}/old/archive"
    policy = make_policy({HOME: True, archive: False, f"{archive}/open": True})
    decision = decide_mount(ask(path, readonly=False), found(path), policy, is_main=True)
    assert (decision.allowed, decision.readonly) == (True, held)
    assert (f"but it holds {archive}, which allows no writing" in decision.reason) is held


@pytest.mark.parametrize(
    ("path", "readonly"),
    [
        ("/srv/project/container", True),
        ("/srv/project/docs", True),
        ("/srv/project/groups/other", False),
        ("/srv/project/groups/global/notes", False),
        ("/srv/elsewhere", False),
    ],
)
def test_writing_in_the_project(make_policy, ask, path, readonly):
    """What the engine runs from is never writable for an agent; groups' folders may be."""
    policy = make_policy({"/srv": True})
    decision = decide_mount(ask(path, readonly=False), found(path), policy, is_main=True)
    assert decision.readonly is readonly
    assert ("a part of the project" in decision.reason) is readonly


SPELLINGS = [
    # the path, whether it is allowed, why it can't be written
    ("/srv/PROJECT/src", True, "it is a part of the project"),
    ("/srv/project/Groups/a", True, "it is a part of the project"),
    (f"{HOME}/Vendor/x", True, "this root allows no writing"),
    (f"{HOME}/VENDOR", True, "this root allows no writing"),
    (f"{HOME}/Cafe\u0301", True, f"it holds {HOME}/caf\u00e9/old, which allows no writing"),
    (f"{HOME}/vendor/mine/x", True, None),
    ("/Home/A/Projects/x", False, None),
    ("/Opt/x", False, None),
]


@pytest.mark.parametrize(("path", "allowed", "why"), SPELLINGS)
def test_another_spelling(make_policy, ask, path, allowed, why):
    """Where the disk tells no case apart, another spelling makes nothing writable that isn't so
    by its own, and lets no mount be allowed."""
    mine, cafe = f"{HOME}/vendor/mine", f"{HOME}/caf\u00e9/old"
    roots = {"/srv": True, HOME: True, f"{HOME}/vendor": False, mine: True, cafe: False}
    policy = make_policy({**roots, "/opt": False})
    decision = decide_mount(ask(path, readonly=False), found(path), policy, is_main=True)
    assert decision.allowed is allowed
    if allowed:
        assert decision.readonly is (why is not None)
        assert (why or "read-write, as asked") in decision.reason


OVERLAPS = [
    (["a", "b"], [True, True]),
    (["a", "a"], [True, False]),
    (["a", "./a/"], [True, False]),
    (["a", "a/b"], [True, False]),
    (["a/b", "a"], [True, False]),
    (["a/b", "a/c", "a/b/d", "ab"], [True, True, False, True]),
    (["../x", "../x"], [False, False]),
    (["a", "A"], [True, True]),
]


@pytest.mark.parametrize(("names", "allowed"), OVERLAPS)
def test_overlaps(make_policy, ask, names, allowed):
    """Two mounts never share a place inside, nor lie in each other; the first one stays."""
    asked = [(ask(f"{HOME}/{i}", name), found(f"{HOME}/{i}")) for i, name in enumerate(names)]
    decisions = decide_mounts(asked, make_policy({HOME: True}), is_main=False)
    assert [decision.allowed for decision in decisions] == allowed


def test_the_reason_of_an_overlap(make_policy, ask):
    """It names the place that is taken."""
    asked = [(ask(HOME, "a"), found(HOME)), (ask(HOME, "a/b"), found(HOME))]
    decisions = decide_mounts(asked, make_policy({HOME: True}), is_main=True)
    assert decisions[1].reason == "/workspace/extra/a is another mount's, and the two would overlap"
