"""Follow-ups and their closing: one door, and what comes back through it."""

from __future__ import annotations

import pytest
import trio

from nanoclaw_trio.errors import InputError, MailboxUnwritable, RunClosing, UnsafePath
from nanoclaw_trio.mailbox.writer import Mailbox
from nanoclaw_trio.run.follow_ups import FollowUps


@pytest.fixture
def inbox(tmp_path):
    """Where the agent finds its follow-ups."""
    directory = tmp_path / "ipc" / "family" / "input"
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def follow_ups(inbox):
    """A run's follow-ups."""
    return FollowUps(Mailbox(inbox.parent), "c1")


async def take_back(follow_ups):
    """What a run does at its end; what is undelivered."""
    await follow_ups.shut(bound=1)
    await trio.to_thread.run_sync(follow_ups.take_back)
    follow_ups.leave()
    return follow_ups.undelivered


def names(inbox):
    """What is in the agent's inbox."""
    return sorted(path.name for path in inbox.iterdir())


async def test_what_was_sent_is_taken_back(virtual_clock, follow_ups):
    """Trap A22. What no agent took comes back once, in the order it was sent."""
    for text in ("one", "two", "three"):
        await follow_ups.send(text)
    assert await take_back(follow_ups) == ("one", "two", "three")
    assert follow_ups.undelivered == ("one", "two", "three")


async def test_what_was_taken_does_not_come_back(virtual_clock, follow_ups, inbox):
    """Trap A22. What the agent took is its own."""
    first = await follow_ups.send("one")
    await follow_ups.send("two")
    (inbox / first).unlink()
    assert await take_back(follow_ups) == ("two",)


async def test_what_is_pending_has_the_names_it_was_sent_by(virtual_clock, follow_ups, inbox):
    """A follow-up's file gets the name that its sender wrote down, until the agent takes it."""
    written_down = follow_ups.new_name()
    assert await follow_ups.pending() == ()
    assert await follow_ups.send("one", written_down) == written_down
    second = await follow_ups.send("two")
    await follow_ups.close()
    assert await follow_ups.pending() == (written_down, second)
    (inbox / written_down).unlink()
    assert await follow_ups.pending() == (second,)


async def test_nothing_is_written_behind_close(virtual_clock, follow_ups, inbox):
    """Trap A22. After `_close` a follow-up is refused, and `_close` is written once."""
    await follow_ups.send("one")
    await follow_ups.close()
    assert follow_ups.closing
    (inbox / "_close").unlink()
    await follow_ups.close()
    with pytest.raises(RunClosing, match="c1"):
        await follow_ups.send("two")
    assert len(names(inbox)) == 1


async def test_close_again(virtual_clock, follow_ups, inbox):
    """Trap A22. An agent that deleted `_close` at its start is asked once more, but not after the
    end."""
    await follow_ups.close()
    (inbox / "_close").unlink()
    await follow_ups.close(again=True)
    assert names(inbox) == ["_close"]
    await take_back(follow_ups)
    await follow_ups.close(again=True)
    assert names(inbox) == []


async def test_nothing_is_written_after_the_end(virtual_clock, follow_ups, inbox):
    """Trap A22. Once they were taken back, neither a follow-up nor `_close` is written."""
    await take_back(follow_ups)
    await follow_ups.close()
    with pytest.raises(RunClosing):
        await follow_ups.send("late")
    assert names(inbox) == []


async def test_sending_while_it_closes(virtual_clock, follow_ups, inbox):
    """Trap A22. Of a follow-up and a close at one time, the follow-up is first or is refused."""
    sent, refused = [], []

    async def send(text):
        try:
            sent.append(await follow_ups.send(text))
        except RunClosing:
            refused.append(text)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(send, f"before {number}")
        nursery.start_soon(follow_ups.close)
        for number in range(5):
            nursery.start_soon(send, f"after {number}")
    assert len(sent) + len(refused) == 10
    assert names(inbox) == sorted([*sent, "_close"])


async def test_a_text_that_is_none(virtual_clock, follow_ups, inbox):
    """A text that can't be sent is the caller's fault, and changes nothing."""
    with pytest.raises(InputError):
        await follow_ups.send("")
    assert not follow_ups.closing
    assert names(inbox) == []


@pytest.mark.parametrize("turns", range(4))
async def test_a_close_that_was_cancelled(
    virtual_clock, follow_ups, inbox, wait_for_threads, turns
):
    """Cancelled at any moment, nothing is sent behind a `_close` that may be there; asked again, it
    is there."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow_ups.close)
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert follow_ups.closing or names(inbox) == []
    await follow_ups.close()
    await wait_for_threads()
    assert names(inbox) == ["_close"]


async def test_a_close_that_failed(virtual_clock, follow_ups, inbox):
    """Where `_close` can't be written the caller is told, and may try again."""
    inbox.rmdir()
    inbox.symlink_to("/etc")
    with pytest.raises(UnsafePath):
        await follow_ups.close()
    assert not follow_ups.closing
    inbox.unlink()
    await follow_ups.close()
    assert names(inbox) == ["_close"]


@pytest.mark.parametrize("obstacle", ["a link", "no room"])
async def test_a_mailbox_that_cannot_be_written(virtual_clock, follow_ups, inbox, obstacle):
    """Trap A28. The sender is told so in a way he can act on, and it is no end of anything."""
    inbox.rmdir()
    if obstacle == "a link":
        inbox.symlink_to("/etc")
    else:
        inbox.parent.rmdir()
        inbox.parent.parent.rmdir()
        inbox.parent.parent.write_text("no directory")
    with pytest.raises(MailboxUnwritable, match="c1"):
        await follow_ups.send("one")
    with pytest.raises(MailboxUnwritable, match="c1"):
        await follow_ups.pending()
    assert not follow_ups.closing


async def test_taking_back_before_the_end(virtual_clock, follow_ups, inbox):
    """Trap A22. As long as somebody may write, nothing is taken."""
    await follow_ups.send("one")
    follow_ups.take_back()
    assert len(names(inbox)) == 1


async def test_who_stopped_waiting_gets_nothing_more(virtual_clock, follow_ups, inbox, capsys):
    """Trap A22. What was not taken by then stays where the next run finds it, and that is said."""
    await follow_ups.send("one")
    await follow_ups.shut(bound=1)
    follow_ups.leave()
    follow_ups.take_back()
    assert follow_ups.undelivered == ()
    assert len(names(inbox)) == 1
    assert "the disk doesn't answer; the next run has what is left" in capsys.readouterr().err


async def test_leftovers_before_a_task(virtual_clock, follow_ups, inbox):
    """Trap A22. What an earlier run left is taken back, for the chat, and a left `_close` goes."""
    (inbox / "_close").touch()
    (inbox / "0000000000001-000000.json").write_text('{"type":"message","text":"left"}')
    await follow_ups.take_leftovers()
    assert names(inbox) == []
    await follow_ups.send("new")
    assert await take_back(follow_ups) == ("left", "new")


async def test_they_cannot_be_taken_back(virtual_clock, follow_ups, inbox, capsys):
    """A mailbox that was tampered with is logged, and what came back before isn't lost."""
    (inbox / "0000000000001-000000.json").write_text('{"type":"message","text":"left"}')
    await follow_ups.take_leftovers()
    inbox.rmdir()
    inbox.symlink_to("/etc")
    assert await take_back(follow_ups) == ("left",)
    logged = capsys.readouterr().err
    assert 'level=error event="follow-ups not taken back" container=c1' in logged
    assert "/input" in logged
