"""A container's streams and its end."""

from __future__ import annotations

import pytest
import trio

from nanoclaw_trio.errors import RuntimeUnavailable

GUARD = 60.0


async def read_all(stream):
    """A stream to its end."""
    return b"".join([chunk async for chunk in stream])


async def send_for_ever(stream):
    """Until nobody reads any more."""
    while True:
        await stream.send_all(b"x" * 65536)


async def test_output_and_error(engine, runtime, spec, world, frame):
    """Each stream has its own bytes, and its end when the engine closes it."""
    engine.script["attach stdout"] = world["Attached"](frame(1, b"out") + frame(1, b"put"))
    engine.script["attach stderr"] = world["Attached"](frame(2, b"error"))
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        for script in engine.script.values():
            script.end.set()
        assert await read_all(container.stderr) == b"error"
        assert await read_all(container.stdout) == b"output"
        await container.aclose()


async def test_podmans_both_streams(engine, runtime, spec, world, frame):
    """Podman sends both streams to each listener; each takes its own."""
    both = frame(1, b"out") + frame(2, b"error") + frame(1, b"put")
    for name in ("stdout", "stderr"):
        attached = engine.script[f"attach {name}"] = world["Attached"](both)
        attached.end.set()
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        assert await read_all(container.stderr) == b"error"
        assert await read_all(container.stdout) == b"output"
        await container.aclose()


async def test_output_behind_the_head(engine, runtime, spec, world, frame):
    """Output that comes with the answer's head isn't lost, nor more than asked for handed out."""
    data = frame(1, b"abc") + frame(1, b"d")
    attached = engine.script["attach stdout"] = world["Attached"](behind_head=data)
    attached.end.set()
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        assert await container.stdout.receive_some(9) == b"a"
        assert await read_all(container.stdout) == b"bcd"
        await container.aclose()


async def test_no_more_than_asked_for(engine, runtime, spec, world, frame):
    """A reader gets no more than it asks for."""
    attached = engine.script["attach stdout"] = world["Attached"](frame(1, b"x" * 100))
    attached.end.set()
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        heard = b""
        while chunk := await container.stdout.receive_some(7):
            assert len(chunk) <= 7
            heard += chunk
        assert heard == b"x" * 100
        await container.aclose()


async def test_a_large_output(engine, runtime, spec, world, frame):
    """Much output comes in large pieces, and whole."""
    size = 4 * 1024 * 1024
    output = b"".join(frame(1, b"x" * 32768) for _ in range(size // 32768))
    attached = engine.script["attach stdout"] = world["Attached"](output)
    attached.end.set()
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        assert len(await read_all(container.stdout)) == size
        await container.aclose()


async def test_what_is_no_frame(engine, runtime, spec, world):
    """An engine that sends something else than frames breaks the stream."""
    engine.script["attach stdout"] = world["Attached"](b"a terminal's bytes")
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        with pytest.raises(trio.BrokenResourceError, match="no frame"):
            await container.stdout.receive_some()
        await container.aclose()


async def test_end_of_input(engine, runtime, spec, world, frame):
    """After the end of the input, output still comes."""
    attached = engine.output
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        await container.stdin.wait_send_all_might_not_block()
        await container.stdin.send_all(b"question")
        await container.stdin.aclose()
        await attached.input_ended.wait()
        assert attached.heard == b"question"
        attached.end.set()
        assert await read_all(container.stdout) == b""
        with pytest.raises(trio.ClosedResourceError):
            await container.stdin.send_all(b"more")
        await container.aclose()
        await container.stdin.aclose()


async def test_input_that_nobody_reads(engine, runtime, spec):
    """Trap A1. Writing to a container that has ended raises BrokenResourceError."""
    engine.output.end.set()
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        assert await read_all(container.stdout) == b""
        with pytest.raises(trio.BrokenResourceError):
            await send_for_ever(container.stdin)
        await container.aclose()


async def test_waiting_that_was_cancelled(engine, runtime, spec, world):
    """A waiting that was cancelled loses nothing: the next one hears the exit status."""
    ends = engine.script["POST wait"] = world["Ends"](9)
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(container.wait)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        ends.end.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(container.wait)
            assert await container.wait() == 9
        assert await container.wait() == 9
        assert runtime.explain_exit(spec, 9, "") is None
        await container.aclose()


@pytest.mark.parametrize("words", ["engine was lost while the container ran"])
async def test_engine_that_is_lost(engine, runtime, spec, world, words):
    """An engine that is lost while the container runs is told as that, and not as the agent's end."""
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    engine.script["POST wait"] = world["Raw"](data)
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        assert await container.wait() == 125
        error = runtime.explain_exit(spec, 125, "what the agent said last")
        await container.aclose()
    assert isinstance(error, RuntimeUnavailable)
    assert words in str(error)


async def test_letting_go(engine, runtime, spec):
    """Letting go wakes whoever listens, and doesn't claim to know of an end."""
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        async with trio.open_nursery() as nursery:

            async def listen(stream):
                with pytest.raises(trio.ClosedResourceError):
                    await stream.receive_some()

            nursery.start_soon(listen, container.stdout)
            nursery.start_soon(listen, container.stderr)
            await trio.testing.wait_all_tasks_blocked()
            await container.stderr.aclose()
            await container.aclose()
        assert await container.wait() == 125
        assert container.loss == "its connections were closed"
        await container.aclose()
