"""A world around an engine: a chat platform that remembers, and agents that do as they are told.

A prompt with a word such as `!fail` in it makes the agent behave so; all else is echoed. Times are
the virtual clock's.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from html import unescape
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
from attrs import evolve, field, frozen

from nanoclaw_trio.background import open_background_nursery
from nanoclaw_trio.clock import is_virtual, utc_now
from nanoclaw_trio.engine.chat.bridge import Bridge
from nanoclaw_trio.engine.journal.invariants import describe, examine_journal
from nanoclaw_trio.engine.journal.journal import read_journal
from nanoclaw_trio.engine.open_engine import open_engine
from nanoclaw_trio.engine.tasks.changes import schedule_task
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.protocol.models import ContainerInput, ContainerOutput, RegisteredGroup
from nanoclaw_trio.settings import Settings
from nanoclaw_trio.store import messages, sessions, tasks
from nanoclaw_trio.store.database import StoreFailed
from nanoclaw_trio.store.models import ChatMessage, DeliveryKind, Registration
from nanoclaw_trio.testing.clock import VirtualClock
from nanoclaw_trio.testing.fake import open_fake_runtime

IDLE_TIMEOUT = 300.0
"""Seconds; shorter than the original's half hour, since agents look into their mailboxes meanwhile."""

MESSAGE = re.compile(r"<message [^>]*>(.*?)</message>", re.DOTALL)


@frozen(kw_only=True)
class Said:
    """A delivery that the platform took, and when."""

    at: float
    delivery: object

    @property
    def text(self):
        return self.delivery.text

    @property
    def kind(self):
        return self.delivery.kind

    @property
    def ids(self):
        return self.delivery.in_reply_to


class Platform(Bridge):
    """A chat platform that keeps all that it is told. `before` has faults by method's name."""

    def __init__(self):
        self.said = []
        self.typing = []
        self.notices = []
        self.registered = []
        self.attempts = []
        self.chats = ()
        self.before = {}

    async def deliver(self, delivery):
        self.attempts.append((trio.current_time(), delivery))
        await self._fault("deliver", delivery)
        self.said.append(Said(at=trio.current_time(), delivery=delivery))

    async def set_typing(self, chat_jid, *, is_typing):
        await self._fault("set_typing", chat_jid)
        self.typing.append((trio.current_time(), chat_jid, is_typing))

    async def notice(self, notice):
        self.notices.append((trio.current_time(), notice))
        await self._fault("notice", notice)

    async def list_chats(self):
        await self._fault("list_chats", None)
        return self.chats

    async def group_registered(self, registration):
        await self._fault("group_registered", registration)
        self.registered.append(registration)

    async def _fault(self, method, about):
        await trio.lowlevel.checkpoint()
        if method in self.before:
            await self.before[method](about)


@frozen(kw_only=True)
class Asked:
    """What an agent was asked: its prompt, or a follow-up."""

    at: float
    container: str
    folder: str
    text: str
    session: str | None
    is_follow_up: bool
    request: dict = field(repr=False)

    @property
    def texts(self):
        """What people said in it."""
        return [unescape(text) for text in MESSAGE.findall(self.text)] or [self.text]


class Turn:
    """One query of an agent, for a behaviour to answer."""

    def __init__(self, container, asked, session, answered, *, says_follow_ups):
        self.container = container
        self.asked = asked
        self.session = session
        self._answered = answered if says_follow_ups else None

    async def answer(self, text=None):
        """An answer: the echo, if nothing else is said."""
        echo = "echo: " + " | ".join(self.asked.texts)
        await self._write(status="success", result=echo if text is None else text)

    async def update(self):
        """The query has ended."""
        await self._write(status="success", result=None)

    async def error(self, text):
        """The query has failed."""
        await self._write(status="error", result=None, error=text)

    async def complain(self, text):
        """Say something on standard error."""
        await self.container.stderr.send_all(text.encode())

    async def put(self, path, content):
        """Write a file into the mailbox, whole."""
        target = self.container.writable_path(f"/workspace/ipc/{path}")

        def write():
            target.parent.mkdir(exist_ok=True)
            temporary = target.with_suffix(".tmp")
            temporary.write_text(json.dumps(content))
            temporary.rename(target)

        await in_thread(write)

    async def _write(self, **fields):
        output = ContainerOutput(new_session_id=self.session, follow_ups=self._answered, **fields)
        await self.container.write_output(output)


async def fail(turn):
    """No answer, and a failing exit."""
    await turn.complain("it went wrong")
    return 1


async def hang(turn):
    """No answer, ever."""
    await trio.sleep_forever()


async def crash(turn):
    """An answer, then a failing exit."""
    await turn.answer()
    await turn.complain("it went wrong afterwards")
    return 1


async def slow(turn):
    """`!slow=SECONDS` before the answer."""
    await trio.sleep(float(re.search(r"!slow=([0-9.]+)", turn.asked.text)[1]))
    await turn.answer()
    await turn.update()


async def leave(turn):
    """An answer; then the agent ends by itself after five seconds, whatever lies in the mailbox."""
    await turn.answer()
    await turn.update()
    await trio.sleep(5)
    return 0


async def deaf(turn):
    """An answer, and no ear for anything after it."""
    await turn.answer()
    await turn.update()
    await trio.sleep_forever()


async def report(turn):
    """An error that the agent reports, and outlives."""
    await turn.error("the model is overloaded")


async def stale(turn):
    """A session that isn't there any more: an error, and a failing exit; else the echo."""
    if turn.asked.session is not None:
        await turn.error(f"No conversation found with session ID: {turn.asked.session}")
        return 1
    return await echo(turn)


async def silent(turn):
    """The query ends without an answer."""
    await turn.update()


async def speak(turn):
    """Something said in the middle of the work, then the answer."""
    jid = turn.asked.request["chatJid"]
    message = {"type": "message", "chatJid": jid, "text": "I am at it", "timestamp": "now"}
    await turn.put("messages/1.json", message)
    await turn.answer()
    await turn.update()


async def echo(turn):
    """The answer is what was said."""
    await turn.answer()
    await turn.update()


class Agent:
    """All agents of a runtime: by the first word of `script` that a prompt has, or the echo.

    Attributes:
        script: Behaviours by words. One that returns a number ends the agent with that status.
        asked: All that was ever asked.
        ends: (time, container) of agents that were asked to end.
        longest_poll: See FakeContainer.take_follow_up.
        says_follow_ups: Whether it names the follow-ups that it has answered, as ours does.
    """

    def __init__(self):
        self.script = {
            "!fail": fail,
            "!hang": hang,
            "!crash": crash,
            "!slow": slow,
            "!leave": leave,
            "!deaf": deaf,
            "!report": report,
            "!stale": stale,
            "!silent": silent,
            "!speak": speak,
        }
        self.asked = []
        self.ends = []
        self.poll = 0.5
        self.longest_poll = None
        self.says_follow_ups = True
        self._sessions = count(1)

    async def __call__(self, container):
        request = await container.read_input()
        session = request.get("sessionId") or f"session-{next(self._sessions)}"
        text, answered = request["prompt"], ()
        while True:
            asked = Asked(
                at=trio.current_time(),
                container=container.name,
                folder=request["groupFolder"],
                text=text,
                session=request.get("sessionId"),
                is_follow_up=bool(answered),
                request=request,
            )
            self.asked.append(asked)
            turn = Turn(container, asked, session, answered, says_follow_ups=self.says_follow_ups)
            status = await self._behaviour(text)(turn)
            if status is not None:
                return status
            taken = await container.take_follow_up(poll=self.poll, longest_poll=self.longest_poll)
            if taken is None:
                self.ends.append((trio.current_time(), container.name))
                return 0
            text, answered = taken.text, (taken.name,)

    def _behaviour(self, text):
        for word, behaviour in self.script.items():
            if word in text:
                return behaviour
        return echo

    def prompts(self, folder=None):
        """What was asked with a container's start, of one group or all."""
        return [a for a in self.asked if not a.is_follow_up and folder in {None, a.folder}]

    def follow_ups(self, folder=None):
        """What was asked of containers that ran already."""
        return [a for a in self.asked if a.is_follow_up and folder in {None, a.folder}]


class World:
    """An engine, its platform, its agents and its runtime.

    Attributes:
        engine: The engine; None where none runs.
        options: What `open_engine` is given besides.
    """

    def __init__(self, nursery, settings, runtime, agent):
        self.settings = settings
        self.runtime = runtime
        self.agent = agent
        self.platform = Platform()
        # A look at the store costs more than all else in a test that lasts for days.
        self.options = {"sweep_interval": 300.0}
        self.engine = None
        self._nursery = nursery
        self._numbers = count(1)
        self._life, self._leaving, self._ended = trio.CancelScope(), trio.Event(), trio.Event()
        self._ended.set()

    # The engine's life

    async def start(self, **changes):
        """Open an engine, in a task of its own."""
        self.settings = evolve(self.settings, **changes)
        self.engine = await self._nursery.start(self._host)
        return self.engine

    async def _host(self, task_status):
        self._life, self._leaving, self._ended = trio.CancelScope(), trio.Event(), trio.Event()
        try:
            with self._life:
                async with self.open() as engine:
                    task_status.started(engine)
                    await self._leaving.wait()
        finally:
            self.engine = None
            self._ended.set()

    def open(self):
        """The engine's own context, for tests of how it is left."""
        return open_engine(
            self.settings, runtime=self.runtime, bridge=self.platform, **self.options
        )

    async def leave(self):
        """Leave the engine's block, and wait until it is left."""
        self._leaving.set()
        await self._ended.wait()

    async def kill(self):
        """Cut the engine off in whatever it does: as if its process had been killed, as far as the
        store goes."""
        self._life.cancel()
        await self._ended.wait()

    async def restart(self):
        """The same, and another engine after it."""
        await self.kill()
        return await self.start()

    # What people do

    async def register(self, *folders, **fields):
        """Register groups that answer in FOLDER@chat, without a trigger."""
        group = {"requires_trigger": False, **fields.pop("group", {})}
        for folder in folders:
            registered = RegisteredGroup(name=folder.title(), folder=folder, **group)
            registration = Registration(jid=jid_of(folder), group=registered, **fields)
            await self.engine.register_group(registration)

    async def say(self, folder, text, id_=None):
        """Say something in a group's chat; the message's id."""
        return (await self.hand_in(folder, text, id_))[0]

    async def hand_in(self, folder, text, id_=None):
        """The same; its id, and what became of it."""
        message = self.message(folder, text, id_)
        return message.id, await self.engine.send_message(message)

    def message(self, folder, text, id_=None):
        return ChatMessage(
            chat_jid=jid_of(folder),
            id=id_ or f"m{next(self._numbers)}",
            sender="ada@chat",
            sender_name="Ada",
            text=text,
            timestamp=utc_now(),
        )

    def prompt(self, folder, text, **fields):
        """An input of one's own making."""
        values = {"chat_jid": jid_of(folder), "is_main": False, **fields}
        return ContainerInput(prompt=text, group_folder=folder, **values)

    async def schedule(self, folder, prompt, kind="once", value=None, **fields):
        """Make a task; `once` at once unless a value is given."""
        registration = await self.registration(folder)
        value = value or utc_now().strftime("%Y-%m-%dT%H:%M:%S")
        task = await self.transact(
            partial(
                schedule_task,
                id=fields.pop("id", None),
                registration=registration,
                prompt=prompt,
                schedule_type=kind,
                schedule_value=value,
                context_mode=fields.pop("context_mode", "isolated"),
                zone=self.settings.timezone,
                now=utc_now(),
            )
        )
        self.engine._context.scheduler.nudge()
        return task

    async def registration(self, folder):
        return next(r for r in await self.engine.groups() if r.folder == folder)

    # The disk

    async def fill_disk(self):
        """Let the store's disk be as a full one: it can be read, and no change is taken."""
        await self._set_query_only("ON")

    async def free_disk(self):
        """Let it have room again."""
        await self._set_query_only("OFF")

    async def _set_query_only(self, value):
        store = self.engine._context.store
        async with store._lock:
            store._database._connection.execute(f"PRAGMA query_only = {value}")

    async def refused(self, folder, text, id_=None):
        """Whether the store has no room for a message."""
        try:
            await self.say(folder, text, id_)
        except StoreFailed:
            return True
        return False

    # What there is

    async def transact(self, function, *args):
        return await self.engine._context.store.transact(function, *args)

    async def session_of(self, folder):
        return await self.transact(sessions.session_of, folder)

    async def waiting(self, folder):
        """The ids of a group's messages that no agent has."""
        stored = await self.transact(messages.waiting, folder)
        return [entry.message.id for entry in stored]

    async def task(self, id_):
        return await self.transact(tasks.get, id_)

    def said(self, folder=None, kind=None):
        """What the platform was told to say, in one group's chat or all."""
        return [
            said
            for said in self.platform.said
            if folder in {None, said.delivery.group_folder} and kind in {None, said.kind}
        ]

    def answers(self, folder=None):
        return self.said(folder, DeliveryKind.ANSWER)

    def failures(self, folder=None):
        return self.said(folder, DeliveryKind.FAILURE)

    def state_of(self, folder):
        return self.engine._dispatcher.queue.group(folder).state.value

    def running(self):
        """The folders of the groups that have a container, in the order of their starts."""
        return [i.spec.labels["nanoclaw.group"] for i in self.runtime.containers.values()]

    def fate(self, kinds=(DeliveryKind.ANSWER, DeliveryKind.FAILURE)):
        """How often each message was answered or reported, by chat and id."""
        fates = defaultdict(int)
        for said in self.platform.said:
            if said.kind in kinds:
                for id_ in said.ids:
                    fates[said.delivery.chat_jid, id_] += 1
        return fates

    async def examine(self):
        """What the journal shows."""
        path = self.settings.project_root / "data" / "journal.jsonl"
        return await in_thread(lambda: examine_journal(read_journal(path)))

    async def events(self, *names):
        """The journal's entries of these events."""
        path = self.settings.project_root / "data" / "journal.jsonl"
        entries = await in_thread(lambda: list(read_journal(path)))
        return [entry for entry in entries if entry.event in names]


def jid_of(folder):
    return f"{folder}@chat"


@asynccontextmanager
async def open_world(settings):
    """A world whose engine isn't started yet. What its journal shows is examined at the end."""
    agent = Agent()
    async with open_background_nursery() as nursery, open_fake_runtime(agent) as runtime:
        world = World(nursery, evolve(settings, idle_timeout=IDLE_TIMEOUT), runtime, agent)
        yield world
        await world.kill()
        assert not runtime.containers
        examination = await world.examine()
        assert not examination.violations, describe(examination.violations)


@contextmanager
def new_settings():
    """Settings of an empty project, in memory where there is such a place: nothing here is about
    how long a disk takes."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        project = Path(directory, "project")
        project.mkdir()
        yield Settings(project_root=project, allowlist_path=Path(directory, "allowlist.json"))


@pytest.fixture
async def world(virtual_clock):
    """A world of an empty project, whose engine isn't started yet."""
    assert is_virtual(), (
        "name virtual_clock among the test's own arguments: pytest-trio looks there"
    )
    with new_settings() as settings:
        async with open_world(settings) as world:
            yield world


@pytest.fixture(scope="session")
def in_world():
    """Run a scenario, an async function of a world, on a virtual clock; what it returns. For
    hypothesis."""

    def run(scenario):
        async def main(settings):
            async with open_world(settings) as world:
                return await scenario(world)

        with new_settings() as settings:
            return trio.run(main, settings, clock=VirtualClock())

    return run


@pytest.fixture
async def home(world):
    """The same, with an engine, and the group `home` registered."""
    await world.start()
    await world.register("home")
    return world
