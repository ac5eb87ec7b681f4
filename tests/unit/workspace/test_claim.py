"""One run per group: who has it, who comes second, and when it is free again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from nanoclaw_trio.errors import (
    GroupBusy,
    InvalidGroupFolder,
    ProjectNotFound,
    UnsafePath,
    WorkspaceFailed,
)
from nanoclaw_trio.files import open_directory
from nanoclaw_trio.workspace.claim import GroupClaim, is_claimed

HOLDER = """
import subprocess, sys
from datetime import datetime, timezone
from pathlib import Path
from nanoclaw_trio.workspace.claim import GroupClaim

moment = datetime(2026, 1, 1, tzinfo=timezone.utc)
claim = GroupClaim(Path(sys.argv[1]), "family", container="nanoclaw-family-2", moment=moment)
claim.take()
child = subprocess.Popen(["sleep", "600"], close_fds=False, stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
sys.stdin.read()
claim.release()
print("released", flush=True)
child.wait()
"""
"""Has the group, and a child that gets all that it can inherit."""


def make(project, folder, container):
    """A claim to a group of a project, not yet taken."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return GroupClaim(project, folder, container=container, moment=moment)


@pytest.fixture
def claim(nanoclaw_settings):
    """A claim to the group, not yet taken; free in the end."""
    claim = make(nanoclaw_settings.project_root, "family", "nanoclaw-family-1")
    yield claim
    claim.release()


@pytest.fixture
def rival(nanoclaw_settings):
    """Another one to the same group."""
    rival = make(nanoclaw_settings.project_root, "family", "nanoclaw-family-9")
    yield rival
    rival.release()


@pytest.fixture
def locks(nanoclaw_settings):
    """Where the claims' files are."""
    return nanoclaw_settings.project_root / "data" / "locks"


def lock_as_who_asks(locks):
    """What is_claimed does with a free lock, before it gives it free again."""
    with open_directory(locks, create=True) as directory:
        return directory.lock("family.lock")


@contextmanager
def other_process(project):
    """A process that has the group, and the number of its child."""
    argv = [sys.executable, "-c", HOLDER, str(project)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        child = int(process.stdout.readline())
        try:
            yield process
        finally:
            os.kill(child, signal.SIGKILL)
            process.kill()


class TestOneAtATime:
    def test_within_a_process(self, claim, rival):
        """The second is told soon who has the group; after the release it gets it."""
        assert (claim.container, rival.container) == ("nanoclaw-family-1", "nanoclaw-family-9")
        claim.take()
        with pytest.raises(GroupBusy) as caught:
            rival.take()
        busy = caught.value
        assert (busy.folder, busy.pid, busy.container) == (
            "family",
            os.getpid(),
            "nanoclaw-family-1",
        )
        assert busy.since == "2026-01-01T00:00:00.000Z"
        claim.release()
        rival.take()

    def test_another_group(self, claim, nanoclaw_settings):
        """Each group has a claim of its own."""
        claim.take()
        other = make(nanoclaw_settings.project_root, "friends", "nanoclaw-friends-1")
        other.take()
        other.release()

    def test_across_processes(self, claim, nanoclaw_settings):
        """Another process that has it is named; what it released is free, its child or not."""
        with other_process(nanoclaw_settings.project_root) as process:
            with pytest.raises(GroupBusy) as caught:
                claim.take()
            assert (caught.value.pid, caught.value.container) == (process.pid, "nanoclaw-family-2")
            process.stdin.close()
            assert process.stdout.readline() == "released\n"
            claim.take()

    def test_a_process_that_was_killed(self, claim, nanoclaw_settings):
        """The kernel releases it, though a child of that process lives on."""
        with other_process(nanoclaw_settings.project_root) as process:
            process.kill()
            process.wait()
            claim.take()


class TestAsked:
    """Whoever asks whether a group is claimed has its lock, if it is free, for as long as it asks."""

    def test_whoever_asks_is_not_in_the_way(self, claim, locks, monkeypatch):
        """A lock that is given free between two tries is taken."""
        asked = lock_as_who_asks(locks)
        monkeypatch.setattr(time, "sleep", lambda _: asked.release())
        claim.take()

    def test_whoever_keeps_it_has_it(self, claim, rival, monkeypatch):
        """What is still taken after some tries is a run's."""
        pauses = []
        monkeypatch.setattr(time, "sleep", pauses.append)
        claim.take()
        with pytest.raises(GroupBusy):
            rival.take()
        assert 0.02 < sum(pauses) < 0.1


class TestHolder:
    @pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b'{"pid":"x"}', b"\xff"])
    def test_a_record_that_says_nothing(self, claim, rival, locks, content):
        """Whoever has the group has it, whatever the file says."""
        claim.take()
        (locks / "family.json").unlink()
        if content is not None:
            (locks / "family.json").write_bytes(content)
        with pytest.raises(GroupBusy, match="nobody says whose") as caught:
            rival.take()
        assert caught.value.pid is None

    def test_a_record_that_is_a_link(self, claim, rival, locks, tmp_path):
        """Trap A28. It is not followed, and the next holder's record takes its place."""
        claim.take()
        (tmp_path / "elsewhere").write_bytes((locks / "family.json").read_bytes())
        (locks / "family.json").unlink()
        (locks / "family.json").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(GroupBusy, match="nobody says whose"):
            rival.take()
        claim.release()
        rival.take()
        assert not (locks / "family.json").is_symlink()


class TestRelease:
    def test_it_can_be_repeated(self, claim, rival):
        """A release after the release takes nothing from the next holder."""
        claim.release()
        claim.take()
        claim.release()
        rival.take()
        claim.release()
        with pytest.raises(GroupBusy):
            claim.take()

    def test_whoever_finishes_has_it_alone(self, claim, rival):
        """While the last of the work goes on nobody else can release the claim; then it is free."""
        claim.take()
        with claim.finishing() as held:
            assert held
            claim.release()
            with pytest.raises(GroupBusy):
                rival.take()
        rival.take()

    def test_finishing_what_was_released(self, claim):
        """Whoever comes too late is told that the group isn't his any more."""
        claim.take()
        claim.release()
        with claim.finishing() as held:
            assert not held

    def test_what_is_done_elsewhere_keeps_it(self, claim, rival):
        """Whoever does something of the group's, in any thread, has it to the end of that, though the
        claim was released meanwhile; nobody begins anything after the release."""
        claim.take()
        with claim.working() as held, claim.working() as held_too:
            assert (held, held_too) == (True, True)
            claim.release()
            with claim.working() as late:
                assert not late
            with pytest.raises(GroupBusy):
                rival.take()
        rival.take()

    def test_what_is_done_without_it(self, claim):
        """Nobody has a group that wasn't taken."""
        with claim.working() as held:
            assert not held

    def test_finishing_goes_wrong(self, claim, rival):
        """An error releases it too."""
        claim.take()
        with pytest.raises(ZeroDivisionError), claim.finishing():
            raise ZeroDivisionError
        rival.take()

    def test_from_another_thread(self, claim, rival):
        """It belongs to the process and not to a thread."""
        claim.take()
        thread = threading.Thread(target=claim.release)
        thread.start()
        thread.join()
        rival.take()


class TestObstacles:
    def test_a_name_that_is_not_allowed(self, nanoclaw_settings):
        """The caller's fault; nothing is made."""
        with pytest.raises(InvalidGroupFolder):
            make(nanoclaw_settings.project_root, "../family", "c").take()
        assert not (nanoclaw_settings.project_root / "data").exists()

    def test_a_project_that_is_not_there(self, tmp_path):
        """The caller's fault; nothing is made."""
        with pytest.raises(ProjectNotFound):
            make(tmp_path / "no", "family", "c").take()
        assert not (tmp_path / "no").exists()

    def test_a_link_in_the_place_of_the_directory(self, claim, locks, tmp_path):
        """Trap A28. It is not followed."""
        locks.parent.mkdir()
        locks.symlink_to(tmp_path)
        with pytest.raises(UnsafePath, match="data/locks"):
            claim.take()

    def test_a_disk_that_refuses(self, claim, locks):
        """The host's fault, and the message says where."""
        locks.parent.write_bytes(b"no directory")
        with pytest.raises(WorkspaceFailed, match="data/locks"):
            claim.take()

    def test_a_record_that_cannot_be_written(self, claim, rival, limited_files):
        """The host's fault, and the group is free again."""
        with pytest.raises(WorkspaceFailed), limited_files(1):
            claim.take()
        rival.take()


def test_whether_a_group_is_claimed(tmp_path):
    """Whether anybody has a group can be asked, and asking makes and takes nothing."""
    assert not is_claimed(tmp_path, "family")
    (tmp_path / "data" / "locks").mkdir(parents=True)
    assert not is_claimed(tmp_path, "family")
    assert list((tmp_path / "data" / "locks").iterdir()) == []
    claim = GroupClaim(tmp_path, "family", container="c", moment=datetime.now(UTC))
    claim.take()
    assert is_claimed(tmp_path, "family")
    claim.release()
    assert not is_claimed(tmp_path, "family")
