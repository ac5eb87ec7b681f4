"""The mailbox's files, from the agent's side."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
from datetime import timedelta

import pytest

from nanoclaw_agent.chat_tools.ipc import LARGEST_SNAPSHOT, RequestWriter, read_snapshot
from nanoclaw_agent.chat_tools.tasks import InvalidSnapshot


def test_request_is_written_whole(ipc, now):
    """The directory is made, the file has its content, and nothing else is left. Trap A20."""
    path = RequestWriter(ipc, lambda: now).write("messages", b"{}")
    assert path.read_bytes() == b"{}"
    assert list(ipc.iterdir()) == [ipc / "messages"]
    assert list((ipc / "messages").iterdir()) == [path]
    assert re.fullmatch(r"1769956200123-000001-[0-9a-f]{8}\.json", path.name)


def test_names_sort_in_the_order_of_writing(ipc, now):
    """Within a millisecond, over many, and after the clock was set back. Trap A21."""
    moments = [now, now, now + timedelta(seconds=5), now - timedelta(hours=1)]
    moments += [now + timedelta(minutes=1)] * 20
    times = iter(moments)
    writer = RequestWriter(ipc, lambda: next(times))
    paths = [writer.write("tasks", b"{}") for _ in moments]
    assert sorted(paths) == paths
    assert sorted((ipc / "tasks").iterdir()) == paths


def test_two_writers_never_meet(ipc, now):
    """Names of two writers in one millisecond differ."""
    paths = {RequestWriter(ipc, lambda: now).write("tasks", b"{}") for _ in range(50)}
    assert len(paths) == 50


def test_no_half_file_remains(ipc, now, limited_files):
    """When the disk takes a part only, the part is removed and the error goes on."""
    writer = RequestWriter(ipc, lambda: now)
    with pytest.raises(OSError) as caught, limited_files(4096):
        writer.write("messages", b"x" * 100_000)
    assert caught.value.errno == errno.EFBIG
    assert list((ipc / "messages").iterdir()) == []


def test_directory_that_is_a_file_is_an_error(ipc, now):
    """A mailbox of another shape is an OSError, and is left as it is."""
    ipc.mkdir()
    (ipc / "messages").write_text("mine")
    with pytest.raises(FileExistsError):
        RequestWriter(ipc, lambda: now).write("messages", b"{}")
    assert (ipc / "messages").read_text() == "mine"


def test_snapshot_is_read(ipc, put_snapshot, make_task):
    """The host's list of tasks arrives in its order."""
    put_snapshot(make_task(id="b"), make_task(id="a"))
    assert [task.id for task in read_snapshot(ipc)] == ["b", "a"]


def test_missing_snapshot(ipc):
    """A host that wrote none is said to have written none."""
    with pytest.raises(InvalidSnapshot, match="the host has written none"):
        read_snapshot(ipc)


def _make_link(path):
    target = path.parent / "target.json"
    target.write_text("[]")
    path.symlink_to(target)


def _make_socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _make_large_file(path):
    with path.open("wb") as file:
        file.truncate(LARGEST_SNAPSHOT + 1)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (_make_link, os.strerror(errno.ELOOP)),
        (_make_socket, "it can't be read"),
        (os.mkfifo, "it is no regular file"),
        (os.mkdir, "it can't be read"),
        (_make_large_file, f"it has more than {LARGEST_SNAPSHOT} bytes"),
        (lambda path: path.write_text("{}"), "it isn't an array"),
    ],
)
def test_hostile_snapshot_is_not_read(ipc, make, problem):
    """A link, a socket, a pipe, a directory or a huge file is neither read nor waited for.
    Trap A28."""
    ipc.mkdir()
    make(ipc / "current_tasks.json")
    with pytest.raises(InvalidSnapshot, match=re.escape(problem)):
        read_snapshot(ipc)


def test_what_is_written_is_what_a_reader_sees(ipc, now):
    """Bytes arrive as they are."""
    data = json.dumps({"text": "ä\n"}).encode()
    assert RequestWriter(ipc, lambda: now).write("tasks", data).read_bytes() == data
