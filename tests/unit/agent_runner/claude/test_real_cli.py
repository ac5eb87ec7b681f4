"""The whole agent as a process: the SDK's own CLI, an imitation of the API, and nothing else.

What it does in a container is under test in tests/e2e. Each start takes more than a second, so a
test asks for more than one thing.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import trio

from nanoclaw_agent.children import descendants, read_parents
from nanoclaw_agent.container_input import ContainerInput
from nanoclaw_agent.container_output import ContainerOutput
from nanoclaw_agent.secrets import Secrets
from nanoclaw_trio.testing.messages_api import ApiError, Hang, Text, echo, open_messages_api

pytestmark = pytest.mark.usefixtures("claude_sdk")

KEY = "canary-key-of-the-api"

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


@pytest.fixture
def start_claude(start_agent, input_document, tmp_path):
    """Start the claude agent with a key of this API, and give it its input with these changes."""
    (tmp_path / "group").mkdir()

    async def start(api, **changes):
        agent = await start_agent(
            "claude",
            HOME=str(tmp_path),
            CLAUDE_CONFIG_DIR=str(tmp_path / ".claude"),
            CLAUDE_CODE_MAX_RETRIES="1",
        )
        secrets = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": api.url}
        await agent.give_input(input_document | {"secrets": secrets} | changes)
        return agent

    return start


async def answer_of(agent, *files) -> tuple[str, str]:
    """The next answer and its session, once its session update has come; both name these files."""
    answer, update = await agent.output(), await agent.output()
    session_id = update.pop("newSessionId")
    assert update == {"status": "success", "result": None, "followUps": list(files)}
    assert (answer["newSessionId"], answer["followUps"]) == (session_id, list(files))
    return answer["result"], session_id


async def test_prompt_and_follow_up_are_answered_in_one_session(start_claude, send, close):
    """A prompt, a follow-up into the running process, and an end on request: one conversation."""
    async with open_messages_api(echo) as api:
        agent = await start_claude(api)
        answer, session_id = await answer_of(agent)
        assert answer == "echo: Hello"
        send("1.json", "And again")
        assert await answer_of(agent, "1.json") == ("echo: And again", session_id)
        close()
        assert await agent.outputs() == []
        assert await agent.exit_status() == 0
        last = api.requests[-1]
    assert last.texts == ("Hello", "And again")
    assert last.headers["x-api-key"] == KEY
    assert agent.stderr == ""


@pytest.mark.parametrize("session_id", ["11111111-1111-4111-8111-111111111111", "no-uuid"])
async def test_session_that_is_lost_begins_afresh(start_claude, close, session_id):
    """A session that the CLI can't resume is replaced by a new one, and the model is told."""
    close()
    async with open_messages_api(echo) as api:
        agent = await start_claude(api, sessionId=session_id)
        answer, new_session_id = await answer_of(agent)
        assert await agent.outputs() == []
        assert await agent.exit_status() == 0
    assert answer.endswith("\nHello")
    assert "can't be found" in answer
    assert new_session_id != session_id


async def test_error_of_the_api_is_an_error_output(start_claude):
    """What the API refuses with is the error's text, the key taken out, and the status is 1."""
    refusal = ApiError(400, message=f"the key {KEY} isn't liked")
    async with open_messages_api(lambda _: refusal) as api:
        agent = await start_claude(api)
        (output,) = await agent.outputs()
        assert await agent.exit_status() == 1
    assert (output["status"], output["result"]) == ("error", None)
    assert "the key [ANTHROPIC_API_KEY] isn't liked" in output["error"]
    assert KEY not in agent.stderr


@linux
async def test_signal_ends_a_query_that_hangs(start_claude):
    """SIGTERM while the API doesn't answer: no output, its status, and no process left. Trap A18."""
    asked = trio.Event()

    def hang(_):
        asked.set()
        return Hang()

    async with open_messages_api(hang) as api:
        agent = await start_claude(api)
        with trio.fail_after(60):
            await asked.wait()
        family = descendants(agent.process.pid, read_parents())
        agent.process.send_signal(signal.SIGTERM)
        assert await agent.outputs() == []
        assert await agent.exit_status() == 143
    assert family
    assert not set(family) & read_parents().keys()
    assert agent.stderr == ""


async def test_next_cli_goes_on_after_the_last_words(make_surroundings, tmp_path):
    """A second CLI resumes the first one's session, at the last thing that was said in it."""
    from nanoclaw_agent.agents.claude.agent import ClaudeAgent

    container_input = ContainerInput(prompt="", group_folder="g", chat_jid="c", is_main=False)
    send, outputs = trio.open_memory_channel[ContainerOutput](4)
    async with open_messages_api(echo) as api:
        secrets = Secrets(
            {
                "ANTHROPIC_API_KEY": KEY,
                "ANTHROPIC_BASE_URL": api.url,
                "CLAUDE_CONFIG_DIR": str(tmp_path / ".claude"),
            }
        )
        agent = ClaudeAgent(container_input, secrets, make_surroundings())
        with trio.fail_after(60):
            await agent.converse(one_prompt("one"), send.send)
            assert agent._last_words is not None
            await agent.converse(one_prompt("two"), send.send)
        assert api.requests[-1].texts == ("one", "two")
    send.close()
    assert len({output.new_session_id async for output in outputs}) == 1


async def one_prompt(prompt):
    yield prompt


async def test_compaction_archives_the_conversation(start_claude, send, close, tmp_path):
    """Before the CLI forgets, the conversation is a file of the group's; then it goes on."""
    async with open_messages_api(lambda _: Text("Water them daily.")) as api:
        agent = await start_claude(api, prompt="What do the flowers need?", assistantName="Andy")
        await answer_of(agent)
        send("1.json", "/compact")
        update = await agent.output()
        close()
        assert await agent.outputs() == []
        assert await agent.exit_status() == 0
    assert (update["status"], update["result"]) == ("success", None)
    assert update["followUps"] == ["1.json"]
    (path,) = (tmp_path / "group" / "conversations").iterdir()
    assert path.name.endswith("-what-do-the-flowers-need.md")
    assert path.read_text().endswith(
        "\n---\n\n**User**: What do the flowers need?\n\n**Andy**: Water them daily.\n"
    )
