"""What a run hands out, how it ends, and whose exceptions arrive how."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from contextlib import suppress

import pytest
import trio
import trio.testing
from attrs import evolve

from nanoclaw_trio.errors import (
    GroupBusy,
    InvalidContainerInput,
    InvalidGroupFolder,
    InvalidSetting,
    MailboxUnwritable,
    ResultNotReady,
    RunClosing,
    RuntimeCommandFailed,
    RuntimeUnavailable,
)
from nanoclaw_trio.protocol.models import AdditionalMount, ContainerConfig, ContainerOutput
from nanoclaw_trio.run.open_run import open_run, run_container_agent
from nanoclaw_trio.run.outcome import Cause
from nanoclaw_trio.run.receipt import Gone, Unconfirmed
from nanoclaw_trio.runtimes.process import (
    ChildProcess,
    ProcessContainer,
    run_command,
)
from nanoclaw_trio.settings import GracePeriods
from nanoclaw_trio.testing.clock import VirtualClock
from nanoclaw_trio.testing.fake import FakeRuntime, echo_agent, open_fake_runtime


@pytest.fixture
async def echo():
    async with open_fake_runtime(echo_agent) as runtime:
        yield runtime


async def test_outputs_come_in_order_and_once(virtual_clock, run_script, say):
    """Each output is handed out once, in order; the result has the last session id."""

    async def script(container):
        for number in range(100):
            await container.write_output(say.answer(str(number), session=f"s{number}"))

    result, heard = await run_script(script)
    assert [output.result for _, output in heard] == [str(number) for number in range(100)]
    assert (result.status, result.result, result.new_session_id) == ("success", None, "s99")
    assert (result.cause, result.exit_code) == (Cause.COMPLETED, 0)


async def test_outputs_before_a_failure_are_delivered(virtual_clock, run_script, say):
    """Trap A6. Outputs are settled before the outcome, on a failing exit too."""

    async def script(container):
        await container.write_output(say.answer("before"))
        await container.stderr.send_all(b"it broke\n")
        return 3

    result, heard = await run_script(script)
    assert [output.result for _, output in heard] == ["before"]
    assert result.error == "Container exited with code 3: it broke"
    assert (result.cause, result.new_session_id) == (Cause.AGENT_FAILED, None)


async def test_an_unread_input_is_no_catastrophe(virtual_clock, run_script):
    """Trap A1. An agent that ends without reading its input has an outcome like any other."""

    async def script(container):
        await container.stderr.send_all(b"no idea what to do\n")
        return 1

    result, _ = await run_script(script)
    assert result.error == "Container exited with code 1: no idea what to do"


async def test_without_streaming_the_last_answer_is_the_result(virtual_clock, run_script, say):
    """Trap A13. Not streaming, the last pair whose result isn't null is the result."""

    async def script(container):
        await container.write_output(say.answer("first"))
        await container.write_output(say.answer("last", session="s2"))
        await container.write_output(say.update("s3"))

    result, heard = await run_script(script, streaming=False)
    assert heard == []
    assert (result.result, result.new_session_id) == ("last", "s3")


async def test_without_markers_the_last_line_counts(virtual_clock, run_script):
    """Not streaming and without any marker, the last line that isn't empty is the output."""

    async def script(container):
        await container.stdout.send_all(b'log line\n{"status":"success","result":"ok"}\n\n')

    result, _ = await run_script(script, streaming=False)
    assert (result.status, result.result) == ("success", "ok")


@pytest.mark.parametrize(
    ("written", "streaming", "cause"),
    [
        (b"", False, Cause.NO_OUTPUT),
        (b"no json\n", False, Cause.UNPARSABLE_OUTPUT),
        (
            b"---NANOCLAW_OUTPUT_START---\n{}\n---NANOCLAW_OUTPUT_END---\n",
            True,
            Cause.UNPARSABLE_OUTPUT,
        ),
    ],
)
async def test_what_cannot_be_understood_is_an_error(
    virtual_clock, run_script, written, streaming, cause
):
    """An agent that says nothing that can be understood has failed, whatever its exit status."""

    async def script(container):
        if written:
            await container.stdout.send_all(written)

    result, _ = await run_script(script, streaming=streaming)
    assert (result.status, result.cause) == ("error", cause)
    assert result.error is not None
    assert result.error.startswith("Failed to parse container output: ")


async def test_a_bad_frame_is_counted_and_the_stream_goes_on(virtual_clock, run_script, say):
    """A pair of markers that can't be understood is counted; what follows is delivered."""

    async def script(container):
        await container.stdout.send_all(
            b"---NANOCLAW_OUTPUT_START---\nnonsense\n---NANOCLAW_OUTPUT_END---\n"
        )
        await container.write_output(say.answer("fine"))

    result, heard = await run_script(script)
    assert [output.result for _, output in heard] == ["fine"]
    assert (result.status, result.rejected_frames) == ("success", 1)


async def test_a_frame_beyond_the_cap_is_counted(virtual_clock, run_script, say, settings):
    """Trap A4. A frame larger than allowed is dropped and counted; the stream goes on."""

    async def script(container):
        await container.write_output(say.answer("x" * 5000))
        await container.write_output(say.answer("short"))

    result, heard = await run_script(script, settings=evolve(settings, max_frame_bytes=1000))
    assert [output.result for _, output in heard] == ["short"]
    assert result.rejected_frames == 1


async def test_the_callbacks_exception_arrives_as_it_is(
    virtual_clock, group, container_input, settings, echo
):
    """Trap A5. An exception of on_output ends the run and reaches the caller, in no group."""

    async def on_output(output):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        await run_container_agent(
            group, container_input, settings=settings, runtime=echo, on_output=on_output
        )
    assert not echo.containers


async def test_the_blocks_exception_arrives_as_it_is(
    virtual_clock, group, container_input, settings, echo
):
    """Trap T4. An exception of the block goes on as it is, after the container is gone."""
    with pytest.raises(KeyError, match="mine"):
        async with open_run(group, container_input, settings=settings, runtime=echo):
            raise KeyError("mine")
    assert not echo.containers


async def test_on_process_gets_handle_and_name(
    virtual_clock, group, container_input, settings, echo
):
    """on_process is called once, with the container's handle and its name, before any output."""
    calls = []

    def on_process(container, name):
        calls.append((container.name, name))

    async with open_run(
        group, container_input, settings=settings, runtime=echo, on_process=on_process
    ) as run:
        async for _ in run:
            assert calls == [(run.container_name, run.container_name)]
            await run.close()
    assert run.container is not None


async def test_an_exception_of_on_process_ends_the_run(
    virtual_clock, group, container_input, settings, echo
):
    """Trap A10. An exception between the start and the first wait leaves no container."""

    def on_process(container, name):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await run_container_agent(
            group, container_input, settings=settings, runtime=echo, on_process=on_process
        )
    assert not echo.containers


async def test_leaving_early_stops_the_container(
    virtual_clock, group, container_input, settings, echo
):
    """Who leaves the block early has a receipt and no result."""
    async with open_run(group, container_input, settings=settings, runtime=echo) as run:
        await anext(run)
    assert not echo.containers
    assert isinstance(run.receipt, Gone)
    with pytest.raises(ResultNotReady):
        _ = run.result


async def test_the_result_is_not_ready_before_the_end(
    virtual_clock, group, container_input, settings, echo
):
    """Asking for the result too early is the caller's fault, and says so."""
    async with open_run(group, container_input, settings=settings, runtime=echo) as run:
        with pytest.raises(ResultNotReady, match="no result"):
            _ = run.result


async def test_follow_ups_reach_the_running_container(
    virtual_clock, group, container_input, settings, echo
):
    """A follow-up goes through the mailbox into the running container; so does the close."""
    heard = []
    async with open_run(group, container_input, settings=settings, runtime=echo) as run:
        async for output in run:
            heard.append(output.result)
            if heard == ["echo: Hello", None]:
                await run.send_message("one")
                await run.send_message("two")
            if heard[-2:] == ["echo: two", None]:
                await run.close()
                with pytest.raises(RunClosing):
                    await run.send_message("three")
    assert heard == ["echo: Hello", None, "echo: one", None, "echo: two", None]
    assert run.result.undelivered == ()
    assert run.statistics().finished


async def test_an_output_names_the_follow_ups_that_it_answers(
    virtual_clock, group, container_input, settings, echo
):
    """A caller who writes a follow-up's name down before it is sent finds it in what answers it."""
    heard, names = [], []
    async with open_run(group, container_input, settings=settings, runtime=echo) as run:
        async for output in run:
            heard.append((output.result, output.follow_ups))
            if len(heard) == 2:
                names = [run.new_follow_up_name() for _ in range(2)]
                for name, text in zip(names, ("one", "two"), strict=True):
                    assert await run.send_message(text, name=name) == name
            elif len(heard) == 6:
                await run.close()
    first, second = names
    assert heard == [
        ("echo: Hello", ()),
        (None, ()),
        ("echo: one", (first,)),
        (None, (first,)),
        ("echo: two", (second,)),
        (None, (second,)),
    ]


async def test_what_the_agent_has_not_taken_is_pending(
    virtual_clock, group, container_input, settings, say
):
    """While it runs, its caller can see which follow-ups still lie there, in order."""
    sent, seen = trio.Event(), trio.Event()

    async def script(container):
        await container.write_output(say.answer("ready"))
        await sent.wait()
        await container.take_follow_up()
        await container.write_output(say.answer("taken"))
        # Once it has ended, what it left is taken back.
        await seen.wait()

    async with (
        open_fake_runtime(script) as runtime,
        open_run(group, container_input, settings=settings, runtime=runtime) as run,
    ):
        async for output in run:
            if output.result == "ready":
                first, second = run.new_follow_up_name(), run.new_follow_up_name()
                await run.send_message("two", name=second)
                await run.send_message("one", name=first)
                assert await run.pending_follow_ups() == (first, second)
                sent.set()
            else:
                assert await run.pending_follow_ups() == (second,)
                seen.set()
    assert run.result.undelivered == ("two",)


async def test_what_no_agent_took_is_the_callers_again(
    virtual_clock, group, container_input, settings, say
):
    """Trap A22. Follow-ups that the container left behind are in the result, in order."""

    async def script(container):
        await container.write_output(say.answer("bye"))
        await trio.sleep(1)

    async with (
        open_fake_runtime(script) as runtime,
        open_run(group, container_input, settings=settings, runtime=runtime) as run,
    ):
        async for _ in run:
            await run.send_message("first")
            await run.send_message("second")
    assert run.result.undelivered == ("first", "second")


@pytest.mark.parametrize("scheduled", [False, True])
async def test_leftovers_of_a_crash(
    virtual_clock, group, container_input, settings, echo, scheduled
):
    """Trap A22. A follow-up and a `_close` that a crashed host left: the close is swept; the
    follow-up reaches the next run of a person, and never a scheduled task's."""
    inbox = settings.project_root / "data" / "ipc" / "family" / "input"
    inbox.mkdir(parents=True)
    (inbox / "0000000000001-000000.json").write_text('{"type":"message","text":"left"}')
    (inbox / "_close").touch()
    heard = []
    async with open_run(
        group,
        evolve(container_input, is_scheduled_task=scheduled),
        settings=settings,
        runtime=echo,
    ) as run:
        async for output in run:
            heard.append(output.result)
            if len(heard) == (2 if scheduled else 4):
                await run.close()
    if scheduled:
        assert (heard, run.result.undelivered) == (["echo: Hello", None], ("left",))
    else:
        assert heard == ["echo: Hello", None, "echo: left", None]


class TestOneRunPerGroup:
    async def test_the_second_is_refused_at_once(
        self, virtual_clock, group, container_input, settings, echo
    ):
        """A group that has a run isn't given another: nothing waits, and the first isn't disturbed."""
        async with open_run(group, container_input, settings=settings, runtime=echo) as run:
            assert (await anext(run)).result == "echo: Hello"
            await run.send_message("more")
            with pytest.raises(GroupBusy) as caught:
                await run_container_agent(group, container_input, settings=settings, runtime=echo)
            assert (caught.value.container, caught.value.pid) == (run.container_name, os.getpid())
            assert len(echo.started) == 1
            heard = []
            async for output in run:
                heard.append(output.result)
                if heard == [None, "echo: more", None]:
                    await run.close()
        assert run.result.cause is Cause.COMPLETED

    async def test_another_group_is_free(
        self, virtual_clock, group, container_input, settings, echo
    ):
        """Groups don't wait for each other."""
        other = evolve(group, folder="friends")
        asked = evolve(container_input, group_folder="friends")
        async with (
            open_run(group, container_input, settings=settings, runtime=echo) as run,
            open_run(other, asked, settings=settings, runtime=echo) as other_run,
        ):
            assert (await anext(run)).result == (await anext(other_run)).result == "echo: Hello"

    async def test_it_is_free_with_the_result(
        self, virtual_clock, group, container_input, settings, timeline
    ):
        """The next run may begin when the outputs have ended, before the block is left."""
        async with (
            open_fake_runtime(timeline()) as runtime,
            open_run(group, container_input, settings=settings, runtime=runtime) as run,
        ):
            assert [output async for output in run] == []
            again = await run_container_agent(
                group, container_input, settings=settings, runtime=runtime
            )
            assert again.gone
        assert len(runtime.started) == 2

    @pytest.mark.parametrize(
        "way", ["left early", "cancelled", "it couldn't start", "it wasn't prepared"]
    )
    async def test_it_is_free_whatever_the_end(
        self, virtual_clock, group, container_input, settings, echo, way
    ):
        """However a run ends, or doesn't begin, the next one gets the group."""
        dotenv = settings.project_root / ".env"
        with trio.CancelScope() as scope, suppress(InvalidSetting):
            match way:
                case "it couldn't start":
                    echo.images = set()
                case "it wasn't prepared":
                    dotenv.write_bytes(b"\xff")
            async with open_run(group, container_input, settings=settings, runtime=echo) as run:
                if way == "cancelled":
                    scope.cancel()
                    await anext(run)
        echo.images = None
        dotenv.unlink(missing_ok=True)
        async with open_run(group, container_input, settings=settings, runtime=echo) as run:
            assert (await anext(run)).result == "echo: Hello"

    async def test_nothing_is_made_for_who_is_refused(
        self, virtual_clock, group, container_input, settings, echo
    ):
        """The run that has the group finds its workspace as it was."""
        async with open_run(group, container_input, settings=settings, runtime=echo):
            ipc = settings.project_root / "data" / "ipc" / "family"
            (ipc / "tasks").rmdir()
            with pytest.raises(GroupBusy):
                await run_container_agent(group, container_input, settings=settings, runtime=echo)
            assert not (ipc / "tasks").exists()


class TestMailboxThatCannotBeWritten:
    """Trap A28. The agent replaced its inbox while it was running."""

    @pytest.fixture
    def tampering(self, say):
        """An agent that does that, between its answer and the end of its query."""

        def make(*, update=True):
            async def script(container):
                await container.write_output(say.answer("done"))
                inbox = container.host_path("/workspace/ipc/input")
                inbox.rmdir()
                inbox.symlink_to("/etc")
                if update:
                    await container.write_output(say.update("s2"))
                await trio.sleep_forever()

            return script

        return make

    async def test_closing_stops_the_container(
        self, virtual_clock, group, container_input, settings, tampering, capsys
    ):
        """It can't be asked to end, and is stopped at once: a success after its query."""
        async with (
            open_fake_runtime(tampering()) as runtime,
            open_run(group, container_input, settings=settings, runtime=runtime) as run,
        ):
            async for output in run:
                if output.is_session_update:
                    with pytest.raises(MailboxUnwritable):
                        await run.send_message("more")
                    await run.close()
                    with pytest.raises(RunClosing):
                        await run.send_message("late")
        result = run.result
        assert (result.cause, result.status, result.new_session_id) == (
            Cause.COMPLETED,
            "success",
            "s2",
        )
        assert (result.exit_code, result.gone) == (143, True)
        assert result.receipt.steps == ("stop: done",)
        assert trio.current_time() == 0
        assert "stopping an agent that can't be asked" in capsys.readouterr().err

    async def test_in_the_middle_of_a_query(
        self, virtual_clock, group, container_input, settings, tampering
    ):
        """Stopped before its query's end, the agent has failed, and that says why."""
        async with (
            open_fake_runtime(tampering(update=False)) as runtime,
            open_run(group, container_input, settings=settings, runtime=runtime) as run,
        ):
            async for _ in run:
                await trio.testing.wait_all_tasks_blocked()
                await run.close()
        assert run.result.cause is Cause.AGENT_FAILED
        assert "its mailbox can't be closed" in str(run.result.error)
        assert run.result.gone

    async def test_when_it_has_ended_already(
        self, virtual_clock, group, container_input, settings, timeline, say
    ):
        """Closing a container that has just ended changes nothing about how it did."""
        runs = []

        async def close_late():
            inbox = settings.project_root / "data" / "ipc" / "family" / "input"
            inbox.rmdir()
            inbox.symlink_to("/etc")
            del runtime.before["inspect"]
            await runs[0].close()

        async with open_fake_runtime(timeline((0, say.answer("bye")), then=3)) as runtime:
            # What a run asks first after its container's end.
            runtime.before["inspect"] = close_late
            async with open_run(group, container_input, settings=settings, runtime=runtime) as run:
                runs.append(run)
                async for _ in run:
                    pass
        assert "inspect" not in runtime.before
        assert (run.result.cause, run.result.exit_code) == (Cause.AGENT_FAILED, 3)
        assert "exited with code 3" in str(run.result.error)

    async def test_when_a_limit_has_passed(
        self, virtual_clock, group, container_input, settings, tampering
    ):
        """The ladder goes on to its next rung, and the outcome is the limit's."""
        async with (
            open_fake_runtime(tampering()) as runtime,
            open_run(group, container_input, settings=settings, runtime=runtime) as run,
        ):
            async for _ in run:
                pass
        assert run.result.cause is Cause.IDLE_CLOSED
        assert run.result.receipt.steps[0].startswith("close: failed: ")


async def test_a_missing_image_is_an_outcome(virtual_clock, group, container_input, settings, echo):
    """Trap A15. A missing image is an outcome that names the remedy; nothing was started."""
    echo.images = set()
    result = await run_container_agent(group, container_input, settings=settings, runtime=echo)
    assert (result.cause, result.exit_code) == (Cause.IMAGE_MISSING, None)
    assert "nanoclaw-agent:latest" in str(result.error)
    assert result.gone
    assert not echo.started


async def test_an_absent_engine_is_an_outcome(
    virtual_clock, group, container_input, settings, echo
):
    """A runtime that can't be used is an outcome, with its reason."""

    async def absent():
        raise RuntimeUnavailable("fake", "it went home", "call it back")

    echo.before["start"] = absent
    result = await run_container_agent(group, container_input, settings=settings, runtime=echo)
    assert result.cause is Cause.RUNTIME_UNAVAILABLE
    assert "call it back" in str(result.error)


async def test_a_start_that_hangs_is_bounded(virtual_clock, group, container_input, settings, echo):
    """A runtime whose start never returns ends in an outcome, after a minute."""
    echo.before["start"] = trio.sleep_forever
    result = await run_container_agent(group, container_input, settings=settings, runtime=echo)
    assert result.cause is Cause.SPAWN_FAILED
    assert trio.current_time() == 60
    assert result.gone


async def test_out_of_memory_is_named(virtual_clock, run_script, settings):
    """An end for want of memory is called that, with the limit."""

    async def script(container):
        container.run_out_of_memory()

    result, _ = await run_script(script, settings=evolve(settings, memory=1024))
    assert result.cause is Cause.OUT_OF_MEMORY
    assert "CONTAINER_MEMORY=1K" in str(result.error)


async def test_killed_from_outside_is_named(virtual_clock, group, container_input, settings, echo):
    """A container that somebody else kills is reported as that."""
    async with open_run(group, container_input, settings=settings, runtime=echo) as run:
        async for _ in run:
            await echo.kill(run.container_name)
    assert run.result.cause is Cause.KILLED_FROM_OUTSIDE
    assert "137" in str(run.result.error)


async def refuse():
    """A command of the runtime that fails."""
    raise RuntimeCommandFailed("fake", "refuses")


@pytest.mark.parametrize(
    "faults",
    [
        {"stop": trio.sleep_forever},
        {"stop": refuse},
        {"stop": trio.sleep_forever, "kill": trio.sleep_forever},
        {"stop": refuse, "kill": refuse},
    ],
    ids=["stop hangs", "stop fails", "stop and kill hang", "stop and kill fail"],
)
async def test_a_failing_rung_is_followed_by_the_next(virtual_clock, run_script, timeline, faults):
    """Trap A7. A stop that fails or hangs is noted, and the next rung is taken: it is gone."""
    result, _ = await run_script(timeline(then=None), before=faults)
    assert isinstance(result.receipt, Gone)
    assert any(step.startswith("stop: ") for step in result.receipt.steps)


async def test_nothing_works_and_it_is_said(virtual_clock, group, container_input, settings, echo):
    """Trap A7. A runtime that answers nothing ends in an honest receipt, within its bound."""
    for method in ("stop", "kill", "remove", "inspect"):
        echo.before[method] = trio.sleep_forever
    with trio.move_on_after(1):
        async with open_run(group, container_input, settings=settings, runtime=echo) as run:
            async for _ in run:
                pass
    assert isinstance(run.receipt, Unconfirmed)
    assert trio.current_time() <= 1 + 15 + 20 + 10 * 7
    assert len(run.receipt.steps) >= 6


async def test_nothing_works_and_it_talks_on(virtual_clock, group, container_input, settings):
    """A container that can't be stopped and prints its progress keeps no run from its end."""

    async def progress(container):
        await container.read_input()
        while True:
            await trio.sleep(0.03)
            await container.stdout.send_all(b".")

    bounded = evolve(settings, container_timeout=60, idle_timeout=None)
    async with open_fake_runtime(progress) as runtime:
        for method in ("stop", "kill", "remove"):
            runtime.before[method] = trio.sleep_forever
        with trio.fail_after(60 + 180):
            result = await run_container_agent(
                group, container_input, settings=bounded, runtime=runtime
            )
        assert isinstance(result.receipt, Unconfirmed)


async def test_a_groups_folder_is_checked_first(
    virtual_clock, group, container_input, settings, echo
):
    """A folder's name that isn't allowed raises before anything is started."""
    bad = evolve(group, folder="../other")
    with pytest.raises(InvalidGroupFolder):
        await run_container_agent(
            bad, evolve(container_input, group_folder="../other"), settings=settings, runtime=echo
        )
    with pytest.raises(InvalidContainerInput, match=r"\$\.groupFolder"):
        await run_container_agent(
            group, evolve(container_input, group_folder="other"), settings=settings, runtime=echo
        )
    assert not echo.started


async def test_the_deadline_is_there_to_be_shown(
    virtual_clock, group, container_input, settings, echo
):
    """statistics() has the deadline, and it is infinite while the caller is at work."""
    async with open_run(group, container_input, settings=settings, runtime=echo) as run:
        assert run.statistics().deadline == 1830
        await anext(run)
        assert run.statistics().deadline == float("inf")
        assert run.statistics().outputs == 1


async def test_hurry_skips_the_graces(virtual_clock, group, container_input, settings):
    """Asked to hurry while it stops a stubborn container, a run kills at once."""

    async def stubborn(container):
        with container.open_sigterm_receiver():
            await trio.sleep_forever()

    async with open_fake_runtime(stubborn) as runtime, trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with open_run(group, container_input, settings=settings, runtime=runtime) as run:

                async def impatient():
                    await trio.sleep(1)
                    scope.cancel()
                    await trio.sleep(1)
                    run.hurry()

                nursery.start_soon(impatient)
                async for _ in run:
                    pass
    assert trio.current_time() == 2
    assert isinstance(run.receipt, Gone)


async def test_a_refused_mount_is_said_and_the_run_goes_on(
    virtual_clock, group, container_input, settings, echo, capsys
):
    """Trap A27. Without an allowlist an additional mount is refused, with the reason in the log."""
    config = ContainerConfig(additional_mounts=(AdditionalMount(host_path="/srv"),))
    asking = evolve(group, container_config=config)
    async with open_run(asking, container_input, settings=settings, runtime=echo) as run:
        async for output in run:
            if output.is_session_update:
                await run.close()
    assert run.result.status == "success"
    assert "/srv" in capsys.readouterr().err


@pytest.mark.usefixtures("python_handles_sigint")
def test_an_interrupt_in_the_runs_own_task(group, container_input, settings):
    """Trap A10. Ctrl-C in the middle of the stop ladder, with nobody to receive the signal: the
    ladder is gone through, and KeyboardInterrupt reaches the caller as itself."""
    seen = []

    async def main():
        async with open_fake_runtime(echo_agent) as runtime:

            async def interrupted():
                del runtime.before["stop"]
                signal.raise_signal(signal.SIGINT)

            runtime.before["stop"] = interrupted
            try:
                async with open_run(
                    group, container_input, settings=settings, runtime=runtime
                ) as run:
                    await anext(run)
            finally:
                seen.extend((run.receipt, dict(runtime.containers)))

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=VirtualClock())
    assert isinstance(seen[0], Gone)
    assert seen[1] == {}


class InterruptedStream:
    """A stream whose first use a Ctrl-C meets."""

    def __init__(self, stream):
        self._stream = stream
        self._number = signal.SIGINT

    async def send_all(self, data):
        """As the stream's."""
        self._interrupt()
        await self._stream.send_all(data)

    async def receive_some(self, max_bytes=None):
        """As the stream's."""
        self._interrupt()
        return await self._stream.receive_some(max_bytes)

    async def aclose(self):
        """As the stream's."""
        await self._stream.aclose()

    def _interrupt(self):
        number, self._number = self._number, 0
        if number:
            signal.raise_signal(number)


@pytest.mark.usefixtures("python_handles_sigint")
@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_an_interrupt_in_a_runs_other_tasks(group, container_input, settings, name):
    """Trap A10. Ctrl-C while a stream of the container is written or read: it reaches the caller as
    itself, too, once the container is gone."""
    seen = []

    class Runtime(FakeRuntime):
        async def start(self, spec):
            container = await super().start(spec)
            setattr(container, name, InterruptedStream(getattr(container, name)))
            return container

    async def main():
        async with trio.open_nursery() as nursery:
            runtime = Runtime(echo_agent, nursery)
            async with open_run(group, container_input, settings=settings, runtime=runtime) as run:
                try:
                    async for _ in run:
                        pass
                except KeyboardInterrupt as interrupt:
                    seen.append(interrupt)
            seen.append(run.receipt)

    trio.run(main, clock=VirtualClock())
    assert [type(each) for each in seen] == [KeyboardInterrupt, Gone]


@pytest.mark.usefixtures("python_handles_sigint")
def test_an_interrupt_while_a_rungs_command_answers(group, container_input, settings, monkeypatch):
    """Trap A10. Ctrl-C while the answer of one of the runtime's commands is read, by a task of its
    own: the ladder is gone through."""
    seen, ioctl = [], fcntl.ioctl

    def interrupted(*arguments):
        # With it is asked how much there is to be read.
        monkeypatch.setattr(fcntl, "ioctl", ioctl)
        signal.raise_signal(signal.SIGINT)
        return ioctl(*arguments)

    async def command():
        del runtimes[0].before["stop"]
        monkeypatch.setattr(fcntl, "ioctl", interrupted)
        await run_command(["true"], {"PATH": os.environ["PATH"]}, bound=5)
        seen.append("answered")

    runtimes = []

    async def main():
        async with open_fake_runtime(echo_agent) as runtime:
            runtimes.append(runtime)
            runtime.before["stop"] = command
            try:
                async with open_run(
                    group, container_input, settings=settings, runtime=runtime
                ) as run:
                    await anext(run)
            finally:
                seen.append(run.receipt)

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert [type(each) for each in seen] == [str, Gone]


async def test_undelivered_follow_ups_of_a_run_that_was_left(
    virtual_clock, group, container_input, settings
):
    """Trap A22. Of a run that its caller left or cancelled, too, what no agent took is there."""

    async def deaf(container):
        await trio.sleep_forever()

    async with (
        open_fake_runtime(deaf) as runtime,
        open_run(group, container_input, settings=settings, runtime=runtime) as run,
    ):
        await run.send_message("anybody?")
    assert run.undelivered == ("anybody?",)


async def test_an_agents_error_does_not_quote_its_key(
    virtual_clock, group, container_input, settings
):
    """Trap A17. A key in the error of an output is redacted before anybody gets it."""
    (settings.project_root / ".env").write_text("ANTHROPIC_API_KEY=sk-canary-of-an-error\n")
    bad = ContainerOutput(status="error", result=None, error="no: sk-canary-of-an-error")

    async def agent(container):
        await container.write_output(bad)

    async with (
        open_fake_runtime(agent) as runtime,
        open_run(group, container_input, settings=settings, runtime=runtime) as run,
    ):
        assert [output.error async for output in run] == ["no: [redacted]"]


async def test_a_close_that_an_agent_deletes_at_its_start(
    virtual_clock, group, container_input, settings, say
):
    """Trap A22. An agent that clears its mailbox before it begins is asked to end once more when its
    query has ended, and not left to a limit half an hour later."""
    cleared = trio.Event()

    async def script(container):
        await cleared.wait()
        await container.write_output(say.answer("bye"))
        await container.write_output(say.update())
        assert await container.next_follow_up() is None

    async with (
        open_fake_runtime(script) as runtime,
        open_run(group, container_input, settings=settings, runtime=runtime) as run,
    ):
        await run.close()
        (settings.project_root / "data/ipc/family/input/_close").unlink()
        cleared.set()
        assert [output.result async for output in run] == ["bye", None]
    assert run.result.cause is Cause.COMPLETED
    assert trio.current_time() < 10


FLUENT = """
import sys
sys.stdin.buffer.read()
for number in range(12):
    sys.stdout.write('---NANOCLAW_OUTPUT_START---\\n{"status":"success","result":"%d %s"}\\n'
                     '---NANOCLAW_OUTPUT_END---\\n' % (number, 'x' * 12_000))
"""


class ProcessRuntime(FakeRuntime):
    """Starts a process, whose pipe holds what it said when it has ended."""

    async def start(self, spec):
        """Start it."""
        return ProcessContainer(spec.name, ChildProcess([sys.executable, "-c", FLUENT], {}))


async def test_a_consumer_that_blocks(group, container_input, settings, nursery):
    """Each output comes once, whatever its consumer takes for one, and in what way."""
    settings = evolve(settings, grace=GracePeriods(drain=0.1))
    runtime = ProcessRuntime(echo_agent, nursery)
    heard = []
    async with open_run(group, container_input, settings=settings, runtime=runtime) as run:
        async for output in run:
            time.sleep(0.15)  # noqa: ASYNC251 - it's what this is about
            heard.append(int(output.result.split()[0]))
    assert run.result.status == "success"
    assert heard == list(range(12))
