"""`serve` in a process of its own, with real runtimes, and a chat platform that talks to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from attrs import Factory, define, field, frozen

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.journal.journal import read_journal
from nanoclaw_trio.engine.tasks.changes import schedule_task
from nanoclaw_trio.protocol.models import RegisteredGroup
from nanoclaw_trio.runtimes.abc import INSTALL_LABEL
from nanoclaw_trio.runtimes.choose import open_runtime
from nanoclaw_trio.settings import Settings
from nanoclaw_trio.store import groups, tasks
from nanoclaw_trio.store.database import open_store
from nanoclaw_trio.store.models import Registration
from nanoclaw_trio.workspace.install import install_id

ECHO_IMAGE = "nanoclaw-echo:test"

GUARD = 120
"""Seconds; it guards against a hang and measures nothing."""

POLL = 0.02

WORKER = """
import json, os, signal, sys, time

def write(result):
    print("---NANOCLAW_OUTPUT_START---")
    print(json.dumps({"status": "success", "result": result, "newSessionId": "s1"}))
    print("---NANOCLAW_OUTPUT_END---", flush=True)

prompt = json.load(sys.stdin)["prompt"]
if "stubborn" in prompt:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
open("at-work", "w").close()
while not os.path.exists("go-on"):
    time.sleep(0.02)
write(f"did: {prompt}")
write(None)
"""
"""An agent that says in its group's folder that it is at work, and answers once it is let to."""

OURS = (
    "CONTAINER_",
    "NANOCLAW_",
    "IDLE_TIMEOUT",
    "MAX_",
    "ASSISTANT_NAME",
    "ANTHROPIC_",
    "CLAUDE_",
)
"""How the variables begin that would change what is tested."""


@define
class Host:
    """A `serve` process.

    Attributes:
        process: It.
        said: Its lines on standard error so far.
        ready: Set once it serves, or has ended without.
    """

    process: trio.Process
    said: list[str] = Factory(list)
    ready: trio.Event = Factory(trio.Event)
    _heard: trio.Event = Factory(trio.Event)

    @property
    def pid(self):
        """Its process id."""
        return self.process.pid

    @property
    def own_words(self):
        """What it said itself, without the logs and a runtime's caveat."""
        prefix = "nanoclaw-trio: "
        words = [line.removeprefix(prefix) for line in self.said if line.startswith(prefix)]
        return [line for line in words if not line.startswith("bubblewrap isolates less")]

    async def listen(self):
        """Hear it until its end."""
        rest = b""
        async for chunk in self.process.stderr:
            *lines, rest = (rest + chunk).split(b"\n")
            self.said += [line.decode(errors="replace") for line in lines]
            if any("nanoclaw-trio: serving" in line for line in self.said):
                self.ready.set()
            self._heard.set()
            self._heard = trio.Event()
        self.ready.set()

    async def until_said(self, words):
        """Wait until it has said these words itself."""
        while not any(words in line for line in self.own_words):
            await self._heard.wait()

    def send(self, number=signal.SIGKILL):
        """Send it a signal."""
        self.process.send_signal(number)

    async def end(self):
        """Wait for its end; its exit status."""
        return await self.process.wait()


@define
class Platform:
    """A chat platform's bridge: it remembers what it said and heard, through all connections.

    As docs/socket.md asks of a bridge, it hands in again what nobody has said to have taken, under
    the same id, and takes a delivery that it had before for no new one.

    Attributes:
        sent: The messages, by id.
        unreceived: Those that no `serve` has said to have.
        receptions: What became of the others, by id.
        deliveries: What was to be said, by the deliveries' ids, in the order of arrival.
        repeats: How often it was given a delivery that it had.
    """

    sent: dict = Factory(dict)
    unreceived: dict = Factory(dict)
    receptions: dict = Factory(dict)
    deliveries: dict = Factory(dict)
    repeats: int = 0
    _line: Line | None = None
    _changed: trio.Event = Factory(trio.Event)

    async def say(self, chat, text="Hello"):
        """Somebody says something in a chat; the message's id, which its text holds."""
        id_ = f"m{len(self.sent)}"
        message = {
            "chatJid": chat,
            "id": id_,
            "sender": "7@users",
            "senderName": "Ann",
            "text": f"{text} <{id_}>",
        }
        self.sent[id_] = self.unreceived[id_] = message
        if self._line is not None:
            await self._line.say("message", **message)
        return id_

    @asynccontextmanager
    async def connected(self, path):
        """Within, it is connected: deliveries come in and are taken."""
        async with await trio.open_unix_socket(path) as stream, trio.open_nursery() as nursery:
            line = Line(stream)
            nursery.start_soon(self._hear, line)
            await line.say("subscribe")
            self._line = line
            for message in (*self.unreceived.values(),):
                await line.say("message", **message)
            try:
                yield line
            finally:
                self._line = None
                nursery.cancel_scope.cancel()

    async def _hear(self, line):
        async for record in line.records():
            match record["type"]:
                case "received":
                    self.unreceived.pop(record["id"], None)
                    self.receptions.setdefault(record["id"], record["reception"])
                case "delivery":
                    self._take(record)
                    await line.say("delivered", id=record["id"])
                case "error":
                    raise AssertionError(record)
                case _:
                    line.others.append(record)
            self._note_change()

    def _take(self, record):
        known = self.deliveries.setdefault(record["id"], record)
        assert known == record
        self.repeats += known is not record

    def _note_change(self):
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, condition):
        """Wait until what it has heard fulfills a condition."""
        while not condition():
            await self._changed.wait()

    @property
    def answered(self):
        """The ids of the messages that were answered, each as often as it was."""
        heard = self.deliveries.values()
        return Counter(id_ for delivery in heard for id_ in delivery["inReplyTo"])

    @property
    def is_answered(self):
        """Whether all messages are."""
        return self.sent.keys() <= self.answered.keys()

    def has_answers_of(self, task_ids):
        """Whether each of these tasks has been answered."""
        return task_ids <= {delivery["taskId"] for delivery in self.deliveries.values()}

    def texts(self, chat=None):
        """What was said, in one chat or in all, in the order of arrival."""
        heard = self.deliveries.values()
        return [each["text"] for each in heard if chat in {None, each["chatJid"]}]

    def check(self):
        """Each message was answered once, by an answer that has it, and nothing was given up."""
        assert not self.unreceived
        assert self.answered == Counter(self.sent.keys())
        for delivery in self.deliveries.values():
            assert delivery["kind"] == "answer", delivery
            said = {id_ for id_ in self.sent if f"&lt;{id_}&gt;" in delivery["text"]}
            assert said == {*delivery["inReplyTo"]}, delivery
            chats = {self.sent[id_]["chatJid"] for id_ in said}
            assert chats <= {delivery["chatJid"]}, delivery


@frozen
class Line:
    """A connection to the socket: requests out, records in. One that breaks says so to nobody."""

    stream: trio.SocketStream
    others: list = field(factory=list)
    turn: trio.Lock = field(factory=trio.Lock)

    async def say(self, type_, **fields):
        """Say one request."""
        async with self.turn:
            await self._send(type_, fields)

    async def _send(self, type_, fields):
        with suppress(trio.BrokenResourceError):
            await self.stream.send_all(json.dumps({"type": type_, **fields}).encode() + b"\n")

    async def records(self):
        """What comes, until the other side ends."""
        rest = b""
        with suppress(trio.BrokenResourceError):
            while chunk := await self.stream.receive_some():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield json.loads(line)


@define
class Site:
    """A project that is served, with one of the runtimes.

    Attributes:
        root: Where it is.
        runtime_name: The runtime's.
        environment: The processes'.
        options: Of `serve`, beside project and runtime.
        hosts: All that were started.
    """

    root: Path
    runtime_name: str
    environment: dict
    options: tuple = ("--agent", "echo", "--image", ECHO_IMAGE)
    hosts: list = Factory(list)
    calls: list = Factory(list)

    @property
    def socket(self):
        """Where its socket is."""
        return self.root / "data" / "nanoclaw.sock"

    @property
    def settings(self):
        """As `serve` reads them without variables."""
        return Settings(project_root=self.root, timezone="UTC")

    def argv(self, command, *words):
        """A command on this project."""
        return [sys.executable, "-m", "nanoclaw_trio", *command.split(), *words, *self._project()]

    def _project(self):
        return ("--project", str(self.root))

    @asynccontextmanager
    async def serving(self, *options, until_ready=True):
        """A `serve`, which is killed in the end if it lives."""
        words = ("--runtime", self.runtime_name, *self.options, "--no-terminal", *options)
        process = await trio.lowlevel.open_process(
            self.argv("serve", *words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self.root,
            env=self.environment,
        )
        host = Host(process)
        self.hosts.append(host)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.listen)
            try:
                if until_ready:
                    await host.ready.wait()
                yield host
            finally:
                if process.poll() is None:
                    process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()
                # A client of the engine's that outlives it may hold the pipe.
                nursery.cancel_scope.cancel()

    async def call(self, command, *words):
        """Run another command to its end; its exit status and its standard output."""
        done = await trio.run_process(
            self.argv(command, *words),
            check=False,
            capture_stdout=True,
            capture_stderr=True,
            cwd=self.root,
            env=self.environment,
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    async def add_group(self, jid, folder):
        """Register a group that answers to all that is said in its chat."""
        group = RegisteredGroup(name=folder, folder=folder, requires_trigger=False)
        async with open_store(self.root) as store:
            await store.transact(groups.register, Registration(jid=jid, group=group))

    async def add_task(self, folder, prompt, type_, value):
        """Schedule a task in the group's conversation; its id."""
        async with open_store(self.root) as store:
            registration = await store.transact(groups.by_folder, folder)
            schedule = partial(
                schedule_task,
                id=None,
                registration=registration,
                prompt=prompt,
                schedule_type=type_,
                schedule_value=value,
                context_mode="group",
                zone="UTC",
                now=utc_now(),
            )
            return (await store.transact(schedule)).id

    def use_worker(self):
        """Put an agent in the echo agent's place that works until it is told to go on."""
        package = self.root / "container/agent-runner/src/nanoclaw_agent"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(WORKER)

    async def wait_for_work(self, *folders):
        """Wait until the groups' agents are at work."""
        for folder in folders:
            await wait_for((self.root / "groups" / folder / "at-work").exists)

    def let_go_on(self, *folders):
        """Let the groups' agents answer, these and later ones."""
        for folder in folders:
            directory = self.root / "groups" / folder
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "go-on").touch()

    async def task_runs(self, task_id):
        """The runs of a task, the oldest first."""
        async with open_store(self.root) as store:
            return (await store.transact(tasks.runs, task_id, 10_000))[::-1]

    async def journal_findings(self):
        """The promises that the journal shows broken, and what it shows under way, as `journal
        check` says."""
        status, out, said = await self.call("journal check", "--json")
        assert said == ""
        *findings, summary = map(json.loads, out.splitlines())
        assert status == (summary["violations"] > 0)
        return findings

    def journal(self, event):
        """The entries of a kind in the journal."""
        entries = read_journal(self.root / "data" / "journal.jsonl")
        return [entry for entry in entries if entry.event == event]

    async def wait_for_journal(self, event):
        """Wait until there is an entry of a kind in the journal."""
        await wait_for(lambda: self.journal(event))

    async def wait_until_told(self, platform):
        """Wait until the host knows of all that a platform has taken; else it says it once more."""
        await wait_for(
            lambda: (
                platform.deliveries.keys()
                <= {entry.fields["id"] for entry in self.journal("delivered")}
            )
        )

    async def states(self):
        """All containers of this install, in any phase."""
        runtime = await open_runtime(self.runtime_name, self.settings)
        return await runtime.list({INSTALL_LABEL: install_id(self.root)})

    async def containers(self):
        """Their names."""
        return [state.name for state in await self.states()]

    def processes(self):
        """The command lines of the processes that have to do with this install."""
        marks = (str(self.root).encode(), install_id(self.root).encode())
        return [
            line.replace(b"\0", b" ").decode(errors="replace")
            for _, line in command_lines()
            if any(mark in line for mark in marks)
        ]

    async def check_nothing_left(self):
        """No container, no process, no socket."""
        assert await self.containers() == []
        assert self.processes() == []
        assert not self.socket.exists()

    async def remove_all(self):
        """End what a failed test has left."""
        mark = install_id(self.root).encode()
        for pid, line in command_lines():
            if mark in line or str(self.root).encode() in line:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        runtime = await open_runtime(self.runtime_name, self.settings)
        for state in await runtime.list({INSTALL_LABEL: mark.decode()}):
            await runtime.remove(state.name)

    def report(self):
        """What the hosts said, for a test that failed."""
        return "\n".join(f"--- {host.pid}\n" + "\n".join(host.said) for host in self.hosts)


async def wait_for(condition):
    """Wait for what nothing but looking can tell."""
    while not condition():  # noqa: ASYNC110 - it is another process's
        await trio.sleep(POLL)


def command_lines():
    """The processes, each with its command line, the arguments ended by NUL."""
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and int(directory.name) != os.getpid():
            with suppress(OSError):
                yield int(directory.name), (directory / "cmdline").read_bytes()


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """Where the processes keep their compiled modules: with none, each start takes twice as long."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def environment(tmp_path, compiled):
    """The processes' variables: nobody's settings, and nobody's home."""
    unwanted = (*OURS, "PYTHONDONTWRITEBYTECODE")
    own = {name: text for name, text in os.environ.items() if not name.startswith(unwanted)}
    return own | {
        "HOME": str(tmp_path / "home"),
        "TZ": "UTC",
        "PYTHONPYCACHEPREFIX": str(compiled),
    }


@pytest.fixture
async def make_site(tmp_path, environment):
    """Make a project for a runtime; in the end nothing of it is left."""
    sites = []

    def make(runtime_name, **fields):
        root = tmp_path / f"p{len(sites)}"
        root.mkdir()
        (tmp_path / "home").mkdir(exist_ok=True)
        sites.append(Site(root, runtime_name, dict(environment), **fields))
        return sites[-1]

    yield make
    for site in sites:
        print(site.report())
        with trio.CancelScope(shield=True, deadline=trio.current_time() + GUARD):
            await site.remove_all()


@pytest.fixture
def docker_site(docker, make_site):
    """A project that is served with docker."""
    return make_site(docker)


@pytest.fixture
def bubblewrap_site(bubblewrap, make_site):
    """A project that is served with bubblewrap."""
    return make_site(bubblewrap)


@pytest.fixture(params=["docker", "bubblewrap"])
def runtime_name(request):
    """Each of the two in turn, where it works."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def site(runtime_name, make_site):
    """A project for each of the two runtimes in turn."""
    return make_site(runtime_name)


@pytest.fixture
def platform():
    """A chat platform."""
    return Platform()


@pytest.fixture(name="wait_for")
def _wait_for():
    """Wait for what nothing but looking can tell."""
    return wait_for
