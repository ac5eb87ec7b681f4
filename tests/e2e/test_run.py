"""Whole runs of the echo agent in the real runtimes; nothing is left of any."""

from __future__ import annotations

import os
import signal

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.run.open_run import open_run, run_container_agent
from nanoclaw_trio.run.outcome import Cause
from nanoclaw_trio.runtimes.abc import INSTALL_LABEL
from nanoclaw_trio.settings import GracePeriods
from nanoclaw_trio.testing.messages_api import echo, open_messages_api
from nanoclaw_trio.workspace.install import install_id

GUARD = 120
"""Seconds; it guards against a hang and measures nothing."""

SLEEPER = """
import sys, time
sys.stdin.read()
{before}
print("---NANOCLAW_OUTPUT_START---")
print('{{"status":"success","result":"awake","newSessionId":"s"}}')
print("---NANOCLAW_OUTPUT_END---", flush=True)
time.sleep(3600)
"""

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"


ASKER = """
import http.client, json, socket, sys
secrets = json.loads(sys.stdin.readline())["secrets"]

class Caller(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(secrets["ANTHROPIC_BASE_URL"].removeprefix("unix:"))

asked = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
key = secrets["ANTHROPIC_API_KEY"]
caller = Caller("api")
caller.request("POST", "/v1/messages", json.dumps(asked), {"x-api-key": key})
answer = json.load(caller.getresponse())["content"][0]["text"]
print("---NANOCLAW_OUTPUT_START---")
print(json.dumps({"status": "success", "result": key[:12] + answer}))
print("---NANOCLAW_OUTPUT_END---", flush=True)
"""
"""An agent that asks the API at its socket, and tells how its key begins and what it heard."""


@pytest.fixture
async def nothing_left(real_runtime, real_settings):
    """Afterwards the runtime has no container of this project."""
    yield
    # The runtime's word on everything of this install, stopped or not.
    identity = install_id(real_settings.project_root)
    assert await real_runtime.list({INSTALL_LABEL: identity}) == ()


@pytest.fixture
def agent_source(real_settings):
    """Replace the group's agent-runner by a program of the test's own."""

    def replace(text):
        package = (
            real_settings.project_root / "data/sessions/family/agent-runner-src/nanoclaw_agent"
        )
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(text)

    return replace


@pytest.fixture
def run_agent(group, container_input, real_settings, real_runtime, nothing_left):
    """Open a run of the group's agent in a real runtime."""

    def run(**changes):
        return open_run(
            group, container_input, settings=evolve(real_settings, **changes), runtime=real_runtime
        )

    return run


async def test_an_answer_a_follow_up_and_a_close(run_agent):
    """A prompt, a follow-up into the running container, and a close: exit 0, gone."""
    heard = []
    with trio.fail_after(GUARD):
        async with run_agent() as run:
            async for output in run:
                heard.append(output.result)
                if heard == ["echo: Hello", None]:
                    await run.send_message("and more")
                if heard[2:] == ["echo: and more", None]:
                    await run.close()
    assert heard == ["echo: Hello", None, "echo: and more", None]
    assert (run.result.cause, run.result.exit_code) == (Cause.COMPLETED, 0)
    assert run.result.gone
    assert run.result.log_path.is_file()


async def test_a_timeout_after_an_answer(run_agent, agent_source):
    """Silence after an answer: `_close`, then SIGTERM; a success, and gone."""
    agent_source(SLEEPER.format(before=""))
    with trio.fail_after(GUARD):
        async with run_agent(
            container_timeout=3.0, idle_timeout=-30.0, grace=GracePeriods(close=0.2)
        ) as run:
            assert [output.result async for output in run] == ["awake"]
    assert (run.result.status, run.result.cause) == ("success", Cause.IDLE_CLOSED)
    assert run.result.gone


async def test_a_timeout_of_a_stubborn_agent(run_agent, agent_source):
    """Trap A7. An agent that ignores SIGTERM is killed after its grace, and gone."""
    agent_source(SLEEPER.format(before=STUBBORN))
    with trio.fail_after(GUARD):
        async with run_agent(
            container_timeout=3.0, idle_timeout=-30.0, grace=GracePeriods(close=0.2, stop=1.0)
        ) as run:
            assert [output.result async for output in run] == ["awake"]
    assert run.result.exit_code == 137
    assert run.result.gone


async def test_cancelled_while_the_agent_works(run_agent, agent_source):
    """Cancelled, the run goes on with Cancelled only when the container is gone."""
    agent_source(SLEEPER.format(before=""))
    with trio.fail_after(GUARD), trio.CancelScope() as scope:
        async with run_agent() as run:
            async for _ in run:
                scope.cancel()
    assert scope.cancelled_caught
    assert type(run.receipt).__name__ == "Gone"


async def test_cancelled_as_it_starts(run_agent):
    """Trap A10. Cancelled at once after its start, nothing of the container is left."""
    with trio.fail_after(GUARD), trio.CancelScope() as scope:
        async with run_agent():
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_an_exception_of_the_caller(
    group, container_input, real_settings, real_runtime, nothing_left
):
    """Trap A5. on_output raises: the container is gone, and the exception arrives as it is."""

    async def on_output(output):
        raise KeyError(output.result)

    with trio.fail_after(GUARD), pytest.raises(KeyError, match="echo: Hello"):
        await run_container_agent(
            group,
            container_input,
            settings=real_settings,
            runtime=real_runtime,
            on_output=on_output,
        )


async def test_the_client_dies_while_the_container_lives(run_agent, agent_source, request):
    """Trap A7. Killing what we listen through is noticed; the container is stopped by its name."""
    agent_source(SLEEPER.format(before=""))
    with trio.fail_after(GUARD):
        async with run_agent() as run:
            async for _ in run:
                os.kill(run.container.pid, signal.SIGKILL)
    assert run.result.cause is Cause.KILLED_FROM_OUTSIDE
    assert run.result.gone


async def test_an_agent_that_fails(run_agent, agent_source):
    """Exit status and the end of standard error are in the result."""
    agent_source("import sys; sys.exit('the agent said why')")
    with trio.fail_after(GUARD):
        async with run_agent() as run:
            assert [output async for output in run] == []
    assert run.result.error == "Container exited with code 1: the agent said why"


async def test_without_streaming(
    group, container_input, real_settings, real_runtime, nothing_left, agent_source
):
    """Not streaming, the answer is in the result."""
    agent_source(SLEEPER.format(before="").replace("time.sleep(3600)", ""))
    with trio.fail_after(GUARD):
        result = await run_container_agent(
            group, container_input, settings=real_settings, runtime=real_runtime
        )
    assert (result.status, result.result, result.new_session_id) == ("success", "awake", "s")


async def test_an_agent_without_a_key_and_a_network(run_agent, agent_source, real_settings):
    """By the proxy's socket an agent reaches the API in each of the runtimes, without any network:
    it shows a placeholder, and the API sees the host's key."""
    agent_source(ASKER)
    key = "sk-canary-41d0c2"
    with trio.fail_after(GUARD):
        async with open_messages_api(echo) as api:
            variables = f"ANTHROPIC_BASE_URL={api.url}\nANTHROPIC_API_KEY={key}\n"
            (real_settings.project_root / ".env").write_text(variables)
            async with run_agent(credential_proxy="socket", network="none") as run:
                heard = [output.result async for output in run]
    assert heard == ["sk-nanoclaw-echo: Hello"]
    (request,) = api.requests
    assert request.headers["x-api-key"] == key
