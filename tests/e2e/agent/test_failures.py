"""When the API refuses, stalls or hangs, and when the agent is stopped in the middle."""

from __future__ import annotations

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.run.outcome import Cause
from nanoclaw_trio.settings import GracePeriods
from nanoclaw_trio.testing.messages_api import ApiError, Hang, Text, ToolUse, scripted

SILENCE = 60.0
"""Seconds that a run may be silent. The test's clock is put forward by as much."""

SIGTERM_STATUS = 143


@pytest.mark.parametrize(
    ("status", "asked"),
    [
        pytest.param(400, 1, id="refused"),
        pytest.param(401, 1, id="wrong key"),
        pytest.param(429, 2, id="rate limit"),
    ],
)
async def test_the_api_refuses(project, status, asked):
    """What the API says against a request is the text of an error output, at a rate limit after
    another attempt; the agent fails, and its session is not to be resumed."""
    done = await project.ask(lambda _: ApiError(status, message="come back on Tuesday"))
    (output,) = done.heard
    assert (output.status, output.result) == ("error", None)
    assert str(status) in output.error
    assert "come back on Tuesday" in output.error
    assert len(done.requests) >= asked
    assert (done.result.cause, done.result.exit_code) == (Cause.AGENT_FAILED, 1)
    assert done.result.new_session_id is None
    assert done.result.gone


async def test_an_overloaded_api_answers_at_last(project):
    """After a passing failure of the API the answer comes, and nothing of the failure."""
    done = await project.ask(scripted(ApiError(529), Text("Here I am.")))
    assert [output.result for output in done.heard] == ["Here I am.", None]
    assert len(done.requests) == 2
    assert done.result.cause is Cause.COMPLETED


@pytest.fixture
def forward_clock():
    """Real time, which a test may put forward."""
    return trio.testing.MockClock(rate=1.0)


async def test_the_api_hangs(project, forward_clock):
    """A run that waits for an API that hangs is ended by its deadline. SIGTERM is enough: of its
    grace period, half a minute, hardly anything is used."""
    settings = evolve(
        project.settings,
        container_timeout=SILENCE,
        idle_timeout=None,
        grace=GracePeriods(close=0.1, stop=30.0),
    )
    async with project.serve(scripted(Hang())) as api, project.run(settings=settings) as run:
        await api.wait_for_requests(1)
        forward_clock.jump(SILENCE)
        assert [output async for output in run] == []
    assert (run.result.cause, run.result.exit_code) == (Cause.TIMED_OUT, SIGTERM_STATUS)
    assert "timed out after 60000 ms" in run.result.error
    assert run.result.gone
    # A slow engine may still be removing it when it is asked; nothing had to be killed.
    steps = run.result.receipt.steps
    assert [step.partition(":")[0] for step in steps][:2] == ["close", "stop"]
    assert "kill: done" not in steps


async def test_stopped_while_a_command_runs(project, wait_for):
    """Trap A18. SIGTERM ends the agent and the command that it runs, by the agent's own hand:
    nobody has to kill it after the grace period."""
    command = ToolUse("Bash", {"command": "touch started; sleep 100; touch finished"})
    async with project.serve(scripted(command)), project.run() as run:
        await wait_for(project.paths().group_dir / "started")
        assert await project.runtime.stop(run.container_name, 30.0)
        assert [output async for output in run] == []
    assert (run.result.cause, run.result.exit_code) == (Cause.KILLED_FROM_OUTSIDE, SIGTERM_STATUS)
    assert (run.result.gone, run.result.receipt.steps) == (True, ())
