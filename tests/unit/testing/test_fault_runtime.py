"""A runtime in which things go wrong as a plan says, call by call."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from nanoclaw_trio.errors import RuntimeCommandFailed, RuntimeUnavailable, StartFailed
from nanoclaw_trio.runtimes.abc import ContainerSpec
from nanoclaw_trio.testing.fake import open_fake_runtime
from nanoclaw_trio.testing.fault_runtime import open_faulty_runtime
from nanoclaw_trio.testing.faults import SLOW_DELAY, FaultPlan, parse_plan

SPEC = ContainerSpec(name="c", image="any")

TEXT = b"hello"


async def talk(container):
    """Say something, and stay."""
    await container.stdout.send_all(TEXT)
    await container.stderr.send_all(TEXT)
    await trio.sleep_forever()


async def leave(container):
    """Say something, and leave."""
    await container.stdout.send_all(TEXT)


@asynccontextmanager
async def faulty(text, agent=talk):
    """A runtime that fails so, and the one below it."""
    plan = parse_plan(text) if text else FaultPlan()
    async with open_fake_runtime(agent) as inner, open_faulty_runtime(inner, plan) as runtime:
        yield runtime, inner


async def heard(container):
    """All of its standard output."""
    return b"".join([bytes(chunk) async for chunk in container.stdout])


async def is_stuck(attempt, seconds=1000):
    """Whether something takes longer than that."""
    with trio.move_on_after(seconds) as scope:
        await attempt()
    return scope.cancelled_caught


CALLS = {
    "version": (lambda r: r.check(), RuntimeUnavailable),
    "image inspect": (lambda r: r.require_image("any"), RuntimeUnavailable),
    "stop": (lambda r: r.stop("c", 1), RuntimeCommandFailed),
    "kill": (lambda r: r.kill("c"), RuntimeCommandFailed),
    "rm": (lambda r: r.remove("c"), RuntimeCommandFailed),
    "container inspect": (lambda r: r.inspect("c"), RuntimeCommandFailed),
    "ps": (lambda r: r.list({}), RuntimeCommandFailed),
    "events": (lambda r: r.find_out_of_memory("c", 0), RuntimeCommandFailed),
}


@pytest.mark.parametrize("command", CALLS)
@pytest.mark.parametrize("kind", ["fail", "refuse", "die", "garbage", "flip", "cut", "restart"])
async def test_a_call_that_fails(virtual_clock, command, kind):
    """A call that fails raises what its method may raise; the next one is well."""
    call, error = CALLS[command]
    async with faulty(f"{command}#1={kind}") as (runtime, _):
        with pytest.raises(error):
            await call(runtime)
        await call(runtime)


@pytest.mark.parametrize("command", CALLS)
@pytest.mark.parametrize("kind", ["hang", "hang-after"])
async def test_a_call_that_hangs(virtual_clock, command, kind):
    """A call that hangs does so until it is cancelled."""
    call, _ = CALLS[command]
    async with faulty(f"{command}#1={kind}") as (runtime, _):
        assert await is_stuck(lambda: call(runtime))


@pytest.mark.parametrize(
    ("kind", "is_done"), [("fail", False), ("fail-after", True), ("pretend", False)]
)
async def test_whether_the_work_is_done(virtual_clock, kind, is_done):
    """A kill that fails has killed, or hasn't; one that pretends says that it has, and hasn't."""
    async with faulty(f"kill#1={kind}") as (runtime, inner):
        await runtime.start(SPEC)
        try:
            assert await runtime.kill("c")
        except RuntimeCommandFailed:
            assert kind != "pretend"
        assert ("c" not in inner.containers) == is_done


async def test_a_slow_call(virtual_clock):
    """A slow call is well after a while."""
    async with faulty("version#1=slow") as (runtime, _):
        assert await runtime.check()
        assert trio.current_time() == SLOW_DELAY


@pytest.mark.parametrize(("kind", "error"), [("fail", StartFailed), ("refuse", RuntimeUnavailable)])
async def test_a_start_that_fails(virtual_clock, kind, error):
    """A start that fails has started nothing."""
    async with faulty(f"run#1={kind}") as (runtime, inner):
        with pytest.raises(error):
            await runtime.start(SPEC)
        assert not inner.containers


async def test_a_start_that_hangs(virtual_clock):
    """A start that hangs has started nothing when it is cancelled."""
    async with faulty("run#1=hang") as (runtime, inner):
        assert await is_stuck(lambda: runtime.start(SPEC))
        assert not inner.containers


@pytest.mark.parametrize(
    ("kind", "status"), [("die", 137), ("abandon", 137), ("pretend", 0), ("garbage", 0)]
)
async def test_a_client_without_a_container(virtual_clock, kind, status):
    """A client may end without having started anything; only its status says so."""
    async with faulty(f"run#1={kind}") as (runtime, inner):
        container = await runtime.start(SPEC)
        with pytest.raises(trio.BrokenResourceError):
            await container.stdin.send_all(b"x")
        assert await heard(container) == b""
        assert await container.wait() == status
        for closable in (container.stdin, container.stdout, container):
            await closable.aclose()
        assert not inner.containers


@pytest.mark.parametrize(
    ("kind", "said", "status"),
    [
        ("die-after", TEXT, 137),
        ("cut", TEXT[:2], 137),
        ("fail-after", b"", 125),
        ("restart-live", TEXT, 125),
    ],
)
async def test_a_client_that_is_lost(virtual_clock, kind, said, status):
    """A container lives on whose client is lost, and is ended by its name."""
    async with faulty(f"run#1={kind}") as (runtime, inner):
        container = await runtime.start(SPEC)
        assert await heard(container) == said
        assert await container.wait() == status
        with pytest.raises(trio.BrokenResourceError):
            await container.stdin.send_all(b"x")
        for closable in (container.stdin, container.stdout, container):
            await closable.aclose()
        assert "c" in inner.containers
        assert (runtime.explain_exit(SPEC, status, "") is None) == (status == 137)
        assert await runtime.kill("c")
        assert not inner.containers


async def test_a_container_without_a_fault(virtual_clock):
    """Where nothing goes wrong, all streams are passed on, and closed."""

    async def echo(container):
        await container.stdout.send_all(await container.stdin.receive_some())

    async with faulty("run#2=die", echo) as (runtime, _):
        container = await runtime.start(SPEC)
        await container.stdin.wait_send_all_might_not_block()
        await container.stdin.send_all(TEXT)
        await container.stdin.aclose()
        assert await container.stdout.receive_some() == TEXT
        assert await container.wait() == 0
        await container.stdout.aclose()
        await container.aclose()


async def test_a_client_that_falls_silent(virtual_clock):
    """A client that hangs passes nothing on, and doesn't end when the container does."""
    async with faulty("run#1=hang-after", leave) as (runtime, inner):
        container = await runtime.start(SPEC)
        for attempt in (container.wait, container.stdout.receive_some):
            assert await is_stuck(attempt)
        await container.aclose()
        assert not inner.containers


async def test_a_silent_client_whose_engine_goes_down(virtual_clock):
    """A client that hangs loses its engine as the others do."""
    async with faulty("run#1=hang-after, ps#1=restart-live") as (runtime, inner):
        container = await runtime.start(SPEC)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def wait():
                assert await container.wait() == 125

            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(RuntimeCommandFailed):
                await runtime.list({})
        assert "c" in inner.containers


@pytest.mark.parametrize(("agent", "status"), [(leave, 1), (talk, 0)])
async def test_a_status_that_is_wrong(virtual_clock, agent, status):
    """A client may end with a wrong status, and say all that was said."""
    async with faulty("run#1=flip", agent) as (runtime, _):
        container = await runtime.start(SPEC)
        assert await container.stdout.receive_some() == TEXT
        if agent is talk:
            await runtime.kill("c")
        assert await container.wait() == status


@pytest.mark.parametrize("kind", ["restart", "restart-exited"])
async def test_an_engine_that_goes_down(virtual_clock, kind):
    """With an engine that goes down its containers end, and it refuses all calls for a while."""
    async with faulty(f"kill#1x3={kind}") as (runtime, inner):
        container = await runtime.start(SPEC)
        with pytest.raises(RuntimeCommandFailed):
            await runtime.kill("c")
        with pytest.raises(RuntimeCommandFailed):
            await runtime.inspect("c")
        with pytest.raises(RuntimeUnavailable):
            await runtime.start(SPEC)
        assert await runtime.inspect("c") is None
        assert await container.wait() == 125
        assert not inner.containers


async def test_faults_may_end(virtual_clock):
    """With an empty plan nothing goes wrong any more, an outage included."""
    async with faulty("version#1x99=restart") as (runtime, _):
        with pytest.raises(RuntimeUnavailable):
            await runtime.check()
        runtime.plan = FaultPlan()
        assert await runtime.check()


async def test_a_container_that_was_let_go_of(virtual_clock):
    """An engine that goes down changes nothing for who has let go of a container before."""
    async with faulty("version#1=restart-live", leave) as (runtime, _):
        container = await runtime.start(SPEC)
        assert await heard(container) == TEXT
        assert await container.wait() == 0
        await container.aclose()
        with pytest.raises(RuntimeUnavailable):
            await runtime.check()
        assert await container.wait() == 0


async def test_the_rest_is_as_below(virtual_clock):
    """What can't fail is the inner runtime's."""
    async with faulty("") as (runtime, inner):
        await runtime.end_stale_starts(lambda labels: True)
        assert runtime.describe(SPEC) == inner.describe(SPEC)
        assert runtime.workspace_owner() == inner.workspace_owner()
        assert runtime.process_user() == inner.process_user()
        assert runtime.mounts_files == inner.mounts_files
        assert runtime.mounts_sockets == inner.mounts_sockets
        assert runtime.explain_exit(SPEC, 1, "") is None
