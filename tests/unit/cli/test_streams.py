"""The standard streams of a process."""

from __future__ import annotations

import errno
import io
import os
import pty
import select

import pytest
import trio
import trio.testing

from nanoclaw_trio.cli import streams
from nanoclaw_trio.cli.streams import StandardError, StandardInput, StandardOutput, Streams

GUARD = 60


@pytest.fixture
def pipe():
    """Both ends of a pipe, closed afterwards if they are open."""
    ends = list(os.pipe())
    yield ends
    for descriptor in ends:
        if descriptor is not None:
            os.close(descriptor)


def close_end(pipe, index):
    """Close one end of a pipe."""
    os.close(pipe[index])
    pipe[index] = None


def is_full(descriptor):
    """Whether a pipe takes nothing more."""
    return not select.select([], [descriptor], [], 0)[1]


async def test_input_is_read_to_its_end(pipe):
    """What was written comes out, and then the end, again and again."""
    os.write(pipe[1], b"text")
    close_end(pipe, 1)
    stdin = StandardInput(pipe[0])
    assert [await stdin.receive_some(2) for _ in range(4)] == [b"te", b"xt", b"", b""]
    await stdin.aclose()


async def test_reading_can_be_cancelled(pipe, wait_for_threads):
    """Nobody has to type anything for the command to end."""
    with trio.fail_after(GUARD):
        with trio.move_on_after(0.01) as scope:
            await StandardInput(pipe[0]).receive_some()
    assert scope.cancelled_caught
    # Lets the thread go that is still at it: the descriptor's number is the next test's, too.
    close_end(pipe, 1)
    with trio.fail_after(GUARD):
        await wait_for_threads()


async def test_a_closed_terminal_is_the_end_of_input():
    """A terminal whose window was closed has nothing more to say."""
    master, slave = pty.openpty()
    os.close(master)
    try:
        assert await StandardInput(slave).receive_some() == b""
    finally:
        os.close(slave)


async def test_a_descriptor_that_cant_be_read_is_an_error(pipe):
    """Not every failure is an end."""
    with pytest.raises(OSError) as caught:
        await StandardInput(pipe[1]).receive_some()
    assert caught.value.errno == errno.EBADF


async def test_output_is_written_whole(pipe):
    """More than a pipe holds is written too, as far as it is read."""
    stdout = StandardOutput(pipe[1])
    content = os.urandom(300_000)
    read = bytearray()

    async def read_all():
        while len(read) < len(content):
            read.extend(await StandardInput(pipe[0]).receive_some())

    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_all)
            await stdout.wait_send_all_might_not_block()
            await stdout.send_all(content)
    await stdout.aclose()
    assert read == content


async def test_a_stuck_reader_blocks_no_other_task_and_no_cancellation(pipe):
    """A full pipe holds up its writer alone, and the next writer waits for the rest to be out."""
    stdout = StandardOutput(pipe[1])
    with trio.fail_after(GUARD):
        for _ in range(2):
            with trio.move_on_after(0.01) as scope:
                await stdout.send_all(b"x" * 200_000)
            assert scope.cancelled_caught
    # Lets the thread go that is still at it; the next write waits for that.
    close_end(pipe, 0)
    with trio.fail_after(GUARD), pytest.raises(trio.BrokenResourceError):
        await stdout.send_all(b"x")


async def test_input_that_does_not_block(pipe):
    """A shell or a parent left the flag on the pipe: what isn't there yet is waited for."""
    os.set_blocking(pipe[0], False)
    stdin, read = StandardInput(pipe[0]), []

    async def read_all():
        while chunk := await stdin.receive_some():
            read.append(chunk)

    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_all)
            for text in (b"one", b"two"):
                await trio.testing.wait_all_tasks_blocked()
                os.write(pipe[1], text)
                while b"".join(read)[-3:] != text:  # noqa: ASYNC110 - a pipe sets no event
                    await trio.sleep(0.001)
            close_end(pipe, 1)
    assert read == [b"one", b"two"]


async def test_output_that_does_not_block(pipe):
    """A full pipe with the flag on it is waited for, and a slow reader gets every byte."""
    os.set_blocking(pipe[1], False)
    content = os.urandom(300_000)
    read, written = bytearray(), []

    async def write():
        for start in range(0, len(content), 100_000):
            await StandardOutput(pipe[1]).send_all(content[start : start + 100_000])
        written.append(True)

    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            # Not before the pipe is full, and then in small steps.
            while not is_full(pipe[1]):  # noqa: ASYNC110 - a pipe sets no event
                await trio.sleep(0.001)
            assert not written
            while len(read) < len(content):
                read.extend(await StandardInput(pipe[0]).receive_some(5_000))
    assert read == content


async def test_no_reader_of_output_that_does_not_block(pipe):
    """The reader that leaves ends the waiting for it."""
    os.set_blocking(pipe[1], False)
    broken = []

    async def write():
        try:
            await StandardOutput(pipe[1]).send_all(b"x" * 200_000)
        except trio.BrokenResourceError:
            broken.append(True)

    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            while not is_full(pipe[1]):  # noqa: ASYNC110 - a pipe sets no event
                await trio.sleep(0.001)
            close_end(pipe, 0)
    assert broken == [True]


async def test_no_reader_is_a_broken_resource(pipe):
    """`| head` closed the pipe."""
    close_end(pipe, 0)
    with pytest.raises(trio.BrokenResourceError):
        await StandardOutput(pipe[1]).send_all(b"x")


async def test_a_full_disk_is_an_os_error():
    """What the disk refuses is reported as it is."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError) as caught:
            await StandardOutput(descriptor).send_all(b"x")
        assert caught.value.errno == errno.ENOSPC
    finally:
        os.close(descriptor)


async def test_a_reader_that_leaves_is_noticed_at_once(pipe):
    """Without anything being written: an agent isn't left at work for nobody."""
    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(StandardOutput(pipe[1]).wait_reader_gone)
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            close_end(pipe, 0)


async def test_a_file_has_no_reader_that_could_leave(tmp_path, autojump_clock):
    """Only of a pipe can it be told that nobody reads it."""
    with (tmp_path / "out").open("wb") as file:
        with trio.move_on_after(1e6) as scope:
            await StandardOutput(file.fileno()).wait_reader_gone()
    assert scope.cancelled_caught


class Terminal(io.StringIO):
    """A file that says that it is a terminal."""

    def isatty(self):
        """It is one."""
        return True


@pytest.mark.parametrize(("terminal", "text"), [(False, "\x1b[2J\n"), (True, "␛[2J\n")])
def test_standard_error_protects_a_terminal(terminal, text):
    """What an agent wrote is logged, and doesn't steer the terminal that shows the log."""
    file = Terminal() if terminal else io.StringIO()
    stderr = StandardError(file)
    assert stderr.write("\x1b[2J\n") == 5
    assert (file.getvalue(), stderr.isatty()) == (text, terminal)


def test_standard_error_never_fails(pipe):
    """Words for nobody don't keep a container from being stopped."""
    close_end(pipe, 0)
    with os.fdopen(os.dup(pipe[1]), "w", buffering=1) as file:
        assert StandardError(file).write("lost\n") == 5
        # The file itself would try again when it is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


def test_a_live_line_gets_the_text():
    """As long as there is a live line, text goes above it."""
    above = []
    file = Terminal()
    stderr = StandardError(file)
    stderr.above = above.append
    stderr.write("a\x07\n")
    assert (above, file.getvalue()) == (["a␇\n"], "")


def test_what_is_said_is_one_line():
    """Each thing said has the program's name in front and is one line."""
    stderr = io.StringIO()
    Streams(stdin=None, stdout=None, stderr=stderr).say("a\nb")
    assert stderr.getvalue() == "nanoclaw-trio: a b\n"


async def test_a_pipe_that_is_open_for_both_is_no_end(tmp_path):
    """A named pipe that a shell holds open for reading too is readable by what we write there."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.write(descriptor, b"an answer")
        with trio.move_on_after(0.1) as scope:
            await StandardOutput(descriptor).wait_reader_gone()
    finally:
        os.close(descriptor)
    assert scope.cancelled_caught


def test_a_reader_who_does_not_read(pipe, monkeypatch):
    """Standard error that nobody reads, as behind a pager, keeps nobody waiting: what isn't taken is
    lost, and how much that was is said when there is room again."""
    monkeypatch.setattr(streams, "PATIENCE", 0.01)
    with open(pipe[1], "w", encoding="utf-8", closefd=False) as file:
        stderr = StandardError(file)
        while not is_full(pipe[1]):
            stderr.write("x" * 999 + "\n")
        for _ in range(3):
            stderr.write("late\n")
        assert "late" not in os.read(pipe[0], 2**20).decode()
        stderr.write("again\n")
        said = os.read(pipe[0], 2**20).decode()
    assert said.startswith("\nnanoclaw-trio: nobody read here for a while: ")
    assert said.endswith(" messages are lost\nagain\n")


def test_a_long_line_is_cut_where_nobody_reads(pipe, monkeypatch):
    """A line of which some was taken is lost from there on."""
    monkeypatch.setattr(streams, "PATIENCE", 0.01)
    with open(pipe[1], "w", encoding="utf-8", closefd=False) as file:
        StandardError(file).write("ü" * 2**20)
        assert 2**15 < len(os.read(pipe[0], 2**20)) <= 2**16
