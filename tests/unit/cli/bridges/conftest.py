"""Clients of the socket over pipes in memory, and messages and deliveries in few words."""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import pytest
import trio
import trio.testing
from attrs import define

from nanoclaw_trio.cli.bridges.attend import attend
from nanoclaw_trio.cli.bridges.socket import SocketBridge
from nanoclaw_trio.engine.open_engine import open_engine
from nanoclaw_trio.protocol.models import ContainerOutput, RegisteredGroup
from nanoclaw_trio.store.models import Delivery, DeliveryKind, Registration
from nanoclaw_trio.testing.fake import open_fake_runtime

MOMENT = datetime(2026, 2, 1, 15, 30, tzinfo=UTC)


@define
class Client:
    """What a chat platform's program is: it says and hears JSON, a line each."""

    stream: trio.abc.Stream
    heard: bytes = b""

    async def say(self, type_, **fields):
        """Say one request."""
        await self.send(json.dumps({"type": type_, **fields}).encode() + b"\n")

    async def send(self, data):
        """Send bytes as they are."""
        await self.stream.send_all(data)

    async def hear(self):
        """The next line; None at the end."""
        while b"\n" not in self.heard:
            data = await self.stream.receive_some()
            if not data:
                return None
            self.heard += bytes(data)
        line, _, self.heard = self.heard.partition(b"\n")
        return json.loads(line)

    async def ask(self, type_, **fields):
        """Say one request, and hear the next line."""
        await self.say(type_, **fields)
        return await self.hear()


@pytest.fixture
def bridge():
    """The bridge to the socket's clients."""
    return SocketBridge()


@pytest.fixture
def delivery():
    """Make a delivery to a chat; the keywords replace fields."""

    def make(id_="d1", **fields):
        values = {
            "kind": DeliveryKind.ANSWER,
            "chat_jid": "tg:1",
            "group_folder": "family",
            "text": "Hello",
            "created_at": MOMENT,
            **fields,
        }
        return Delivery(id=id_, **values)

    return make


@pytest.fixture
def registration():
    """Make a registration of a group that answers to everything."""

    def make(folder="family", jid="tg:1", *, is_main=False):
        group = RegisteredGroup(
            name=folder.title(), folder=folder, trigger="@Andy", requires_trigger=False
        )
        return Registration(jid=jid, group=group, is_main=is_main)

    return make


async def echo(container):
    """An agent that says what it was asked, a line for each message, and then ends."""
    asked = await container.read_input()
    texts = re.findall("<message [^>]*>(.*?)</message>", asked["prompt"])
    result = "\n".join(f"echo: {text}" for text in texts)
    await container.write_output(
        ContainerOutput(status="success", result=result, new_session_id="s1")
    )
    await container.write_output(
        ContainerOutput(status="success", result=None, new_session_id="s1")
    )


@pytest.fixture
def engine_for(settings):
    """Open an engine of this test's project for a bridge, with agents that echo."""

    @asynccontextmanager
    async def open_for(bridge):
        async with (
            open_fake_runtime(echo) as runtime,
            open_engine(settings, runtime=runtime, bridge=bridge) as engine,
        ):
            yield engine

    return open_for


@pytest.fixture
async def engine(engine_for, bridge):
    """An engine with the bridge to the socket's clients."""
    async with engine_for(bridge) as engine:
        yield engine
        bridge.expect_nobody()


@pytest.fixture
def connect(nursery, bridge, engine):
    """Connect a client, and attend to it."""

    def connect_it():
        ours, theirs = trio.testing.memory_stream_pair()
        serve = partial(attend, bridge=bridge, engine=engine, trigger="@Andy")
        nursery.start_soon(serve, ours)
        return Client(theirs)

    return connect_it
