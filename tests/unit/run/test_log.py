"""The run log: what is in it, what is never in it, and how many of them are kept."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.errors import UnsafePath
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.run.capture import Capture
from nanoclaw_trio.run.log import (
    Retention,
    RunRecord,
    log_name,
    render,
    surplus,
    write_run_log,
)
from nanoclaw_trio.run.outcome import Cause
from nanoclaw_trio.run.receipt import Gone, Unconfirmed
from nanoclaw_trio.workspace.folders import GroupPaths
from nanoclaw_trio.workspace.secrets import Secrets

reproducible = settings(derandomize=True, deadline=None)

KEY = "sk-ant-api03-0123456789abcdef"
SECRETS = Secrets({"ANTHROPIC_API_KEY": KEY})
MOMENT = datetime(2026, 2, 1, 15, 30, 0, 123456, tzinfo=UTC)
NAME = "container-2026-02-01T15-30-00-123Z.log"
KEEP = Retention(files=50, bytes=10**9, days=30)


def capture(content=b"", limit=1000):
    """A stream of which that much was kept."""
    kept = Capture(limit)
    kept.feed(content)
    return kept


@pytest.fixture
def record(container_input):
    """The record of a run that went well."""
    return RunRecord(
        ended_at=MOMENT,
        group_name="Family",
        container="nanoclaw-family-1",
        container_input=container_input,
        command="docker run -i --rm image",
        mounts=(
            VolumeMount(
                host_path=Path("/srv/family"), container_path="/workspace/group", readonly=False
            ),
            VolumeMount(
                host_path=Path("/srv/global"), container_path="/workspace/global", readonly=True
            ),
        ),
        duration=12.3456,
        exit_code=0,
        cause=Cause.COMPLETED,
        error=None,
        had_output=True,
        timed_out=False,
        receipt=Gone(container="nanoclaw-family-1", evidence="docker has no such container"),
        stdout=capture(b"to stdout\n"),
        stderr=capture(b"to stderr\n"),
    )


@pytest.fixture
def failed(record):
    """The record of a run that failed."""
    return evolve(
        record, exit_code=1, cause=Cause.AGENT_FAILED, error="Container exited with code 1: oh"
    )


@pytest.fixture
def paths(tmp_path):
    """A group that has a folder and no logs yet."""
    (tmp_path / "groups" / "family").mkdir(parents=True)
    return GroupPaths(project_root=tmp_path, folder="family")


@pytest.fixture
def write(paths):
    """Write a record's log; its path."""

    def write(record, *, secrets=SECRETS, verbose=False, keep=KEEP):
        return write_run_log(paths, record, secrets=secrets, verbose=verbose, keep=keep)

    return write


HEADER = """\
=== Container Run Log ===
Timestamp: 2026-02-01T15:30:00.123Z
Group: Family
IsMain: false
Duration: 12346ms
Exit Code: 0
Stdout Truncated: false
Stderr Truncated: false

"""

SUMMARY = """\
=== Input Summary ===
Prompt length: 5 chars
Session ID: new

=== Mounts ===
/workspace/group
/workspace/global (ro)

"""

FULL = """\
=== Input ===
{
  "prompt": "Hello",
  "groupFolder": "family",
  "chatJid": "chat@test",
  "isMain": false
}

=== Container Args ===
docker run -i --rm image

=== Mounts ===
/srv/family -> /workspace/group
/srv/global -> /workspace/global (ro)

=== Stderr ===
to stderr


=== Stdout ===
to stdout


"""

END = """\
=== End ===
Container: nanoclaw-family-1
Cause: completed
Gone: docker has no such container
"""


def test_a_run_that_went_well(record):
    """The header of wire-formats 11, a summary, and how it ended."""
    assert render(record, secrets=SECRETS, verbose=False) == HEADER + SUMMARY + END


def test_verbose(record):
    """Where the log level asks for it, the input, the command, the mounts and both streams."""
    assert render(record, secrets=SECRETS, verbose=True) == HEADER + FULL + END


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, ["Session ID: new", "Prompt length: 5 chars"]),
        ({"session_id": "s1"}, ["Session ID: s1"]),
        ({"prompt": "äöü"}, ["Prompt length: 3 chars"]),
        ({"is_main": True}, ["IsMain: true"]),
    ],
)
def test_the_summary_of_an_input(record, changes, lines):
    """The summary has the prompt's length and its session, never its text."""
    changed = evolve(record, container_input=evolve(record.container_input, **changes))
    text = render(changed, secrets=SECRETS, verbose=False)
    assert not set(lines) - set(text.splitlines())
    assert changed.container_input.prompt not in text


def test_an_error_has_everything(failed):
    """Trap A12. On an error the log is as useful as can be, at any log level."""
    text = render(failed, secrets=SECRETS, verbose=False)
    assert FULL in text
    assert "Exit Code: 1\n" in text
    assert "Cause: agent_failed\nError: Container exited with code 1: oh\n" in text


def test_a_cancelled_run_has_everything(record):
    """Who stopped a run may want to know what it was doing."""
    text = render(evolve(record, cause=None, exit_code=None), secrets=SECRETS, verbose=False)
    assert FULL in text
    assert "Exit Code: None\n" in text
    assert "Cause: cancelled\n" in text


@pytest.mark.parametrize(
    ("had_output", "error", "body"),
    [(True, None, SUMMARY), (False, "Container timed out after 5 ms (activity limit)", FULL)],
)
def test_timeout(record, had_output, error, body):
    """A timeout has a header of its own; it is a failure only if there was no output."""
    cause = Cause.TIMED_OUT if error else Cause.IDLE_CLOSED
    timed_out = evolve(
        record, timed_out=True, had_output=had_output, exit_code=137, cause=cause, error=error
    )
    header, _, rest = render(timed_out, secrets=SECRETS, verbose=False).partition("\n\n")
    assert header.splitlines() == [
        "=== Container Run Log (TIMEOUT) ===",
        "Timestamp: 2026-02-01T15:30:00.123Z",
        "Group: Family",
        "Container: nanoclaw-family-1",
        "Duration: 12346ms",
        "Exit Code: 137",
        f"Had Streaming Output: {str(had_output).lower()}",
    ]
    assert rest.startswith(body)


@pytest.mark.parametrize("stdout", [False, True])
@pytest.mark.parametrize("stderr", [False, True])
def test_truncated(failed, stdout, stderr):
    """A stream that didn't fit is marked, in the header, at its section, and where it was cut."""
    long = b"a" * 600 + b"b" * 600
    text = render(
        evolve(
            failed,
            stdout=capture(long if stdout else b"short"),
            stderr=capture(long if stderr else b"short"),
        ),
        secrets=SECRETS,
        verbose=False,
    )
    lines = text.splitlines()
    assert f"Stdout Truncated: {str(stdout).lower()}" in lines
    assert f"Stderr Truncated: {str(stderr).lower()}" in lines
    assert ("=== Stdout (TRUNCATED) ===" in lines) is stdout
    assert ("=== Stderr (TRUNCATED) ===" in lines) is stderr
    assert lines.count("[… 200 bytes left out …]") == stdout + stderr


@pytest.mark.parametrize(
    ("receipt", "lines"),
    [
        (Gone(container="c", evidence="no such container"), ["Gone: no such container"]),
        (
            Gone(container="c", evidence="no such container", steps=("stop: done",)),
            ["Gone: no such container", "Step: stop: done"],
        ),
        (
            Unconfirmed(container="c", why="no answer", steps=("stop: given up", "no answer")),
            ["Unconfirmed: no answer", "Step: stop: given up", "Step: no answer"],
        ),
    ],
)
def test_the_receipt(record, receipt, lines):
    """Whether the container is gone, and what was done to get there, is at the end."""
    text = render(evolve(record, receipt=receipt), secrets=SECRETS, verbose=False)
    assert text.splitlines()[-len(lines) :] == lines


def test_no_secret_is_in_it(failed):
    """Trap A12. A key is in no part of a log, wherever it may have come from."""
    leaky = evolve(
        failed,
        group_name=f"Family {KEY}",
        command=f"docker run -e KEY={KEY}",
        error=f"Container exited with code 1: {KEY}",
        container_input=evolve(failed.container_input, prompt=f"my key is {KEY}", session_id=KEY),
        receipt=Unconfirmed(container="c", why=f"said {KEY}", steps=(f"said {KEY}",)),
        stdout=capture(f"{KEY}\n".encode() * 100, limit=999),
        stderr=capture(f"{KEY}\n".encode() * 100, limit=1111),
    )
    for verbose in (False, True):
        text = render(leaky, secrets=SECRETS, verbose=verbose)
        assert not any(KEY[start : start + 8] in text for start in range(len(KEY) - 7))
    assert "[redacted]" in text


def test_it_is_written(record, write, paths):
    """The log goes to the group's logs, under a name made of its time, for its owner's eyes."""
    path = write(record)
    assert path == paths.logs_dir / NAME
    assert path.read_text() == HEADER + SUMMARY + END
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_any_text_can_be_written(record, write):
    """What can't be encoded is replaced, and loses nobody the log."""
    text = write(evolve(record, group_name="half a pair \ud83c")).read_text()
    assert "Group: half a pair ?\n" in text


@pytest.mark.parametrize(
    ("moment", "name"),
    [
        (MOMENT, NAME),
        (datetime(2026, 1, 1, tzinfo=UTC), "container-2026-01-01T00-00-00-000Z.log"),
        (MOMENT.astimezone(), NAME),
    ],
)
def test_log_name(moment, name):
    """Trap A14. The ISO time in UTC, without what some disks don't take in a name."""
    assert log_name(moment) == name


def test_a_name_that_is_taken(record, write, paths):
    """Trap A14. Two runs that end in one millisecond have a log each."""
    written = [write(record), write(record), write(record)]
    assert written == sorted(set(written))
    assert [path.name[-9:] for path in written] == ["-123Z.log", "-124Z.log", "-125Z.log"]
    assert sorted(paths.logs_dir.iterdir()) == written


SURPLUS = [
    # the sizes, the oldest first; files and bytes to keep; how many go
    ([], 1, 1, 0),
    ([10], 1, 1, 0),
    ([10], 1, 100, 0),
    ([1, 1, 1], 3, 3, 0),
    ([1, 1, 1], 2, 3, 1),
    ([1, 1, 1], 1, 3, 2),
    ([1, 1, 1], 3, 2, 1),
    ([5, 1, 1], 3, 6, 1),
    ([1, 5, 1], 3, 6, 1),
    ([1, 1, 5], 3, 6, 1),
    ([1, 1, 50], 3, 6, 2),
    ([50, 1, 1], 3, 6, 1),
    ([1, 50, 1], 3, 6, 2),
    ([0, 0, 0], 3, 1, 0),
    ([0, 0, 0], 2, 1, 1),
    ([1] * 100, 50, 1000, 50),
    ([1] * 100, 50, 30, 70),
]


@pytest.mark.parametrize(("sizes", "files", "size", "gone"), SURPLUS)
def test_surplus(sizes, files, size, gone):
    """The oldest go until both the count and the bytes fit; the newest stays, however large."""
    assert surplus(sizes, evolve(KEEP, files=files, bytes=size)) == gone


@reproducible
@given(st.lists(st.integers(0, 50)), st.integers(1, 20), st.integers(1, 200))
def test_surplus_is_as_small_as_can_be(sizes, files, size):
    """No more go than must, and none must that doesn't; the newest never does."""
    keep = evolve(KEEP, files=files, bytes=size)
    gone = surplus(sizes, keep)
    left = sizes[gone:]
    assert not sizes or left
    assert len(left) <= 1 or (len(left) <= files and sum(left) <= size)
    one_more = sizes[gone - 1 :]
    assert gone == 0 or len(one_more) > files or sum(one_more) > size


def logs_at(record, *seconds):
    """Records of runs that ended at these times."""
    return [evolve(record, ended_at=MOMENT + timedelta(seconds=each)) for each in seconds]


def test_rotation_by_count(record, write, paths):
    """Trap A12. Of many runs the newest logs are kept, and other files let be."""
    paths.logs_dir.mkdir()
    others = ["notes.txt", "container.log", "container-1.txt"]
    for name in others:
        (paths.logs_dir / name).write_text("mine")
    written = [write(each, keep=evolve(KEEP, files=3)) for each in logs_at(record, *range(10))]
    assert {path.name for path in paths.logs_dir.iterdir()} == {
        *others,
        *(path.name for path in written[-3:]),
    }


def test_rotation_by_bytes(record, write, paths):
    """Trap A12. Together the logs are no larger than allowed, but for one that is alone."""
    size = len(render(record, secrets=SECRETS, verbose=False))
    for each in logs_at(record, *range(10)):
        write(each, keep=evolve(KEEP, bytes=3 * size + 1))
    assert len(list(paths.logs_dir.iterdir())) == 3
    write(*logs_at(record, 10), keep=evolve(KEEP, bytes=1))
    assert len(list(paths.logs_dir.iterdir())) == 1


def test_rotation_by_age(record, write, paths):
    """Trap B11: logs grew for ever. A group's next run removes what is older than is kept, no more."""
    day = 24 * 60 * 60
    before = [
        write(each).name for each in logs_at(record, -31 * day, -30 * day - 1, -30 * day, -day)
    ]
    (paths.logs_dir / "container-2020-notes.txt").write_text("mine")
    written = write(record)
    left = sorted(path.name for path in paths.logs_dir.iterdir())
    assert left == ["container-2020-notes.txt", *before[2:], written.name]


def test_rotation_by_an_endless_age(record, write, paths):
    """More days than a calendar has are kept for ever."""
    write(*logs_at(record, -(10**9)))
    write(record, keep=evolve(KEEP, days=10**18 - 1))
    assert len(list(paths.logs_dir.iterdir())) == 2


def test_an_old_log_just_written_stays(record, write, paths):
    """The log that a run has written is kept, whatever the clock says of the others."""
    write(*logs_at(record, 0))
    path = write(*logs_at(record, 10**8), keep=evolve(KEEP, days=1))
    assert list(paths.logs_dir.iterdir()) == [path]


def test_a_log_that_cannot_be_removed(record, write, paths, monkeypatch):
    """An old log that the disk, or a directory in its place, keeps doesn't cost the new one."""
    first, second, third = logs_at(record, 0, 1, 2)
    old = write(first)
    old.unlink()
    old.mkdir()
    assert write(second, keep=evolve(KEEP, files=1)).is_file()

    def refuse(*_, **__):
        raise OSError(errno.EIO, "disk")

    monkeypatch.setattr(os, "unlink", refuse)
    assert write(third, keep=evolve(KEEP, files=1)).is_file()


def test_one_huge_log(record, write, paths):
    """A newest log that is larger than all that may be kept is kept alone."""
    for each in logs_at(record, *range(3)):
        write(each)
    huge = evolve(record, ended_at=MOMENT + timedelta(days=1), stdout=capture(b"x" * 99_999, 10**6))
    path = write(huge, verbose=True, keep=evolve(KEEP, bytes=50_000))
    assert list(paths.logs_dir.iterdir()) == [path]


@pytest.mark.parametrize("keep", [evolve(KEEP, files=1), evolve(KEEP, bytes=1)])
def test_the_log_just_written_is_the_newest(record, write, paths, keep):
    """A clock that was set back, or names planted for the future, don't cost a run its log."""
    for each in logs_at(record, 3600, 7200):
        write(each)
    path = write(record, keep=keep)
    assert list(paths.logs_dir.iterdir()) == [path]


def test_a_log_is_looked_at_once(record, write, paths):
    """A run doesn't look at each log of the group's again; what an agent adds is in its own folder."""
    first, second, third = logs_at(record, 0, 1, 2)
    with write(first).open("ab") as file:
        file.write(b"x" * 50_000)
    write(second, keep=evolve(KEEP, bytes=50_000))
    assert len(list(paths.logs_dir.iterdir())) == 2
    paths.logs_dir.rename(paths.logs_dir.with_name("copied"))
    shutil.copytree(paths.logs_dir.with_name("copied"), paths.logs_dir)
    path = write(third, keep=evolve(KEEP, bytes=50_000))
    assert len(list(paths.logs_dir.iterdir())) == 2, "another directory's logs aren't known"
    assert path.exists()


class TestPlanted:
    """Traps A12 and A28. What an agent puts where the host writes its logs is never followed."""

    @pytest.fixture
    def elsewhere(self, tmp_path):
        """A directory of the host's that no agent should reach."""
        directory = tmp_path / "elsewhere"
        directory.mkdir()
        (directory / "precious").write_text("precious")
        return directory

    @pytest.mark.parametrize("kind", ["link", "dangling link", "file", "pipe"])
    def test_in_place_of_the_directory(self, record, write, paths, elsewhere, kind):
        """Something else in the place of logs/ is an error that names it, and is left alone."""
        match kind:
            case "link":
                paths.logs_dir.symlink_to(elsewhere)
            case "dangling link":
                paths.logs_dir.symlink_to(elsewhere / "not there")
            case "file":
                paths.logs_dir.write_text("no directory")
            case "pipe":
                os.mkfifo(paths.logs_dir)
        with pytest.raises(UnsafePath, match="logs"):
            write(record)
        assert [path.name for path in elsewhere.iterdir()] == ["precious"]

    @pytest.mark.parametrize("kind", ["link", "dangling link", "directory", "pipe"])
    def test_under_the_name_of_a_log(self, record, write, paths, elsewhere, kind):
        """A name that is taken by anything else isn't used."""
        paths.logs_dir.mkdir()
        planted = paths.logs_dir / NAME
        match kind:
            case "link":
                planted.symlink_to(elsewhere / "precious")
            case "dangling link":
                planted.symlink_to(elsewhere / "not there")
            case "directory":
                planted.mkdir()
            case "pipe":
                os.mkfifo(planted)
        path = write(record)
        assert path.name == NAME.replace("123Z", "124Z")
        assert path.read_text().startswith("=== Container Run Log")
        assert (elsewhere / "precious").read_text() == "precious"
        assert not (elsewhere / "not there").exists()

    def test_rotation_follows_nothing(self, record, write, paths, elsewhere):
        """Rotation neither measures nor removes what isn't a regular file, here or elsewhere."""
        paths.logs_dir.mkdir()
        (paths.logs_dir / "container-0.log").symlink_to(elsewhere / "precious")
        (paths.logs_dir / "container-1.log").symlink_to(elsewhere)
        (paths.logs_dir / "container-2.log").mkdir()
        (paths.logs_dir / "container-3.log").write_text("old")
        path = write(record, keep=evolve(KEEP, files=1, bytes=1))
        assert sorted(each.name for each in paths.logs_dir.iterdir()) == [
            "container-0.log",
            "container-1.log",
            "container-2.log",
            path.name,
        ]
        assert (elsewhere / "precious").read_text() == "precious"


def test_a_disk_that_refuses(failed, write, paths, limited_files):
    """Trap A11. Where the disk refuses there is an OSError, and no half of a log."""
    big = evolve(failed, stderr=capture(b"x" * 5000, 10_000))
    with pytest.raises(OSError, match="File too large"), limited_files(1000):
        write(big)
    assert list(paths.logs_dir.iterdir()) == []


@pytest.fixture
def small_disk(paths):
    """A disk of 64 KiB in the place of the group's logs."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or umount is None:
        pytest.skip("only root can mount a disk")
    paths.logs_dir.mkdir()
    command = [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(paths.logs_dir)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("a disk can't be mounted here")
    yield paths.logs_dir
    subprocess.run([umount, str(paths.logs_dir)], check=True)


def test_a_full_disk(failed, write, small_disk):
    """Trap A11. On a full disk there is an OSError and no half of a log; what was there stays."""
    first = write(failed)
    big = evolve(failed, stderr=capture(b"x" * 200_000, 10**6))
    with pytest.raises(OSError, match="No space left"):
        write(big)
    assert list(small_disk.iterdir()) == [first]


@pytest.mark.parametrize("gone", ["groups", "groups/family"])
def test_a_folder_that_went_away(record, write, tmp_path, gone):
    """Trap A11. Where the group's folder is gone there is an OSError, and it isn't made again."""
    shutil.rmtree(tmp_path / gone)
    with pytest.raises(FileNotFoundError):
        write(record)
    assert not (tmp_path / gone).exists()


def test_a_groups_folder_of_the_operators_choice(record, write, paths):
    """The folder itself is the host's own: a link that the operator made is followed."""
    (paths.groups_dir / "family").rename(paths.groups_dir / "real")
    paths.group_dir.symlink_to("real")
    assert write(record).read_text().startswith("=== Container Run Log")
