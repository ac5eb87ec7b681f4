"""The engine runs an agent of the original protocol: nothing in it was made for this host.

It is the original in-container program in all that a host can tell of it. A shell is its parent,
puts the input into a file first, and passes no signal on. It reads its input to the end, removes a
`_close` that it takes for an earlier run's, joins what lies in the mailbox to its prompt, and looks
there each half second, also while a query is under way.
"""

from __future__ import annotations

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.mailbox.writer import Mailbox
from nanoclaw_trio.run.open_run import open_run, run_container_agent
from nanoclaw_trio.run.outcome import Cause
from nanoclaw_trio.runtimes.abc import INSTALL_LABEL
from nanoclaw_trio.settings import GracePeriods
from nanoclaw_trio.workspace.install import install_id

GUARD = 120
"""Seconds; it guards against a hang and measures nothing."""

START_BOUND = 10.0
"""Seconds of silence that end a run here: a start takes less than one."""

SHELL = """
import os, sys
program = os.path.join(os.path.dirname(__file__), "original.py")
script = 'cat > /tmp/input.json; "$0" "$1" < /tmp/input.json'
os.execv("/bin/sh", ["sh", "-c", script, sys.executable, program])
"""

ORIGINAL = """
import json, os, sys, time

INPUT = "/workspace/ipc/input"
CLOSE = INPUT + "/_close"
POLL = 0.5


def write_output(**output):
    print("---NANOCLAW_OUTPUT_START---")
    print(json.dumps(output))
    print("---NANOCLAW_OUTPUT_END---", flush=True)


def should_close():
    if not os.path.exists(CLOSE):
        return False
    os.unlink(CLOSE)
    return True


def drain():
    texts = []
    for name in sorted(name for name in os.listdir(INPUT) if name.endswith(".json")):
        path = os.path.join(INPUT, name)
        with open(path) as file:
            message = json.load(file)
        os.unlink(path)
        if message["type"] == "message" and message["text"]:
            texts.append(message["text"])
    return texts


def wait_for_message():
    while not should_close():
        texts = drain()
        if texts:
            return "\\n".join(texts)
        time.sleep(POLL)
    return None


def query(prompt):
    # Whether the session was closed while it was at work.
    if prompt == "fail":
        raise RuntimeError("the model is not there")
    if prompt == "hang":
        time.sleep(3600)
    write_output(status="success", result="said: " + prompt, newSessionId=session)
    if prompt != "work":
        return False
    while not should_close():
        for text in drain():
            write_output(status="success", result="meanwhile: " + text, newSessionId=session)
        time.sleep(POLL)
    return True


print("reading the input", file=sys.stderr)
request = json.loads(sys.stdin.read())
os.unlink("/tmp/input.json")
session = request.get("sessionId") or "original-session"
if request["prompt"] == "slow":
    while not os.path.exists(CLOSE):
        time.sleep(0.01)
if os.path.exists(CLOSE):
    os.unlink(CLOSE)
prompt = "\\n".join([request["prompt"], *drain()])
try:
    while prompt is not None and not query(prompt):
        write_output(status="success", result=None, newSessionId=session)
        prompt = wait_for_message()
except Exception as error:
    write_output(status="error", result=None, newSessionId=session, error=str(error))
    sys.exit(1)
"""


@pytest.fixture(autouse=True)
def original_agent(real_settings):
    """The group has the original agent."""
    package = real_settings.project_root / "data/sessions/family/agent-runner-src/nanoclaw_agent"
    package.mkdir(parents=True)
    (package / "__main__.py").write_text(SHELL)
    (package / "original.py").write_text(ORIGINAL)


@pytest.fixture
async def nothing_left(real_runtime, real_settings):
    """Afterwards the runtime has no container of this project."""
    yield
    identity = install_id(real_settings.project_root)
    assert await real_runtime.list({INSTALL_LABEL: identity}) == ()


@pytest.fixture
def ask(group, container_input, real_settings, real_runtime, nothing_left):
    """Open a run of the original agent in a real runtime."""

    def ask(prompt="Hello", *, session_id=None, **changes):
        return open_run(
            group,
            evolve(container_input, prompt=prompt, session_id=session_id),
            settings=evolve(
                real_settings,
                **{"container_timeout": START_BOUND, "idle_timeout": None, **changes},
            ),
            runtime=real_runtime,
        )

    return ask


@pytest.fixture
def mailbox(real_settings):
    """The group's mailbox."""
    return Mailbox(real_settings.project_root / "data" / "ipc" / "family")


def results(outputs):
    """The results of some outputs."""
    return [output.result for output in outputs]


async def test_an_answer_a_follow_up_and_a_close(ask):
    """A prompt, a follow-up that is found within its half second, and a close: exit 0, gone."""
    heard = []
    with trio.fail_after(GUARD):
        async with ask() as run:
            async for output in run:
                heard.append(output)
                if results(heard) == ["said: Hello", None]:
                    await run.send_message("and more")
                elif output.is_session_update:
                    await run.close()
    assert results(heard) == ["said: Hello", None, "said: and more", None]
    assert (run.result.cause, run.result.exit_code) == (Cause.COMPLETED, 0)
    assert run.result.new_session_id == "original-session"
    assert run.result.undelivered == ()
    assert run.result.gone


async def test_a_session_is_resumed(ask):
    """The session id goes there and comes back."""
    with trio.fail_after(GUARD):
        async with ask(session_id="as before") as run:
            async for output in run:
                if output.is_session_update:
                    await run.close()
    assert run.result.new_session_id == "as before"


async def test_follow_ups_keep_their_order(ask):
    """Trap A21. What is sent at once arrives in its order, however the agent joins it."""
    heard, texts = [], [f"number {number}" for number in range(5)]
    with trio.fail_after(GUARD):
        async with ask() as run:
            async for output in run:
                heard.append(output.result or "")
                if len(heard) == 2:
                    for text in texts:
                        await run.send_message(text)
                elif "number 4" in "".join(heard) and output.is_session_update:
                    await run.close()
    said = "\n".join(heard[2:]).replace("said: ", "").split("\n")
    assert [text for text in said if text] == texts


async def test_what_a_crash_left_is_joined_to_the_prompt(ask, mailbox):
    """A follow-up that lies there before the start is a part of the first query."""
    await mailbox.send_message("left over")
    with trio.fail_after(GUARD):
        async with ask() as run:
            async for output in run:
                if output.is_session_update:
                    await run.close()
                else:
                    assert output.result == "said: Hello\nleft over"


async def test_a_follow_up_and_a_close_during_a_query(ask):
    """It takes both while it works, and ends without a session update, which is a success."""
    heard = []
    with trio.fail_after(GUARD):
        async with ask("work") as run:
            async for output in run:
                heard.append(output.result)
                if heard == ["said: work"]:
                    await run.send_message("more")
                else:
                    await run.close()
    assert heard == ["said: work", "meanwhile: more"]
    assert (run.result.status, run.result.cause) == ("success", Cause.COMPLETED)
    assert run.result.new_session_id == "original-session"


async def test_without_streaming_its_answer_is_the_result(
    group, container_input, real_settings, real_runtime, nothing_left
):
    """Trap A13. The session update that ends each of its queries doesn't hide the answer."""
    settings = evolve(real_settings, container_timeout=3.0, idle_timeout=None)
    with trio.fail_after(GUARD):
        result = await run_container_agent(
            group, container_input, settings=settings, runtime=real_runtime
        )
    assert (result.status, result.cause) == ("success", Cause.IDLE_CLOSED)
    assert (result.result, result.new_session_id) == ("said: Hello", "original-session")


async def test_it_is_idle_for_too_long(ask):
    """Silence after an answer: it ends upon the `_close` of the first rung, and no signal."""
    with trio.fail_after(GUARD):
        async with ask(container_timeout=3.0, grace=GracePeriods(close=60.0)) as run:
            assert [output.result async for output in run] == ["said: Hello", None]
    assert (run.result.status, run.result.cause) == ("success", Cause.IDLE_CLOSED)
    assert (run.result.exit_code, run.receipt.steps) == (0, ("close: it ended",))
    assert run.result.gone


async def test_it_hangs(ask):
    """Silence without an answer: an error, and gone, though its shell passes no signal on."""
    with trio.fail_after(GUARD):
        async with ask("hang", container_timeout=3.0, grace=GracePeriods(close=0.2)) as run:
            assert [output async for output in run] == []
    assert (run.result.status, run.result.cause) == ("error", Cause.TIMED_OUT)
    assert run.result.error == "Container timed out after 3000 ms (activity limit)"
    assert run.result.gone


async def test_it_fails(ask):
    """An error output and exit status 1: the caller gets both."""
    with trio.fail_after(GUARD):
        async with ask("fail") as run:
            outputs = [output async for output in run]
    assert [(output.status, output.error) for output in outputs] == [
        ("error", "the model is not there")
    ]
    assert (run.result.cause, run.result.exit_code) == (Cause.AGENT_FAILED, 1)
    assert run.result.gone


async def test_cancelled_while_it_works(ask):
    """Cancelled, nothing of it is left, its shell neither."""
    with trio.fail_after(GUARD), trio.CancelScope() as scope:
        async with ask("work") as run:
            async for _ in run:
                scope.cancel()
    assert scope.cancelled_caught
    assert type(run.receipt).__name__ == "Gone"


async def test_a_close_while_it_starts(ask):
    """Trap A22. A `_close` that is deleted by the starting agent is written again: it ends upon it
    after its query, and not by a limit half an hour later."""
    with trio.fail_after(GUARD):
        async with ask("slow", container_timeout=3.0, grace=GracePeriods(close=0.2)) as run:
            await run.close()
            assert [output.result async for output in run] == ["said: slow", None]
    assert (run.result.cause, run.result.exit_code) == (Cause.COMPLETED, 0)
