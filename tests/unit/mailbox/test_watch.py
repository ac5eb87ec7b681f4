"""The kernel's word of new requests, and what a look at all mailboxes finds."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from nanoclaw_trio.background import open_background_nursery
from nanoclaw_trio.mailbox.watch import MailboxWatch, Survey, WatchedDirectory, survey

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

GUARD = 60

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs inotify")


@pytest.fixture
def ipc_root(tmp_path: Path) -> Path:
    """data/ipc with the mailboxes of two groups, both empty."""
    root = tmp_path / "ipc"
    for folder in ("family", "work"):
        for name in ("messages", "tasks"):
            (root / folder / name).mkdir(parents=True)
    return root


class Told:
    """Whom a watch has told of."""

    def __init__(self) -> None:
        self.folders: list[str] = []
        self._new = trio.Event()

    def tell(self, folder: str) -> None:
        self.folders.append(folder)
        self._new.set()

    async def wait_for(self, folders: Iterable[str]) -> set[str]:
        """Until all of these were told of, since the last call; all that were."""
        with trio.fail_after(GUARD):
            while not set(folders) <= set(self.folders):
                self._new = trio.Event()
                await self._new.wait()
        told = set(self.folders)
        self.folders.clear()
        return told


@pytest.fixture
def told() -> Told:
    """Nobody yet."""
    return Told()


def put(directory: Path, name: str = "1.json") -> None:
    """Put a file there as an agent does: whole, under a temporary name first."""
    (directory / f"{name}.tmp").write_text("{}")
    (directory / f"{name}.tmp").rename(directory / name)


@pytest.mark.usefixtures("_no_descriptor_left")
class TestSurvey:
    def test_no_mailboxes(self, tmp_path: Path) -> None:
        """Where there is no data/ipc yet, and where a group has none, nothing is found."""
        nothing = Survey(directories=frozenset(), folders=())
        assert survey(tmp_path / "ipc", ["family"]) == nothing
        (tmp_path / "ipc").mkdir()
        assert survey(tmp_path / "ipc", ["family"]) == nothing

    def test_only_what_was_asked_for(self, ipc_root: Path) -> None:
        """Both directories of each group that is asked for, and of no other."""
        put(ipc_root / "work" / "messages")
        found = survey(ipc_root, ["family"])
        assert found.folders == ()
        assert found.directories == {
            WatchedDirectory(
                path=os.path.realpath(ipc_root / "family" / name),
                folder="family",
                inode=(ipc_root / "family" / name).stat().st_ino,
            )
            for name in ("messages", "tasks")
        }

    def test_mailboxes_with_requests_are_named(self, ipc_root: Path) -> None:
        """In the order in which they were asked for; a file that is no request doesn't count."""
        put(ipc_root / "work" / "tasks")
        (ipc_root / "family" / "messages" / "1.tmp").touch()
        assert survey(ipc_root, ["work", "family"]).folders == ("work",)
        put(ipc_root / "family" / "messages")
        assert survey(ipc_root, ["work", "family"]).folders == ("work", "family")

    def test_link_is_not_watched(self, ipc_root: Path, tmp_path: Path) -> None:
        """What an agent put in the place of a directory is visited, and not watched. Trap A28."""
        messages = ipc_root / "family" / "messages"
        messages.rmdir()
        messages.symlink_to(tmp_path)
        found = survey(ipc_root, ["family", "work"])
        assert found.folders == ("family",)
        assert str(messages) not in {directory.path for directory in found.directories}

    def test_link_in_the_place_of_a_mailbox(self, ipc_root: Path, tmp_path: Path) -> None:
        """A group whose own directory is a link holds up no other."""
        (tmp_path / "elsewhere").symlink_to(ipc_root / "work")
        (tmp_path / "elsewhere").rename(ipc_root / "linked")
        put(ipc_root / "work" / "messages")
        found = survey(ipc_root, ["linked", "work"])
        assert found.folders == ("linked", "work")
        assert {directory.folder for directory in found.directories} == {"work"}

    def test_another_directory_in_the_place_of_one(self, ipc_root: Path) -> None:
        """A directory that was made anew is another one to watch."""
        before = survey(ipc_root, ["family"])
        messages = ipc_root / "family" / "messages"
        messages.rename(ipc_root / "family" / "old")
        messages.mkdir()
        assert survey(ipc_root, ["family"]) != before


@linux
async def test_request_is_told_of(ipc_root: Path, told: Told) -> None:
    """A file that an agent renames into place is told of with the group's folder."""
    mailboxes = MailboxWatch(told.tell)
    mailboxes.set_directories(survey(ipc_root, ["family", "work"]).directories)
    async with open_background_nursery() as nursery:
        nursery.start_soon(mailboxes.run)
        # That of all is told is the sign that the watch is in place.
        await told.wait_for({"family", "work"})
        for folder, name in (("work", "messages"), ("family", "tasks")):
            put(ipc_root / folder / name)
            await told.wait_for({folder})


@linux
async def test_what_is_no_request_is_not_told_of(ipc_root: Path, told: Told) -> None:
    """Deleting what was taken in, and files of other names, wake nobody."""
    mailboxes = MailboxWatch(told.tell)
    put(ipc_root / "family" / "messages")
    mailboxes.set_directories(survey(ipc_root, ["family", "work"]).directories)
    async with open_background_nursery() as nursery:
        nursery.start_soon(mailboxes.run)
        await told.wait_for({"family", "work"})
        (ipc_root / "family" / "messages" / "1.json").unlink()
        (ipc_root / "family" / "messages" / "2.tmp").touch()
        # The kernel keeps the order: had the others been told of, they would have come before.
        put(ipc_root / "work" / "messages")
        assert await told.wait_for({"work"}) == {"work"}


@linux
async def test_nothing_below_is_watched(ipc_root: Path, told: Told, tmp_path: Path) -> None:
    """Neither a directory within nor one that a link within points to is watched. Trap A28."""
    outside = tmp_path / "outside"
    outside.mkdir()
    messages = ipc_root / "family" / "messages"
    (messages / "below").mkdir()
    (messages / "link").symlink_to(outside)
    mailboxes = MailboxWatch(told.tell)
    mailboxes.set_directories(survey(ipc_root, ["family", "work"]).directories)
    async with open_background_nursery() as nursery:
        nursery.start_soon(mailboxes.run)
        await told.wait_for({"family", "work"})
        put(outside)
        put(messages / "below")
        put(ipc_root / "work" / "messages")
        assert await told.wait_for({"work"}) == {"work"}


@linux
async def test_other_directories_are_watched_once_they_are_set(ipc_root: Path, told: Told) -> None:
    """A watch of nothing, of one group, of another: each set replaces the one before."""
    mailboxes = MailboxWatch(told.tell)
    async with open_background_nursery() as nursery:
        nursery.start_soon(mailboxes.run)
        for folder in ("family", "work", "family"):
            found = survey(ipc_root, [folder]).directories
            mailboxes.set_directories(found)
            mailboxes.set_directories(found)
            await told.wait_for({folder})
            put(ipc_root / folder / "messages", f"{len(told.folders)}.json")
            await told.wait_for({folder})
        mailboxes.set_directories(frozenset())
    assert set(told.folders) <= {"family"}


@linux
async def test_watch_that_an_agent_broke_is_begun_anew(
    ipc_root: Path, told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that isn't UTF-8 ends watchfiles' watch, and not ours: all are told of, as something
    may have been missed, and then what comes."""
    mailboxes = MailboxWatch(told.tell)
    mailboxes.set_directories(survey(ipc_root, ["family", "work"]).directories)
    async with open_background_nursery() as nursery:
        nursery.start_soon(mailboxes.run)
        await told.wait_for({"family", "work"})
        (ipc_root / "family" / "messages" / os.fsdecode(b"\xff.json")).touch()
        await told.wait_for({"family", "work"})
        put(ipc_root / "work" / "messages")
        await told.wait_for({"work"})
    assert "mailboxes aren't watched" in capsys.readouterr().err


@linux
async def test_watch_that_can_not_begin_waits_for_other_directories(
    ipc_root: Path, told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    """A directory that vanished since it was found keeps the others from being watched only until
    the next look."""
    found = survey(ipc_root, ["family", "work"]).directories
    (ipc_root / "family" / "tasks").rmdir()
    mailboxes = MailboxWatch(told.tell)
    mailboxes.set_directories(found)
    async with open_background_nursery() as nursery:
        nursery.start_soon(mailboxes.run)
        await trio.testing.wait_all_tasks_blocked()
        assert "aren't watched" in capsys.readouterr().err
        assert told.folders == []
        mailboxes.set_directories(survey(ipc_root, ["family", "work"]).directories)
        await told.wait_for({"family", "work"})


@linux
async def test_cancelled_watch_leaves_no_thread(ipc_root: Path, told: Told) -> None:
    """Cancelled, it ends although watchfiles waits in a thread, which can't be cancelled."""
    mailboxes = MailboxWatch(told.tell)
    mailboxes.set_directories(survey(ipc_root, ["family"]).directories)
    with trio.fail_after(GUARD):
        async with open_background_nursery() as nursery:
            nursery.start_soon(mailboxes.run)
            await told.wait_for({"family"})
    assert trio.testing.active_thread_count() == 0


async def test_watch_of_nothing_ends_when_cancelled(told: Told) -> None:
    """Without a directory to watch it waits for one."""
    with trio.fail_after(GUARD):
        async with open_background_nursery() as nursery:
            nursery.start_soon(MailboxWatch(told.tell).run)
            await trio.testing.wait_all_tasks_blocked()
    assert told.folders == []
