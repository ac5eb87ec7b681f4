"""Every failure is one error output and exit status 1."""

from __future__ import annotations

import json

import pytest


async def fail(agent, data) -> str:
    """Give the agent an input that can't work; the text of its only output."""
    await agent.give_input(data)
    (output,) = await agent.outputs()
    assert output == {"status": "error", "result": None, "error": output["error"]}
    assert await agent.exit_status() == 1
    return output["error"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "Expecting value at character 0"),
        (b'{"prompt": canary}', "Expecting value at character 11"),
        (b"\xff{}", "not UTF-8 at byte 0"),
        (b"[" * 100_000, "nested too deep, or a number too long"),
        (b"1" * 10_000, "nested too deep, or a number too long"),
        (b"[]", "expected an object, got an array @ $"),
        (b"null", "expected an object, got null @ $"),
        (b'{"secrets":{"A":"canary"}}', "required field missing @ $.prompt"),
        (b'{"secrets":"canary","prompt":3}', "expected a string, got a number @ $.prompt"),
    ],
)
async def test_bad_input_is_one_error_output(start_agent, data, problem):
    """An input that doesn't fit is answered with the path into it, and with none of its values."""
    agent = await start_agent()
    assert await fail(agent, data) == f"container input doesn't fit: {problem}"
    assert agent.stderr == ""


async def test_claude_agent_is_missing(start_python, tmp_path, input_document):
    """Without NANOCLAW_AGENT the claude agent is meant; the error says which one there is."""
    agent = await start_python("-m", "nanoclaw_agent", NANOCLAW_WORKSPACE=str(tmp_path))
    error = await fail(agent, input_document)
    assert "no 'claude' agent yet" in error
    assert "`--agent echo`" in error
    assert agent.stderr == ""


async def test_unknown_agent_is_named(start_agent, input_document):
    """A misspelt agent is an error that repeats the misspelling."""
    assert "no 'ecko' agent" in await fail(await start_agent("ecko"), input_document)


async def test_defect_is_an_error_output_and_a_traceback(start_agent, input_document):
    """An exception that nobody foresaw is told to the host; its traceback goes to the log."""
    agent = await start_agent()
    agent.mailbox.rmdir()
    agent.mailbox.touch()
    error = await fail(agent, input_document | {"secrets": {"KEY": "canary"}})
    assert error.startswith("the agent-runner failed: NotADirectoryError: ")
    assert "Traceback" in agent.stderr
    assert "canary" not in agent.stderr


@pytest.mark.parametrize("data", [b"{}", None])
async def test_broken_stdout_ends_it_quietly(start_agent, input_document, data):
    """When the host has stopped reading, the agent ends with status 1 and not a word."""
    agent = await start_agent()
    await agent.process.stdout.aclose()
    await agent.give_input(data or input_document)
    assert await agent.exit_status() == 1
    assert agent.stderr == ""


async def test_unpaired_surrogate_is_replaced(start_agent, input_document, close):
    """Half a UTF-16 pair, which JSON allows and UTF-8 doesn't, becomes a question mark."""
    close()
    agent = await start_agent()
    await agent.give_input(json.dumps(input_document | {"prompt": "\ud800"}).encode())
    assert (await agent.output())["result"] == "echo: ?"
