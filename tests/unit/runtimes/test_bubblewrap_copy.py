"""A copy of a program that nobody can read: made whole, once, and checked before it is used."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

import pytest

from nanoclaw_trio.runtimes.bubblewrap_copy import (
    UNUSED,
    NotOurs,
    copy_content,
    copy_name,
    find_copy,
    is_intact,
    make_copy,
)

CONTENT = b"#!/bin/sh\necho ran\n"
NOW = 1_000_000_000.0
"""Long ago: what is made now is never old."""


def nothing():
    """Never ends a copying."""


@pytest.fixture
def source(tmp_path):
    """A program."""
    source = tmp_path / "claude"
    source.write_bytes(CONTENT)
    source.chmod(0o755)
    return source


@pytest.fixture
def cache(tmp_path):
    """Where the copies go; it isn't there yet."""
    return tmp_path / "cache/programs"


@pytest.fixture
def make(source, cache):
    """Makes the copy of a version."""
    return lambda version="1.0", check=nothing: make_copy(
        source, version, cache, now=NOW, check=check
    )


def content_of(path):
    """A file's content, though nobody may read it."""
    path.chmod(0o755)
    return path.read_bytes()


def others(cache, *names):
    """All in the cache but these and the lock."""
    return sorted({path.name for path in cache.iterdir()} - {"lock", *names})


def test_a_copy_that_nobody_can_read(source, cache, make):
    """A copy has the content, and a mode by which it can be run and not read."""
    copy = make()
    status = copy.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o111, os.geteuid())
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert content_of(copy) == CONTENT
    assert source.read_bytes() == CONTENT
    assert others(cache) == [copy.name]


def test_the_umask_takes_nothing_away(make):
    """A strict umask leaves the copy to be run by the agent's user, whoever that is."""
    before = os.umask(0o077)
    try:
        assert stat.S_IMODE(make().stat().st_mode) == 0o111
    finally:
        os.umask(before)


def test_a_copy_is_found_again(source, cache, make):
    """Before there is a copy none is found; then it is, and no other is made."""
    assert find_copy(source, "1.0", cache) is None
    copy = make()
    made = copy.stat().st_ino
    assert find_copy(source, "1.0", cache) == copy
    assert make() == copy
    assert copy.stat().st_ino == made


def test_a_copy_that_is_used_counts_as_used(source, cache, make):
    """Its time says when it was used last."""
    copy = make()
    os.utime(copy, (0, 0))
    find_copy(source, "1.0", cache)
    assert copy.stat().st_mtime > 0


@pytest.mark.parametrize("change", ["version", "content", "time"])
def test_another_program_gets_a_copy_of_its_own(source, cache, make, change):
    """Version, size and time of the original tell which copy belongs to it."""
    first = make()
    if change == "content":
        source.write_bytes(CONTENT * 2)
    if change == "time":
        os.utime(source, ns=(1, 1))
    version = "1.1" if change == "version" else "1.0"
    assert find_copy(source, version, cache) is None
    assert make(version) != first


@pytest.mark.parametrize("damage", ["readable", "cut", "link", "directory"])
def test_what_is_not_the_copy_is_replaced(tmp_path, source, cache, make, damage):
    """A copy that can be read, isn't whole or is something else isn't used, but made again."""
    copy = make()
    if damage == "readable":
        copy.chmod(0o755)
    else:
        copy.unlink()
    if damage == "cut":
        copy.write_bytes(b"")
        copy.chmod(0o111)
    if damage == "link":
        copy.symlink_to(source)
    if damage == "directory":
        copy.mkdir()
    assert find_copy(source, "1.0", cache) is None
    assert make() == copy
    assert stat.S_IMODE(copy.lstat().st_mode) == 0o111
    assert source.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("mode", "uid", "size", "intact"),
    [
        (stat.S_IFREG | 0o111, 7, 3, True),
        (stat.S_IFREG | 0o511, 7, 3, False),
        (stat.S_IFREG | 0o4111, 7, 3, False),
        (stat.S_IFREG | 0o111, 8, 3, False),
        (stat.S_IFREG | 0o111, 7, 4, False),
        (stat.S_IFDIR | 0o111, 7, 3, False),
        (stat.S_IFLNK | 0o111, 7, 3, False),
    ],
)
def test_what_passes_for_a_copy(mode, uid, size, intact):
    """Its mode, its owner and its size must be right, and it must be a file."""
    copy = os.stat_result((mode, 0, 0, 1, uid, 0, size, 0, 0, 0))
    original = os.stat_result((stat.S_IFREG | 0o755, 0, 0, 1, 0, 0, 3, 0, 0, 0))
    assert is_intact(copy, original, 7) is intact


def test_the_name_tells_what_it_is_a_copy_of(source):
    """Version, bytes and nanoseconds are in the name."""
    os.utime(source, ns=(1, 1_700_000_000_123_456_789))
    name = copy_name("2.1.330", source.stat())
    assert name == f"program-2.1.330-{len(CONTENT)}-1700000000123456789"


def test_old_versions_go(cache, make):
    """Copies that weren't used for long go when another is made, and nothing else does."""
    old, recent = make("1.0"), make("1.1")
    os.utime(old, (NOW - UNUSED - 1,) * 2)
    os.utime(recent, (NOW - UNUSED + 1,) * 2)
    (cache / "program-directory").mkdir()
    os.utime(cache / "program-directory", (0, 0))
    (cache / "README").touch()
    os.utime(cache / "README", (0, 0))
    new = make("1.2")
    assert others(cache, recent.name, new.name) == ["README", "program-directory"]


def test_the_copy_in_use_stays(cache, make):
    """However long it wasn't used, the copy that is asked for isn't removed."""
    copy = make()
    made = copy.stat().st_ino
    os.utime(copy, (0, 0))
    assert make().stat().st_ino == made


def test_what_was_never_finished_goes(cache, make):
    """What a process left that was killed while it copied is removed by the next."""
    cache.mkdir(parents=True, mode=0o700)
    (cache / ".0123456789abcdef.tmp").write_bytes(CONTENT)
    copy = make()
    assert others(cache) == [copy.name]


def test_one_process_copies(cache, make):
    """While another process makes a copy there is none to be had, and none is made."""
    cache.mkdir(parents=True, mode=0o700)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert make() is None
        assert others(cache) == []
    assert make() is not None


def test_who_is_told_to_stop_leaves_nothing(cache, make):
    """A copying that is ended half way leaves neither a copy nor a part of one."""

    def stop():
        raise InterruptedError("stop")

    with pytest.raises(InterruptedError):
        make(check=stop)
    assert others(cache) == []
    assert make() is not None


def test_a_program_that_changes_is_not_taken(source, make):
    """What was overwritten while it was copied isn't taken for a copy."""

    def grow():
        source.write_bytes(CONTENT * 3)

    with pytest.raises(OSError, match="isn't whole"):
        make(check=grow)


def test_a_failure_leaves_nothing(cache, source, make):
    """Where the program can't be read, no part of a copy stays behind."""
    source.unlink()
    source.mkdir()
    with pytest.raises(IsADirectoryError):
        make()
    assert others(cache) == []


def test_a_program_that_is_gone(source, cache, make):
    """Without a program there is no copy, and the system says why."""
    source.unlink()
    for attempt in (make, lambda: find_copy(source, "1.0", cache)):
        with pytest.raises(FileNotFoundError):
            attempt()


def test_a_directory_that_others_can_write_to(source, cache, make):
    """Where others could put a program of theirs none is kept, and none is looked for."""
    make()
    cache.chmod(0o770)
    for attempt in (make, lambda: find_copy(source, "1.0", cache)):
        with pytest.raises(NotOurs, match="another user owns it or may write to it"):
            attempt()


def test_a_directory_of_another_user(cache, make):
    """In another user's directory no copy is kept."""
    if os.geteuid() != 0:
        pytest.skip("giving a directory away takes root")
    make()
    os.chown(cache, 1234, 1234)
    with pytest.raises(NotOurs):
        make()


def test_the_content_across_disks(tmp_path):
    """What can't be copied from one file system to another by itself is sent."""
    source = os.memfd_create("source")
    try:
        os.write(source, CONTENT)
        os.lseek(source, 0, os.SEEK_SET)
        with (tmp_path / "target").open("wb") as target:
            copy_content(source, target.fileno(), nothing)
    finally:
        os.close(source)
    assert (tmp_path / "target").read_bytes() == CONTENT


def test_a_disk_that_refuses(tmp_path):
    """An error that another way wouldn't mend is the system's own."""
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    with path.open("rb") as source, path.open("rb") as target, pytest.raises(OSError) as caught:
        copy_content(source.fileno(), target.fileno(), nothing)
    assert caught.value.errno == errno.EBADF
