"""What an agent is told of tasks and groups."""

from __future__ import annotations

import json
import os
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from attrs import evolve

from nanoclaw_trio.clock import VIRTUAL_EPOCH, iso_timestamp
from nanoclaw_trio.errors import InvalidGroupFolder, UnsafePath
from nanoclaw_trio.files import Owner
from nanoclaw_trio.mailbox.snapshots import write_groups_snapshot, write_tasks_snapshot
from nanoclaw_trio.protocol.models import AvailableGroup, TaskSnapshot
from nanoclaw_trio.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

TASK = TaskSnapshot(
    id="t1",
    group_folder="family",
    prompt="Water the plants",
    schedule_type="cron",
    schedule_value="0 9 * * 1",
    status="active",
    next_run="2026-02-02T08:00:00.000Z",
)
OTHER_TASK = evolve(TASK, id="t2", group_folder="work", next_run=None)
GROUP = AvailableGroup(
    jid="1@chat", name="Family", last_activity="2026-02-01T15:30:00.000Z", is_registered=True
)
OTHER_GROUP = AvailableGroup(jid="2@chat", name="Work", last_activity="", is_registered=False)


@pytest.fixture
def project(tmp_path: Path) -> Settings:
    """Settings of a project on a disk of its own."""
    return Settings(project_root=tmp_path)


def written(ipc_dir: Path, name: str):
    """A snapshot's document."""
    return json.loads((ipc_dir / name).read_text())


def names_in(directory: Path) -> list[str]:
    """What is in a directory, sorted."""
    return sorted(path.name for path in directory.iterdir())


def wait_for(condition: Callable[[], object]) -> None:
    """Return once it is true; for a thread that looks at another."""
    while not condition():
        time.sleep(0.001)


async def test_tasks_are_written_as_the_format_says(project: Settings, ipc_dir: Path) -> None:
    """The array's objects have the original's keys, some in snake case, next_run even when null."""
    await write_tasks_snapshot("family", is_main=True, tasks=[TASK, OTHER_TASK], settings=project)
    assert written(ipc_dir, "current_tasks.json") == [
        {
            "id": "t1",
            "groupFolder": "family",
            "prompt": "Water the plants",
            "schedule_type": "cron",
            "schedule_value": "0 9 * * 1",
            "status": "active",
            "next_run": "2026-02-02T08:00:00.000Z",
        },
        {
            "id": "t2",
            "groupFolder": "work",
            "prompt": "Water the plants",
            "schedule_type": "cron",
            "schedule_value": "0 9 * * 1",
            "status": "active",
            "next_run": None,
        },
    ]


@pytest.mark.parametrize(
    ("is_main", "visible"), [(True, ["t1", "t2"]), (False, ["t1"])], ids=["main", "not main"]
)
async def test_a_group_sees_its_own_tasks_and_main_sees_all(
    project: Settings, ipc_dir: Path, is_main, visible: list[str]
) -> None:
    """Only the main group learns of other groups' tasks; any iterable of them will do."""
    tasks = iter((TASK, OTHER_TASK))
    await write_tasks_snapshot("family", is_main, tasks, settings=project)
    snapshot = written(ipc_dir, "current_tasks.json")
    assert [task["id"] for task in snapshot] == visible


async def test_groups_are_written_as_the_format_says(
    project: Settings, ipc_dir: Path, mock_clock: trio.testing.MockClock
) -> None:
    """The main group sees every group, and when this was so, on the clock that governs the run."""
    mock_clock.jump(3600)
    await write_groups_snapshot(
        "family", is_main=True, groups=(GROUP, OTHER_GROUP), settings=project
    )
    assert written(ipc_dir, "available_groups.json") == {
        "groups": [
            {
                "jid": "1@chat",
                "name": "Family",
                "lastActivity": "2026-02-01T15:30:00.000Z",
                "isRegistered": True,
            },
            {"jid": "2@chat", "name": "Work", "lastActivity": "", "isRegistered": False},
        ],
        "lastSync": iso_timestamp(VIRTUAL_EPOCH + timedelta(hours=1)),
    }


async def test_other_groups_see_no_groups(project: Settings, ipc_dir: Path) -> None:
    """A group that isn't main gets an empty list, not a missing file."""
    await write_groups_snapshot(
        "family", is_main=False, groups=(GROUP, OTHER_GROUP), settings=project
    )
    snapshot = written(ipc_dir, "available_groups.json")
    assert snapshot["groups"] == []
    assert snapshot["lastSync"].endswith("Z")


async def test_half_an_emoji_in_a_prompt_is_written(project: Settings, ipc_dir: Path) -> None:
    """A task whose text holds half a surrogate pair doesn't keep the others from the agent."""
    broken = evolve(TASK, prompt="half \ud83d")
    await write_tasks_snapshot("family", is_main=True, tasks=[broken, OTHER_TASK], settings=project)
    snapshot = written(ipc_dir, "current_tasks.json")
    assert [task["prompt"] for task in snapshot] == ["half \ud83d", "Water the plants"]


@pytest.mark.parametrize("folder", ["", "..", "../family", "a/b", "global", "Global", "x" * 65])
async def test_invalid_folder_writes_nothing(
    project: Settings, tmp_path: Path, folder: str
) -> None:
    """A folder's name that isn't allowed is the caller's fault, and nothing is made for it."""
    with pytest.raises(InvalidGroupFolder):
        await write_tasks_snapshot(folder, is_main=True, tasks=[TASK], settings=project)
    with pytest.raises(InvalidGroupFolder):
        await write_groups_snapshot(folder, is_main=True, groups=[GROUP], settings=project)
    assert names_in(tmp_path) == []


def replace_by_link(place: Path, target: Path) -> None:
    """A link in a place that was never made, to a directory that is."""
    target.mkdir()
    place.parent.mkdir(parents=True)
    place.symlink_to(target)


def plant(place: Path, what: str, target: Path) -> None:
    """A link or a directory in a file's place, as an agent can put it there."""
    place.parent.mkdir(parents=True)
    target.write_text("the host's")
    place.symlink_to(target) if what == "link" else place.mkdir()


async def test_replaced_directory_is_not_followed(
    project: Settings, ipc_dir: Path, tmp_path: Path
) -> None:
    """A link in the place of the group's directory gets nothing written behind it. Trap A28."""
    outside = tmp_path / "outside"
    replace_by_link(ipc_dir, outside)
    with pytest.raises(UnsafePath):
        await write_tasks_snapshot("family", is_main=True, tasks=[TASK], settings=project)
    assert names_in(outside) == []


@pytest.mark.parametrize("planted", ["link", "directory"])
async def test_planted_file_is_replaced(
    project: Settings, ipc_dir: Path, tmp_path: Path, planted: str
) -> None:
    """What an agent puts in a snapshot's place is replaced, and a link's target left alone.

    Trap A28.
    """
    host_file = tmp_path / "host-file"
    place = ipc_dir / "current_tasks.json"
    plant(place, planted, host_file)
    await write_tasks_snapshot("family", is_main=True, tasks=[TASK], settings=project)
    assert not place.is_symlink()
    assert len(json.loads(place.read_text())) == 1
    assert host_file.read_text() == "the host's"


async def test_reader_never_sees_half_a_snapshot(project: Settings, ipc_dir: Path) -> None:
    """Whoever reads while snapshots are written finds one whole file after the other. Trap A20."""
    path = ipc_dir / "current_tasks.json"
    done = threading.Event()
    sizes: set[int] = set()
    failures: list[Exception] = []

    def read_on() -> None:
        while not done.is_set():
            try:
                sizes.add(len(json.loads(path.read_bytes())))
            except (OSError, ValueError) as error:
                failures.append(error)

    await write_tasks_snapshot("family", is_main=True, tasks=[TASK], settings=project)
    reader = threading.Thread(target=read_on)
    reader.start()
    try:
        with trio.fail_after(60):
            for _ in range(20):
                await write_tasks_snapshot(
                    "family", is_main=True, tasks=[TASK] * 2000, settings=project
                )
                await write_tasks_snapshot("family", is_main=True, tasks=[TASK], settings=project)
            await trio.to_thread.run_sync(wait_for, lambda: sizes, abandon_on_cancel=True)
    finally:
        done.set()
        reader.join()
    assert failures == []
    assert sizes <= {1, 2000}


async def test_cancelled_write_leaves_the_old_snapshot(project: Settings, ipc_dir: Path) -> None:
    """Cancelled before it began, nothing is written and nothing is left behind."""
    await write_tasks_snapshot("family", is_main=True, tasks=[TASK], settings=project)
    with trio.CancelScope() as scope:
        scope.cancel()
        await write_tasks_snapshot("family", is_main=True, tasks=[], settings=project)
    assert scope.cancelled_caught
    assert names_in(ipc_dir) == ["current_tasks.json"]
    assert len(written(ipc_dir, "current_tasks.json")) == 1


@as_root
async def test_what_is_made_belongs_to_the_owner(project: Settings, ipc_dir: Path) -> None:
    """A host that is root gives directory and file to the agent's user."""
    owner = Owner(uid=1000, gid=1000)
    await write_tasks_snapshot("family", is_main=True, tasks=[TASK], settings=project, owner=owner)
    for path in (ipc_dir, ipc_dir / "current_tasks.json"):
        assert (path.stat().st_uid, path.stat().st_gid) == (1000, 1000)
    assert ipc_dir.parent.stat().st_uid == 0
