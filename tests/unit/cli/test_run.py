"""`run`, with a runtime of scripts."""

from __future__ import annotations

import json
import os
import signal
from datetime import UTC, datetime
from functools import partial

import pytest
import trio
import trio.testing
from attrs import evolve

from nanoclaw_trio.cli.run import run_command
from nanoclaw_trio.errors import RuntimeCommandFailed, RuntimeUnavailable
from nanoclaw_trio.testing.fake import echo_agent
from nanoclaw_trio.workspace.claim import GroupClaim

GUARD = 60


@pytest.fixture
def run(call):
    """Call `run`; its exit status and its desk."""
    return partial(call, run_command)


async def test_an_answer(run, options):
    """The answer is all there is on standard output, and the container is closed and gone."""
    status, desk = await run(options, echo_agent)
    assert (status, desk.written()) == (0, "echo: Hello\n")


async def test_json(run, options):
    """Each output is an object, and the last object has the whole ending."""
    status, desk = await run(evolve(options, json=True, session="s1"), echo_agent)
    answer, update, end = desk.records()
    assert (status, answer["result"], update["result"]) == (0, "echo: Hello", None)
    assert end.pop("durationSeconds") >= 0
    assert end.pop("container").startswith("nanoclaw-main-")
    assert end.pop("logPath").startswith(str(options.project / "groups/main/logs/container-"))
    assert end == {
        "type": "end",
        "status": "success",
        "cause": "completed",
        "newSessionId": "s1",
        "error": None,
        "exitCode": 0,
        "gone": True,
    }


async def test_the_runtime_is_named_where_it_was_chosen(run, options):
    """Under `auto` it is said which runtime was taken, and why."""
    _, desk = await run(options, echo_agent)
    assert desk.said() == ["runtime fake: it is the only one"]


async def test_a_caveat_is_passed_on(run, options):
    """A runtime that isolates less than a container says so, asked for by name or not."""

    def use(runtime, _desk):
        runtime.caveat = "it isolates nothing"

    _, desk = await run(evolve(options, runtime="docker"), echo_agent, use=use)
    assert desk.said() == ["it isolates nothing"]


async def test_the_options_reach_the_container(run, options):
    """Image and agent are the options', and the prompt may come from an input."""
    specs = []

    async def look(container):
        specs.append(container.spec)
        await echo_agent(container)

    document = {"prompt": "Hi", "groupFolder": "g", "chatJid": "j", "isMain": False}
    options = evolve(options, prompt=None, input="-", image="mine:1", agent="echo")
    status, desk = await run(options, look, keys=json.dumps(document).encode())
    assert (status, desk.written()) == (0, "echo: Hi\n")
    assert (specs[0].image, specs[0].environment["NANOCLAW_AGENT"]) == ("mine:1", "echo")


@pytest.mark.parametrize(
    ("lines", "then", "status", "said"),
    [
        (["error"], 0, 1, "no quota"),
        ([], 0, 1, "the agent ended without an answer"),
        (["update"], 0, 1, "the agent ended without an answer"),
        ([], 7, 1, "Container exited with code 7: it broke"),
        (["answer"], 7, 1, "Container exited with code 7: it broke"),
        (["answer", "error"], 0, 1, "no quota"),
        (["error", "answer"], 0, 0, "no quota"),
    ],
)
async def test_the_agents_failures(run, options, says, outputs, lines, then, status, said):
    """An agent that fails, or answers nothing but errors, or nothing, is a failure."""
    kinds = {
        "answer": outputs.answer("Hi"),
        "error": outputs.error("no quota"),
        "update": outputs.update(),
    }
    script = says(*(kinds[line] for line in lines), then=then, stderr=b"it broke" if then else b"")
    actual, desk = await run(options, script)
    assert actual == status
    assert desk.said()[1:] == [said]
    assert desk.written() == ("Hi\n" if "answer" in lines else "")


@pytest.mark.parametrize("seconds", [0.25, 5, 45])
async def test_a_timeout_holds_exactly(run, options, says, virtual_clock, seconds):
    """--timeout is the limit to the millisecond, however small; nothing raises it."""
    status, desk = await run(evolve(options, timeout=seconds), says(then=None))
    assert status == 124
    limit = f"{seconds * 1000:.0f} ms (activity limit)"
    assert desk.said()[-1] == f"Container timed out after {limit}"


async def test_a_timeout_after_the_answer_is_a_success(run, options, says, outputs, virtual_clock):
    """An agent that answered and then doesn't end is cleaned up, and its answer stands."""
    status, desk = await run(options, says(outputs.answer("Hi"), then=None))
    assert (status, desk.written()) == (0, "Hi\n")


async def test_a_query_that_ended_without_an_answer_timed_out(
    run, options, says, outputs, virtual_clock
):
    """A session update isn't an answer."""
    status, _ = await run(options, says(outputs.update(), then=None))
    assert status == 124


@pytest.mark.parametrize(
    ("changes", "keys", "said"),
    [
        ({"group": "../x"}, b"", "group folder '../x' isn't allowed"),
        ({"prompt": "-"}, b"", "the prompt is empty"),
        ({"prompt": None, "input": "-"}, b"{}", "container input doesn't fit"),
        ({"prompt": None, "input": "/nowhere"}, b"", "/nowhere: no such file"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
async def test_bad_input(run, options, changes, keys, said, as_json):
    """Bad input is the caller's fault, said in one line, and nothing was started."""
    started = []
    status, desk = await run(
        evolve(options, json=as_json, **changes),
        echo_agent,
        keys=keys,
        use=lambda runtime, _desk: started.append(runtime),
    )
    assert (status, started[0].started) == (2, [])
    assert len(desk.said()) == 1
    assert desk.said()[0].startswith(said)
    if as_json:
        (end,) = desk.records()
        assert (end["type"], end["cause"], end["container"]) == ("end", "bad_input", None)
        assert end["gone"] is True


async def test_a_project_that_isnt_there(run, options):
    """A folder that isn't there is named."""
    status, desk = await run(evolve(options, project=options.project / "none"), echo_agent)
    assert status == 2
    assert desk.said()[0].startswith(f"project folder '{options.project}/none' isn't there")


async def test_a_setting_that_cant_be_parsed(run, options):
    """The variable is named, and where it came from; its value isn't repeated."""
    (options.project / ".env").write_text("CONTAINER_TIMEOUT=canary\n")
    status, desk = await run(options, echo_agent)
    assert status == 2
    assert desk.said()[0].startswith("setting CONTAINER_TIMEOUT (from .env)")
    assert "canary" not in desk.stderr.getvalue()


async def test_no_runtime(make_desk, options):
    """Without a runtime there is nothing to start."""

    async def choose(_name, _settings):
        await trio.lowlevel.checkpoint()
        raise RuntimeUnavailable("docker", "it is not there", "install it")

    desk = make_desk()
    status = await run_command(evolve(options, json=True), desk.world, choose=choose)
    (end,) = desk.records()
    assert (status, end["cause"], end["container"], end["gone"]) == (
        *(3, "runtime_unavailable"),
        None,
        True,
    )


async def test_no_image(run, options):
    """A missing image is told from a missing engine, and the way to get it is said."""

    def use(runtime, _desk):
        runtime.images = set()

    status, desk = await run(evolve(options, json=True), echo_agent, use=use)
    (end,) = desk.records()
    assert (status, end["cause"], end["gone"]) == (3, "image_missing", True)
    assert desk.said()[-1].endswith("add it to `images`")


@pytest.mark.parametrize("as_json", [False, True])
async def test_a_group_that_is_busy(run, options, as_json):
    """While another run has the group nothing is started; it is said whose it is, and what to do."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    claim = GroupClaim(options.project, "main", container="nanoclaw-main-7", moment=moment)
    claim.take()
    try:
        status, desk = await run(evolve(options, json=as_json), echo_agent)
    finally:
        claim.release()
    assert status == 3
    (said,) = desk.said()[1:]
    assert "group 'main' has a run already" in said
    assert f"container nanoclaw-main-7 of process {os.getpid()}" in said
    assert "wait for its end, or end that process" in said
    if as_json:
        (end,) = desk.records()
        assert (end["cause"], end["container"], end["gone"]) == ("group_busy", None, True)


async def test_an_agent_that_tampers_with_its_mailbox(run, options, outputs):
    """Trap A28. It can't be asked to end, and is stopped: its answer is an answer all the same."""

    async def tampering(container):
        await container.write_output(outputs.answer("done"))
        inbox = container.host_path("/workspace/ipc/input")
        inbox.rmdir()
        inbox.symlink_to("/etc")
        await container.write_output(outputs.update())
        await trio.sleep_forever()

    status, desk = await run(options, tampering)
    assert (status, desk.written()) == (0, "done\n")


async def test_a_container_that_cant_be_started(run, options):
    """Whatever else hinders the start is the runtime's fault too."""

    async def refuse():
        await trio.lowlevel.checkpoint()
        raise OSError("no more processes")

    status, desk = await run(evolve(options, json=True), echo_agent, before={"start": refuse})
    assert (status, desk.records()[0]["cause"]) == (3, "spawn_failed")


async def test_a_secret_is_not_in_what_is_said(run, options):
    """An agent that fails with a key in its last words doesn't bring it to the terminal."""
    (options.project / ".env").write_text("ANTHROPIC_API_KEY=sk-ant-canary-123\n")

    async def leak(container):
        document = await container.read_input()
        key = document["secrets"]["ANTHROPIC_API_KEY"]
        await container.stderr.send_all(f"can't use {key}\n".encode())
        return 1

    status, desk = await run(evolve(options, json=True), leak)
    (end,) = desk.records()
    assert (status, end["error"]) == (1, "Container exited with code 1: can't use [redacted]")
    assert "canary" not in desk.stderr.getvalue()


@pytest.fixture
def keep_desk():
    """Remember the desk of a call, as soon as it is there: keep_desk.desk."""

    class Keeper:
        def __call__(self, _runtime, desk):
            self.desk = desk

        def signal(self, number):
            self.desk.world.interruption.receive(number)

    return Keeper()


@pytest.fixture
def signalled(keep_desk):
    """A script that is at work when a signal comes; `ignoring` SIGTERM itself."""

    def make(number, *, ignoring=False):
        async def script(container):
            await container.read_input()
            keep_desk.signal(number)
            if ignoring:
                with container.open_sigterm_receiver():
                    await trio.sleep_forever()
            await trio.sleep_forever()

        return script

    return make


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
async def test_a_signal(run, options, keep_desk, signalled, number, status):
    """After a signal the container is gone, and that is said, to people and to programs."""
    options = evolve(options, json=True)
    actual, desk = await run(options, signalled(number), use=keep_desk)
    (end,) = desk.records()
    assert actual == status
    assert (end["status"], end["cause"], end["gone"]) == ("error", "cancelled", True)
    assert end["error"] == f"stopped by {number.name}"
    assert desk.said()[-1] == f"stopped by {number.name}; {end['container']} is gone"


async def test_a_second_signal_shortens_the_graces(
    run, options, keep_desk, signalled, virtual_clock
):
    """Who asks twice doesn't wait for an agent that ignores the polite stop."""

    async def signal_again():
        await trio.sleep(1)
        keep_desk.signal(signal.SIGINT)
        await trio.sleep_forever()

    script = signalled(signal.SIGINT, ignoring=True)
    status, desk = await run(options, script, use=keep_desk, before={"stop": signal_again})
    assert (status, trio.current_time()) == (130, 1.0)
    assert any(line.startswith("SIGINT again: killing container") for line in desk.said())


async def test_a_container_that_isnt_confirmed_gone(
    run, options, keep_desk, signalled, virtual_clock
):
    """Where the engine doesn't answer, the exit is bounded, and it is said what to do."""

    async def refuse():
        await trio.lowlevel.checkpoint()
        raise RuntimeCommandFailed("fake", "has no answer")

    faults = dict.fromkeys(("stop", "kill", "remove", "inspect"), refuse)
    with trio.fail_after(GUARD):
        status, desk = await run(
            evolve(options, json=True),
            signalled(signal.SIGTERM),
            use=keep_desk,
            before=faults,
            leaves_containers=True,
        )
    (end,) = desk.records()
    assert (status, end["gone"]) == (143, False)
    why = "inspect: failed: `fake` has no answer"
    assert desk.said()[-2:] == [
        "stopped by SIGTERM",
        f"container {end['container']} may still run: {why}; end its processes",
    ]


async def test_a_signal_while_a_runtime_is_looked_for(make_desk, options):
    """Before anything was started the exit status is the same, and no container is left."""
    desk = make_desk()

    async def choose(_name, _settings):
        desk.world.interruption.receive(signal.SIGTERM)
        await trio.sleep_forever()

    status = await run_command(evolve(options, json=True), desk.world, choose=choose)
    (end,) = desk.records()
    assert (status, end["container"], end["gone"]) == (143, None, True)
    assert desk.said() == ["stopped by SIGTERM; no container is left"]


async def test_a_signal_while_a_container_is_started(run, options, keep_desk, virtual_clock):
    """Cut off during the start, the command asks the runtime whether anything is left."""

    async def interrupt():
        keep_desk.signal(signal.SIGINT)
        await trio.sleep_forever()

    status, desk = await run(
        evolve(options, json=True), echo_agent, use=keep_desk, before={"start": interrupt}
    )
    (end,) = desk.records()
    assert (status, end["container"], end["gone"]) == (130, None, True)


async def test_a_signal_outweighs_a_failure(make_desk, options):
    """What fails while a signal is obeyed doesn't change the exit status."""
    desk = make_desk()

    async def choose(_name, _settings):
        await trio.lowlevel.checkpoint()
        desk.world.interruption.receive(signal.SIGINT)
        raise ValueError

    assert await run_command(options, desk.world, choose=choose) == 130


async def test_a_signal_outweighs_a_success(run, options, keep_desk):
    """A signal that comes with the last output has its exit status, and one ending is written."""

    class Last:
        async def send_all(self, _data):
            keep_desk.signal(signal.SIGINT)
            await trio.lowlevel.checkpoint()

    status, _ = await run(options, echo_agent, use=keep_desk, stdout=Last())
    assert status == 130


class Stuck:
    """Standard output that fails in its own way after some writes."""

    def __init__(self, error, after=0):
        self.writes = []
        self._error = error
        self._after = after

    async def send_all(self, data):
        """Take it, or fail."""
        await trio.lowlevel.checkpoint()
        if len(self.writes) >= self._after:
            raise self._error
        self.writes.append(bytes(data))


async def test_nobody_reads_on(run, options, says, outputs):
    """`| head -1`: the run is stopped without a word, as SIGPIPE would stop a program."""
    stdout = Stuck(trio.BrokenResourceError(), after=1)
    script = says(outputs.answer("one"), outputs.answer("two"), then=None)
    status, desk = await run(evolve(options, runtime="docker"), script, stdout=stdout)
    assert (status, stdout.writes) == (141, [b"one\n"])
    assert desk.said() == []


async def test_nobody_reads_the_last_line(run, options):
    """A reader that leaves before the last line is told apart from one that had it all."""
    stdout = Stuck(trio.BrokenResourceError(), after=2)
    status, _ = await run(evolve(options, json=True), echo_agent, stdout=stdout)
    assert status == 141


@pytest.mark.parametrize("as_json", [False, True])
async def test_a_full_disk(run, options, as_json):
    """Answers that can't be written are a failure, said once, and the agent isn't left at work."""
    stdout = Stuck(OSError(28, "No space left on device"))
    status, desk = await run(evolve(options, json=as_json), echo_agent, stdout=stdout)
    assert status == 1
    assert desk.said()[1:] == [
        "standard output can't be written: No space left on device; write it somewhere else"
    ]


async def test_a_disk_that_is_full_in_the_end(run, options):
    """A success whose last line can't be written is none."""
    stdout = Stuck(OSError(28, "No space left on device"), after=2)
    status, desk = await run(evolve(options, json=True), echo_agent, stdout=stdout)
    assert status == 1
    assert "standard output can't be written" in desk.said()[-1]


@pytest.mark.parametrize("level", ["info", "debug"])
async def test_a_defect_has_an_exit_status_and_no_traceback(make_desk, options, monkeypatch, level):
    """An exception of nobody's is one line without its text; with LOG_LEVEL=debug, where it is."""
    monkeypatch.setenv("LOG_LEVEL", level)
    desk = make_desk()

    async def choose(_name, _settings):
        await trio.lowlevel.checkpoint()
        raise KeyError("canary")

    assert await run_command(options, desk.world, choose=choose) == 1
    *frames, last = desk.said()
    assert last == "internal error: KeyError; LOG_LEVEL=debug shows where"
    assert bool(frames) is (level == "debug")
    assert "canary" not in last + (frames[-1] if frames else "")


@pytest.mark.parametrize("level", ["info", "DEBUG"])
async def test_where_an_error_comes_from_before_there_are_settings(
    run, options, monkeypatch, level
):
    """LOG_LEVEL in the environment counts before the settings are read."""
    monkeypatch.setenv("LOG_LEVEL", level)
    status, desk = await run(evolve(options, project=options.project / "none"), echo_agent)
    assert status == 2
    assert ("ProjectNotFound" in desk.said()) is (level == "DEBUG")


async def test_a_message_that_nobody_took_is_said(run, options):
    """Trap A22. A follow-up that a crash left, and that a failing agent didn't take, isn't lost."""
    inbox = options.project / "data" / "ipc" / "main" / "input"
    inbox.mkdir(parents=True)
    (inbox / "1.json").write_text('{"type":"message","text":"left over"}')

    async def fails(container):
        return 1

    status, desk = await run(options, fails)
    assert status == 1
    assert "no agent took this message, send it again: left over" in desk.said()
