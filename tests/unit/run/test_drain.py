"""Reading pipes to their end, and not for ever."""

from __future__ import annotations

import math
from functools import partial

import pytest
import trio
import trio.testing

from nanoclaw_trio.run.drain import LAST_LOOK, LAST_LOOKS, PIPE_SIZE, Drain
from nanoclaw_trio.runtimes.process import FIRST_READ


@pytest.fixture
def pipe():
    """A pipe that somebody holds open: its writing and its reading end."""
    return trio.testing.memory_stream_one_way_pair()


async def read_all(drain, stream):
    """Everything that is read, and when the reading ended."""
    chunks = []

    async def take(chunk):
        chunks.append(chunk)

    await drain.read(stream, take)
    return b"".join(chunks), trio.current_time()


async def outputs_to(drain, seconds, chunk):
    """Hand a chunk to a consumer who works on it for so long."""
    del chunk
    drain.pause()
    await trio.sleep(seconds)
    drain.resume()


async def test_it_reads_to_the_end(virtual_clock, pipe, nursery):
    """Before the container's end there is no bound: a chunk may be a long time in coming."""
    writer, reader = pipe
    drain = Drain(5)

    async def write():
        await writer.send_all(b"one ")
        await trio.sleep(80_000)
        await writer.send_all(b"two")
        await writer.aclose()

    nursery.start_soon(write)
    assert await read_all(drain, reader) == (b"one two", 80_000)


async def test_after_the_containers_end_the_rest_is_read(virtual_clock, pipe):
    """What is in the pipe when the container ends is read, and its end follows at once."""
    writer, reader = pipe
    await writer.send_all(b"last words")
    await writer.aclose()
    drain = Drain(5)
    drain.begin()
    assert await read_all(drain, reader) == (b"last words", 0)


async def test_a_grandchild_holds_the_pipe_open(virtual_clock, pipe, nursery):
    """Trap T10. A grandchild that keeps the pipe open is waited for no longer than the bound."""
    _writer, reader = pipe
    drain = Drain(5)

    async def end():
        await trio.sleep(100)
        drain.begin()

    nursery.start_soon(end)
    assert await read_all(drain, reader) == (b"", 105 + LAST_LOOK)


async def talk(writer, pause):
    """A byte after each pause, for ever: what a grandchild has to say."""
    while True:
        await trio.sleep(pause)
        await writer.send_all(b"x")


async def test_a_talking_grandchild_gets_no_more_time(virtual_clock, pipe, nursery):
    """The bound is one for all that comes after the end, not one for each chunk."""
    writer, reader = pipe
    drain = Drain(5)
    drain.begin()

    nursery.start_soon(talk, writer, 2)
    assert await read_all(drain, reader) == (b"xx", 5 + LAST_LOOK)
    nursery.cancel_scope.cancel()


async def test_a_trickling_grandchild_gets_no_more_time(virtual_clock, pipe, nursery):
    """Who writes a byte at each last look has a second in all, and not until a pipe is full."""
    writer, reader = pipe
    drain = Drain(5)
    drain.begin()

    nursery.start_soon(talk, writer, 0.9 * LAST_LOOK)
    with trio.fail_after(60):
        _read, end = await read_all(drain, reader)
    assert end <= 5 + LAST_LOOKS + LAST_LOOK
    nursery.cancel_scope.cancel()


async def test_after_the_bound_nothing_is_waited_for(virtual_clock, pipe):
    """Once the bound has passed what is there is read, and no more."""
    _writer, reader = pipe
    drain = Drain(5)
    drain.begin()
    await trio.sleep(50)
    assert await read_all(drain, reader) == (b"", 50 + LAST_LOOK)


async def test_a_chunk_in_the_moment_of_the_bound(virtual_clock, pipe, nursery):
    """What comes as the bound passes is taken, and hardly anything more is waited for."""
    _writer, reader = pipe
    drain = Drain(5)
    drain.begin()

    async def come_late():
        await trio.testing.wait_all_tasks_blocked()
        reader.put_data(b"late")
        virtual_clock.jump(5)

    nursery.start_soon(come_late)
    assert await read_all(drain, reader) == (b"late", 5 + LAST_LOOK)


async def test_what_was_read_is_taken_whole(virtual_clock, pipe, nursery):
    """The bound may pass while a chunk is taken, also one that came as it passed."""
    writer, reader = pipe
    drain = Drain(5)
    taken = []

    async def take(chunk):
        await trio.sleep(3)
        taken.append(chunk)

    async def come_late():
        await writer.send_all(b"early")
        await trio.sleep(4)
        await writer.send_all(b"in time")
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(0.5)
        drain.begin()
        await trio.testing.wait_all_tasks_blocked()
        reader.put_data(b"late")
        virtual_clock.jump(5)

    nursery.start_soon(come_late)
    await drain.read(reader, take)
    assert b"".join(taken) == b"earlyin timelate"


class Flood(trio.abc.ReceiveStream):
    """A pipe that a grandchild keeps full: each read comes back at once."""

    def __init__(self, size):
        self.chunk = bytes(size)

    async def receive_some(self, max_bytes=None):
        """Called for each chunk."""
        await trio.lowlevel.checkpoint()
        return self.chunk

    async def aclose(self):
        """Called at the end."""


async def test_our_own_time_counts(virtual_clock):
    """A grandchild that writes faster than we understand it gets no more than the bound, and what
    a pipe holds."""
    drain = Drain(5)
    drain.begin()
    chunks = 0

    async def take(_chunk):
        nonlocal chunks
        chunks += 1
        await trio.sleep(0.5)

    with trio.fail_after(100):
        await drain.read(Flood(PIPE_SIZE // 2), take)
    assert (chunks, trio.current_time()) == (12, 6)


class LateFlood(Flood):
    """The same in a process so busy that each read takes a second to come back."""

    def __init__(self, size, clock):
        super().__init__(size)
        self._clock = clock

    async def receive_some(self, max_bytes=None):
        """Called for each chunk."""
        chunk = await super().receive_some(max_bytes)
        self._clock.jump(1)
        return chunk


async def test_a_full_pipe_is_read_however_long_it_takes(virtual_clock):
    """What lies in a pipe when the bound passes is read to its end by a process that is late with
    each read: the container may have written it."""
    drain = Drain(5)
    drain.begin()
    await trio.sleep(50)
    read, _end = await read_all(drain, LateFlood(FIRST_READ, virtual_clock))
    assert len(read) == PIPE_SIZE


async def test_it_begins_once(virtual_clock, pipe, nursery):
    """Said again, the container's end gives no second bound."""
    _writer, reader = pipe
    drain = Drain(5)
    drain.begin()

    async def end_again():
        for _ in range(100):
            await trio.sleep(1)
            drain.begin()

    nursery.start_soon(end_again)
    assert await read_all(drain, reader) == (b"", 5 + LAST_LOOK)
    nursery.cancel_scope.cancel()


async def test_all_readers_are_bounded(virtual_clock, nursery):
    """Both pipes of a container come under the same bound, whenever they were begun to be read."""
    drain = Drain(5)
    ends = []

    async def read(delay):
        _writer, reader = trio.testing.memory_stream_one_way_pair()
        await trio.sleep(delay)
        ends.append(await read_all(drain, reader))

    nursery.start_soon(read, 0)
    nursery.start_soon(read, 3)
    await trio.sleep(1)
    drain.begin()
    await trio.sleep(100)
    assert ends == [(b"", 6 + LAST_LOOK)] * 2


WORK = [
    # when the container ends, when the consumer works, and when reading a held pipe is given up
    (0, (0, 0), 5),
    (0, (0, 1000), 1005),
    (0, (2, 1000), 1003),
    (10, (2, 4), 15),
    (900, (0, 1000), 1005),
    (999, (0, 1000), 1005),
    (1000, (0, 1000), 1005),
    (1001, (0, 1000), 1006),
]


@pytest.mark.parametrize(("end", "work", "given_up"), WORK)
async def test_the_consumers_time_does_not_count(virtual_clock, pipe, nursery, end, work, given_up):
    """The consumer's seconds are added to the bound, but none from before the container's end."""
    writer, reader = pipe
    drain = Drain(5)

    async def finish():
        await trio.sleep(end)
        drain.begin()

    async def write():
        await trio.sleep(work[0])
        await writer.send_all(b"output")

    nursery.start_soon(finish)
    nursery.start_soon(write)
    await drain.read(reader, partial(outputs_to, drain, work[1] - work[0]))
    assert trio.current_time() == given_up + LAST_LOOK


@pytest.mark.parametrize(("end", "work", "given_up"), WORK)
async def test_the_consumer_works_while_it_is_read(
    virtual_clock, pipe, nursery, end, work, given_up
):
    """So it is while a pipe is waited for; said twice, it changes nothing."""
    _writer, reader = pipe
    drain = Drain(5)

    async def finish():
        await trio.sleep(end)
        drain.begin()

    async def consume():
        drain.resume()
        await trio.sleep(work[0])
        drain.pause()
        drain.pause()
        await trio.sleep(work[1] - work[0])
        drain.resume()
        drain.resume()

    nursery.start_soon(consume)
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(finish)
    assert await read_all(drain, reader) == (b"", given_up + LAST_LOOK)


async def test_who_takes_may_raise(virtual_clock, pipe):
    """An exception of whoever takes the chunks goes on as it is."""
    writer, reader = pipe
    await writer.send_all(b"chunk")

    async def take(_chunk):
        raise KeyError

    with pytest.raises(KeyError):
        await Drain(5).read(reader, take)


async def test_without_an_end_there_is_no_bound(virtual_clock, pipe, nursery):
    """A consumer's work before the container's end changes nothing."""
    writer, reader = pipe
    drain = Drain(5)
    await outputs_to(drain, 10, b"output")

    async def close():
        await trio.sleep(1000)
        await writer.aclose()

    nursery.start_soon(close)
    assert await read_all(drain, reader) == (b"", 1010)


class BrokenStream(trio.abc.ReceiveStream):
    """A pipe whose other side broke."""

    async def receive_some(self, max_bytes=None):
        """Called for each chunk."""
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError

    async def aclose(self):
        """Called at the end."""


async def test_a_broken_pipe_has_ended(virtual_clock):
    """A pipe that broke is one that has ended."""
    assert await read_all(Drain(5), BrokenStream()) == (b"", 0)


async def test_a_cancelled_read_is_cancelled(virtual_clock, pipe):
    """A cancellation from outside goes on, and is no end of the stream."""
    _writer, reader = pipe
    drain = Drain(math.inf)
    with trio.move_on_after(1) as scope:
        await read_all(drain, reader)
        pytest.fail("the stream hasn't ended")
    assert scope.cancelled_caught
    assert not drain._waiting


async def test_a_buffer_of_another_kind_becomes_bytes(virtual_clock, pipe):
    """Streams may give a bytearray; what is kept must not change later."""
    writer, reader = pipe
    await writer.send_all(b"chunk")
    await writer.aclose()
    kinds = []

    async def take(chunk):
        kinds.append(type(chunk))

    await Drain(5).read(reader, take)
    assert kinds == [bytes]
