"""Whether a run has a group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from nanoclaw_trio.cli.holder import holder_of
from nanoclaw_trio.errors import InvalidGroupFolder, UnsafePath
from nanoclaw_trio.workspace.claim import GroupClaim, Holder

MOMENT = datetime(2026, 2, 1, 15, 30, tzinfo=UTC)

TAKE = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from nanoclaw_trio.workspace.claim import GroupClaim
GroupClaim(Path(sys.argv[1]), "family", container="c1", moment=datetime.now(UTC)).take()
print("taken", flush=True)
time.sleep(600)
"""


@pytest.fixture
def root(settings):
    """An empty project."""
    return settings.project_root


@pytest.fixture
def claim(root):
    """A claim to the group, taken."""
    claim = GroupClaim(root, "family", container="c1", moment=MOMENT)
    claim.take()
    yield claim
    claim.release()


def test_a_new_project(root):
    """Where no run ever was nobody has a group, and nothing is made."""
    assert holder_of(root, "family") is None
    assert list(root.iterdir()) == []


def test_taken(root, claim):
    """While a run has it, it is known whose that is."""
    held = Holder(pid=os.getpid(), container="c1", since="2026-02-01T15:30:00.000Z")
    assert holder_of(root, "family") == held
    assert holder_of(root, "friends") is None


def test_released(root, claim):
    """After that nobody has it, though the record is there still; and it can be taken again."""
    claim.release()
    assert holder_of(root, "family") is None
    assert (root / "data" / "locks" / "family.json").exists()
    GroupClaim(root, "family", container="c2", moment=MOMENT).take()


def test_a_process_that_was_killed(root):
    """One that died without a word has nothing any more."""
    process = subprocess.Popen([sys.executable, "-c", TAKE, root], stdout=subprocess.PIPE)
    with process:
        assert process.stdout.readline() == b"taken\n"
        assert holder_of(root, "family").pid == process.pid
        process.send_signal(signal.SIGKILL)
    assert holder_of(root, "family") is None


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_a_record_that_says_nothing(root, claim, content):
    """Where nobody says whose it is, nobody is named."""
    record = root / "data" / "locks" / "family.json"
    record.unlink()
    if content is not None:
        record.write_text(content)
    assert holder_of(root, "family") is None


def test_a_name_that_is_none(root):
    """A name that no group can have is the caller's fault."""
    with pytest.raises(InvalidGroupFolder):
        holder_of(root, "../family")


def test_a_link_in_its_place(root):
    """Trap A28. A lock file that is a link isn't followed, and not made."""
    (root / "data" / "locks").mkdir(parents=True)
    (root / "data" / "locks" / "family.lock").symlink_to(root / "elsewhere")
    assert holder_of(root, "family") is None
    assert not (root / "elsewhere").exists()
    (root / "groups").mkdir()
    (root / "groups" / "friends").symlink_to("/")
    with pytest.raises(UnsafePath):
        holder_of(root, "friends")
