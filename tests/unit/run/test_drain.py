"""Reading pipes to their end, and not for ever."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from nanoclaw_trio.run.drain import Drain


@pytest.fixture
def pipe():
    """A pipe that somebody holds open: its writing and its reading end."""
    return trio.testing.memory_stream_one_way_pair()


async def read_all(drain, stream):
    """Everything that is read, and when the reading ended."""
    chunks = []
    with drain.reading(stream) as bound:
        while chunk := await bound.receive():
            chunks.append(chunk)
    return b"".join(chunks), trio.current_time()


async def read_once(drain, stream):
    """The next chunk."""
    with drain.reading(stream) as bound:
        return await bound.receive()


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
    assert await read_all(drain, reader) == (b"", 105)


async def test_a_talking_grandchild_gets_no_more_time(virtual_clock, pipe, nursery):
    """The bound is one for all that comes after the end, not one for each chunk."""
    writer, reader = pipe
    drain = Drain(5)
    drain.begin()

    async def grandchild():
        while True:
            await trio.sleep(2)
            await writer.send_all(b"x")

    nursery.start_soon(grandchild)
    assert await read_all(drain, reader) == (b"xx", 5)
    nursery.cancel_scope.cancel()


async def test_after_the_bound_nothing_is_waited_for(virtual_clock, pipe):
    """Once the bound has passed every read ends at once."""
    _writer, reader = pipe
    drain = Drain(5)
    drain.begin()
    await trio.sleep(50)
    assert await read_all(drain, reader) == (b"", 50)


async def test_a_chunk_in_the_moment_of_the_bound(virtual_clock, pipe, nursery):
    """What comes as the bound passes is too late: what is done with it could be cut off halfway."""
    _writer, reader = pipe
    drain = Drain(5)
    drain.begin()

    async def come_late():
        await trio.testing.wait_all_tasks_blocked()
        reader.put_data(b"late")
        virtual_clock.jump(5)

    nursery.start_soon(come_late)
    assert await read_all(drain, reader) == (b"", 5)


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
    assert await read_all(drain, reader) == (b"", 5)
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
    assert ends == [(b"", 6), (b"", 6)]


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
    assert await read_once(drain, reader) == b"output"
    with drain.paused():
        await trio.sleep(work[1] - work[0])
    assert await read_all(drain, reader) == (b"", given_up)


async def test_a_consumer_that_raises(virtual_clock, pipe):
    """An exception of the consumer's goes on, and its time doesn't count either."""
    _writer, reader = pipe
    drain = Drain(5)
    drain.begin()

    async def consume():
        with drain.paused():
            await trio.sleep(100)
            raise KeyError

    with pytest.raises(KeyError):
        await consume()
    assert await read_all(drain, reader) == (b"", 105)


async def test_without_an_end_there_is_no_bound(virtual_clock, pipe, nursery):
    """A consumer's work before the container's end changes nothing."""
    writer, reader = pipe
    drain = Drain(5)
    with drain.paused():
        await trio.sleep(10)

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
    assert await read_once(Drain(5), BrokenStream()) == b""


async def test_a_cancelled_read_is_cancelled(virtual_clock, pipe):
    """A cancellation from outside goes on, and is no end of the stream."""
    _writer, reader = pipe
    drain = Drain(math.inf)
    with trio.move_on_after(1) as scope:
        await read_once(drain, reader)
        pytest.fail("the stream hasn't ended")
    assert scope.cancelled_caught
    assert not drain._readers


async def test_a_buffer_of_another_kind_becomes_bytes(virtual_clock, pipe):
    """Streams may give a bytearray; what is kept must not change later."""
    writer, reader = pipe
    await writer.send_all(b"chunk")
    assert type(await read_once(Drain(5), reader)) is bytes
