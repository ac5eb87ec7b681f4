"""The door to the disk: whole files, no link followed, and an owner for what is made."""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
import tracemalloc
from pathlib import Path

import pytest
import trio

from nanoclaw_trio.errors import UnsafePath
from nanoclaw_trio.files import (
    FIRST_READ,
    MAILBOX_FILE_LIMIT,
    Directory,
    Owner,
    in_thread,
    kind_of,
    link_target,
    open_directory,
    read_if_present,
    real_path,
)

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

AGENT = Owner(uid=1000, gid=1001)


def plant(path, kind):
    """Put something other than a regular file or directory at a path."""
    match kind:
        case "link to a file":
            path.symlink_to("/etc/passwd")
        case "link to a directory":
            path.symlink_to("/etc")
        case "dangling link":
            path.symlink_to("/no/such/place")
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                os.chdir(path.parent)
                server.bind(path.name)
        case "directory":
            (path / "below").mkdir(parents=True)
        case "file":
            path.write_bytes(b"planted")


LINKS = ("link to a file", "link to a directory", "dangling link")
ODD = (*LINKS, "pipe", "socket")


@pytest.fixture(autouse=True)
def _same_place(tmp_path, monkeypatch):
    # A socket's path may have some hundred bytes only: it is made from within its directory.
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _no_descriptor_left():
    before = sorted(Path("/dev/fd").iterdir())
    yield
    assert sorted(Path("/dev/fd").iterdir()) == before


@pytest.fixture
def here(tmp_path):
    """An open directory of the host's own."""
    with open_directory(tmp_path) as directory:
        yield directory


def owner_of(path):
    """Whose an entry itself is."""
    status = path.lstat()
    return Owner(uid=status.st_uid, gid=status.st_gid)


async def test_in_thread_runs_elsewhere_and_hands_back_the_result():
    """The disk is touched in a worker thread, and Trio's own goes on."""
    assert await in_thread(threading.current_thread) is not threading.current_thread()
    assert await in_thread(max, 1, 2) == 2


async def test_in_thread_finishes_its_work_before_a_cancellation():
    """A cancelled write is whole on the disk when the cancellation goes on."""
    begun, release, done = threading.Event(), threading.Event(), []

    def work():
        begun.set()
        release.wait()
        done.append(True)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_thread, work)
            await trio.to_thread.run_sync(begun.wait)
            nursery.cancel_scope.cancel()
            release.set()
    assert done == [True]


async def test_in_thread_can_be_told_to_abandon():
    """What may hang with the disk doesn't hang a cancelled task."""
    begun, release = threading.Event(), threading.Event()

    def work():
        begun.set()
        release.wait()

    async def abandoned():
        await in_thread(work, abandon_on_cancel=True)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(abandoned)
            await trio.to_thread.run_sync(begun.wait)
            nursery.cancel_scope.cancel()
    release.set()


class TestChild:
    def test_goes_down_and_makes_what_is_missing(self, here, tmp_path):
        """Each of the names is made in turn, and the path says where one is."""
        with here.child("a", "b", create=True) as below:
            assert below.path == tmp_path / "a" / "b"
            below.write("file", b"x")
        assert (tmp_path / "a" / "b" / "file").read_bytes() == b"x"

    def test_without_names_is_the_directory_itself(self, here, tmp_path):
        """No name leads nowhere else, and what was open before stays so."""
        with here.child() as same:
            assert same is here
        assert here.names() == sorted(each.name for each in tmp_path.iterdir())

    def test_missing(self, here):
        """A directory that isn't there is the system's own error."""
        with pytest.raises(FileNotFoundError), here.child("a", "b"):
            pass

    @pytest.mark.parametrize("kind", [*ODD, "file"])
    @pytest.mark.parametrize("create", [True, False])
    def test_does_not_go_through_what_is_no_directory(self, here, tmp_path, kind, create):
        """Trap A28. A link in a directory's place is an error that names it, at any step."""
        plant(tmp_path / "input", kind)
        for names in (("input",), ("input", "below")):
            with pytest.raises(UnsafePath, match="input is a link or no directory"):  # noqa: SIM117
                with here.child(*names, create=create):
                    pass

    @root_only
    def test_only_what_is_made_is_given_away(self, tmp_path):
        """A directory that was there keeps its owner, a new one gets the agent's."""
        (tmp_path / "old").mkdir()
        with (
            open_directory(tmp_path, owner=AGENT) as here,
            here.child("old", "new", create=True) as below,
        ):
            below.write("file", b"")
            assert below.belongs_to_owner()
        assert owner_of(tmp_path / "old") != AGENT
        assert owner_of(tmp_path / "old" / "new" / "file") == AGENT


class TestLook:
    def test_names_are_sorted_and_all(self, here, tmp_path):
        """Hidden entries and links are named too."""
        for name in ("b", ".a"):
            (tmp_path / name).write_bytes(b"")
        plant(tmp_path / "c", "dangling link")
        assert here.names() == [".a", "b", "c"]

    @pytest.mark.parametrize(
        ("kind", "bits"),
        [
            ("link to a directory", stat.S_IFLNK),
            ("dangling link", stat.S_IFLNK),
            ("pipe", stat.S_IFIFO),
            ("socket", stat.S_IFSOCK),
            ("directory", stat.S_IFDIR),
            ("file", stat.S_IFREG),
            ("nothing", None),
        ],
    )
    def test_kind_is_of_the_entry_itself(self, here, tmp_path, kind, bits):
        """A link is a link, whatever it leads to."""
        plant(tmp_path / "entry", kind)
        assert here.kind("entry") == bits
        assert (here.status("entry") is None) == (bits is None)

    def test_size(self, here, tmp_path):
        """Sizes are bytes, and nothing has no size."""
        (tmp_path / "file").write_bytes(b"12345")
        assert here.size("file") == 5
        with pytest.raises(FileNotFoundError):
            here.size("missing")

    def test_link_target(self, here, tmp_path):
        """Only a link has a target."""
        plant(tmp_path / "link", "dangling link")
        plant(tmp_path / "file", "file")
        assert here.link_target("link") == "/no/such/place"
        assert here.link_target("file") is None
        assert here.link_target("missing") is None

    def test_link_target_of_what_cannot_be_looked_at(self, here):
        """Another error than "no link" is passed on."""
        with pytest.raises(OSError, match="too long"):
            here.link_target("x" * 300)


class TestRead:
    def test_content(self, here, tmp_path):
        """A regular file is read whole, up to the very limit."""
        (tmp_path / "file").write_bytes(b"x" * 100)
        assert here.read("file", limit=100) == b"x" * 100

    @pytest.mark.parametrize("size", [FIRST_READ - 1, FIRST_READ, FIRST_READ + 1, 3 * FIRST_READ])
    def test_content_of_more_than_a_look(self, here, tmp_path, size):
        """A file is whole, and too large by a byte too, wherever the first look into it ends."""
        content = os.urandom(size)
        (tmp_path / "file").write_bytes(content)
        assert here.read("file", limit=size) == read_if_present(tmp_path / "file") == content
        with pytest.raises(UnsafePath, match=f"larger than {size - 1} bytes"):
            here.read("file", limit=size - 1)

    def test_a_small_file_costs_little(self, here, tmp_path):
        """What a file may have at most isn't asked for from the system before it is read."""
        (tmp_path / "file").write_bytes(b"x")
        tracemalloc.start()
        try:
            here.read("file", limit=64 * MAILBOX_FILE_LIMIT)
            assert tracemalloc.get_traced_memory()[1] < MAILBOX_FILE_LIMIT
        finally:
            tracemalloc.stop()

    def test_larger_than_the_limit(self, here, tmp_path):
        """Trap A28. A large file is refused, and its size is not read into memory."""
        with (tmp_path / "file").open("wb") as file:
            file.truncate(MAILBOX_FILE_LIMIT * 10_000)
        with pytest.raises(UnsafePath, match="larger than 1048576 bytes"):
            here.read("file")

    @pytest.mark.parametrize("kind", [*ODD, "directory"])
    def test_what_is_no_regular_file_is_refused(self, here, tmp_path, kind):
        """Trap A28. No link is followed, no pipe is waited for, and no descriptor stays open."""
        plant(tmp_path / "message.json", kind)
        with pytest.raises(
            UnsafePath, match=r"message\.json is (a link or a device|not a regular)"
        ):
            here.read("message.json")

    def test_a_file_that_goes_as_it_is_opened(self, here, tmp_path, monkeypatch):
        """No descriptor stays open where a disk on the network takes back what it has just given."""
        (tmp_path / "file").write_bytes(b"x")

        def stale(_descriptor):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fstat", stale)
            with pytest.raises(OSError, match="Stale"):
                here.read("file")

    def test_missing(self, here):
        """A file that isn't there is the system's own error."""
        with pytest.raises(FileNotFoundError):
            here.read("missing")


class TestWrite:
    def test_replaces_whole(self, here, tmp_path):
        """Trap A20. The old file goes and the new one comes in one step; nothing else stays."""
        (tmp_path / "file").write_bytes(b"old")
        with (tmp_path / "file").open("rb") as reader:
            here.write("file", b"new", mode=0o640)
            assert reader.read() == b"old"
        assert (tmp_path / "file").read_bytes() == b"new"
        assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
        assert here.names() == ["file"]

    @pytest.mark.parametrize("kind", [*ODD, "directory"])
    def test_replaces_what_was_planted(self, here, tmp_path, kind):
        """Trap A28. Nothing is written through a link, and no directory can block a file."""
        before = Path("/etc/passwd").read_bytes()
        plant(tmp_path / "file", kind)
        here.write("file", b"new")
        assert (tmp_path / "file").read_bytes() == b"new"
        assert not (tmp_path / "file").is_symlink()
        assert here.names() == ["file"]
        assert Path("/etc/passwd").read_bytes() == before

    def test_a_second_name_of_the_old_file_keeps_its_content(self, here, tmp_path):
        """A hard link that the agent made doesn't get the host's content."""
        (tmp_path / "file").write_bytes(b"old")
        os.link(tmp_path / "file", tmp_path / "second")
        here.write("file", b"new")
        assert (tmp_path / "second").read_bytes() == b"old"

    def test_mode_whatever_the_umask(self, here, tmp_path):
        """The agent is another user, and the host's umask may keep others out."""
        before = os.umask(0o077)
        try:
            here.write("file", b"")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644

    def test_a_name_as_long_as_names_may_be(self, here, tmp_path):
        """The temporary name isn't longer than what the disk takes."""
        name = "x" * 255
        here.write(name, b"new")
        assert (tmp_path / name).read_bytes() == b"new"

    @pytest.mark.parametrize("method", ["write", "create"])
    def test_nothing_stays_when_the_disk_refuses(self, here, tmp_path, method, limited_files):
        """A full disk is an error, the old file is whole, and no temporary one is left."""
        (tmp_path / "file").write_bytes(b"old")
        with limited_files(10), pytest.raises(OSError, match="too large"):
            getattr(here, method)("file", b"x" * 100)
        assert (tmp_path / "file").read_bytes() == b"old"
        assert here.names() == ["file"]

    @root_only
    def test_belongs_to_the_owner(self, tmp_path):
        """What is written for an agent is the agent's."""
        with open_directory(tmp_path, owner=AGENT) as here:
            here.write("file", b"")
            here.link("link", "file")
        assert owner_of(tmp_path / "file") == AGENT
        assert owner_of(tmp_path / "link") == AGENT


class TestCreate:
    def test_writes_once(self, here, tmp_path):
        """The second one is told so, and changes nothing."""
        assert here.create("file", b"first", mode=0o600)
        assert not here.create("file", b"second")
        assert (tmp_path / "file").read_bytes() == b"first"
        assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
        assert here.names() == ["file"]

    @pytest.mark.parametrize("kind", [*ODD, "directory"])
    def test_whatever_is_there_is_left_alone(self, here, tmp_path, kind):
        """A dangling link counts as something that is there."""
        plant(tmp_path / "file", kind)
        before = here.kind("file")
        assert not here.create("file", b"new")
        assert here.kind("file") == before

    def test_one_of_many_wins(self, tmp_path):
        """Of many at once, exactly one writes."""
        barrier, won = threading.Barrier(8), []

        def create(number):
            with open_directory(tmp_path) as directory:
                barrier.wait()
                if directory.create("file", str(number).encode()):
                    won.append(number)

        threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [str(number) for number in won] == [(tmp_path / "file").read_text()]


class TestLock:
    def test_one_at_a_time(self, here, tmp_path):
        """A locked file is nobody else's, in this process either, until it is released."""
        first = here.lock("a")
        assert first is not None
        assert here.lock("a") is None
        other = here.lock("b")
        assert other is not None
        other.release()
        first.release()
        second = here.lock("a")
        assert second is not None
        second.release()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]

    def test_nobody_who_may_only_read_can_lock_it(self, here, tmp_path):
        """Trap A28. It can't be opened for reading, which is all that a read-only mount allows and
        enough for a lock; whatever the umask."""
        before = os.umask(0)
        lock = here.lock("a")
        os.umask(before)
        lock.release()
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o200

    def test_no_child_inherits_it(self, here):
        """A child of ours that lives on holds no lock of ours."""
        lock = here.lock("a")
        assert os.get_inheritable(lock.descriptor) is False
        # As in a child that was forked and has not become its program yet.
        copy = os.dup(lock.descriptor)
        lock.release()
        again = here.lock("a")
        assert again is not None
        again.release()
        os.close(copy)

    @pytest.mark.parametrize("kind", [*ODD, "directory"])
    def test_only_a_regular_file(self, here, tmp_path, kind):
        """Trap A28. Nothing else is locked, followed or waited for."""
        plant(tmp_path / "a", kind)
        with pytest.raises(UnsafePath, match="/a is a link or no regular file"):
            here.lock("a")

    def test_a_pipe_that_is_read(self, here, tmp_path):
        """Trap A28. A pipe that somebody reads can be opened, and is no regular file either."""
        os.mkfifo(tmp_path / "a")
        reader = os.open(tmp_path / "a", os.O_RDONLY | os.O_NONBLOCK)
        with pytest.raises(UnsafePath):
            here.lock("a")
        os.close(reader)

    def test_a_disk_that_refuses(self, tmp_path):
        """What the disk says is what is raised."""
        with open_directory(tmp_path) as here:
            tmp_path.rmdir()
            with pytest.raises(FileNotFoundError):
                here.lock("a")


class TestCopyAndLink:
    def test_copy_has_content_time_and_mode(self, tmp_path):
        """A copy can be told from a changed one by its time and size."""
        (tmp_path / "from").mkdir()
        (tmp_path / "from" / "file").write_bytes(b"content")
        os.utime(tmp_path / "from" / "file", ns=(1, 1_234_567_890_123_456_789))
        with (
            open_directory(tmp_path / "from") as source,
            open_directory(tmp_path / "to", create=True) as target,
        ):
            target.copy("file", source, mode=0o755)
        status = (tmp_path / "to" / "file").stat()
        assert status.st_mtime_ns == 1_234_567_890_123_456_789
        assert stat.S_IMODE(status.st_mode) == 0o755
        assert (tmp_path / "to" / "file").read_bytes() == b"content"

    @pytest.mark.parametrize("kind", ["nothing", *ODD, "directory", "file"])
    def test_link_replaces_whatever_is_there(self, here, tmp_path, kind):
        """A link takes any entry's place."""
        plant(tmp_path / "entry", kind)
        here.link("entry", "target")
        assert here.link_target("entry") == "target"
        assert here.names() == ["entry"]

    def test_link_that_cannot_be_put_in_its_place(self, here):
        """Nothing stays behind when the disk refuses."""
        with pytest.raises(OSError, match="too long"):
            here.link("x" * 300, "target")
        assert here.names() == []


class TestRemove:
    @pytest.mark.parametrize("kind", ["nothing", *ODD, "directory", "file"])
    def test_any_kind(self, here, tmp_path, kind):
        """The entry goes, and what a link leads to stays."""
        (tmp_path / "kept").mkdir()
        (tmp_path / "kept" / "file").write_bytes(b"")
        plant(tmp_path / "entry", kind)
        if kind == "directory":
            (tmp_path / "entry" / "below" / "link").symlink_to(tmp_path / "kept")
        here.remove("entry")
        assert here.names() == ["kept"]
        assert (tmp_path / "kept" / "file").exists()

    @pytest.mark.parametrize(
        ("kind", "left"),
        [
            ("nothing", []),
            ("link to a directory", []),
            ("file", []),
            ("directory", ["entry"]),
        ],
    )
    def test_no_directory_in_use(self, here, tmp_path, kind, left):
        """A directory that holds something stays, an empty one and all else goes."""
        plant(tmp_path / "entry", kind)
        (tmp_path / "empty").mkdir()
        here.remove_file_or_empty("entry")
        here.remove_file_or_empty("empty")
        assert here.names() == left

    @pytest.mark.parametrize(
        ("kind", "cleared"),
        [("nothing", False), ("directory", False), *((kind, True) for kind in (*ODD, "file"))],
    )
    def test_clear_way(self, here, tmp_path, kind, cleared):
        """What isn't a directory makes room for one."""
        plant(tmp_path / "entry", kind)
        assert here.clear_way("entry") is cleared
        with here.child("entry", create=True):
            pass


class TestGiveAway:
    @root_only
    def test_whole_tree_and_no_link_followed(self, tmp_path):
        """Everything below is the agent's, and nothing that a link leads to."""
        outside = tmp_path / "outside"
        outside.write_bytes(b"")
        tree = tmp_path / "tree"
        for name in ("b", "c"):
            (tree / "a" / name / "deep").mkdir(parents=True)
        (tree / "d").mkdir()
        (tree / "a" / "file").write_bytes(b"")
        (tree / "a" / "link").symlink_to(outside)
        (tree / "directory link").symlink_to(tmp_path)
        with open_directory(tree, owner=AGENT) as directory:
            assert not directory.belongs_to_owner()
            directory.give_away_tree()
            assert directory.belongs_to_owner()
        assert {owner_of(path) for path in (tree, *tree.rglob("*"))} == {AGENT}
        assert owner_of(outside) != AGENT
        assert owner_of(tmp_path) != AGENT

    def test_without_owner(self, here, tmp_path):
        """Without an owner nothing changes hands, and all belongs to whom it should."""
        (tmp_path / "file").write_bytes(b"")
        before = owner_of(tmp_path / "file")
        here.give_away_tree()
        assert here.belongs_to_owner()
        assert owner_of(tmp_path / "file") == before


class TestHostsOwn:
    def test_open_directory_makes_parents_and_follows_links(self, tmp_path):
        """For the host's own paths: links are followed, and the mode is the last one's."""
        with open_directory(tmp_path / "a" / "b", create=True, mode=0o700) as made:
            made.write("file", b"x")
        (tmp_path / "link").symlink_to("a")
        with open_directory(tmp_path / "link" / "b") as directory:
            assert directory.names() == ["file"]
        assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) & 0o077

    def test_open_directory_that_is_missing(self, tmp_path):
        """Nothing is made unless asked for."""
        with pytest.raises(FileNotFoundError), open_directory(tmp_path / "a"):
            pass
        assert not (tmp_path / "a").exists()

    def test_read_if_present(self, tmp_path):
        """A missing file is None, a link is followed, a large one an error."""
        assert read_if_present(tmp_path / "file") is None
        (tmp_path / "file").write_bytes(b"12345")
        (tmp_path / "link").symlink_to("file")
        assert read_if_present(tmp_path / "link", limit=5) == b"12345"
        with pytest.raises(OSError, match="larger than 4 bytes"):
            read_if_present(tmp_path / "file", limit=4)

    def test_read_if_present_waits_for_no_pipe(self, tmp_path):
        """What may never come isn't waited for, also where a link leads there."""
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "link").symlink_to("pipe")
        with pytest.raises(OSError, match="a pipe"):
            read_if_present(tmp_path / "link")

    @pytest.mark.parametrize(
        ("path", "follow", "kind"),
        [
            ("file", True, stat.S_IFREG),
            ("link", True, stat.S_IFREG),
            ("link", False, stat.S_IFLNK),
            ("dangling", True, None),
            ("dangling", False, stat.S_IFLNK),
            ("missing", True, None),
            ("file/below", True, None),
            (".", True, stat.S_IFDIR),
        ],
    )
    def test_kind_of(self, tmp_path, path, follow, kind):
        """Links are followed where asked, and what isn't there has no kind."""
        (tmp_path / "file").write_bytes(b"")
        (tmp_path / "link").symlink_to("file")
        (tmp_path / "dangling").symlink_to("missing")
        assert kind_of(tmp_path / path, follow=follow) == kind

    def test_real_path(self, tmp_path):
        """Links are resolved, and strictly what isn't there is an error."""
        (tmp_path / "link").symlink_to("there")
        assert real_path(tmp_path / "link") == real_path(tmp_path) / "there"
        with pytest.raises(FileNotFoundError):
            real_path(tmp_path / "link", strict=True)


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("link to a directory", Path("/etc")),
        ("dangling link", Path("/no/such/place")),
        ("file", None),
        ("directory", None),
        ("nothing", None),
    ],
)
def test_link_target(tmp_path, kind, target):
    """A link says where it points to, whether there is anything or not; all else says nothing."""
    plant(tmp_path / "a", kind)
    assert link_target(tmp_path / "a") == target


def test_directory_says_where_it_is(tmp_path):
    """The repr of a directory has its path."""
    with open_directory(tmp_path) as directory:
        assert isinstance(directory, Directory)
        assert str(tmp_path) in repr(directory)


def test_the_mode_of_a_socket(tmp_path):
    """What the host made and can't give a mode as it makes it gets one afterwards."""
    plant(tmp_path / "socket", "socket")
    with open_directory(tmp_path) as directory:
        directory.set_mode("socket", 0o600)
        assert stat.S_IMODE(directory.status("socket").st_mode) == 0o600
