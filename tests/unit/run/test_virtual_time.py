"""Days of runs, in milliseconds, at exact times."""

from __future__ import annotations

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.protocol.models import ContainerConfig
from nanoclaw_trio.run.open_run import open_run
from nanoclaw_trio.run.outcome import Cause
from nanoclaw_trio.testing.fake import open_fake_runtime

MINUTE = 60
LIMIT = 30 * MINUTE + 30
"""The half hour, raised by the margin over the idle timeout."""


async def test_silence_after_an_answer_is_success(virtual_clock, run_script, timeline, say):
    """Half an hour of silence after an answer closes the container: a success, and no answer."""
    result, heard = await run_script(timeline((5, say.answer("hi")), then=None))
    assert (result.status, result.cause, result.result) == ("success", Cause.IDLE_CLOSED, None)
    assert result.new_session_id == "s1"
    assert [time for time, _ in heard] == [5]
    # The mailbox's grace, then the polite stop, which the script dies of at once.
    assert trio.current_time() == 5 + LIMIT + 2
    assert result.gone


async def test_silence_without_an_answer_names_the_limit(virtual_clock, run_script, timeline):
    """Trap A9. Half an hour without any output is an error that names the limit in force."""
    result, _ = await run_script(timeline(then=None))
    assert (result.status, result.cause) == ("error", Cause.TIMED_OUT)
    assert result.error == "Container timed out after 1830000 ms (activity limit)"
    assert trio.current_time() == LIMIT + 2
    assert result.exit_code == 143


async def test_an_answer_at_minute_29_moves_the_deadline(virtual_clock, run_script, timeline, say):
    """An answer shortly before the limit gives the agent the whole limit again."""
    result, heard = await run_script(
        timeline((29 * MINUTE, say.answer("late")), (58 * MINUTE, say.answer("later")))
    )
    assert [time for time, _ in heard] == [29 * MINUTE, 58 * MINUTE]
    assert result.cause is Cause.COMPLETED
    assert trio.current_time() == 58 * MINUTE


async def test_a_day_with_an_answer_every_20_minutes(virtual_clock, run_script, timeline, say):
    """A container may live for a day, if it says something now and then."""
    times = [20 * MINUTE * n for n in range(1, 73)]
    result, heard = await run_script(timeline(*((t, say.answer(str(t))) for t in times)))
    assert [(time, output.result) for time, output in heard] == [(t, str(t)) for t in times]
    assert result.duration == pytest.approx(24 * 60 * MINUTE)


async def test_standard_error_is_no_sign_of_life(virtual_clock, run_script):
    """Lines on standard error move no deadline."""

    async def script(container):
        while True:
            await trio.sleep(MINUTE)
            await container.stderr.send_all(b"still here\n")

    result, _ = await run_script(script)
    assert result.cause is Cause.TIMED_OUT
    assert trio.current_time() == LIMIT + 2


async def test_a_groups_own_timeout_counts(virtual_clock, run_script, timeline, group, settings):
    """containerConfig.timeout overrides the setting, and the error names it."""
    own = evolve(group, container_config=ContainerConfig(timeout=3_600_000))
    async with open_fake_runtime(timeline(then=None)) as runtime:
        from nanoclaw_trio.protocol.models import ContainerInput
        from nanoclaw_trio.run.open_run import run_container_agent

        result = await run_container_agent(
            own,
            ContainerInput(prompt="", group_folder="family", chat_jid="", is_main=False),
            settings=settings,
            runtime=runtime,
        )
    assert result.error == "Container timed out after 3600000 ms (activity limit)"


async def test_the_start_up_limit(virtual_clock, run_script, timeline, say, settings):
    """An agent that says nothing within the start-up limit is stopped; one that did isn't."""
    limited = evolve(settings, startup_timeout=60.0)
    result, _ = await run_script(timeline(then=None), settings=limited)
    assert result.error == "Container timed out after 60000 ms (start-up limit)"
    result, _ = await run_script(
        timeline((59, say.answer("made it")), (600, say.answer("still"))), settings=limited
    )
    assert result.cause is Cause.COMPLETED


@pytest.mark.parametrize(
    ("last", "status", "cause"),
    [("answer", "error", Cause.TIMED_OUT), ("update", "success", Cause.IDLE_CLOSED)],
)
async def test_the_lifetime_limit(
    virtual_clock, run_script, timeline, say, settings, last, status, cause
):
    """At the end of its lifetime a working agent is cut off: an error. A resting one is tidied."""
    outputs = [(60 * n, say.answer(str(n))) for n in range(1, 11)]
    if last == "update":
        outputs.append((601, say.update()))
    limited = evolve(settings, max_lifetime=660.0)
    result, heard = await run_script(timeline(*outputs, then=None), settings=limited)
    assert (result.status, result.cause) == (status, cause)
    assert len(heard) == len(outputs)
    assert trio.current_time() == 662


async def test_last_words_are_delivered(virtual_clock, run_script, say):
    """Trap A8. Output during the stop is delivered, and an exit 0 there is no timeout."""

    async def script(container):
        with container.open_sigterm_receiver() as sigterm:
            await sigterm.wait()
            await container.write_output(say.answer("I had just finished"))
        return 0

    result, heard = await run_script(script)
    assert [output.result for _, output in heard] == ["I had just finished"]
    assert (result.status, result.cause) == ("success", Cause.COMPLETED)


async def test_a_marker_after_the_limit_moves_nothing(virtual_clock, run_script, say):
    """Trap A8. Who talks on while being stopped is stopped all the same, once."""

    async def script(container):
        with container.open_sigterm_receiver() as sigterm:
            await sigterm.wait()
            while True:
                await container.write_output(say.answer("one more thing"))
                await trio.sleep(1.5)

    result, heard = await run_script(script)
    assert result.exit_code == 137
    assert len(heard) == 7
    assert trio.current_time() == LIMIT + 2 + 10


async def test_close_in_the_mailbox_comes_first(virtual_clock, run_script, say):
    """A container that heeds `_close` is never signalled."""

    async def script(container):
        await container.write_output(say.answer("hi"))
        assert await container.next_follow_up() is None
        return 0

    result, _ = await run_script(script)
    assert result.exit_code == 0
    assert result.cause is Cause.IDLE_CLOSED
    assert result.receipt.steps == ("close: it ended",)


async def test_the_consumers_time_is_not_the_agents(
    virtual_clock, group, container_input, settings, timeline, say
):
    """An hour that the caller takes for an output never counts as the agent's silence."""
    script = timeline((1, say.answer("one")), (2, say.answer("two")))
    taken = []
    async with (
        open_fake_runtime(script) as runtime,
        open_run(group, container_input, settings=settings, runtime=runtime) as run,
    ):
        async for output in run:
            taken.append(output.result)
            await trio.sleep(60 * MINUTE)
    assert taken == ["one", "two"]
    assert run.result.cause is Cause.COMPLETED


async def test_a_slow_consumer_slows_the_agent(
    virtual_clock, group, container_input, settings, say
):
    """The agent can't write faster than the caller takes: nothing piles up in between."""
    written = []

    async def script(container):
        for number in range(5):
            await container.write_output(say.answer(str(number)))
            written.append(trio.current_time())

    async with (
        open_fake_runtime(script) as runtime,
        open_run(group, container_input, settings=settings, runtime=runtime) as run,
    ):
        async for _ in run:
            await trio.sleep(100)
    # The pipe takes one more while the caller is busy with the one before.
    assert written == [0, 0, 100, 200, 300]


async def test_who_asked_and_asks_no_more(virtual_clock, group, container_input, settings, say):
    """A caller may ask for an output with a timeout, and be elsewhere when it comes: what the agent
    has said and nobody takes isn't its silence."""

    async def agent(container):
        await container.read_input()
        await trio.sleep(60)
        await container.write_output(say.answer("one"))
        await container.write_output(say.answer("two"))
        return 0

    heard = []
    async with (
        open_fake_runtime(agent) as runtime,
        open_run(group, container_input, settings=settings, runtime=runtime) as run,
    ):
        with trio.move_on_after(1):
            heard.append(await anext(run))
        await trio.sleep(3 * LIMIT)
        heard += [output.result async for output in run]
    assert heard == ["one", "two"]
    assert run.result.cause is Cause.COMPLETED
