"""The imitation of the Messages API, asked by the real Claude Agent SDK and its real CLI."""

from __future__ import annotations

import base64
import os
import struct
import zlib
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

import pytest
import trio
from attrs import frozen

from nanoclaw_trio.testing.messages_api import (
    ApiError,
    Hang,
    Text,
    ToolUse,
    open_messages_api,
    scripted,
)

KEY = "sk-ant-canary"
GUARD = 120.0

# The SDK leaves the generators below receive_response() to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'claude_agent_sdk:ResourceWarning")


@pytest.fixture
def sdk():
    """The SDK, if it is installed."""
    if find_spec("claude_agent_sdk") is None:
        why = "claude-agent-sdk isn't installed"
        if os.environ.get("NANOCLAW_REQUIRE_AGENT") == "1":
            pytest.fail(f"NANOCLAW_REQUIRE_AGENT=1, but {why}")
        pytest.skip(why)
    import claude_agent_sdk

    return claude_agent_sdk


@pytest.fixture
def workspace(tmp_path):
    """Where the agent works."""
    directory = tmp_path / "workspace"
    directory.mkdir()
    return directory


@pytest.fixture
def options(sdk, tmp_path, workspace):
    """Make the options of an agent whose API is the imitation, and whose home is its own."""

    def options(api):
        environment = {
            "ANTHROPIC_BASE_URL": api.url,
            "ANTHROPIC_API_KEY": KEY,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "1",
            "CLAUDE_CONFIG_DIR": str(tmp_path / "claude"),
            "IS_SANDBOX": "1",
        }
        mode = "bypassPermissions"
        return sdk.ClaudeAgentOptions(
            cwd=workspace, env=environment, permission_mode=mode, setting_sources=[]
        )

    return options


@pytest.fixture
def ask(sdk, options):
    """Ask the agent one thing; the result."""

    async def ask(api, content):
        async def prompt():
            yield {"type": "user", "message": {"role": "user", "content": content}}

        with trio.fail_after(GUARD):
            messages = [m async for m in sdk.query(prompt=prompt(), options=options(api))]
        return messages[-1]

    return ask


@frozen
class Conversation:
    """A conversation of several turns."""

    sdk: Any

    async def say(self, prompt):
        """Say something, and wait for the result."""
        await self.sdk.query(prompt)
        return await self.result()

    async def result(self):
        """The result of the turn that is under way."""
        return [message async for message in self.sdk.receive_response()][-1]


@pytest.fixture
def converse(sdk, options):
    """Open a conversation."""

    @asynccontextmanager
    async def converse(api):
        with trio.fail_after(GUARD):
            async with sdk.ClaudeSDKClient(options(api)) as client:
                yield Conversation(client)

    return converse


async def in_thread(function, *arguments):
    """Call what waits for the other end of a FIFO; a test that fails leaves it behind."""
    return await trio.to_thread.run_sync(function, *arguments, abandon_on_cancel=True)


def picture():
    """A red square of eight by eight as PNG."""
    rows = zlib.compress(b"".join(b"\0" + b"\xff\0\0" * 8 for _ in range(8)))
    size = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", size), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


async def test_answer(ask):
    """The model's text is the agent's result, and the key reached the API."""
    async with open_messages_api(scripted(Text("Grüße!"))) as api:
        result = await ask(api, "Say hello")
    assert (result.result, result.is_error) == ("Grüße!", False)
    (request,) = api.requests
    assert request.prompt == "Say hello"
    assert request.stream
    assert "Bash" in request.tools
    assert request.headers["x-api-key"] == KEY


async def test_tools_really_run(ask):
    """The agent runs what the model asks for, one after the other or together."""
    replies = (
        ToolUse("Bash", {"command": "echo $((6 * 7)) > number; cat number"}, text="I'll count."),
        [ToolUse("Bash", {"command": f"cat number; echo {n}"}, id=f"toolu_{n}") for n in "ab"],
        Text("Done"),
    )
    async with open_messages_api(scripted(*replies)) as api:
        result = await ask(api, "Count")
    assert result.result == "Done"
    _, second, third = api.requests
    assert second.last_tool_result == "42"
    assert {name: third.tool_results[name] for name in ("toolu_a", "toolu_b")} == {
        "toolu_a": "42\na",
        "toolu_b": "42\nb",
    }
    assert third.prompt == "Count"


async def test_image_arrives(ask):
    """An image that is sent with the prompt is in the request, and the prompt is the person's own."""
    data = base64.b64encode(picture()).decode()
    source = {"type": "base64", "media_type": "image/png", "data": data}
    content = [{"type": "text", "text": "What is it?"}, {"type": "image", "source": source}]
    async with open_messages_api(scripted(Text("A square"))) as api:
        result = await ask(api, content)
    assert result.result == "A square"
    assert api.requests[0].prompt == "What is it?"
    assert api.requests[0].images == (("image/png", picture()),)


async def test_refusal_arrives(sdk, ask):
    """An error of the API ends the turn with its message, whatever else the CLI tries before."""
    refusal = ApiError(400, message="not today")
    async with open_messages_api(scripted(refusal, Text("Not reached"))) as api:
        with pytest.raises(sdk.ClaudeSDKError, match="400 not today"):
            await ask(api, "Say hello")
    assert {request.prompt for request in api.requests} == {"Say hello"}


async def test_rate_limit_passes(ask):
    """The CLI asks again after a rate limit."""
    limit = ApiError(429, retry_after=0)
    async with open_messages_api(scripted(limit, Text("Hello"))) as api:
        result = await ask(api, "Say hello")
    assert result.result == "Hello"
    assert len(api.requests) == 2


@pytest.mark.parametrize(
    ("replies", "prompts"),
    [
        ((Text("a", input_tokens=990_000), Text("b")), ("one", "two")),
        ((Text("a"), Text("b")), ("one", "/compact", "two")),
    ],
    ids=["by its size", "by command"],
)
async def test_conversation_is_compacted(converse, replies, prompts):
    """The CLI's summary is the server's own affair, and the conversation goes on after it."""
    async with open_messages_api(scripted(*replies)) as api, converse(api) as client:
        results = [await client.say(prompt) for prompt in prompts]
    assert (results[0].result, results[-1].result) == ("a", "b")
    assert [request.prompt for request in api.requests] == ["one", "two"]
    assert [request.is_compaction for request in api.side_requests] == [True]


async def test_message_joins_a_turn(converse, workspace):
    """What a person says while a tool runs is found in the next request."""
    for name in ("running", "go"):
        os.mkfifo(workspace / name)
    wait = ToolUse("Bash", {"command": "echo > running; cat go"})
    async with open_messages_api(scripted(wait, Text("ok"))) as api, converse(api) as client:
        await client.sdk.query("Wait")
        await in_thread((workspace / "running").read_text)
        await client.sdk.query("Hurry")
        # The CLI takes its input in order: what it answers to comes after the message.
        await client.sdk.set_permission_mode("bypassPermissions")
        await in_thread((workspace / "go").write_text, "went\n")
        assert (await client.result()).result == "ok"
    assert api.requests[-1].last_tool_result == "went"
    assert api.requests[-1].mid_turn_texts == ("Hurry",)
    assert api.requests[-1].prompt == "Wait"


async def test_hang_can_be_interrupted(converse):
    """A call that hangs ends when the agent is interrupted, and the next one is answered."""
    async with open_messages_api(scripted(Hang(), Text("Hello"))) as api, converse(api) as client:
        await client.sdk.query("Say hello")
        await api.wait_for_requests(1)
        await client.sdk.interrupt()
        await client.result()
        assert (await client.say("Again")).result == "Hello"
    assert api.requests[-1].prompt == "Say hello\nAgain"
