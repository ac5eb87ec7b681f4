"""Every failure is one error output and exit status 1."""

from __future__ import annotations

import json
import os

import pytest

LOGGED = "ERROR nanoclaw_agent.program: "
"""Before the error's text on standard error, whose end is all that hosts of the original quote."""


async def fail(agent, data) -> str:
    """Give the agent an input that can't work; the text of its only output."""
    await agent.give_input(data)
    (output,) = await agent.outputs()
    assert output == {
        "status": "error",
        "result": None,
        "error": output["error"],
        "followUps": [],
    }
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
        (b'{"secrets":"canary","prompt":""}', "required field missing @ $.groupFolder"),
    ],
)
async def test_bad_input_is_one_error_output(start_agent, data, problem):
    """An input that doesn't fit is answered with the path into it, and with none of its values."""
    agent = await start_agent()
    assert await fail(agent, data) == f"container input doesn't fit: {problem}"
    assert agent.stderr == f"{LOGGED}container input doesn't fit: {problem}\n"


@pytest.fixture
def without(tmp_path, container_directory):
    """A PYTHONPATH on which a package can't be imported."""

    def make(package: str) -> str:
        folder = tmp_path / "without"
        folder.mkdir()
        (folder / f"{package}.py").write_text(f"raise ModuleNotFoundError(name={package!r})")
        return f"{folder}{os.pathsep}{container_directory / 'agent-runner' / 'src'}"

    return make


async def test_package_of_the_agent_is_missing(start_python, tmp_path, input_document, without):
    """Without NANOCLAW_AGENT claude is meant; where its SDK is missing, the error says so."""
    agent = await start_python(
        "-m",
        "nanoclaw_agent",
        NANOCLAW_WORKSPACE=str(tmp_path),
        PYTHONPATH=without("claude_agent_sdk"),
    )
    error = await fail(agent, input_document)
    assert error.startswith("the claude agent needs the package claude_agent_sdk")
    assert "nanoclaw-trio[agent]" in error
    assert agent.stderr == f"{LOGGED}{error}\n"


async def test_echo_needs_nothing_but_trio(start_agent, input_document, send, close, without):
    """Without a package to watch the mailbox with, it is polled."""
    agent = await start_agent(PYTHONPATH=without("watchfiles"))
    await agent.give_input(input_document)
    await agent.output()
    await agent.output()
    send("1.json", "found")
    assert (await agent.output())["result"] == "echo: found"
    close()
    assert await agent.exit_status() == 0
    assert agent.stderr == ""


async def test_unknown_agent_is_named(start_agent, input_document):
    """A misspelt agent is an error that repeats the misspelling."""
    error = await fail(await start_agent("ecko"), input_document)
    assert error == "this agent-runner has no 'ecko' agent; it has claude and echo"


async def test_secrets_are_taken_out_of_an_error(start_agent, input_document):
    """A value that got into an error's text is replaced by its name."""
    agent = await start_agent("canary-agent")
    error = await fail(agent, input_document | {"secrets": {"KEY": "canary-agent"}})
    assert "no '[KEY]' agent" in error
    assert agent.stderr == f"{LOGGED}{error}\n"


async def test_defect_is_an_error_output_and_a_traceback(start_agent, input_document):
    """An exception that nobody foresaw is told to the host; its traceback goes to the log."""
    agent = await start_agent()
    agent.mailbox.rmdir()
    agent.mailbox.touch()
    error = await fail(agent, input_document | {"secrets": {"KEY": "NotADirectory"}})
    assert error.startswith("the agent-runner failed: [KEY]Error: ")
    assert "Traceback" in agent.stderr
    assert agent.stderr.splitlines()[-1] == f"{LOGGED}{error}"
    assert "NotADirectory" not in agent.stderr


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
