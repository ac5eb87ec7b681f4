"""The table of mounts, and the reason of each line."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from nanoclaw_trio.protocol.models import AdditionalMount
from nanoclaw_trio.workspace.decisions import MountDecision
from nanoclaw_trio.workspace.folders import GroupPaths
from nanoclaw_trio.workspace.mounts import explain_plan, find_project_problem, plan_mounts
from nanoclaw_trio.workspace.project import ProjectFacts

PATHS = GroupPaths(project_root=Path("/p"), folder="family")
OWN = [
    ("/p/groups/family", "/workspace/group", "rw"),
    ("/p/data/sessions/family/.claude", "/home/node/.claude", "rw"),
    ("/p/data/ipc/family", "/workspace/ipc", "rw"),
    ("/p/data/sessions/family/agent-runner-src", "/app/src", "rw"),
]
PROJECT = ("/p", "/workspace/project", "ro")
NO_ENV = ("/dev/null", "/workspace/project/.env", "ro")
GLOBAL = ("/p/groups/global", "/workspace/global", "ro")
HAS_ENV = ProjectFacts(has_env=True, env_places=(".env",))
HAS_DATA = ProjectFacts(data_place="data", data_shown=("ipc",))
COVER = [
    ("/p/data/cover", "/workspace/project/data", "ro"),
    ("/p/data/ipc", "/workspace/project/data/ipc", "ro"),
]
HAS_BOTH = ProjectFacts(has_env=True, env_places=(".env",), has_global=True)

DECISIONS = (
    MountDecision(
        asked=AdditionalMount(host_path="~/x"),
        allowed=True,
        host_path=Path("/home/a/x"),
        container_path="/workspace/extra/x",
        readonly=True,
        reason="under /home/a",
    ),
    MountDecision(asked=AdditionalMount(host_path="~/.ssh"), allowed=False, reason="blocked"),
    MountDecision(
        asked=AdditionalMount(host_path="/srv/y"),
        allowed=True,
        host_path=Path("/srv/y"),
        container_path="/workspace/extra/y",
        readonly=False,
        reason="under /srv",
    ),
)


def rows(mounts):
    """Mounts as short lines."""
    return [(str(m.host_path), m.container_path, "ro" if m.readonly else "rw") for m in mounts]


TABLE = [
    # is main, facts, mounts files → the mounts
    (True, ProjectFacts(), True, [PROJECT, *OWN]),
    (True, HAS_ENV, True, [PROJECT, NO_ENV, *OWN]),
    (True, HAS_BOTH, True, [PROJECT, NO_ENV, *OWN]),
    (True, HAS_ENV, False, OWN),
    (True, ProjectFacts(), False, [PROJECT, *OWN]),
    (
        True,
        ProjectFacts(has_env=True, env_places=("config/real.env",)),
        True,
        [PROJECT, ("/dev/null", "/workspace/project/config/real.env", "ro"), *OWN],
    ),
    (True, ProjectFacts(has_env=True), True, [PROJECT, *OWN]),
    (True, HAS_DATA, True, [PROJECT, *COVER, *OWN]),
    (True, HAS_DATA, False, [PROJECT, *COVER, *OWN]),
    (
        True,
        ProjectFacts(data_place="disk/data"),
        True,
        [PROJECT, ("/p/data/cover", "/workspace/project/disk/data", "ro"), *OWN],
    ),
    (
        True,
        evolve(HAS_DATA, has_env=True, env_places=("data/env",)),
        True,
        [PROJECT, *COVER, *OWN],
    ),
    (
        True,
        evolve(HAS_DATA, has_env=True, env_places=("data/ipc/env",)),
        True,
        [PROJECT, *COVER, ("/dev/null", "/workspace/project/data/ipc/env", "ro"), *OWN],
    ),
    (
        True,
        evolve(HAS_DATA, has_env=True, env_places=(".env",)),
        True,
        [PROJECT, *COVER, NO_ENV, *OWN],
    ),
    (False, HAS_DATA, True, OWN),
    (False, ProjectFacts(), True, OWN),
    (False, HAS_ENV, True, OWN),
    (False, HAS_BOTH, True, [OWN[0], GLOBAL, *OWN[1:]]),
    (False, HAS_BOTH, False, [OWN[0], GLOBAL, *OWN[1:]]),
    (False, ProjectFacts(global_is_link=True), True, OWN),
]


@pytest.mark.parametrize(("is_main", "facts", "mounts_files", "mounts"), TABLE)
def test_the_table(is_main, facts, mounts_files, mounts):
    """Each group gets what the table says and nothing else, the .env hidden or not there."""
    plan = plan_mounts(PATHS, is_main=is_main, facts=facts, decisions=(), mounts_files=mounts_files)
    assert rows(plan) == mounts


@pytest.mark.parametrize("is_main", [True, False])
def test_additional_mounts_come_last(is_main):
    """The allowed ones are mounted as they were decided on, the refused ones are not."""
    plan = plan_mounts(PATHS, is_main=is_main, facts=ProjectFacts(), decisions=DECISIONS)
    assert rows(plan)[-2:] == [
        ("/home/a/x", "/workspace/extra/x", "ro"),
        ("/srv/y", "/workspace/extra/y", "rw"),
    ]


@pytest.mark.parametrize("is_main", [True, False])
def test_parents_come_before_children(is_main):
    """No mount hides one that was made before it."""
    seen = []
    for mount in plan_mounts(PATHS, is_main=is_main, facts=HAS_BOTH, decisions=DECISIONS):
        place = Path(mount.container_path)
        assert not any(earlier.is_relative_to(place) for earlier in seen)
        seen.append(place)


@pytest.mark.parametrize(
    ("is_main", "facts", "mounts_files", "place", "words"),
    [
        (True, HAS_ENV, False, "/workspace/project", "move the keys from .env to the environment"),
        (False, HAS_ENV, True, "/workspace/project", "only the main group reads the project"),
        (True, HAS_BOTH, True, "/workspace/global", "reads it in the project"),
        (False, ProjectFacts(), True, "/workspace/global", "there is no such directory"),
        (
            False,
            ProjectFacts(global_is_link=True),
            True,
            "/workspace/global",
            "links aren't followed",
        ),
    ],
)
def test_what_is_not_mounted_has_a_reason(is_main, facts, mounts_files, place, words):
    """A usual mount that a group doesn't get is explained as well."""
    explained = explain_plan(
        PATHS, is_main=is_main, facts=facts, decisions=(), mounts_files=mounts_files
    )
    (row,) = [row for row in explained if row.container_path == place]
    assert not row.allowed
    assert words in row.reason
    assert row.as_mount() is None


def test_every_line_is_explained():
    """What is mounted and what was refused: each with its reason, in the order of mounting."""
    explained = explain_plan(PATHS, is_main=True, facts=HAS_ENV, decisions=DECISIONS)
    assert all(row.reason for row in explained)
    refused = [(row.host_path, row.container_path) for row in explained[-3:] if not row.allowed]
    assert refused == [("~/.ssh", None)]
    mounted = [row.as_mount() for row in explained if row.allowed]
    assert tuple(mounted) == plan_mounts(PATHS, is_main=True, facts=HAS_ENV, decisions=DECISIONS)


@pytest.mark.parametrize(
    ("has_env", "mounts_files", "problem"),
    [(True, False, True), (True, True, False), (False, False, False), (False, True, False)],
)
def test_project_problem(has_env, mounts_files, problem):
    """The project stays out where its .env couldn't be hidden."""
    facts = ProjectFacts(has_env=has_env)
    assert (find_project_problem(facts, mounts_files=mounts_files) is not None) is problem
