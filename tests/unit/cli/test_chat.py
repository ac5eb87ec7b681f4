"""`chat`, with a runtime of scripts."""

from __future__ import annotations

import json
import signal

import pytest
import trio
import trio.testing
from attrs import evolve

from nanoclaw_trio.cli.chat import chat_command
from nanoclaw_trio.protocol.models import ContainerOutput
from nanoclaw_trio.testing.fake import echo_agent, open_fake_runtime

GUARD = 60


@pytest.fixture
def options(options):
    """The options of a plain `chat`, with no first message."""
    return evolve(options, prompt=None, runtime="docker")


@pytest.fixture
def chat(call):
    """Call `chat` with these lines on standard input; its exit status and its desk."""

    async def chat_with(options, script, *lines, **fields):
        keys = "".join(f"{line}\n" for line in lines).encode()
        return await call(chat_command, options, script, keys=keys, **fields)

    return chat_with


@pytest.fixture
def runtimes():
    """The runtimes of the calls: `use=runtimes.keep`, then runtimes.started."""

    class Runtimes:
        def keep(self, runtime, desk):
            self.runtime, self.desk = runtime, desk

        @property
        def started(self):
            return self.runtime.started

    return Runtimes()


async def test_each_line_has_its_answer_in_one_container(chat, options, runtimes):
    """Piped lines are asked one after the other, all in the container of the first."""
    status, desk = await chat(options, echo_agent, "one", "", "  ", "two", use=runtimes.keep)
    assert (status, desk.written()) == (0, "echo: one\necho: two\n")
    assert len(runtimes.started) == 1
    assert desk.said() == []


async def test_quit_ends_it(chat, options):
    """What comes after /quit isn't asked any more."""
    status, desk = await chat(options, echo_agent, "one", "/quit", "two")
    assert (status, desk.written()) == (0, "echo: one\n")


async def test_a_first_message_from_the_command_line(chat, options):
    """PROMPT is the first message, and the lines come after it."""
    _, desk = await chat(evolve(options, prompt="zero"), echo_agent, "one")
    assert desk.written() == "echo: zero\necho: one\n"


async def test_a_first_message_from_an_input(chat, options, tmp_path):
    """--input has the group and the first message."""
    path = tmp_path / "input.json"
    document = {"prompt": "zero", "groupFolder": "g", "chatJid": "j", "isMain": False}
    path.write_text(json.dumps(document))
    _, desk = await chat(evolve(options, input=str(path)), echo_agent, "one")
    assert desk.written() == "echo: zero\necho: one\n"
    assert (options.project / "groups/g").is_dir()


@pytest.mark.parametrize("as_json", [False, True])
async def test_nothing_said(chat, options, runtimes, as_json):
    """A conversation without a word starts nothing and is no failure."""
    status, desk = await chat(evolve(options, json=as_json), echo_agent, use=runtimes.keep)
    assert (status, runtimes.started, desk.said()) == (0, [], [])
    assert [record["container"] for record in desk.records()] == [None] * as_json


async def test_bad_input(chat, options):
    """A group's name is looked at before the first line is read."""
    status, desk = await chat(evolve(options, group="../x"), echo_agent, "one")
    assert status == 2
    assert desk.said()[0].startswith("group folder '../x' isn't allowed")


async def once(container):
    """Answers its prompt and ends, whatever lies in the mailbox."""
    request = await container.read_input()
    await answer(container, f"{request.get('sessionId')}: {request['prompt']}")


async def answer(container, text, session="s1"):
    """An answer, and the word that the query has ended."""
    for result in (text, None):
        output = ContainerOutput(status="success", result=result, new_session_id=session)
        await container.write_output(output)


async def test_a_container_that_ended_is_followed_by_another(chat, options, runtimes):
    """The next line starts a new run with the last session, and no line is lost."""
    options = evolve(options, json=True)
    status, desk = await chat(options, once, "one", "two", "three", use=runtimes.keep)
    records = desk.records()
    assert status == 0
    answers = [record["result"] for record in records if record.get("result")]
    assert answers == ["None: one", "s1: two", "s1: three"]
    assert len([record for record in records if record["type"] == "end"]) == len(runtimes.started)


async def test_an_idle_container_is_followed_by_another(options, make_desk, choose, virtual_clock):
    """After a limit has passed the conversation goes on where it was."""
    desk = make_desk()
    async with open_fake_runtime(echo_agent) as runtime, trio.open_nursery() as nursery:
        statuses = []

        async def hold():
            options_ = evolve(options, timeout=60.0, session="s0")
            statuses.append(await chat_command(options_, desk.world, choose=choose(runtime)))

        nursery.start_soon(hold)
        await desk.keyboard.send_all(b"one\n")
        await trio.sleep(3600)
        assert desk.written() == "echo: one\n"
        assert runtime.containers == {}
        await desk.keyboard.send_all(b"two\n")
        await trio.sleep(10)
        assert desk.written() == "echo: two\n"
        assert len(runtime.containers) == 1
        await desk.keyboard.aclose()
    assert statuses == [0]
    assert len(runtime.started) == 2


async def test_a_failure_is_said_and_the_conversation_goes_on(chat, options, runtimes):
    """The next line has a new container; the exit status is the last run's."""

    async def fails_first(container):
        request = await container.read_input()
        if request["prompt"] == "one":
            return 7
        await answer(container, request["prompt"])
        return 0

    status, desk = await chat(options, fails_first, "one", "two", use=runtimes.keep)
    assert (status, desk.written(), len(runtimes.started)) == (0, "two\n", 2)
    assert desk.said() == ["Container exited with code 7:"]


async def test_the_last_failure_is_the_exit_status(chat, options):
    """A conversation that ended in a failure says so."""

    async def fails(container):
        await container.read_input()
        return 7

    status, _ = await chat(options, fails, "one")
    assert status == 1


class Busy:
    """A script that says when it is at work, and answers when it is told to."""

    def __init__(self):
        self.prompts = []
        self.begun = trio.Event()
        self.go = trio.Event()

    async def __call__(self, container):
        """What runs in the container."""
        request = await container.read_input()
        self.prompts.append(request["prompt"])
        self.begun.set()
        await self.go.wait()
        await answer(container, f"answer to {request['prompt']}")
        while (text := await container.next_follow_up(poll=0.01)) is not None:
            self.prompts.append(text)
            await answer(container, f"answer to {text}")


@pytest.fixture
def interactive(make_desk, choose):
    """Hold a conversation at a terminal: a context with the desk, the keyboard open."""

    async def hold(options, script, drive, **before):
        desk = make_desk(stdin_is_terminal=True, stderr_is_terminal=True)
        statuses = []
        with trio.fail_after(GUARD):
            async with open_fake_runtime(script) as runtime, trio.open_nursery() as nursery:
                runtime.before.update(before)

                async def command():
                    status = await chat_command(options, desk.world, choose=choose(runtime))
                    statuses.append(status)

                nursery.start_soon(command)
                await drive(desk, runtime)
        return statuses[0], desk, runtime

    return hold


async def test_at_a_terminal_a_line_goes_to_an_agent_at_work(interactive, options, until):
    """A follow-up is in the mailbox while the agent is still at the first query."""
    script = Busy()

    async def drive(desk, _runtime):
        await desk.keyboard.send_all(b"one\n")
        await script.begun.wait()
        await desk.keyboard.send_all(b"two\n")
        inbox = options.project / "data/ipc/main/input"
        await until(lambda: list(inbox.glob("*.json")))
        script.go.set()
        await until(lambda: "answer to two" in desk.written())
        await desk.keyboard.send_all(b"/quit\n")

    status, _, runtime = await interactive(options, script, drive)
    assert (status, script.prompts, len(runtime.started)) == (0, ["one", "two"], 1)


@pytest.mark.parametrize(("ends", "shown"), [("/quit\n", "> > > "), ("", "> > > \n")])
async def test_the_user_is_told_that_it_is_their_turn(interactive, options, until, ends, shown):
    """At the start and after each answer there is a prompt, and none when it is over."""

    async def drive(desk, _runtime):
        for number, line in enumerate(("one\n", "two\n", ends), 1):
            await until(lambda number=number: desk.stderr.getvalue() == "> " * number)
            await desk.keyboard.send_all(line.encode())
        await desk.keyboard.aclose()

    _, desk, _ = await interactive(options, echo_agent, drive)
    assert desk.stderr.getvalue() == shown


class Deaf:
    """The first container takes no follow-up; the second one does."""

    def __init__(self):
        self.prompts = []
        self.begun = trio.Event()
        self.end = trio.Event()

    async def __call__(self, container):
        """What runs in the container."""
        request = await container.read_input()
        self.prompts.append(request["prompt"])
        if len(self.prompts) > 1:
            await answer(container, "at last")
            await container.next_follow_up(poll=0.01)
            return
        self.begun.set()
        await self.end.wait()


async def test_what_no_agent_took_is_the_next_runs(interactive, options, until):
    """Follow-ups that an ending agent left are the next prompt, in order. Trap A22."""
    script = Deaf()

    async def drive(desk, _runtime):
        await desk.keyboard.send_all(b"one\n")
        await script.begun.wait()
        await desk.keyboard.send_all(b"two\nthree\n")
        inbox = options.project / "data/ipc/main/input"
        await until(lambda: len(list(inbox.glob("*.json"))) == 2)
        script.end.set()
        await desk.keyboard.aclose()

    status, desk, _ = await interactive(options, script, drive)
    assert (status, script.prompts, desk.written()) == (0, ["one", "two\nthree"], "at last\n")


async def test_a_message_that_cant_be_a_follow_up_is_the_next_runs(interactive, options):
    """A message that is too long for the mailbox starts a run of its own, and the order stays."""
    script = Busy()
    long = "x" * 2_000_000

    async def drive(desk, _runtime):
        script.go.set()
        await desk.keyboard.send_all(f"one\n{long}\nlast\n/quit\n".encode())

    status, desk, runtime = await interactive(options, script, drive)
    assert status == 0
    assert script.prompts == ["one", long, "last"]
    assert len(runtime.started) == 2
    assert "the message goes to the next run" in desk.stderr.getvalue()


async def test_a_line_that_comes_while_the_container_is_stopped(
    interactive, options, virtual_clock
):
    """Sent when the run takes none any more, it is the next run's, without a word about it."""
    prompts = []

    async def heedless(container):
        request = await container.read_input()
        prompts.append(request["prompt"])
        await answer(container, "Hi")
        await trio.sleep_forever()

    async def drive(desk, runtime):
        async def type_meanwhile():
            if len(prompts) == 1:
                await desk.keyboard.send_all(b"two\n/quit\n")
            await trio.sleep(1)

        runtime.before["stop"] = type_meanwhile
        await desk.keyboard.send_all(b"one\n")

    status, desk, _ = await interactive(evolve(options, timeout=5.0), heedless, drive)
    assert (status, prompts) == (0, ["one", "two"])
    assert "goes to the next run" not in desk.stderr.getvalue()


async def test_a_signal_ends_a_conversation(interactive, options):
    """Ctrl-C while the agent is at work: the container is gone, the exit status is 130."""
    script = Busy()

    async def drive(desk, _runtime):
        await desk.keyboard.send_all(b"one\n")
        await script.begun.wait()
        desk.world.interruption.receive(signal.SIGINT)

    status, desk, runtime = await interactive(options, script, drive)
    assert (status, runtime.containers) == (130, {})
    assert "is gone" in desk.stderr.getvalue()


async def test_a_signal_between_two_runs(interactive, options, until):
    """While it is the user's turn there is no container, and the exit status is the same."""

    async def drive(desk, _runtime):
        await until(lambda: "> " in desk.stderr.getvalue())
        desk.world.interruption.receive(signal.SIGTERM)

    status, desk, runtime = await interactive(evolve(options, json=True), echo_agent, drive)
    (end,) = desk.records()
    assert (status, end["cause"], runtime.started) == (143, "cancelled", [])


async def test_a_mailbox_that_the_agent_replaced(chat, options):
    """Trap A28. Nothing is followed; the agent is stopped, and the next message goes to another."""

    async def sabotage(container):
        request = await container.read_input()
        inbox = container.host_path("/workspace/ipc/input")
        inbox.rmdir()
        inbox.symlink_to("/tmp")
        await answer(container, request["prompt"])
        await trio.sleep_forever()

    status, desk = await chat(options, sabotage, "one", "two")
    assert (status, desk.written()) == (0, "one\ntwo\n")
    assert any("can't be written" in said and "next run" in said for said in desk.said())
