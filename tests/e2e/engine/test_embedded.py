"""The engine in a program of one's own, as a bridge embeds it, with real runtimes."""

from __future__ import annotations

import subprocess
from contextlib import asynccontextmanager

import pytest
import trio
from attrs import Factory, define, evolve

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.chat.bridge import Bridge
from nanoclaw_trio.engine.chat.reception import Reception
from nanoclaw_trio.engine.open_engine import open_engine
from nanoclaw_trio.protocol.models import RegisteredGroup
from nanoclaw_trio.runtimes.choose import open_runtime
from nanoclaw_trio.store.models import ChatMessage, Registration

GUARD = 120
"""Seconds; it guards against a hang and measures nothing."""

CHATS = {"a@chat": "a", "b@chat": "b"}


@define
class Recorder(Bridge):
    """A bridge that keeps what it is to deliver."""

    delivered: list = Factory(list)
    _changed: trio.Event = Factory(trio.Event)

    async def deliver(self, delivery):
        """Keep it."""
        self.delivered.append(delivery)
        self._changed.set()
        self._changed = trio.Event()

    async def answer_to(self, id_):
        """Wait for the answer to a message; the only one."""
        while not (found := [each for each in self.delivered if id_ in each.in_reply_to]):
            await self._changed.wait()
        (answer,) = found
        return answer


@define
class Program:
    """A program with an engine."""

    engine: object
    bridge: Recorder
    runtime: object
    count: int = 0

    async def say(self, chat_jid, text="Hello"):
        """Hand in a message; what became of it, and its id."""
        self.count += 1
        message = ChatMessage(
            chat_jid=chat_jid,
            id=f"m{self.count}",
            sender="7@users",
            sender_name="Ann",
            text=text,
            timestamp=utc_now(),
        )
        return await self.engine.send_message(message), message.id

    async def ask(self, chat_jid, text="Hello"):
        """Hand in a message, and wait for its answer."""
        reception, id_ = await self.say(chat_jid, text)
        assert reception is Reception.ACCEPTED
        return await self.bridge.answer_to(id_)


def container_of(delivery):
    """The container from which an answer came."""
    return delivery.id.rpartition(":")[0]


@pytest.fixture
def embed(runtime_name, make_site):
    """Open an engine with two groups on a new project; nothing of it is left afterwards."""
    site = make_site(runtime_name)

    @asynccontextmanager
    async def open_it(**values):
        settings = evolve(
            site.settings,
            agent="echo",
            container_image="nanoclaw-echo:test",
            allowlist_path=site.root / "allowlist.json",
            **values,
        )
        runtime, bridge = await open_runtime(runtime_name, settings), Recorder()
        with trio.fail_after(GUARD):
            async with open_engine(settings, runtime=runtime, bridge=bridge) as engine:
                for jid, folder in CHATS.items():
                    group = RegisteredGroup(name=folder, folder=folder, requires_trigger=False)
                    await engine.register_group(Registration(jid=jid, group=group))
                yield Program(engine, bridge, runtime)
            assert await site.containers() == []
        assert await site.journal_findings() == []

    open_it.site = site
    return open_it


async def test_a_conversation(embed):
    """A follow-up goes to the container that answered before; a chat that isn't registered is told
    so; the engine's end waits for the answers that are due."""
    async with embed() as program:
        first = await program.ask("a@chat", "One")
        second = await program.ask("a@chat", "Two")
        assert (">One<" in first.text, ">Two<" in second.text) == (True, True)
        assert container_of(first) == container_of(second)
        assert await program.say("c@chat") == (Reception.UNREGISTERED, "m3")
        await program.say("b@chat", "Last")
    assert ">Last<" in program.bridge.delivered[-1].text
    assert len(program.bridge.delivered) == 3


async def test_an_idle_container_makes_room(embed):
    """With room for one, a group that waits has it as soon as the other's agent is idle, though
    that one might have waited for hours."""
    async with embed(max_concurrent_containers=1, idle_timeout=None) as program:
        first = await program.ask("a@chat")
        assert container_of(await program.ask("b@chat")) != container_of(first)
        assert container_of(await program.ask("a@chat")) != container_of(first)


async def test_an_idle_container_is_closed(embed):
    """Idle for IDLE_TIMEOUT, it ends by itself; the next message gets another."""
    async with embed(idle_timeout=0.1) as program:
        first = await program.ask("a@chat")
        await embed.site.wait_for_journal("run_ended")
        assert container_of(await program.ask("a@chat")) != container_of(first)


async def remove(name):
    """Remove a container, as somebody else would."""
    await trio.run_process(["docker", "rm", "-f", name], stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("runtime_name", ["docker"], indirect=True)
async def test_a_busy_container_is_removed_from_outside(embed):
    """The message that its agent was at is answered by the retry."""
    site = embed.site
    site.use_worker()
    async with embed() as program:
        _, asked = await program.say("a@chat")
        await site.wait_for_work("a")
        (name,) = await site.containers()
        await remove(name)
        site.let_go_on("a")
        assert container_of(await program.bridge.answer_to(asked)) != name
        assert program.engine.statistics().counters.runs_started == 2


@pytest.mark.parametrize("runtime_name", ["docker"], indirect=True)
async def test_an_idle_container_is_removed_from_outside(embed):
    """A message that comes in that moment is answered by the next container, at once."""
    async with embed() as program:
        first = await program.ask("a@chat")
        await remove(container_of(first))
        assert container_of(await program.ask("a@chat")) != container_of(first)
        assert program.engine.statistics().counters.runs_started == 2
