"""The host's reading side of a mailbox that an agent has in its hands."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nanoclaw_trio.descriptors import LOOK_LIMIT
from nanoclaw_trio.errors import UnsafePath
from nanoclaw_trio.files import MAILBOX_FILE_LIMIT, open_directory
from nanoclaw_trio.mailbox.reader import (
    InvalidRequest,
    Pending,
    RequestReader,
    has_requests,
    request_files,
)
from nanoclaw_trio.mailbox.requests import PauseTask, SendMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MESSAGE = json.dumps({"type": "message", "chatJid": "a@chat", "text": "hi"})

pytestmark = pytest.mark.usefixtures("_no_descriptor_left")


def names_in(directory: Path) -> list[str]:
    """The names of all entries, sorted."""
    return sorted(entry.name for entry in directory.iterdir())


@pytest.fixture
def messages(ipc_dir: Path) -> Path:
    """Where the agent says things, made; tasks/ is beside it."""
    (ipc_dir / "tasks").mkdir(parents=True)
    directory = ipc_dir / "messages"
    directory.mkdir()
    return directory


@pytest.fixture
def reader(ipc_dir: Path) -> RequestReader:
    """The host's reading side of it."""
    return RequestReader(ipc_dir)


def test_mailbox_that_is_not_there_is_empty(reader: RequestReader, ipc_dir: Path) -> None:
    """Before a group's first run nothing waits, and nothing is made."""
    assert reader.pending(10) == Pending(names=())
    ipc_dir.mkdir(parents=True)
    assert reader.pending(10) == Pending(names=())
    assert list(ipc_dir.iterdir()) == []


def test_messages_come_first_and_in_the_order_of_names(
    reader: RequestReader, messages: Path
) -> None:
    """The names have their directory before them; what doesn't end in .json is left alone."""
    for name in ("2.json", "1.json", "10.json", "3.json.tmp", ".json.tmp", "readme", "4.JSON"):
        (messages / name).touch()
    (messages.parent / "tasks" / "0.json").touch()
    assert reader.pending(10) == Pending(
        names=("messages/1.json", "messages/10.json", "messages/2.json", "tasks/0.json")
    )


def test_no_more_than_the_limit_of_each_directory(reader: RequestReader, messages: Path) -> None:
    """A flood in one directory doesn't keep what is in the other waiting."""
    for number in range(10_000):
        (messages / f"{number:05}.json").touch()
    (messages.parent / "tasks" / "a.json").touch()
    assert reader.pending(2) == Pending(
        names=("messages/00000.json", "messages/00001.json", "tasks/a.json"), has_more=True
    )


def test_as_many_as_the_limit_are_all(reader: RequestReader, messages: Path) -> None:
    """Exactly as many as are taken leave no others behind."""
    (messages / "1.json").touch()
    assert not reader.pending(1).has_more


def test_request_is_read_by_its_directory(reader: RequestReader, messages: Path) -> None:
    """What a file may hold depends on where it lies."""
    (messages / "1.json").write_text(MESSAGE)
    (messages.parent / "tasks" / "1.json").write_text('{"type":"pause_task","taskId":"t"}')
    assert reader.read("messages/1.json") == SendMessage(chat_jid="a@chat", text="hi")
    assert reader.read("tasks/1.json") == PauseTask(task_id="t")


@pytest.mark.parametrize("name", ["messages/1.json", "elsewhere/1.json"])
@pytest.mark.usefixtures("messages")
def test_what_has_vanished_is_none(reader: RequestReader, name: str) -> None:
    """What the agent deleted meanwhile, with its directory or without, is no error."""
    assert reader.read(name) is None
    reader.remove(name)
    reader.set_aside(name, "gone")
    assert reader.gone([name]) == (name,)


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    # A socket's name in the file system is bound by a path of a hundred bytes at most.
    here = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def make_directory(path: Path) -> None:
    path.mkdir()
    (path / "below").write_text(MESSAGE)


def make_link(path: Path) -> None:
    target = path.parent.parent.parent / "host-file"
    target.write_text(MESSAGE)
    path.symlink_to(target)


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_large(path: Path) -> None:
    path.write_bytes(b" " * (2 * MAILBOX_FILE_LIMIT))


def make_sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 64 * 1024**3)


def make_broken(path: Path) -> None:
    path.write_text('{"type":"message","text":"canary"}')


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (make_fifo, "not a regular file"),
        (make_socket, "a link or a device"),
        (make_directory, "not a regular file"),
        (make_link, "a link or a device"),
        (make_loop, "a link or a device"),
        (make_large, f"larger than {MAILBOX_FILE_LIMIT} bytes"),
        (make_sparse, f"larger than {MAILBOX_FILE_LIMIT} bytes"),
        (make_broken, "required field missing @ $.chatJid"),
    ],
)
def test_what_is_no_request_is_set_aside_and_not_followed(
    reader: RequestReader,
    messages: Path,
    errors_dir: Path,
    make: Callable[[Path], None],
    problem: str,
) -> None:
    """Whatever lies under a request's name and isn't one is named and moved, without waiting for
    it, reading it whole or following it. Trap A28."""
    make(messages / "1.json")
    with pytest.raises(InvalidRequest) as caught:
        reader.read("messages/1.json")
    assert problem in str(caught.value)
    assert "canary" not in str(caught.value)
    reader.set_aside("messages/1.json", str(caught.value))
    assert names_in(messages) == []
    assert names_in(errors_dir) == ["family-1.json"]


@contextmanager
def without_privileges() -> Iterator[Path]:
    """A directory of our own, and none of root's ways around modes."""
    place = Path(tempfile.mkdtemp())
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(place, 1000, 1000)
        os.seteuid(1000)
    try:
        yield place
    finally:
        if is_root:
            os.seteuid(0)
        shutil.rmtree(place)


def test_file_that_can_not_be_read_is_set_aside() -> None:
    """An agent that takes the host's access to a file away can't keep it in the queue by that."""
    with without_privileges() as place:
        messages = place / "ipc" / "family" / "messages"
        messages.mkdir(parents=True)
        (messages / "1.json").write_text(MESSAGE)
        (messages / "1.json").chmod(0)
        reader = RequestReader(messages.parent)
        with pytest.raises(InvalidRequest, match="not readable"):
            reader.read("messages/1.json")
        reader.set_aside("messages/1.json", "not readable")
        assert names_in(place / "ipc" / "errors") == ["family-1.json"]


def test_mailbox_of_another_user_is_no_fault_of_a_request() -> None:
    """Where the host may not look at all, it says so, and takes no request for a broken one."""
    with without_privileges() as place:
        (place / "ipc").mkdir()
        (place / "ipc").chmod(0)
        with pytest.raises(PermissionError):
            RequestReader(place / "ipc" / "family").read("messages/1.json")
        (place / "ipc").chmod(0o755)


@pytest.mark.parametrize(
    "name",
    ["a\nb\x1b[2J.json", "x" * 250 + ".json", "é" * 125 + ".json", "..json", ".json", " .json"],
)
def test_any_name_of_utf8_is_read(reader: RequestReader, messages: Path, name: str) -> None:
    """Control characters and 255 bytes are a name like any other."""
    (messages / name).write_text(MESSAGE)
    (found,) = reader.pending(10).names
    assert found == f"messages/{name}"
    assert isinstance(reader.read(found), SendMessage)
    reader.remove(found)
    assert reader.gone([found]) == (found,)


def test_name_that_is_not_utf8_is_set_aside(
    reader: RequestReader, messages: Path, errors_dir: Path
) -> None:
    """The store could not know such a file by its name."""
    try:
        (messages / os.fsdecode(b"\xff.json")).write_text(MESSAGE)
    except OSError:
        pytest.skip("this file system refuses such a name")
    (found,) = reader.pending(10).names
    with pytest.raises(InvalidRequest, match="isn't UTF-8"):
        reader.read(found)
    reader.set_aside(found, "isn't UTF-8")
    assert names_in(errors_dir) == [os.fsdecode(b"family-\xff.json")]


@pytest.mark.parametrize("kind", ["link", "file", "dangling link"])
def test_what_replaces_a_directory_is_set_aside(
    reader: RequestReader, messages: Path, errors_dir: Path, tmp_path: Path, kind: str
) -> None:
    """A link in the place of messages/ is moved as what it is, and nothing behind it is read or
    deleted. Trap A28."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "1.json").write_text(MESSAGE)
    messages.rmdir()
    if kind == "file":
        messages.write_text(MESSAGE)
    else:
        messages.symlink_to(outside if kind == "link" else tmp_path / "nowhere")
    (messages.parent / "tasks" / "1.json").touch()
    assert reader.pending(10).names == ("messages", "tasks/1.json")
    with pytest.raises(InvalidRequest, match="a link or no directory"):
        reader.read("messages")
    reader.set_aside("messages", "a link or no directory")
    assert reader.pending(10).names == ("tasks/1.json",)
    assert names_in(errors_dir) == ["family-messages"]
    assert names_in(outside) == ["1.json"]


def test_directory_that_is_in_order_again_stays(reader: RequestReader, messages: Path) -> None:
    """What was found in a directory's place may be gone by the time it is looked at."""
    assert reader.read("messages") is None
    messages.rmdir()
    assert reader.read("messages") is None


@pytest.mark.parametrize("name", ["messages/1.json", "messages"])
def test_link_in_the_place_of_the_mailbox_is_not_followed(
    reader: RequestReader, ipc_dir: Path, tmp_path: Path, name: str
) -> None:
    """The group's own directory is the host's: a link there is an error, and nothing is touched."""
    outside = tmp_path / "outside"
    (outside / "messages").mkdir(parents=True)
    (outside / "messages" / "1.json").write_text(MESSAGE)
    ipc_dir.parent.mkdir(parents=True)
    ipc_dir.symlink_to(outside)
    for act in (reader.read, reader.remove, lambda name: reader.gone([name])):
        with pytest.raises(UnsafePath):
            act(name)
    with pytest.raises(UnsafePath):
        reader.pending(10)
    assert (outside / "messages" / "1.json").read_text() == MESSAGE


def test_a_flood_is_not_walked_through(reader: RequestReader, messages: Path) -> None:
    """Of a directory with any number of files a bounded part is looked at, and that in order."""
    for number in range(LOOK_LIMIT + 100):
        (messages / f"{number:06}.json").touch()
    found = reader.pending(LOOK_LIMIT + 100)
    assert len(found.names) == LOOK_LIMIT
    assert list(found.names) == sorted(found.names)
    while found.names:
        for name in found.names:
            reader.remove(name)
        found = reader.pending(LOOK_LIMIT)
    assert names_in(messages) == []


def test_a_request_that_the_disk_keeps(
    reader: RequestReader, messages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that can't be removed is no directory, and the disk's error is told."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "refused")

    (messages / "1.json").touch()
    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(PermissionError, match="refused"):
        reader.remove("messages/1.json")


def test_a_request_that_became_a_directory(
    reader: RequestReader, messages: Path, errors_dir: Path
) -> None:
    """Its agent may fill it as quickly as it is emptied: it is set aside, and not removed."""
    (messages / "1.json").mkdir()
    (messages / "1.json" / "below").touch()
    reader.remove("messages/1.json")
    assert not (messages / "1.json").exists()
    assert (errors_dir / "family-1.json" / "below").exists()


def test_whether_there_are_requests(messages: Path) -> None:
    """It is told of any number of files, and of a directory that is missing, by a look at some."""
    with open_directory(messages.parent) as mailbox:
        (messages / "1.tmp").touch()
        assert not has_requests(mailbox, "messages")
        (messages / "1.json").touch()
        assert has_requests(mailbox, "messages")
        assert not has_requests(mailbox, "missing")
        assert request_files(mailbox, "messages") == ["1.json"]


def test_some_names(messages: Path) -> None:
    """A directory gives no more names than are wanted, and as many again when it is asked again."""
    for number in range(5):
        (messages / f"{number}.json").touch()
    with open_directory(messages) as directory:
        for _ in range(2):
            some = list(directory.some_names(3))
            assert len(some) == 3
            assert set(some) < set(directory.names())
        assert sorted(directory.some_names(9)) == directory.names()
        assert directory.names_within(9) == directory.names()
        assert len(directory.names_within(3)) == 3
