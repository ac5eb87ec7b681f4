"""Which files an agent's outputs name: never one too early, and none for ever."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_agent.changes import Changes
from nanoclaw_agent.container_output import ContainerOutput, answer, session_update
from nanoclaw_agent.mailbox import Mailbox
from nanoclaw_agent.session import MOST_NAMED, Answers, Prompts

reproducible = settings(derandomize=True, deadline=None)

ERROR = ContainerOutput(status="error", error="no")


class Host:
    """Reads what an agent writes."""

    def __init__(self) -> None:
        self.named: list[list[str]] = []
        self.reads = trio.Event()
        self.reads.set()

    async def write(self, _output, names) -> None:
        """Take one output, once it is read."""
        await self.reads.wait()
        self.named.append(list(names))


@pytest.fixture
def host():
    """The other side."""
    return Host()


@pytest.fixture
def prompts(mailbox):
    """The prompts of a session that begins with "first"."""
    return Prompts("first", Mailbox(mailbox, Changes()))


@pytest.fixture
def respond(prompts, host):
    """What an agent answers with."""
    return Answers(prompts, host.write).respond


async def take(prompts, count):
    """Have so many prompts handed out."""
    for _ in range(count):
        await anext(prompts)


async def test_file_is_named_until_its_query_has_ended(prompts, respond, host, send):
    """Each answer of its query names it, and the session update; then nothing does."""
    await take(prompts, 1)
    await respond(answer("one", "s"))
    await respond(session_update("s"))
    send("1.json", "second")
    await take(prompts, 1)
    for output in (answer("two", "s"), answer("and a half", "s"), session_update("s")):
        await respond(output)
    await respond(answer("by the way", "s"))
    assert host.named == [[], [], ["1.json"], ["1.json"], ["1.json"], []]


async def test_query_without_an_answer_names_its_file(prompts, respond, host, send):
    """The session update alone says that it was taken in."""
    await take(prompts, 1)
    send("1.json", "second")
    await take(prompts, 1)
    await respond(session_update("s"))
    assert host.named == [["1.json"]]


async def test_files_that_joined_the_first_prompt_are_answered_with_it(
    prompts, respond, host, send
):
    """They are named with the first answer, and not before, in the order of their names."""
    for name in ("2.json", "1.json"):
        send(name, name)
    await take(prompts, 1)
    send("3.json", "third")
    await take(prompts, 1)
    await respond(session_update("s", 2))
    await respond(answer("one", "s", 1))
    await respond(session_update("s", 1))
    await respond(session_update("s"))
    assert host.named == [[], ["1.json", "2.json"], ["1.json", "2.json"], ["3.json"]]


async def test_what_is_pending_is_not_named(prompts, respond, host, send):
    """Prompts that were handed out ahead are named by the output that answers them."""
    await take(prompts, 1)
    for name in ("1.json", "2.json", "3.json"):
        send(name, name)
    await take(prompts, 3)
    await respond(answer("one", "s", 3))
    await respond(session_update("s", 3))
    await respond(answer("two and three", "s", 1))
    await respond(session_update("s", 1))
    await respond(answer("four", "s"))
    assert host.named == [[], [], ["1.json", "2.json"], ["1.json", "2.json"], ["3.json"]]


async def test_error_answers_nothing(prompts, respond, host, send):
    """A failed query's file is named if the session goes on, by what is said after it."""
    await take(prompts, 1)
    send("1.json", "second")
    await take(prompts, 1)
    await respond(ERROR)
    assert host.named == [[]]
    await respond(session_update("s"))
    assert host.named == [[], ["1.json"]]


async def test_prompt_that_is_handed_out_while_an_output_waits_is_not_named(
    prompts, respond, host, send, autojump_clock
):
    """A slow host isn't told of an answer that the output was made before."""
    await take(prompts, 1)
    host.reads = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(respond, answer("one", "s"))
        nursery.start_soon(respond, session_update("s"))
        await trio.testing.wait_all_tasks_blocked()
        send("1.json", "second")
        await take(prompts, 1)
        host.reads.set()
    assert host.named == [[], []]


async def test_session_update_that_was_not_written_is_made_up_for(
    prompts, respond, host, send, autojump_clock
):
    """What only a cancelled one named is named by the next."""
    await take(prompts, 1)
    send("1.json", "second")
    await take(prompts, 1)
    host.reads = trio.Event()
    with trio.move_on_after(1):
        await respond(session_update("s"))
    host.reads.set()
    await respond(session_update("s"))
    await respond(session_update("s"))
    assert host.named == [["1.json"], []]


async def test_request_that_was_cancelled_is_no_prompt(
    prompts, respond, host, send, autojump_clock
):
    """A follow-up that comes as its request is cancelled is named when it was handed out."""
    await take(prompts, 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(anext, prompts)
        await trio.testing.wait_all_tasks_blocked()
        send("1.json", "second")
        nursery.cancel_scope.cancel()
    await respond(session_update("s"))
    assert await anext(prompts) == "second"
    await respond(session_update("s"))
    assert host.named == [[], ["1.json"]]


async def test_agent_without_session_updates_does_not_name_ever_more(mailbox, host):
    """The oldest names, which earlier answers had, are left out where there are too many."""
    prompts = Prompts("first", Mailbox(mailbox, Changes()))
    prompts._unanswered.append([f"{number}.json" for number in range(MOST_NAMED)])
    respond = Answers(prompts, host.write).respond
    await respond(answer("all", "s"))
    prompts._unanswered.append(["last.json"])
    await respond(answer("another", "s"))
    first, second = host.named
    assert len(first) == len(second) == MOST_NAMED
    assert second == [*first[1:], "last.json"]


STEPS = st.lists(st.sampled_from(["prompt", "answer", "update", "error"]) | st.integers(0, 3))
"""An integer is how many prompts are left pending by the outputs that follow."""


@reproducible
@given(STEPS)
def test_no_order_of_outputs_names_too_early_or_too_long(steps):
    """A name is in every success from its answer up to the session update, and in no other."""
    with tempfile.TemporaryDirectory() as directory:
        trio.run(_follow, steps, Path(directory))


async def _follow(steps, directory):
    host = Host()
    prompts = Prompts("first", Mailbox(directory, Changes()))
    respond = Answers(prompts, host.write).respond
    await anext(prompts)
    unanswered: list[str | None] = [None]
    expected: list[str] = []
    written = pending = 0
    for step in steps:
        if isinstance(step, int):
            pending = step
            continue
        if step == "prompt":
            written += 1
            name = f"{written:04}.json"
            (directory / name).write_text(json.dumps({"type": "message", "text": name}))
            assert await anext(prompts) == name
            unanswered.append(name)
            continue
        if step == "error":
            await respond(ERROR)
            assert host.named[-1] == []
            continue
        done = max(0, len(unanswered) - pending)
        expected += [name for name in unanswered[:done] if name is not None]
        del unanswered[:done]
        is_update = step == "update"
        await respond(session_update("s", pending) if is_update else answer("a", "s", pending))
        assert host.named[-1] == expected
        if is_update:
            expected = []
    assert [name for names in prompts._unanswered for name in names] == [
        name for name in unanswered if name is not None
    ]
    assert prompts._answered == expected
