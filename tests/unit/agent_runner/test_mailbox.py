"""The agent's side of the mailbox, with everything that may lie in it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_agent.changes import POLL_INTERVAL, SWEEP_INTERVAL, Changes
from nanoclaw_agent.mailbox import (
    LARGEST_FOLLOW_UP,
    FollowUp,
    InvalidFollowUp,
    Mailbox,
    open_mailbox,
    parse_follow_up,
)

reproducible = settings(derandomize=True, deadline=None)

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs inotify")

GUARD = 60


def _message(text: object) -> bytes:
    return json.dumps({"type": "message", "text": text}).encode()


async def next_text(box: Mailbox) -> str:
    """The text of the next follow-up."""
    return (await box.next_follow_up()).text


def texts(box: Mailbox) -> list[str]:
    """The texts of all that are there."""
    return [follow_up.text for follow_up in box.take_follow_ups()]


async def test_follow_ups_come_in_the_order_of_their_names(mailbox, send, close):
    """Names decide the order, whatever order they were written in, and come along (Trap A21)."""
    names = ["01.json", "02.json", "10.json"]
    for name in reversed(names):
        send(name, f"in {name}")
    box = Mailbox(mailbox, Changes())
    taken = [await box.next_follow_up() for _ in names]
    assert taken == [FollowUp(name=name, text=f"in {name}") for name in names]
    close()
    assert await box.next_follow_up() is None
    assert list(mailbox.iterdir()) == []


async def test_a_close_in_the_midst_of_a_look(mailbox, send, close, monkeypatch):
    """So does one that is written behind `_close` while the agent looks (Trap A22)."""
    box = Mailbox(mailbox, Changes())
    look = box._names

    def look_late():
        close()
        send("01.json", "too late")
        return look()

    monkeypatch.setattr(box, "_names", look_late)
    assert await box.next_follow_up() is None
    assert [path.name for path in mailbox.iterdir()] == ["01.json"]


async def test_close_leaves_untaken_follow_ups_to_the_host(mailbox, send, close):
    """A follow-up beside `_close` stays where it is: the next run's (Trap A22)."""
    send("1.json", "late")
    close()
    assert await Mailbox(mailbox, Changes()).next_follow_up() is None
    assert [path.name for path in mailbox.iterdir()] == ["1.json"]


async def test_waiting_costs_no_more_than_a_poll(mailbox, send, autojump_clock):
    """A follow-up that arrives while the agent waits is taken at the next look."""
    box = Mailbox(mailbox, Changes())
    with trio.move_on_after(60) as scope:
        await box.next_follow_up()
    assert scope.cancelled_caught
    send("1.json", "after a minute")
    started = trio.current_time()
    assert await next_text(box) == "after a minute"
    assert trio.current_time() == started


async def test_change_that_is_told_ends_the_waiting(mailbox, send, autojump_clock):
    """A follow-up that is told of is taken before the next look is due, and telling goes on."""
    changes = Changes()
    changes.begin()
    box = Mailbox(mailbox, changes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_later, send, changes.tell)
        assert await next_text(box) == "later"
    assert trio.current_time() == 0.1
    assert changes._interval == SWEEP_INTERVAL


async def test_change_that_is_missed_ends_the_trust(mailbox, send, autojump_clock):
    """A follow-up that isn't told of is found at the next look; from then on looks are frequent."""
    changes = Changes()
    changes.begin()
    box = Mailbox(mailbox, changes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_later, send, lambda: None)
        assert await next_text(box) == "later"
    assert trio.current_time() == SWEEP_INTERVAL
    assert changes._interval == POLL_INTERVAL


async def _send_later(send, tell):
    await trio.sleep(0.1)
    send("1.json", "later")
    tell()


async def test_cancelled_request_loses_nothing(mailbox, send, autojump_clock):
    """Cancelled at any instant, a request either has taken nothing or gives what it took."""
    changes = Changes()
    box = Mailbox(mailbox, changes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.next_follow_up)
        await trio.testing.wait_all_tasks_blocked()
        # The waiting ends and is cancelled in the same instant.
        send("1.json", "kept")
        changes.tell()
        nursery.cancel_scope.cancel()
    assert await next_text(box) == "kept"


@linux
async def test_kernel_tells_the_mailbox(mailbox, send, close):
    """In a directory that is watched, follow-ups and the request to close come all the same."""
    with trio.fail_after(GUARD):
        async with open_mailbox(mailbox) as box:
            while not await box._changes.wait():
                pass
            send("1.json", "one")
            while not await box._changes.wait():
                pass
            assert await next_text(box) == "one"
            close()
            assert await box.next_follow_up() is None


async def test_directory_that_comes_later_is_found(tmp_path, mailbox, send):
    """A mailbox that isn't there at first is polled until it is."""
    mailbox.rmdir()
    with trio.fail_after(GUARD):
        async with open_mailbox(mailbox) as box, trio.open_nursery() as nursery:
            nursery.start_soon(_make_later, mailbox, send)
            assert await next_text(box) == "made"


async def _make_later(mailbox, send):
    await trio.testing.wait_all_tasks_blocked()
    mailbox.mkdir()
    send("1.json", "made")


async def test_directory_that_is_replaced_is_found(tmp_path, mailbox, send):
    """A mailbox in whose place another directory comes is looked into, told of or not."""
    with trio.fail_after(GUARD):
        async with open_mailbox(mailbox) as box:
            send("1.json", "old")
            assert await next_text(box) == "old"
            mailbox.rename(tmp_path / "elsewhere")
            mailbox.mkdir()
            for number in range(3):
                send("1.json", f"new {number}")
                assert await next_text(box) == f"new {number}"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b"1" * 10_000,
        b"[]",
        b"null",
        b'{"text":"no type"}',
        b'{"type":"other","text":"x"}',
        b'{"type":"message"}',
        _message(None),
        _message(""),
        _message(["x"]),
    ],
)
def test_file_that_is_no_follow_up_is_dropped(mailbox, caplog, data):
    """What can't be parsed is logged and deleted, and the next one is taken."""
    (mailbox / "1.json").write_bytes(data)
    (mailbox / "2.json").write_bytes(_message("good"))
    assert texts(Mailbox(mailbox, Changes())) == ["good"]
    assert list(mailbox.iterdir()) == []
    assert [record.args[0] for record in caplog.records] == ["1.json"]


def _make_large_file(path):
    with path.open("wb") as file:
        file.truncate(LARGEST_FOLLOW_UP + 1)


def _make_link(path):
    target = path.parent.parent / "target"
    target.write_bytes(_message("behind a link"))
    path.symlink_to(target)


def _make_socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


HOSTILE = [
    _make_large_file,
    _make_link,
    _make_socket,
    os.mkfifo,
    lambda path: path.symlink_to("nowhere"),
]


@pytest.mark.parametrize("make", HOSTILE)
def test_hostile_file_is_dropped(mailbox, caplog, make):
    """A large file, a link, a socket or a pipe is neither read nor waited for. Trap A28."""
    make(mailbox / "1.json")
    (mailbox / "2.json").write_bytes(_message("good"))
    assert texts(Mailbox(mailbox, Changes())) == ["good"]
    assert list(mailbox.iterdir()) == []
    assert "'1.json' was dropped" in caplog.text


async def test_undeletable_entry_is_met_once(mailbox, caplog, close):
    """A directory named like a follow-up can't be deleted: it is logged, then passed over."""
    (mailbox / "1.json").mkdir()
    box = Mailbox(mailbox, Changes())
    assert list(box.take_follow_ups()) == []
    logged = len(caplog.records)
    assert logged == 2
    assert list(box.take_follow_ups()) == []
    assert len(caplog.records) == logged
    close()
    assert await box.next_follow_up() is None


async def test_close_that_can_not_be_deleted_still_closes(mailbox, caplog):
    """Whatever has the name `_close` ends the session."""
    (mailbox / "_close").mkdir()
    assert await Mailbox(mailbox, Changes()).next_follow_up() is None
    assert "'_close' in the mailbox can't be deleted" in caplog.text


def test_file_that_vanishes_is_no_error(mailbox, send, caplog):
    """A file that somebody else takes between the listing and the reading was never there."""
    send("1.json", "one")
    send("2.json", "two")
    follow_ups = Mailbox(mailbox, Changes()).take_follow_ups()
    assert next(follow_ups).text == "one"
    (mailbox / "2.json").unlink()
    assert list(follow_ups) == []
    assert caplog.records == []


def test_other_names_are_left_alone(mailbox):
    """A file that is still being written has another ending and isn't touched. Trap A20."""
    (mailbox / "1.json.tmp").write_bytes(_message("half"))
    assert list(Mailbox(mailbox, Changes()).take_follow_ups()) == []
    assert [path.name for path in mailbox.iterdir()] == ["1.json.tmp"]


@reproducible
@given(st.text(min_size=1))
def test_any_text_is_taken_as_it_is(text):
    """A follow-up's text arrives unchanged."""
    assert parse_follow_up(_message(text)) == text


@reproducible
@given(st.binary())
def test_no_bytes_make_another_error(data):
    """Whatever a file holds, it is a follow-up or an InvalidFollowUp."""
    with contextlib.suppress(InvalidFollowUp):
        parse_follow_up(data)
