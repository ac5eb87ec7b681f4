"""What can't be handled is moved away: never followed, never lost."""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import TYPE_CHECKING

import pytest

from nanoclaw_trio.files import open_directory
from nanoclaw_trio.mailbox.aside import MOST_DIRECTORIES, MOST_KEPT, MOST_REMOVED, set_aside

if TYPE_CHECKING:
    from pathlib import Path


def put_aside(ipc_dir: Path, name: str) -> None:
    """Set an entry of the group's input directory aside."""
    with open_directory(ipc_dir) as root, root.child("input") as directory:
        set_aside(ipc_dir, directory, name, "not JSON")


def test_file_goes_to_the_errors_directory(
    ipc_dir: Path, input_dir: Path, errors_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is data/ipc/errors/FOLDER-NAME afterwards, and a warning says so and why."""
    (input_dir / "1.json").write_text("content")
    put_aside(ipc_dir, "1.json")
    assert (errors_dir / "family-1.json").read_text() == "content"
    assert list(input_dir.iterdir()) == []
    logged = capsys.readouterr().err
    assert "level=warning" in logged
    for word in ("group=family", "1.json", 'why="not JSON"', "family-1.json"):
        assert word in logged


def test_log_does_not_grow_at_an_agents_will(
    ipc_dir: Path, input_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Garbage that comes again and again is told of once a minute, each mailbox's by itself."""
    other = ipc_dir.parent / "work"
    (other / "input").mkdir(parents=True)
    for number in range(50):
        for group in (ipc_dir, other):
            (group / "input" / f"{number}.json").write_text("content")
            put_aside(group, f"{number}.json")
    logged = capsys.readouterr().err.splitlines()
    assert [re.findall(r"group=(\w+)", line) for line in logged] == [["family"], ["work"]]


def test_namesakes_are_all_kept(ipc_dir: Path, input_dir: Path, errors_dir: Path) -> None:
    """A second file of the same name doesn't replace the first: nothing is lost."""
    for content in ("first", "second", "third"):
        (input_dir / "1.json").write_text(content)
        put_aside(ipc_dir, "1.json")
    kept = sorted(errors_dir.iterdir())
    assert kept[0].name == "family-1.json"
    assert all(path.name.startswith("family-1.json") for path in kept)
    assert sorted(path.read_text() for path in kept) == ["first", "second", "third"]


def test_two_groups_can_not_overwrite_each_other(ipc_dir: Path, errors_dir: Path) -> None:
    """Group `a-b` with `c.json` and group `a` with `b-c.json` make one name, and keep two files."""
    for folder, name in (("a-b", "c.json"), ("a", "b-c.json")):
        directory = ipc_dir.parent / folder / "input"
        directory.mkdir(parents=True)
        (directory / name).write_text(folder)
        put_aside(ipc_dir.parent / folder, name)
    assert sorted(path.read_text() for path in errors_dir.iterdir()) == ["a", "a-b"]


@pytest.mark.parametrize(
    "name", ["x" * 250 + ".json", "é" * 125 + ".json", "a\nb.json", os.fsdecode(b"\xff.json")]
)
@pytest.mark.usefixtures("_no_descriptor_left")
def test_any_name_can_be_set_aside(
    ipc_dir: Path, input_dir: Path, errors_dir: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that fills its 255 bytes, has a line end or isn't UTF-8 is moved as well."""
    try:
        (input_dir / name).write_text("content")
    except OSError:
        pytest.skip("this file system refuses such a name")
    put_aside(ipc_dir, name)
    (moved,) = errors_dir.iterdir()
    assert moved.name.startswith(f"family-{name[:20]}")
    assert moved.read_text() == "content"
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_link_is_moved_and_not_followed(
    ipc_dir: Path, input_dir: Path, errors_dir: Path, tmp_path: Path
) -> None:
    """A link is moved as a link; what it points to is neither read nor touched. Trap A28."""
    target = tmp_path / "host-file"
    target.write_text("the host's")
    (input_dir / "1.json").symlink_to(target)
    put_aside(ipc_dir, "1.json")
    assert (errors_dir / "family-1.json").readlink() == target
    assert target.read_text() == "the host's"


@pytest.mark.parametrize("mode", [0o755, 0o500, 0])
def test_directory_is_moved_whole(
    ipc_dir: Path, input_dir: Path, errors_dir: Path, mode: int
) -> None:
    """A directory goes with all that is in it, also when its access was taken away."""
    directory = input_dir / "1.json"
    directory.mkdir()
    (directory / "below").write_text("kept")
    directory.chmod(mode)
    put_aside(ipc_dir, "1.json")
    moved = errors_dir / "family-1.json"
    moved.chmod(0o755)
    assert (moved / "below").read_text() == "kept"


def test_what_has_vanished_is_no_matter(
    ipc_dir: Path, input_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An agent that deletes it meanwhile has handled it: nothing is raised, nothing logged."""
    assert input_dir.is_dir()
    put_aside(ipc_dir, "1.json")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("replaced_by", ["file", "link"])
@pytest.mark.usefixtures("_no_descriptor_left")
def test_what_can_not_be_moved_stays_with_a_warning(
    ipc_dir: Path,
    input_dir: Path,
    errors_dir: Path,
    replaced_by: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where the errors directory itself can't be used nothing is raised, and nothing is lost."""
    if replaced_by == "file":
        errors_dir.write_text("not a directory")
    else:
        errors_dir.symlink_to(ipc_dir)
    (input_dir / "1.json").write_text("content")
    put_aside(ipc_dir, "1.json")
    assert (input_dir / "1.json").read_text() == "content"
    assert "can't be set aside" in capsys.readouterr().err


def test_errors_directory_is_the_hosts(ipc_dir: Path, input_dir: Path, errors_dir: Path) -> None:
    """It stands beside the groups' own directories, where no agent's mount reaches."""
    (input_dir / "1.json").mkdir()
    put_aside(ipc_dir, "1.json")
    assert errors_dir.parent == ipc_dir.parent
    assert stat.S_ISDIR(errors_dir.stat(follow_symlinks=False).st_mode)
    assert errors_dir.stat().st_uid == os.getuid()


def test_agent_that_writes_garbage_without_end_does_not_fill_the_disk(
    ipc_dir: Path, input_dir: Path, errors_dir: Path
) -> None:
    """Of what was set aside the last MOST_KEPT entries are kept, whatever times their files claim,
    and directories go with all that is in them."""
    count = MOST_KEPT + 5
    for number in range(count):
        if number == 0:
            (input_dir / "0.json").mkdir()
            (input_dir / "0.json" / "inner").write_text("content")
        else:
            (input_dir / f"{number}.json").write_text("content")
            os.utime(input_dir / f"{number}.json", (count - number, count - number))
        put_aside(ipc_dir, f"{number}.json")
        # Two renames within one tick of the kernel's clock have the same time.
        wait_for_the_next_tick(errors_dir)
    kept = {path.name for path in errors_dir.iterdir()}
    assert kept == {f"family-{number}.json" for number in range(5, count)}


def wait_for_the_next_tick(directory: Path) -> None:
    """Return once the file system gives another time than it gave last."""
    probe = directory.parent / "tick"
    probe.write_text("")
    first = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == first:
        probe.chmod(0o600)
    probe.unlink()


def fill(directory: Path, count: int) -> None:
    """A directory with so many entries, which cost an agent next to nothing."""
    directory.mkdir(parents=True)
    (directory / "0").touch()
    for number in range(1, count):
        (directory / str(number)).hardlink_to(directory / "0")


@pytest.fixture
def removals(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were removed."""
    names: list[str] = []
    unlink = os.unlink

    def note(name: str, **options: int) -> None:
        names.append(name)
        unlink(name, **options)

    monkeypatch.setattr(os, "unlink", note)
    return names


def test_a_large_directory_keeps_nobody_up(
    ipc_dir: Path, input_dir: Path, errors_dir: Path, removals: list[str]
) -> None:
    """Of a directory that is pushed out some entries go each time; an agent could fill it again."""
    fill(input_dir / "0.json", 3 * MOST_REMOVED)
    put_aside(ipc_dir, "0.json")
    wait_for_the_next_tick(errors_dir)
    for number in range(1, MOST_KEPT):
        (errors_dir / f"{number}").touch()
    removed = []
    for name in ("a", "b", "c", "d"):
        (input_dir / name).touch()
        removals.clear()
        put_aside(ipc_dir, name)
        removed.append(len(removals))
        wait_for_the_next_tick(errors_dir)
    assert max(removed) <= MOST_REMOVED + 2 * len(removed)
    assert not any(path.is_dir() for path in errors_dir.iterdir())


def test_what_can_not_be_removed_keeps_no_other(
    ipc_dir: Path, input_dir: Path, errors_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry that the disk doesn't let go of stops nobody from being forgotten."""
    unlink = os.unlink

    def refuse(name: str, **options: int) -> None:
        if name == "family-0.json":
            raise OSError(errno.EIO, "disk")
        unlink(name, **options)

    monkeypatch.setattr(os, "unlink", refuse)
    for number in range(MOST_KEPT + 3):
        (input_dir / f"{number}.json").touch()
        put_aside(ipc_dir, f"{number}.json")
        if number == 0:
            wait_for_the_next_tick(errors_dir)
    assert len(list(errors_dir.iterdir())) <= MOST_KEPT + 1


def test_directories_without_end_stay_with_their_agent(
    ipc_dir: Path, input_dir: Path, errors_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where so many lie that the forgetting doesn't keep up, a directory is no longer taken: it gets
    another name where it is, and is no request any more."""
    fill(errors_dir / "large", 2)
    for number in range(MOST_DIRECTORIES):
        (errors_dir / f"{number}").mkdir()
    (input_dir / "1.json").mkdir()
    put_aside(ipc_dir, "1.json")
    (left,) = input_dir.iterdir()
    assert re.fullmatch(r"1\.json\.[0-9a-f]{8}\.aside", left.name)
    assert left.name in capsys.readouterr().err
    (input_dir / "2.json").touch()
    put_aside(ipc_dir, "2.json")
    assert (errors_dir / "family-2.json").is_file()


def test_two_threads_never_take_one_name(
    ipc_dir: Path, errors_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name is taken as it is found free: of two that are moved to it at once, both are kept."""
    other = ipc_dir.parent / "family-b"
    for place, name in ((ipc_dir, "b-c.json"), (other, "c.json")):
        (place / "input").mkdir(parents=True)
        (place / "input" / name).write_text(place.name)
    rename = os.rename

    def meanwhile(name: str, target: str, **options: int) -> None:
        monkeypatch.setattr(os, "rename", rename)
        put_aside(other, "c.json")
        rename(name, target, **options)

    monkeypatch.setattr(os, "rename", meanwhile)
    put_aside(ipc_dir, "b-c.json")
    assert sorted(path.read_text() for path in errors_dir.iterdir()) == ["family", "family-b"]


def test_a_move_that_fails_leaves_nothing(
    ipc_dir: Path, input_dir: Path, errors_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the entry can't be moved, nothing is left in its name."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "rename", refuse)
    (input_dir / "1.json").touch()
    put_aside(ipc_dir, "1.json")
    assert list(errors_dir.iterdir()) == []
