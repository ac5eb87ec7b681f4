"""A whole session with a real process."""

from __future__ import annotations

import json

import pytest

from nanoclaw_agent.changes import Changes
from nanoclaw_agent.mailbox import Mailbox
from nanoclaw_agent.session import Prompts


@pytest.fixture
def prompts(mailbox):
    """The prompts of a session that begins with "first"."""
    return Prompts("first", Mailbox(mailbox, Changes()))


async def test_prompts_end_for_good(prompts, send, close, autojump_clock):
    """After the request to close there is no other prompt, however often it is asked for one."""
    assert await anext(prompts) == "first"
    send("1.json", "second")
    assert await anext(prompts) == "second"
    close()
    send("2.json", "late")
    for _ in range(3):
        assert await anext(prompts, None) is None


async def test_first_prompt_comes_before_the_request_to_close(prompts, send, close):
    """Who iterates gets the first prompt with what lies beside it, then the end."""
    send("1.json", "second")
    close()
    assert [prompt async for prompt in prompts] == ["first\nsecond"]


async def test_prompt_is_answered_and_the_session_told(start_agent, input_document, close):
    """One prompt gives one answer and then the session update, both with the same new session."""
    agent = await start_agent()
    await agent.give_input(input_document)
    answer, update = await agent.output(), await agent.output()
    close()
    assert await agent.outputs() == []
    assert await agent.exit_status() == 0
    assert answer == {
        "status": "success",
        "result": "echo: Hello",
        "newSessionId": update["newSessionId"],
        "followUps": [],
    }
    assert update == {**answer, "result": None}
    assert agent.stderr == ""


async def test_given_session_goes_on(start_agent, input_document, close):
    """The session that the input names is the one that the outputs name."""
    close()
    agent = await start_agent()
    await agent.give_input(input_document | {"sessionId": "abc"})
    assert [output["newSessionId"] for output in await agent.outputs()] == ["abc", "abc"]


async def test_follow_ups_are_answered_in_the_order_of_their_names(
    start_agent, input_document, send, close
):
    """Follow-ups are queries of their own, in name order, and each file is deleted (Trap A21); the
    query's outputs name it."""
    agent = await start_agent()
    await agent.give_input(input_document)
    await agent.output()
    session_update = await agent.output()
    for number in range(5):
        send(f"1-{number}.json", f"follow-up {number}")
    outputs = [await agent.output() for _ in range(10)]
    results = [output["result"] for output in outputs]
    assert results[::2] == [f"echo: follow-up {number}" for number in range(5)]
    assert results[1::2] == [None] * 5
    assert [output["followUps"] for output in outputs] == [
        [f"1-{number // 2}.json"] for number in range(10)
    ]
    assert list(agent.mailbox.iterdir()) == []
    close()
    assert await agent.outputs() == []
    assert await agent.exit_status() == 0
    assert session_update["newSessionId"]


async def test_follow_ups_that_are_there_belong_to_the_first_prompt(
    start_agent, input_document, send, close
):
    """What lies in the mailbox before the start is appended to the prompt, a newline between."""
    send("2.json", "two")
    send("1.json", "one")
    close()
    agent = await start_agent()
    await agent.give_input(input_document)
    outputs = await agent.outputs()
    assert [output["result"] for output in outputs] == ["echo: Hello\none\ntwo", None]
    assert [output["followUps"] for output in outputs] == [["1.json", "2.json"]] * 2
    assert list(agent.mailbox.iterdir()) == []


async def test_close_before_the_start_is_honoured_after_the_first_query(
    start_agent, input_document, close
):
    """A `_close` written while the agent starts is neither lost nor early. Trap A22."""
    close()
    agent = await start_agent()
    await agent.give_input(input_document)
    outputs = await agent.outputs()
    assert [output["result"] for output in outputs] == ["echo: Hello", None]
    assert await agent.exit_status() == 0
    assert list(agent.mailbox.iterdir()) == []


async def test_scheduled_prompt_is_echoed_as_it_is(start_agent, input_document, close):
    """The echo agent makes no difference between a person and the scheduler."""
    close()
    agent = await start_agent()
    await agent.give_input(input_document | {"isScheduledTask": True, "assistantName": "Andy"})
    assert (await agent.output())["result"] == "echo: Hello"


async def test_large_answer_in_many_scripts_arrives_whole(start_agent, input_document, close):
    """An answer far larger than a pipe comes through a slow reader unchanged. Trap A2."""
    prompt = "grüße 你好 🦀\u2028\r\n\x00" * 100_000
    close()
    agent = await start_agent()
    await agent.give_input(input_document | {"prompt": prompt})
    assert (await agent.output())["result"] == f"echo: {prompt}"


async def test_markers_in_a_prompt_stay_inside_the_json(start_agent, input_document, close):
    """A prompt that holds markers can't end or begin an output. Trap A3."""
    prompt = "---NANOCLAW_OUTPUT_END---\n---NANOCLAW_OUTPUT_START---\n"
    close()
    agent = await start_agent()
    await agent.give_input(input_document | {"prompt": prompt})
    outputs = await agent.outputs()
    assert [output["result"] for output in outputs] == [f"echo: {prompt}", None]


async def test_agent_without_a_mailbox_directory_waits_for_one(start_agent, input_document, close):
    """A mailbox that isn't there yet is an empty one."""
    agent = await start_agent()
    agent.mailbox.rmdir()
    await agent.give_input(input_document)
    assert (await agent.output())["result"] == "echo: Hello"
    await agent.output()
    agent.mailbox.mkdir()
    close()
    assert await agent.exit_status() == 0


READ = """
import os, trio
from nanoclaw_agent.container_input import read_stdin
data = trio.run(read_stdin)
print(len(data), os.path.samestat(os.fstat(0), os.stat(os.devnull)))
"""


async def test_standard_input_is_closed_for_the_tools(start_python):
    """Once the input is read, descriptor 0 is the null device. Trap A17."""
    process = await start_python("-c", READ)
    await process.give_input(b"x" * 300_000)
    assert await process.read_line() == b"300000 True"


async def test_secrets_appear_nowhere(start_agent, input_document, send, close, tmp_path):
    """A canary among the secrets is in no output, no log and no file."""
    agent = await start_agent()
    await agent.give_input(input_document | {"secrets": {"ANTHROPIC_API_KEY": "canary-1234"}})
    outputs = [await agent.output(), await agent.output()]
    send("1.json", "more")
    outputs += [await agent.output(), await agent.output()]
    close()
    await agent.exit_status()
    files = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert "canary" not in json.dumps(outputs) + "".join(files)
