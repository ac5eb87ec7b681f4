"""The query loop, with a program in the CLI's place that does what a test needs."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest
import trio

from nanoclaw_agent.changes import Changes
from nanoclaw_agent.children import read_parents
from nanoclaw_agent.container_input import ContainerInput, ImageAttachment
from nanoclaw_agent.errors import OutputClosed, QueryFailed
from nanoclaw_agent.mailbox import Mailbox
from nanoclaw_agent.secrets import Secrets
from nanoclaw_agent.session import Answers, Prompts

SESSION = "11111111-1111-4111-8111-111111111111"
"""The session in which the fake CLI works."""

CLEARED = "22222222-2222-4222-8222-222222222222"
"""The session that it goes over to when it is told `clear`."""

GUARD = 60

FIRST = ContainerInput(prompt="", group_folder="g", chat_jid="c", is_main=False)


class Conversation:
    """A session in progress: prompts go in, outputs come out."""

    def __init__(self, agent) -> None:
        self.agent = agent
        self._prompts, self._receive_prompts = trio.open_memory_channel[str](inf)
        self._send_outputs, self._outputs = trio.open_memory_channel(inf)

    async def run(self) -> None:
        """Converse until there are no more prompts."""
        with trio.fail_after(GUARD):
            await self.agent.converse(self._receive_prompts, self._send_outputs.send)

    def say(self, *prompts: str) -> None:
        for prompt in prompts:
            self._prompts.send_nowait(prompt)

    def close(self) -> None:
        self._prompts.close()

    async def hear(self) -> str:
        """The next answer, once its session update has come."""
        with trio.fail_after(GUARD):
            answer, update = [await self._outputs.receive() for _ in range(2)]
        assert (update.status, update.result) == ("success", None)
        assert answer.new_session_id == update.new_session_id == SESSION
        return answer.result

    async def update(self) -> None:
        """Wait for a session update without an answer before it."""
        with trio.fail_after(GUARD):
            assert (await self._outputs.receive()).result is None

    def heard(self) -> list[str | None]:
        """The results of all outputs that nobody has heard yet."""
        results = []
        while True:
            try:
                results.append(self._outputs.receive_nowait().result)
            except trio.WouldBlock:
                return results


@pytest.fixture
def converse(make_surroundings, fake_cli):
    """Begin a conversation, with the fake CLI, in a session if one is named."""
    from nanoclaw_agent.agents.claude.agent import ClaudeAgent

    def begin(container_input=FIRST, secrets=None):
        surroundings = make_surroundings(cli=fake_cli.path)
        return Conversation(ClaudeAgent(container_input, secrets or Secrets({}), surroundings))

    return begin


def in_session(session_id):
    return ContainerInput(
        prompt="", group_folder="g", chat_jid="c", is_main=False, session_id=session_id
    )


async def test_one_cli_answers_prompts_and_follow_ups(converse, fake_cli):
    """As long as it runs, one CLI gets all of them, and its session is the outputs'."""
    conversation = converse()
    conversation.say("one")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(conversation.run)
        assert await conversation.hear() == "fake: one"
        conversation.say("two")
        assert await conversation.hear() == "fake: two"
        conversation.close()
    assert fake_cli.prompts == ["one", "two"]
    assert fake_cli.resumed == [[]]


async def test_session_that_is_named_goes_on(converse, fake_cli):
    """The CLI is told which session to resume, and from nowhere in particular."""
    conversation = converse(in_session("abc"))
    conversation.say("one")
    conversation.close()
    await conversation.run()
    assert fake_cli.resumed == [["--resume=abc"]]


async def test_cli_that_has_ended_is_started_again_with_the_next_prompt(converse, fake_cli):
    """It goes on in the same session, after the last thing that the one before it said."""
    conversation = converse()
    conversation.say("one then exit")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(conversation.run)
        assert await conversation.hear() == "fake: one then exit"
        conversation.say("two")
        assert await conversation.hear() == "fake: two"
        conversation.close()
    assert fake_cli.prompts == ["one then exit", "two"]
    assert fake_cli.resumed == [
        [],
        [f"--resume={SESSION}", "--resume-session-at=words-1"],
    ]


async def test_session_that_was_left_has_no_last_words_in_the_next(converse, fake_cli):
    """After /clear there is another session, in which nothing of the old one can be found."""
    conversation = converse()
    conversation.say("one")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(conversation.run)
        assert await conversation.hear() == "fake: one"
        conversation.say("clear")
        await conversation.update()
        conversation.say("two")
        assert await conversation.hear() == "fake: two"
        conversation.close()
    assert fake_cli.resumed == [[], [f"--resume={CLEARED}"]]


async def test_prompt_that_an_ending_cli_has_not_answered_goes_to_the_next(converse, fake_cli):
    """A follow-up that a CLI takes in and ends without answering is answered by another."""
    conversation = converse()
    conversation.say("one then linger")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(conversation.run)
        assert await conversation.hear() == "fake: one then linger"
        conversation.say("two")
        assert await conversation.hear() == "fake: two"
        conversation.close()
    assert fake_cli.prompts == ["one then linger", "two", "two"]


async def test_outputs_name_what_the_query_took_in(converse, fake_cli, mailbox, send):
    """Follow-ups that were handed to the CLI while it answered are named when it answers them."""
    heard = []
    agent = converse().agent
    prompts = Prompts("one", Mailbox(mailbox, Changes()))
    names = ["1.json", "2.json"]

    async def write(output, named):
        heard.append((output.result, list(named)))
        if output.result == "fake: one":
            for name in names:
                send(name, name)
            # It is read so slowly that both are with the CLI before the session update.
            await fake_cli.has_prompts(len(names) + 1)
        elif len(heard) == 2 * len(names) + 2:
            (mailbox / "_close").touch()

    with trio.fail_after(GUARD):
        await agent.converse(prompts, Answers(prompts, write).respond)
    assert heard == [
        ("fake: one", []),
        (None, []),
        ("fake: 1.json", ["1.json"]),
        (None, ["1.json"]),
        ("fake: 2.json", ["2.json"]),
        (None, ["2.json"]),
    ]


async def test_lost_session_is_replaced_by_a_new_one(converse, fake_cli, caplog):
    """A session that the CLI doesn't find begins afresh, once; the model is told, and the log."""
    conversation = converse(in_session("lost"))
    conversation.say("one")
    conversation.close()
    await conversation.run()
    (answer, update) = conversation.heard()
    note, prompt = fake_cli.prompts[0].split("|")
    assert "can't be found" in note
    assert prompt == "one"
    assert (answer, update) == (f"fake: {note}|one", None)
    assert fake_cli.resumed == [["--resume=lost"], []]
    assert "session lost can't be found" in caplog.text


async def test_cli_that_says_nothing_is_a_failure(converse, fake_cli):
    """A CLI that ends without an answer isn't started for ever."""
    conversation = converse()
    conversation.say("vanish")
    with pytest.raises(QueryFailed, match="ended without an answer"):
        await conversation.run()
    assert fake_cli.resumed == [[]]


@pytest.mark.parametrize(
    ("word", "end"),
    [
        ("crash", "the CLI ended with exit status 3; what it said is on standard error"),
        ("die", r"the CLI was killed by signal 9 \(Killed\)"),
    ],
)
async def test_cli_that_fails_is_a_failure(converse, word, end):
    """How it ended is the error's text, which the agent doesn't hide."""
    conversation = converse()
    conversation.say(word)
    with pytest.raises(QueryFailed, match=f"^{end}$"):
        await conversation.run()
    assert conversation.heard() == []


async def test_cli_that_is_not_there_is_a_failure(make_surroundings, tmp_path):
    """A CLI that can't be started is named."""
    from nanoclaw_agent.agents.claude.agent import ClaudeAgent

    surroundings = make_surroundings(cli=tmp_path / "nowhere")
    conversation = Conversation(ClaudeAgent(FIRST, Secrets({}), surroundings))
    conversation.say("one")
    with pytest.raises(QueryFailed, match="nowhere"):
        await conversation.run()


async def test_refusal_is_a_failure_with_its_words(converse):
    """What the API or the CLI refuses with is the error's text."""
    conversation = converse()
    conversation.say("refuse")
    with pytest.raises(QueryFailed, match="API Error: the key canary-key is refused"):
        await conversation.run()


async def test_first_message_has_the_pictures_and_says_who_asks(converse, fake_cli):
    """A scheduled prompt with a picture that isn't there tells the model both."""
    container_input = ContainerInput(
        prompt="",
        group_folder="g",
        chat_jid="c",
        is_main=False,
        is_scheduled_task=True,
        image_attachments=(ImageAttachment(relative_path="a.png", media_type="image/png"),),
    )
    conversation = converse(container_input)
    conversation.say("one", "two")
    conversation.close()
    await conversation.run()
    text, picture = fake_cli.prompts[0].split("|")
    assert text.startswith("[SCHEDULED TASK")
    assert text.endswith("one")
    assert "a.png can't be shown" in picture
    assert fake_cli.prompts[1:] == ["two"]


async def test_words_of_the_cli_are_logged(converse, caplog):
    """Its standard error is for the operator."""
    conversation = converse()
    conversation.say("complain")
    conversation.close()
    await conversation.run()
    assert "claude: the key canary-key is old" in caplog.text


async def test_secrets_reach_the_cli_and_no_more(converse, fake_cli):
    """The CLI has them in its environment; this process hasn't."""
    conversation = converse(secrets=Secrets({"NANOCLAW_TEST_KEY": "canary"}))
    conversation.say("one")
    conversation.close()
    await conversation.run()
    (environment,) = fake_cli.environments
    assert environment["NANOCLAW_TEST_KEY"] == "canary"
    assert environment["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] == "1"


async def test_output_that_nobody_reads_ends_the_cli(make_surroundings, fake_cli):
    """What `respond` raises comes out as it is, and the CLI has ended by then."""
    from nanoclaw_agent.agents.claude.agent import ClaudeAgent

    async def respond(_):
        raise OutputClosed

    async def prompts():
        yield "one"
        await trio.sleep_forever()

    agent = ClaudeAgent(FIRST, Secrets({}), make_surroundings(cli=fake_cli.path))
    with trio.fail_after(GUARD), pytest.raises(OutputClosed):
        await agent.converse(prompts(), respond)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(("word", "requests"), [("hang", []), ("wait", ["interrupt"])])
async def test_cancelled_query_is_interrupted_and_its_cli_ends(converse, fake_cli, word, requests):
    """A CLI that doesn't listen, or doesn't obey, has ended when the cancellation goes on."""
    conversation = converse()
    conversation.say(word)
    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conversation.run)
            await fake_cli.works_without_an_end()
            nursery.cancel_scope.cancel()
    assert fake_cli.requests == ["initialize", *requests]
    assert not set(fake_cli.hanging) & read_parents().keys()
