"""The host's writing side: follow-ups out, `_close` out, what nobody took back in."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from nanoclaw_trio import files
from nanoclaw_trio.descriptors import LOOK_LIMIT
from nanoclaw_trio.errors import InputError, UnsafePath
from nanoclaw_trio.files import MAILBOX_FILE_LIMIT, Owner
from nanoclaw_trio.mailbox.writer import SWEEP_LIMIT, Mailbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def names_in(directory: Path) -> list[str]:
    """What is in a directory, sorted."""
    return sorted(path.name for path in directory.iterdir())


def texts_in(directory: Path) -> list[str]:
    """The follow-ups in a directory, in the order of their names."""
    return [json.loads((directory / name).read_text())["text"] for name in names_in(directory)]


def owner_of(path: Path) -> int:
    """The number of the user, and of the group, that it belongs to."""
    status = path.stat()
    assert status.st_uid == status.st_gid
    return status.st_uid


def was_made(directory: Path) -> bool:
    """Whether a directory is there."""
    return directory.exists()


def wait_for(condition: Callable[[], object]) -> None:
    """Return once it is true; for a thread that looks at another."""
    while not condition():
        time.sleep(0.001)


async def test_follow_up_is_one_whole_file(mailbox: Mailbox, ipc_dir: Path) -> None:
    """A follow-up is one file of the format under the returned name, and nothing else is left."""
    name = await mailbox.send_message("hello")
    assert names_in(ipc_dir / "input") == [name]
    content = (ipc_dir / "input" / name).read_text()
    assert json.loads(content) == {"type": "message", "text": "hello"}


async def test_names_sort_in_the_order_of_sending(mailbox: Mailbox, ipc_dir: Path) -> None:
    """A hundred in a row are read in the order in which they were sent. Trap A21."""
    texts = [str(number) for number in range(100)]
    names = [await mailbox.send_message(text) for text in texts]
    assert names == sorted(names) == names_in(ipc_dir / "input")
    assert texts_in(ipc_dir / "input") == texts


async def test_follow_up_gets_the_name_that_was_written_down(
    mailbox: Mailbox, ipc_dir: Path
) -> None:
    """A name may be had before its file is there; names decide the order, not the writing."""
    first, second = mailbox.new_name(), mailbox.new_name()
    assert not was_made(ipc_dir)
    assert await mailbox.send_message("two", name=second) == second
    assert await mailbox.send_message("one", name=first) == first
    third = await mailbox.send_message("three")
    assert names_in(ipc_dir / "input") == [first, second, third]
    assert texts_in(ipc_dir / "input") == ["one", "two", "three"]


NO_NAMES = [
    "",
    ".json",
    "1.json",
    "_close",
    "../0000000000001-000000000-0123abcd.json",
    "0000000000001-000000000-0123abcd.json\n",
    "0000000000001-000000000-0123abcd.json.tmp",
    "\u0660000000000001-000000000-0123abcd.json",
]


@pytest.mark.parametrize("name", NO_NAMES)
async def test_name_that_is_none_is_refused(mailbox: Mailbox, ipc_dir: Path, name: str) -> None:
    """What isn't a follow-up's name is neither written nor removed, whatever it leads to."""
    kept = await mailbox.send_message("kept")
    with pytest.raises(InputError, match="new_name"):
        await mailbox.send_message("hello", name=name)
    with pytest.raises(InputError, match="new_name"):
        await mailbox.discard([kept, name])
    assert names_in(ipc_dir / "input") == [kept]


async def test_discarded_follow_ups_are_gone(mailbox: Mailbox, ipc_dir: Path) -> None:
    """Those that are named go, others stay, and one that an agent took is no error."""
    names = [await mailbox.send_message(text) for text in ("one", "two", "three")]
    await mailbox.close()
    await mailbox.discard([names[2], mailbox.new_name(), names[0]])
    assert names_in(ipc_dir / "input") == [names[1], "_close"]
    assert await mailbox.pending_names() == (names[1],)


@pytest.mark.parametrize(
    "plant",
    [lambda path: path.mkdir(), lambda path: path.symlink_to("/etc/hostname"), os.mkfifo],
    ids=["directory", "link", "pipe"],
)
async def test_discard_sets_aside_what_an_agent_put_there(
    mailbox: Mailbox, input_dir: Path, errors_dir: Path, plant: Callable[[Path], None]
) -> None:
    """What isn't the host's file goes to the errors directory as it is. Trap A28."""
    name = mailbox.new_name()
    plant(input_dir / name)
    kind = stat.S_IFMT((input_dir / name).stat(follow_symlinks=False).st_mode)
    await mailbox.discard([name])
    assert names_in(input_dir) == []
    moved = errors_dir / f"family-{name}"
    assert stat.S_IFMT(moved.stat(follow_symlinks=False).st_mode) == kind


async def test_order_holds_while_the_clock_stands_still(
    mailbox: Mailbox, ipc_dir: Path, mock_clock: trio.testing.MockClock
) -> None:
    """All in one millisecond are read in the order in which they were sent. Trap A21."""
    del mock_clock
    for number in range(20):
        await mailbox.send_message(str(number))
    assert texts_in(ipc_dir / "input") == [str(number) for number in range(20)]


async def test_order_holds_across_two_mailboxes(mailbox: Mailbox, ipc_dir: Path) -> None:
    """Two objects for one group share the sequence, as one run's end and the next one's start do.

    Trap A21.
    """
    other = Mailbox(ipc_dir)
    for number in range(20):
        await (mailbox, other)[number % 2].send_message(str(number))
    assert texts_in(ipc_dir / "input") == [str(number) for number in range(20)]


def test_order_holds_when_the_clock_steps_back(ipc_dir: Path) -> None:
    """A second Trio run whose clock is months behind writes names that sort later. Trap A21."""

    async def send(text: str) -> None:
        await Mailbox(ipc_dir).send_message(text)

    trio.run(send, "first")
    trio.run(send, "second", clock=trio.testing.MockClock())
    assert texts_in(ipc_dir / "input") == ["first", "second"]


@pytest.mark.parametrize(
    ("text", "read"), [("nul\0nul", "nul\0nul"), ("half \ud83d", "half \ufffd"), ("é😀", "é😀")]
)
async def test_odd_text_arrives(mailbox: Mailbox, text: str, read: str) -> None:
    """NUL, half a surrogate pair and emoji are sent, and come back as well as they can."""
    await mailbox.send_message(text)
    assert await mailbox.sweep() == (read,)


@pytest.mark.parametrize("text", ["", "x" * MAILBOX_FILE_LIMIT])
async def test_refused_text_writes_nothing(mailbox: Mailbox, ipc_dir: Path, text: str) -> None:
    """Text that no agent would take is the caller's fault, and leaves the disk as it was."""
    with pytest.raises(InputError):
        await mailbox.send_message(text)
    assert not was_made(ipc_dir)


async def test_cancelled_send_writes_nothing(mailbox: Mailbox, ipc_dir: Path) -> None:
    """Cancelled before it began, a follow-up isn't written; there is no half way."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await mailbox.send_message("hello")
    assert scope.cancelled_caught
    assert not was_made(ipc_dir)


async def test_close_is_an_empty_file(mailbox: Mailbox, ipc_dir: Path) -> None:
    """`_close` is there, empty, and writing it twice is the same as once."""
    await mailbox.close()
    await mailbox.close()
    assert names_in(ipc_dir / "input") == ["_close"]
    assert (ipc_dir / "input" / "_close").read_bytes() == b""


@pytest.mark.parametrize(
    "plant",
    [
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("/etc/hostname"),
        os.mkfifo,
    ],
    ids=["directory", "link", "pipe"],
)
async def test_close_replaces_what_an_agent_put_there(
    mailbox: Mailbox, input_dir: Path, plant: Callable[[Path], None]
) -> None:
    """Whatever stands in its place, `_close` is an empty regular file afterwards. Trap A28."""
    plant(input_dir / "_close")
    await mailbox.close()
    assert stat.S_ISREG((input_dir / "_close").stat(follow_symlinks=False).st_mode)


def test_a_close_is_not_kept_up_by_what_lies_in_its_place(
    mailbox: Mailbox, input_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory in the place of `_close` is out of the way at once, however much is in it: its
    agent may fill it as quickly as it is emptied, and would live beyond each of its limits."""
    removed, unlink = [], os.unlink
    monkeypatch.setattr(files, "LOOK_LIMIT", 10)
    monkeypatch.setattr(os, "unlink", lambda name, **at: (removed.append(name), unlink(name, **at)))
    (input_dir / "_close").mkdir()
    for number in range(30):
        (input_dir / "_close" / str(number)).touch()
    mailbox.close_sync()
    assert (input_dir / "_close").is_file()
    assert len(removed) == 10


async def test_nothing_is_written_for_a_run_that_is_over(ipc_dir: Path) -> None:
    """What a disk that hung holds up isn't written once the group may be another run's."""

    @contextmanager
    def over() -> Iterator[bool]:
        yield False

    mailbox = Mailbox(ipc_dir, using=over)
    with pytest.raises(OSError, match="its run is over"):
        await mailbox.send_message("late")
    with pytest.raises(OSError, match="its run is over"):
        await mailbox.close()
    assert not was_made(ipc_dir)


def test_put_back_on_a_full_disk(
    mailbox: Mailbox, input_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A follow-up that nobody takes any more is in the mailbox, whether the disk has room or not."""
    (input_dir / "1.json").write_text('{"type":"message","text":"hello"}')

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", refuse)
    mailbox.sweep_into(lambda _: False)
    assert [path.name for path in input_dir.iterdir()] == ["1.json"]


def test_junk_hides_no_follow_up(mailbox: Mailbox, input_dir: Path) -> None:
    """However many other files an agent leaves there, its follow-ups are found."""
    for number in range(LOOK_LIMIT + 1000):
        (input_dir / f"junk{number}").touch()
    names = tuple(f"{number}.json" for number in range(9))
    for name in names:
        (input_dir / name).write_text('{"type":"message","text":"hello"}')
    assert mailbox.pending_names_sync() == names
    assert mailbox.sweep_sync() == ("hello",) * 9


async def test_sweep_takes_back_what_nobody_took(mailbox: Mailbox, ipc_dir: Path) -> None:
    """Texts come back in order, and neither they nor `_close` meet another run. Trap A22."""
    for text in ("one", "two", "three"):
        await mailbox.send_message(text)
    await mailbox.close()
    assert await mailbox.sweep() == ("one", "two", "three")
    assert names_in(ipc_dir / "input") == []
    assert await mailbox.sweep() == ()


async def test_sweep_takes_the_originals_names_in_order(mailbox: Mailbox, input_dir: Path) -> None:
    """What a host of the original left sorts by its time before what we sent since."""
    (input_dir / "1738425600000-x7f3.json").write_text('{"type":"message","text":"older"}')
    await mailbox.send_message("newer")
    assert await mailbox.sweep() == ("older", "newer")


async def test_sweep_leaves_what_is_none_of_its_business(mailbox: Mailbox, input_dir: Path) -> None:
    """A file under way and an agent's own notes are no follow-ups."""
    (input_dir / ".1.json.0a1b.tmp").write_text("under way")
    (input_dir / "notes.txt").write_text("the agent's")
    assert await mailbox.sweep() == ()
    assert names_in(input_dir) == [".1.json.0a1b.tmp", "notes.txt"]


def plant_socket(path: Path) -> None:
    """A socket that nobody listens to."""
    # A socket's address is shorter than a path may be: bound from inside its directory.
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


PLANTED = {
    "broken": lambda path: path.write_text('{"type":"message","text":'),
    "empty": lambda path: path.write_bytes(b""),
    "wrong shape": lambda path: path.write_text('{"type":"message","text":["a"]}'),
    "another type": lambda path: path.write_text('{"type":"task","text":"a"}'),
    "not UTF-8": lambda path: path.write_bytes(b'{"type":"message","text":"\xff"}'),
    "too deep": lambda path: path.write_text("[" * 100_000),
    "too large": lambda path: path.write_bytes(b" " * (MAILBOX_FILE_LIMIT + 1)),
    "link": lambda path: path.symlink_to("/etc/hostname"),
    "dangling link": lambda path: path.symlink_to("/no/such/file"),
    "link to a follow-up": lambda path: path.symlink_to("0.json"),
    "directory": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "socket": plant_socket,
}


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED.keys())
@pytest.mark.usefixtures("_no_descriptor_left")
def test_sweep_sets_aside_what_it_can_not_handle(
    mailbox: Mailbox, input_dir: Path, errors_dir: Path, plant: Callable[[Path], None]
) -> None:
    """What an agent planted goes to the errors directory as it is, and its neighbours come back.

    Traps A22, A28.
    """
    (input_dir / "0.json").write_text('{"type":"message","text":"before"}')
    plant(input_dir / "5.json")
    (input_dir / "9.json").write_text('{"type":"message","text":"after"}')
    kind = stat.S_IFMT((input_dir / "5.json").stat(follow_symlinks=False).st_mode)
    assert mailbox.sweep_sync() == ("before", "after")
    assert names_in(input_dir) == []
    moved = errors_dir / "family-5.json"
    assert stat.S_IFMT(moved.stat(follow_symlinks=False).st_mode) == kind


async def test_sweep_reads_no_more_than_its_limit(
    mailbox: Mailbox, input_dir: Path, errors_dir: Path
) -> None:
    """An agent that fills its mailbox doesn't fill our memory: the rest is set aside."""
    full = json.dumps({"type": "message", "text": "x" * (MAILBOX_FILE_LIMIT - 40)})
    count = SWEEP_LIMIT // len(full)
    for number in range(count + 2):
        (input_dir / f"{number:03}.json").write_text(full)
    assert len(await mailbox.sweep()) == count
    assert names_in(input_dir) == []
    assert names_in(errors_dir) == [f"family-{count:03}.json", f"family-{count + 1:03}.json"]


async def test_sweep_sets_aside_a_close_that_is_no_file(
    mailbox: Mailbox, input_dir: Path, errors_dir: Path
) -> None:
    """A directory named `_close` is the agent's doing: moved with its content, not deleted."""
    (input_dir / "_close").mkdir()
    (input_dir / "_close" / "below").write_text("kept")
    assert await mailbox.sweep() == ()
    assert (errors_dir / "family-_close" / "below").read_text() == "kept"


@pytest.mark.parametrize("patience", range(4))
async def test_sweep_for_somebody_who_stops_waiting(
    mailbox: Mailbox, ipc_dir: Path, patience: int
) -> None:
    """Each follow-up is either handed over or in the mailbox, under its name. Trap A22."""
    names = [await mailbox.send_message(text) for text in ("one", "two", "three")]
    taken: list[str] = []

    def offer(text: str) -> bool:
        if len(taken) == patience:
            return False
        taken.append(text)
        return True

    mailbox.sweep_into(offer)
    assert taken == ["one", "two", "three"][:patience]
    assert names_in(ipc_dir / "input") == names[patience:]
    assert texts_in(ipc_dir / "input") == ["one", "two", "three"][patience:]


async def test_sweep_close_leaves_the_follow_ups(mailbox: Mailbox) -> None:
    """Before a run only a stale `_close` goes; what is in the mailbox is for that run."""
    await mailbox.send_message("kept")
    await mailbox.close()
    await mailbox.sweep_close()
    assert await mailbox.pending() == 1
    assert await mailbox.sweep() == ("kept",)


async def test_pending_counts_follow_ups_only(mailbox: Mailbox, input_dir: Path) -> None:
    """`_close` and what is under way aren't counted."""
    assert await mailbox.pending() == 0
    names = (await mailbox.send_message("one"), await mailbox.send_message("two"))
    await mailbox.close()
    (input_dir / "notes.txt").write_text("the agent's")
    assert await mailbox.pending() == 2
    assert await mailbox.pending_names() == names


async def test_group_that_never_ran_has_an_empty_mailbox(mailbox: Mailbox, ipc_dir: Path) -> None:
    """Looking into a mailbox that isn't there finds nothing and makes nothing."""
    assert await mailbox.sweep() == ()
    await mailbox.sweep_close()
    await mailbox.discard([mailbox.new_name()])
    assert await mailbox.pending() == 0
    assert await mailbox.pending_names() == ()
    assert not was_made(ipc_dir.parent)


OPERATIONS = {
    "send": lambda mailbox: mailbox.send_message("hello"),
    "close": lambda mailbox: mailbox.close(),
    "sweep": lambda mailbox: mailbox.sweep(),
    "sweep_close": lambda mailbox: mailbox.sweep_close(),
    "pending": lambda mailbox: mailbox.pending(),
    "discard": lambda mailbox: mailbox.discard([mailbox.new_name()]),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
@pytest.mark.parametrize("replaced", ["family", "family/input"])
@pytest.mark.parametrize("by", ["link", "file"])
async def test_replaced_directory_is_not_followed(
    mailbox: Mailbox,
    ipc_dir: Path,
    tmp_path: Path,
    operation: Callable[[Mailbox], object],
    replaced: str,
    by: str,
) -> None:
    """An agent that puts a link in the place of its directory reaches nothing. Trap A28."""
    outside = tmp_path / "outside"
    (outside / "input").mkdir(parents=True)
    for directory in (outside, outside / "input"):
        (directory / "1.json").write_text('{"type":"message","text":"the host\'s"}')
        (directory / "_close").touch()
    before = sorted(outside.rglob("*"))
    place = ipc_dir.parent / replaced
    place.parent.mkdir(parents=True)
    place.symlink_to(outside) if by == "link" else place.write_text("")
    with pytest.raises(UnsafePath):
        await operation(mailbox)  # type: ignore[misc]
    assert sorted(outside.rglob("*")) == before


async def test_a_flood_is_not_walked_through(mailbox: Mailbox, input_dir: Path) -> None:
    """Of an inbox with any number of files a bounded part is held in memory at a time."""
    for number in range(LOOK_LIMIT + 10):
        (input_dir / f"{number:06}.json").touch()
    assert await mailbox.pending() == LOOK_LIMIT


async def test_agent_that_deletes_meanwhile_is_no_error(mailbox: Mailbox, input_dir: Path) -> None:
    """While an agent takes files, a sweep raises nothing, and each text is somewhere.

    Both may have one that the agent had read and not yet deleted; none may be lost.
    """
    texts = {str(number) for number in range(300)}
    for text in sorted(texts):
        await mailbox.send_message(text)
    taken: set[str] = set()

    def take() -> None:
        for name in reversed(names_in(input_dir)):
            try:
                text = json.loads((input_dir / name).read_text())["text"]
                (input_dir / name).unlink()
            except FileNotFoundError:
                continue
            taken.add(text)

    agent = threading.Thread(target=take)
    agent.start()
    swept = await mailbox.sweep()
    agent.join()
    assert taken | set(swept) == texts
    assert names_in(input_dir) == []


async def test_reader_never_sees_half_a_file(mailbox: Mailbox, input_dir: Path) -> None:
    """Every .json that a watcher finds at any moment is whole. Trap A20."""
    text = "x" * 200_000
    done = threading.Event()
    seen: set[str] = set()
    problems: list[str] = []

    def watch() -> None:
        while not done.is_set():
            for path in input_dir.glob("*.json"):
                content = json.loads(path.read_bytes())
                seen.add(path.name)
                if content["text"] != text:
                    problems.append(path.name)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        names = {await mailbox.send_message(text) for _ in range(20)}
        with trio.fail_after(60):
            await trio.to_thread.run_sync(wait_for, lambda: seen == names, abandon_on_cancel=True)
    finally:
        done.set()
        watcher.join()
    assert problems == []


@as_root
async def test_what_is_made_belongs_to_the_owner(ipc_dir: Path) -> None:
    """A host that is root gives the agent what it must be able to delete, and nothing above it."""
    mailbox = Mailbox(ipc_dir, Owner(uid=1000, gid=1000))
    name = await mailbox.send_message("hello")
    await mailbox.close()
    given = (ipc_dir, ipc_dir / "input", ipc_dir / "input" / name, ipc_dir / "input" / "_close")
    assert [owner_of(path) for path in given] == [1000] * 4
    assert owner_of(ipc_dir.parent) == 0


@as_root
async def test_errors_directory_stays_the_hosts(ipc_dir: Path, errors_dir: Path) -> None:
    """What was set aside is out of the agent's hands, whoever the mailbox belongs to."""
    mailbox = Mailbox(ipc_dir, Owner(uid=1000, gid=1000))
    await mailbox.close()
    (ipc_dir / "input" / "1.json").write_text("broken")
    await mailbox.sweep()
    assert owner_of(errors_dir) == 0


async def test_follow_up_is_readable_under_any_umask(mailbox: Mailbox, ipc_dir: Path) -> None:
    """The agent is another user: a host's umask of 077 doesn't lock it out of a file."""
    before = os.umask(0o077)
    try:
        name = await mailbox.send_message("hello")
    finally:
        os.umask(before)
    assert stat.S_IMODE((ipc_dir / "input" / name).stat().st_mode) == 0o644
