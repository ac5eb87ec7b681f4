"""A container's streams and its end."""

from __future__ import annotations

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.errors import RuntimeUnavailable
from nanoclaw_trio.run.open_run import run_container_agent
from nanoclaw_trio.run.outcome import Cause

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


class NeverReads:
    """A connection whose input nobody reads, nor closes."""

    def __init__(self):
        self.over = trio.Event()

    async def play(self, line, asked):
        head = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        await line.stream.send_all(head)
        await self.over.wait()


async def test_input_that_a_container_leaves(engine, runtime, spec):
    """Trap A1. Whoever writes on is told of the container's end by us: an engine may let him wait."""

    async def write():
        with pytest.raises(trio.BrokenResourceError):
            await send_for_ever(container.stdin)

    attached = engine.script["attach stdout"] = NeverReads()
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await trio.testing.wait_all_tasks_blocked()
            engine.end.end.set()
            assert await container.wait() == 0
        await write()
        attached.over.set()
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


def told(name, status):
    """What an engine says of a container."""
    return {"Name": f"/{name}", "State": {"Status": status}, "Config": {"Labels": {}}}


@pytest.mark.parametrize("podman", [False, True])
async def test_an_output_that_ends_while_the_container_runs(
    engine, make_runtime, spec, world, podman
):
    """An end of the output alone is no end of the container: it is a loss, and told as one."""
    runtime = make_runtime(podman=podman)
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        engine.script["GET json"] = world["Says"](200, told(spec.name, "running"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_all, container.stdout)
            engine.output.end.set()
            assert await container.wait() == 125
        assert await container.wait() == 125
        error = runtime.explain_exit(spec, 125, "")
        await container.aclose()
    assert isinstance(error, RuntimeUnavailable)
    assert "its output was lost while the container ran" in str(error)


@pytest.mark.parametrize("data", [b"a terminal's bytes", b"\1\0\0", b"\1\0\0\0\0\0\0\5four"])
async def test_an_output_that_is_no_whole_frame(engine, runtime, spec, world, data):
    """An output that ends within a frame, or isn't made of any, was lost: nobody need be asked."""
    attached = engine.script["attach stdout"] = world["Attached"](data)
    attached.end.set()
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        with pytest.raises(trio.BrokenResourceError, match="frame"):
            await read_all(container.stdout)
        assert await container.wait() == 125
        await container.aclose()
    assert "frame" in container.loss


class Resets:
    """A stream whose connection is reset: bytes that came from the other side weren't read."""

    async def play(self, line, asked):
        head = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        await line.stream.send_all(head)
        await trio.lowlevel.wait_readable(line.stream.socket)


@pytest.mark.parametrize(("status", "exit_code"), [("running", 125), ("exited", 3)])
async def test_an_output_that_is_reset(engine, runtime, spec, world, status, exit_code):
    """A reset is a loss if the container runs on, and else what becomes of unread input."""
    engine.script["attach stdout"] = Resets()
    ends = engine.script["POST wait"] = world["Ends"](3)
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        engine.script["GET json"] = world["Says"](200, told(spec.name, status))
        await container.stdin.send_all(b"question")
        with pytest.raises(trio.BrokenResourceError):
            await container.stdout.receive_some()
        async with trio.open_nursery() as nursery:

            async def end_when_asked():
                while engine.asked[-1].what != "GET json":  # noqa: ASYNC110 - nobody tells
                    await trio.sleep(0.01)
                if status == "exited":
                    ends.end.set()

            nursery.start_soon(end_when_asked)
            assert await container.wait() == exit_code
        await container.aclose()


async def test_an_output_that_ends_with_the_container(engine, runtime, spec, world):
    """The output's end comes before the exit status, and isn't taken for a loss by that."""
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        later = world["Later"](world["Says"](200, told(spec.name, "dead")))
        engine.script["GET json"] = later
        async with trio.open_nursery() as nursery:

            async def end_when_asked():
                await later.waiting.wait()
                later.release.set()
                await trio.sleep(0.05)
                engine.end.end.set()

            nursery.start_soon(end_when_asked)
            engine.output.end.set()
            assert await read_all(container.stdout) == b""
            assert await container.wait() == 0
        assert container.loss is None
        await container.aclose()


async def test_an_engine_that_does_not_say_whether_it_runs(engine, runtime, spec, world):
    """An engine that doesn't say is asked again; what it says in the end counts."""

    class SaysItTheSecondTime:
        async def play(self, line, asked):
            engine.script["GET json"] = world["Says"](200, told(spec.name, "running"))
            await world["Says"](500, {"message": "busy"}).play(line, asked)

    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        engine.script["GET json"] = SaysItTheSecondTime()
        engine.output.end.set()
        assert await read_all(container.stdout) == b""
        assert await container.wait() == 125
        await container.aclose()


async def test_output_that_is_lost_before_the_end(
    engine, runtime, world, frame, group, container_input, settings
):
    """A run whose output was lost isn't completed, though its agent ends well in the end."""
    said = b"""---NANOCLAW_OUTPUT_START---
{"status":"success","result":"1","newSessionId":"s"}
---NANOCLAW_OUTPUT_END---
"""
    out = engine.script["attach stdout"] = world["Attached"](frame(1, said))

    class EndsWell:
        async def play(self, line, asked):
            engine.script["GET json"] = world["Says"](404, {"message": "No such container: x"})
            engine.error.end.set()
            engine.end.end.set()
            await world["Says"](204).play(line, asked)

    engine.script["POST stop"] = EndsWell()

    async def lose_it(output):
        name = next(asked.query for asked in engine.asked if asked.what == "POST create")
        engine.script["GET json"] = world["Says"](200, told(name.removeprefix("name="), "running"))
        out.end.set()

    with trio.fail_after(GUARD):
        result = await run_container_agent(
            group,
            container_input,
            settings=evolve(settings, grace=runtime._settings.grace),
            runtime=runtime,
            on_output=lose_it,
        )
    assert (result.cause, result.exit_code) == (Cause.KILLED_FROM_OUTSIDE, 125)
    assert result.gone


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
