"""`serve`, with a runtime of scripts, a terminal in memory and real Unix sockets."""

from __future__ import annotations

import json
import os
import re
import signal
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from attrs import define, evolve

from nanoclaw_trio.cli.serve import (
    ServeOptions,
    adjust_settings,
    idle_timeout_below,
    kept_text,
    serve_command,
)
from nanoclaw_trio.engine.chat.bridge import Bridge
from nanoclaw_trio.engine.open_engine import open_engine
from nanoclaw_trio.errors import AgentNotInstalled, RuntimeUnavailable
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.protocol.models import ContainerOutput, RegisteredGroup
from nanoclaw_trio.runtimes.choose import RuntimeChoice
from nanoclaw_trio.store import deliveries, groups
from nanoclaw_trio.store.database import open_store
from nanoclaw_trio.store.models import Registration
from nanoclaw_trio.testing.fake import open_fake_runtime

GUARD = 60
SOCKET = Path("nanoclaw.sock")
MESSAGE = {"chatJid": "tg:1", "id": "m1", "sender": "tg:7", "senderName": "Ann", "text": "Hello"}
FAMILY = {"jid": "tg:1", "folder": "family", "requiresTrigger": False}


@pytest.fixture
def options(settings, tmp_path, monkeypatch):
    """The options of `serve --socket nanoclaw.sock --no-terminal` in an empty project."""
    # A socket's path has to be short, and a test's folder has a long name.
    monkeypatch.chdir(tmp_path)
    return ServeOptions(
        project=settings.project_root,
        runtime="auto",
        image=None,
        build=False,
        agent=None,
        timeout=None,
        socket=SOCKET,
        no_socket=False,
        terminal=False,
        limit=None,
        drain=60.0,
    )


@pytest.fixture
def terminal(options):
    """The options of `serve --terminal --no-socket`."""
    return evolve(options, socket=None, no_socket=True, terminal=True)


def inode():
    """What tells the socket that is there from another; None if there is none."""
    return SOCKET.stat().st_ino if SOCKET.exists() else None


async def echo(container):
    """An agent that says what it was asked, a line for each message, and then ends."""
    asked = await container.read_input()
    texts = re.findall("<message [^>]*>(.*?)</message>", asked["prompt"])
    result = "\n".join(f"echo: {text}" for text in texts)
    for each in (result, None):
        await container.write_output(
            ContainerOutput(status="success", result=each, new_session_id="s1")
        )


async def brood(container):
    """An agent that takes what it is asked and never answers."""
    await container.read_input()
    await trio.sleep_forever()


@define
class Serving:
    """A `serve` that runs."""

    desk: object
    runtime: object
    status: int | None = None


@pytest.fixture
def serving(make_desk, choose, until):
    """Serve within a block, with agents that run a script; the block's end waits for its end."""

    @asynccontextmanager
    async def serve_it(options, script=echo, *, said="serving ", **fields):
        desk = make_desk(**fields)
        async with open_fake_runtime(script) as runtime:
            serving = Serving(desk, runtime)

            async def serve():
                serving.status = await serve_command(options, desk.world, choose=choose(runtime))

            with trio.fail_after(GUARD):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(serve)
                    await until(
                        lambda: said in desk.stderr.getvalue() or serving.status is not None
                    )
                    yield serving
            assert not runtime.containers

    return serve_it


@define
class Client:
    """A connection to the socket."""

    stream: trio.SocketStream
    heard: bytes = b""

    async def say(self, type_, **fields):
        """Say one request."""
        await self.stream.send_all(json.dumps({"type": type_, **fields}).encode() + b"\n")

    async def hear(self, type_):
        """The next line of this type; the others are passed over."""
        while True:
            while b"\n" not in self.heard:
                self.heard += bytes(await self.stream.receive_some())
            line, _, self.heard = self.heard.partition(b"\n")
            record = json.loads(line)
            if record["type"] == type_:
                return record

    async def ask(self, type_, answer, **fields):
        """Say one request, and hear its answer."""
        await self.say(type_, **fields)
        return await self.hear(answer)


@asynccontextmanager
async def connected(path=SOCKET):
    """A client of the socket."""
    async with await trio.open_unix_socket(path) as stream:
        yield Client(stream)


async def test_the_terminal(serving, terminal, settings):
    """Lines are answered on standard output; /quit waits for the answers, and ends it."""
    async with serving(terminal) as served:
        await served.desk.keyboard.send_all(b"Hello\n/quit\n")
    assert served.status == 0
    assert served.desk.written() == "echo: Hello\n"
    said = [line for line in served.desk.said() if not line.startswith("timestamp=")]
    assert said == [
        "runtime fake: it is the only one",
        f"serving {settings.project_root} with fake",
    ]
    assert not (settings.project_root / "data" / "nanoclaw.sock").exists()


async def test_the_end_of_input(serving, terminal):
    """The end of input drains, too: a program may write its questions and wait."""
    async with serving(terminal) as served:
        await served.desk.keyboard.send_all(b"Hello")
        await served.desk.keyboard.aclose()
    assert (served.status, served.desk.written()) == (0, "echo: Hello\n")


async def test_a_drain_is_bounded(serving, terminal):
    """An agent that doesn't answer is given up after --drain; the next start asks again."""
    async with serving(evolve(terminal, drain=0.5), brood) as served:
        await served.desk.keyboard.send_all(b"Hello\n/quit\n")
    assert (served.status, served.desk.written()) == (0, "")
    assert served.desk.said()[-1] == "1 message is kept for the next start"
    async with serving(terminal) as served:
        await served.desk.keyboard.send_all(b"/quit\n")
    assert (served.status, served.desk.written()) == (0, "echo: Hello\n")
    assert "kept" not in served.desk.stderr.getvalue()


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((0, 0), None),
        ((2, 0), "2 messages are kept for the next start"),
        ((0, 1), "1 answer is kept for the next start"),
        ((1, 3), "1 message and 3 answers are kept for the next start"),
    ],
)
def test_what_is_kept_in_words(counts, expected):
    """Who ends `serve` is told of what was not answered or said, and of nothing else."""
    assert kept_text(*counts) == expected


async def test_the_socket(serving, options, settings):
    """A client registers a group, sends a message, and takes its answer."""
    async with serving(options) as served:
        assert f"with fake on {SOCKET}" in served.desk.said()[-1]
        async with connected() as client:
            await client.ask("register", "registered", jid="tg:1", folder="family", trigger="@A")
            await client.ask("subscribe", "subscribed")
            message = {**MESSAGE, "text": "@A Hello"}
            received = await client.ask("message", "received", **message)
            assert received["reception"] == "accepted"
            delivery = await client.hear("delivery")
            assert delivery["text"] == "echo: @A Hello"
            await client.say("delivered", id=delivery["id"])
            # What it says is heard in its order: after this it was taken.
            await client.ask("groups", "groups")
        served.desk.world.interruption.receive(signal.SIGTERM)
    assert served.status == 143
    assert served.desk.said()[-1] == "stopped by SIGTERM"
    assert inode() is None


@pytest.fixture
def project():
    """A project with a name that is short enough for a socket in it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


async def test_the_default_place(serving, options, project):
    """Without --socket the socket is in the project's data/, which is made where it is missing."""
    async with serving(evolve(options, project=project, socket=None)) as served:
        async with connected(project / "data" / "nanoclaw.sock") as client:
            assert (await client.ask("groups", "groups"))["groups"] == []
        served.desk.world.interruption.receive(signal.SIGTERM)
    names = await in_thread(os.listdir, project / "data")
    assert "nanoclaw.sock" not in names


async def test_both(serving, options):
    """What is said in the terminal's chat is printed, and all else goes to the socket's clients."""
    async with serving(evolve(options, terminal=True)) as served, connected() as client:
        await client.ask("register", "registered", **FAMILY)
        await client.ask("subscribe", "subscribed")
        await served.desk.keyboard.send_all(b"Hello terminal\n")
        await client.say("message", **MESSAGE)
        delivery = await client.hear("delivery")
        assert (delivery["chatJid"], delivery["text"]) == ("tg:1", "echo: Hello")
        await client.say("delivered", id=delivery["id"])
        # What it says is heard in its order: after this it was taken.
        await client.ask("groups", "groups")
        await served.desk.keyboard.send_all(b"/quit\n")
    assert (served.status, served.desk.written()) == (0, "echo: Hello terminal\n")


async def test_answers_go_out_while_it_drains(serving, options, until):
    """After /quit the clients are still there to take the answers that are waited for."""
    quitting = trio.Event()

    async def ponder(container):
        await quitting.wait()
        await echo(container)

    async with serving(evolve(options, terminal=True), ponder) as served, connected() as client:
        await client.ask("register", "registered", **FAMILY)
        await client.ask("subscribe", "subscribed")
        await client.ask("message", "received", **MESSAGE)
        await until(lambda: served.runtime.containers)
        await served.desk.keyboard.send_all(b"/quit\n")
        await until(lambda: "waiting for the last answers" in served.desk.world.progress.told)
        quitting.set()
        delivery = await client.hear("delivery")
        assert delivery["text"] == "echo: Hello"
        await client.say("delivered", id=delivery["id"])
    assert served.status == 0


async def test_nobody_is_waited_for_who_is_not_there(serving, options, settings):
    """A delivery that no client takes doesn't hold up the end; it is kept for the next start."""
    async with serving(evolve(options, terminal=True, drain=GUARD * 10)) as served:
        async with connected() as client:
            await client.ask("register", "registered", **FAMILY)
            await client.ask("message", "received", **MESSAGE)
        await served.desk.keyboard.send_all(b"/quit\n")
    assert served.status == 0
    async with open_store(settings.project_root) as store:
        (kept,) = await store.transact(deliveries.pending, "tg:1")
    assert served.desk.said()[-1] == "1 answer is kept for the next start"
    assert kept.text == "echo: Hello"


async def test_a_change_by_another_command(serving, options, settings):
    """A group that another process registers meanwhile is served."""
    async with serving(options) as served:
        async with open_store(settings.project_root) as store:
            group = RegisteredGroup(name="Family", folder="family", requires_trigger=False)
            await store.transact(groups.register, Registration(jid="tg:1", group=group))
        async with connected() as client:
            received = await client.ask("message", "received", **MESSAGE)
            assert received["reception"] == "accepted"
        served.desk.world.interruption.receive(signal.SIGTERM)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
async def test_a_signal(serving, terminal, until, number, status):
    """A signal stops at once, with all containers gone, and has its exit status."""
    async with serving(terminal, brood) as served:
        await served.desk.keyboard.send_all(b"Hello\n")
        await until(lambda: served.runtime.containers)
        served.desk.world.interruption.receive(number)
    assert served.status == status
    stopping = f"{number.name}: stopping all containers; once more: without a grace"
    assert stopping in served.desk.said()
    assert served.desk.said()[-1] == f"stopped by {number.name}"


async def test_a_second_signal(serving, terminal, until, monkeypatch):
    """A second one waits for no grace: what would take minutes is killed."""
    monkeypatch.setenv("CONTAINER_STOP_GRACE", "600000")
    stopping = trio.Event()

    async def hang():
        stopping.set()
        await trio.sleep_forever()

    async with serving(terminal, brood) as served:
        served.runtime.before["stop"] = hang
        await served.desk.keyboard.send_all(b"Hello\n")
        await until(lambda: served.runtime.containers)
        served.desk.world.interruption.receive(signal.SIGTERM)
        await stopping.wait()
        served.desk.world.interruption.receive(signal.SIGINT)
    assert served.status == 143
    assert "SIGINT again: killing all containers" in served.desk.said()


async def test_nobody_reads_the_output(serving, terminal):
    """When nobody reads the terminal's answers any more it ends, without a word about that."""
    async with serving(terminal) as served:
        served.desk.world.interruption.output_lost()
    assert served.status == 141
    assert not any("SIGPIPE" in line for line in served.desk.said())


async def test_a_project_that_is_served_already(serving, options, settings):
    """The second one says who serves it, has its exit status, and leaves the first one's socket."""
    async with serving(options) as first:
        before = inode()
        async with serving(options) as second:
            pass
        assert second.status == 4
        assert f"has an engine already (process {os.getpid()} on " in second.desk.said()[-1]
        assert inode() == before
        first.desk.world.interruption.receive(signal.SIGTERM)


async def test_an_engine_without_a_socket(serving, options, settings):
    """The same with an engine of another program's."""

    class Nobody(Bridge):
        async def deliver(self, delivery):
            """Nothing."""

    async with (
        open_fake_runtime(echo) as runtime,
        open_engine(settings, runtime=runtime, bridge=Nobody()),
        serving(options) as served,
    ):
        pass
    assert served.status == 4
    assert inode() is None


class TestTerminal:
    @pytest.fixture
    async def another_main(self, settings):
        """The main group is another chat's."""
        group = RegisteredGroup(name="Me", folder="me")
        async with open_store(settings.project_root) as store:
            registration = Registration(jid="tg:9", group=group, is_main=True)
            await store.transact(groups.register, registration)

    async def test_asked_for(self, serving, options, another_main):
        """A terminal that was asked for and has no group is bad usage."""
        async with serving(evolve(options, terminal=True)) as served:
            pass
        assert served.status == 2
        said = "the terminal has no group: the main group 'me' answers in chat 'tg:9'"
        assert served.desk.said()[-1].startswith(said)

    async def test_there_by_itself(self, serving, options, another_main):
        """One that is just there is done without."""
        options = evolve(options, terminal=None)
        async with serving(options, said="no group", stdin_is_terminal=True) as served:
            async with connected() as client:
                assert len((await client.ask("groups", "groups"))["groups"]) == 1
            served.desk.world.interruption.receive(signal.SIGINT)
        assert served.status == 130

    @pytest.mark.parametrize(("is_terminal", "answer"), [(True, "echo: Hello\n"), (False, "")])
    async def test_by_default(self, serving, options, until, is_terminal, answer):
        """Without a word about it, it is served where standard input is one."""
        options = evolve(options, terminal=None)
        async with serving(options, stdin_is_terminal=is_terminal) as served:
            await served.desk.keyboard.send_all(b"Hello\n/quit\n")
            if not is_terminal:
                async with connected() as client:
                    assert (await client.ask("groups", "groups"))["groups"] == []
                served.desk.world.interruption.receive(signal.SIGTERM)
        assert (served.status, served.desk.written()) == (0 if is_terminal else 143, answer)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"socket": Path("nowhere/nanoclaw.sock")}, "there can't be a socket at nowhere/nanoclaw"),
        ({"project": Path("/nowhere")}, "project folder '/nowhere' isn't there"),
    ],
)
async def test_bad_usage(serving, options, change, said):
    """What can't be served is said in one line, before anything is started."""
    async with serving(evolve(options, **change)) as served:
        pass
    assert served.status == 2
    (line,) = served.desk.said()
    assert line.startswith(said)


async def test_a_socket_that_is_in_use(serving, options):
    """A socket that another program listens on is left, and nothing goes on without it."""
    server = trio.socket.socket(trio.socket.AF_UNIX)
    await server.bind(str(SOCKET))
    server.listen()
    async with serving(options) as served:
        pass
    server.close()
    assert served.status == 2
    assert "somebody answers there" in served.desk.said()[-1]


class TestRuntime:
    @pytest.fixture
    def no_programs(self, monkeypatch, tmp_path):
        """No container engine is installed."""
        (tmp_path / "bin").mkdir()
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    async def test_not_installed(self, make_desk, options, no_programs):
        """A runtime that was named and isn't installed isn't waited for."""
        desk = make_desk()
        with trio.fail_after(GUARD):
            status = await serve_command(evolve(options, runtime="docker"), desk.world)
        assert status == 3
        (line,) = desk.said()
        assert line.startswith("docker can't be used: there is no program `docker` on the PATH; ")

    async def test_named(self, make_desk, options, no_programs, tmp_path, until):
        """One that was named and is installed isn't asked for before the engine asks it."""
        program = tmp_path / "bin" / "docker"
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)
        desk = make_desk()

        async def stop():
            await until(lambda: any("with docker" in line for line in desk.said()))
            desk.world.interruption.receive(signal.SIGTERM)

        with trio.fail_after(GUARD):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stop)
                assert await serve_command(evolve(options, runtime="docker"), desk.world) == 143

    @pytest.fixture
    def attempts(self):
        """Choices of runtime that fail, until one doesn't."""
        times = []

        def make(runtime, failures):
            async def choose(_name, _settings):
                times.append(trio.current_time())
                await trio.lowlevel.checkpoint()
                if len(times) <= failures:
                    raise RuntimeUnavailable("auto", "docker is down", "start it")
                return RuntimeChoice(runtime=runtime, reason="it is back")

            return choose

        make.times = times
        return make

    async def test_one_that_is_down(
        self, virtual_clock, make_desk, terminal, attempts, no_programs, tmp_path
    ):
        """One that is down is waited for, ever more patiently, and that is said once."""
        program = tmp_path / "bin" / "docker"
        program.touch(0o755)
        desk = make_desk()
        await desk.keyboard.aclose()
        async with open_fake_runtime(echo) as runtime:
            choose = attempts(runtime, 7)
            assert await serve_command(terminal, desk.world, choose=choose) == 0
        assert attempts.times == [0, 5, 15, 35, 75, 135, 195, 255]
        assert desk.said()[:2] == [
            "auto can't be used: docker is down; start it; waiting until it can",
            "runtime fake: it is back",
        ]

    async def test_a_signal_while_it_waits(self, make_desk, terminal, attempts, until):
        """Waiting is ended by a signal."""
        desk = make_desk()

        async def stop():
            await until(desk.said)
            desk.world.interruption.receive(signal.SIGINT)

        with trio.fail_after(GUARD):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stop)
                status = await serve_command(terminal, desk.world, choose=attempts(None, 1000))
        assert status == 130

    async def test_none_is_installed(self, make_desk, terminal, attempts, no_programs, monkeypatch):
        """Where none is installed there is nothing to wait for."""
        monkeypatch.setattr("sys.platform", "sunos5")
        desk = make_desk()
        with trio.fail_after(GUARD):
            status = await serve_command(terminal, desk.world, choose=attempts(None, 1000))
        assert (status, len(attempts.times)) == (3, 1)

    async def test_no_agent(self, make_desk, terminal):
        """Nor where the agent isn't installed."""

        async def choose(_name, _settings):
            await trio.lowlevel.checkpoint()
            raise AgentNotInstalled("claude", "no SDK")

        with trio.fail_after(GUARD):
            assert await serve_command(terminal, make_desk().world, choose=choose) == 3

    async def test_what_it_isolates_less(self, make_desk, terminal, choose):
        """What is to be known of a runtime is said."""
        desk = make_desk()
        await desk.keyboard.aclose()
        async with open_fake_runtime(echo) as runtime:
            runtime.caveat = "it isolates nothing"
            with trio.fail_after(GUARD):
                assert await serve_command(terminal, desk.world, choose=choose(runtime)) == 0
        assert "it isolates nothing" in desk.said()

    async def test_build(self, serving, terminal):
        """A runtime that needs no image has none built, and that is said."""
        async with serving(evolve(terminal, build=True)) as served:
            await served.desk.keyboard.aclose()
        assert "fake needs no image; nothing was built" in served.desk.said()


class TestSettings:
    def test_the_options_take_their_place(self, settings, options):
        """What is said on the command line comes before the settings."""
        options = evolve(
            options, image="i", agent="echo", limit=7, timeout=3600.0, credential_proxy="socket"
        )
        adjusted = adjust_settings(settings, options)
        assert (adjusted.container_image, adjusted.agent) == ("i", "echo")
        assert (adjusted.max_concurrent_containers, adjusted.container_timeout) == (7, 3600.0)
        assert adjusted.timeout_for(None) == 3600.0
        assert adjusted.idle_timeout == 1800.0
        assert adjusted.credential_proxy == "socket"

    def test_what_is_not_said(self, settings, options):
        """Without a word the settings hold."""
        assert adjust_settings(settings, options) == settings

    @pytest.mark.parametrize(
        ("timeout", "idle", "expected"),
        [
            (3600.0, 1800.0, 1800.0),
            (60.0, 1800.0, 30.0),
            (30.0, 1800.0, None),
            (5.0, 1800.0, None),
            (60.0, None, None),
        ],
    )
    def test_idle_timeout_below(self, settings, timeout, idle, expected):
        """A timeout is as long as it was said to be: the idle timeout before it gives way."""
        assert idle_timeout_below(timeout, idle) == expected
        adjusted = settings.with_values(container_timeout=timeout, idle_timeout=expected)
        assert adjusted.timeout_for(None) == timeout
