"""The socket's protocol, over pipes in memory, with an engine behind it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import pytest
import trio
import trio.testing

from nanoclaw_trio.cli.bridges.attend import LAST_WORDS_BOUND, attend
from nanoclaw_trio.cli.bridges.connection import BACKLOG, Connection
from nanoclaw_trio.cli.bridges.cutter import LINE_LIMIT
from nanoclaw_trio.cli.bridges.front import Front
from nanoclaw_trio.cli.bridges.socket import NoSubscriber
from nanoclaw_trio.engine.chat.bridge import Notice, NoticeKind, Undeliverable
from nanoclaw_trio.engine.engine import Engine
from nanoclaw_trio.store.models import Chat, ChatMessage, DeliveryKind

MOMENT = datetime(2026, 2, 1, 15, 30, tzinfo=UTC)
MESSAGE = {"chatJid": "tg:1", "id": "m1", "sender": "tg:7", "senderName": "Ann", "text": "Hello"}


async def test_a_conversation(virtual_clock, connect, engine, registration):
    """A message is received, answered, and the answer is told until the client has taken it."""
    await engine.register_group(registration())
    client = connect()
    assert await client.ask("subscribe", ref="r1") == {"type": "subscribed", "ref": "r1"}
    await client.say("message", **MESSAGE)
    heard = [await client.hear() for _ in range(4)]
    by_type = {record["type"]: record for record in heard}
    assert by_type["received"] == {
        "type": "received",
        "id": "m1",
        "chatJid": "tg:1",
        "reception": "accepted",
    }
    typing = [record["isTyping"] for record in heard if record["type"] == "typing"]
    assert typing == [True, False]
    delivery = by_type["delivery"]
    assert (delivery["kind"], delivery["text"]) == ("answer", "echo: Hello")
    assert (delivery["chatJid"], delivery["groupFolder"]) == ("tg:1", "family")
    assert delivery["inReplyTo"] == ["m1"]
    await client.say("delivered", id=delivery["id"])


async def test_a_message_twice(virtual_clock, connect, engine, registration):
    """A message that is said again is taken once, and what became of it is said each time."""
    await engine.register_group(registration())
    client = connect()
    receptions = [(await client.ask("message", **MESSAGE))["reception"] for _ in range(2)]
    assert receptions == ["accepted", "duplicate"]
    unknown = await client.ask("message", **{**MESSAGE, "chatJid": "tg:2"})
    assert unknown["reception"] == "unregistered"


async def test_register_and_groups(virtual_clock, connect):
    """A group is registered by a client, with the usual trigger, and is then among the groups."""
    client = connect()
    registered = await client.ask("register", jid="tg:1", folder="family", name="Family", ref="r1")
    assert (registered["type"], registered["ref"]) == ("registered", "r1")
    listed = await client.ask("groups")
    assert listed == {"type": "groups", "groups": [registered["group"]]}
    assert registered["group"]["trigger"] == "@Andy"
    assert registered["group"]["addedAt"] == "2026-01-01T00:00:00.000Z"


async def test_registered_again(virtual_clock, connect):
    """What a client doesn't say of a group that is registered stays: main, triggers and mounts."""
    client = connect()
    config = {"additionalMounts": [{"hostPath": "/x"}], "timeout": 5}
    first = {"jid": "tg:1", "folder": "family", "trigger": "hey", "requiresTrigger": True}
    before = await client.ask("register", **first, isMain=True, containerConfig=config)
    assert await client.ask("register", jid="tg:1", folder="family") == before
    changed = await client.ask("register", jid="tg:1", folder="family", isMain=False)
    assert changed["group"] == {**before["group"], "isMain": False}


async def test_statistics_and_metrics(virtual_clock, connect, engine, registration):
    """The engine's picture comes as JSON, and as Prometheus text."""
    await engine.register_group(registration())
    client = connect()
    statistics = (await client.ask("statistics"))["statistics"]
    assert (statistics["limit"], statistics["runtimeState"]) == (5, "up")
    assert [group["folder"] for group in statistics["groups"]] == ["family"]
    assert statistics["counters"]["messagesAccepted"] == 0
    metrics = await client.ask("metrics")
    assert "# TYPE" in metrics["text"]


async def test_chats(virtual_clock, connect, bridge):
    """The chats that clients tell of are what the main group's agent can choose from."""
    client = connect()
    assert await client.ask("chats", chats=[{"jid": "a", "name": "A"}]) == {
        "type": "noted",
        "chats": 1,
    }
    await client.ask("chats", chats=[{"jid": "a", "name": "B"}, {"jid": "b", "name": "C"}])
    assert await bridge.list_chats() == (Chat(jid="a", name="B"), Chat(jid="b", name="C"))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"Hello\n", "not JSON"),
        (b'{"type": "shout"}\n', "not one of message, subscribe"),
        (b'{"type": "message"}\n', "required field missing @ $.chatJid"),
        (b"x" * (LINE_LIMIT + 1) + b"\n", f"the line has more than {LINE_LIMIT} bytes"),
    ],
    ids=["text", "type", "field", "long"],
)
async def test_a_bad_line(virtual_clock, connect, line, problem):
    """A bad line is answered with what is wrong with it, and the connection goes on."""
    client = connect()
    await client.send(line)
    error = await client.hear()
    assert (error["type"], error["fault"]) == ("error", "client")
    assert problem in error["problem"]
    assert await client.ask("groups") == {"type": "groups", "groups": []}


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        ({"type": "message", **MESSAGE, "text": " "}, "has no text"),
        ({"type": "message", **MESSAGE, "timestamp": "now"}, "@ $.timestamp"),
        ({"type": "register", "jid": "a", "folder": "../a"}, "group folder '../a' isn't allowed"),
        (
            {"type": "register", "jid": "", "folder": "a"},
            "'' can't be a chat's address: it is empty",
        ),
        ({"type": "delivered", "id": "d9"}, "delivery 'd9' isn't in this connection's hands"),
        ({"type": "undeliverable", "id": "d9", "why": "x"}, "delivery 'd9' isn't in this conn"),
    ],
)
async def test_a_request_that_is_refused(virtual_clock, connect, request_, problem):
    """What the engine refuses is the client's fault, and a message's error says which one it was."""
    client = connect()
    error = await client.ask(request_.pop("type"), **request_, ref="r1")
    assert (error["type"], error["fault"], error["ref"]) == ("error", "client", "r1")
    assert problem in error["problem"]
    is_message = "text" in request_
    assert (error.get("id"), error.get("chatJid")) == (
        ("m1", "tg:1") if is_message else (None, None)
    )


async def test_an_engine_that_ends(virtual_clock, connect, engine, bridge):
    """What comes while the engine ends is the server's fault: it may be sent again later."""
    client = connect()
    bridge.expect_nobody()
    await engine.drain()
    error = await client.ask("message", **MESSAGE)
    assert (error["fault"], error["id"]) == ("server", "m1")


async def test_a_failure_of_ours(virtual_clock, connect, engine, bridge, capsys):
    """A failure that nobody thought of ends no connection, and its text goes to nobody."""
    client = connect()
    # Closed behind its back: what a bug of ours may look like from here.
    await engine._context.store._close()
    error = await client.ask("groups")
    assert error["fault"] == "server"
    assert error["problem"] == "internal error: ClosedResourceError"
    assert "request failed" in capsys.readouterr().err


async def test_blank_lines(virtual_clock, connect):
    """A blank line says nothing, and is answered by nothing."""
    client = connect()
    await client.send(b"\n\n")
    assert (await client.ask("groups"))["type"] == "groups"


async def test_a_client_that_only_asks(virtual_clock, connect):
    """One that closes its sending side reads the answers to what it said, and then the end."""
    client = connect()
    await client.send(b'{"type": "groups"}\n{"type": "groups", "ref": "2"}')
    await client.stream.send_stream.aclose()
    assert await client.hear() == {"type": "groups", "groups": []}
    assert (await client.hear())["ref"] == "2"
    assert await client.hear() is None


@pytest.fixture
def faulty(bridge, engine):
    """Attend to a client whose connection fails in this way."""

    async def attend_it(error):
        ours, _ = trio.testing.memory_stream_pair()

        def fail():
            raise error

        ours.receive_stream.receive_some_hook = fail
        await attend(ours, bridge=bridge, engine=engine, trigger="@Andy")

    return attend_it


async def test_a_connection_that_is_reset(virtual_clock, faulty, capsys):
    """A connection that breaks is nothing to speak of."""
    await faulty(trio.BrokenResourceError())
    assert "connection failed" not in capsys.readouterr().err


async def test_a_connection_that_fails_otherwise(virtual_clock, faulty, capsys):
    """Whatever else comes of one connection is logged, and ends no other."""
    await faulty(OSError("no buffers"))
    assert "connection failed" in capsys.readouterr().err


async def test_words_for_nobody(virtual_clock, delivery):
    """What is said to a client that is gone already is said to nobody, and nobody waits."""
    ours, theirs = trio.testing.memory_stream_pair()
    connection = Connection(ours)
    await theirs.aclose()
    connection.mention({"type": "typing"})
    await connection.write()
    connection.mention({"type": "typing"})
    await connection.say({"type": "notice"})
    connection.close()
    await connection.say({"type": "notice"})


def test_the_engine_has_what_bridges_ask():
    """What the bridges ask of the engine, it can be asked."""
    asked = {name for name in vars(Front) if not name.startswith("_")}
    assert asked
    assert all(callable(getattr(Engine, name)) for name in asked)


class TestDeliveries:
    async def test_not_before_it_is_said(self, virtual_clock, connect, bridge, delivery):
        """A delivery is taken as delivered when the client says so, and not when it was sent."""
        client = connect()
        await client.ask("subscribe")
        done = trio.Event()

        async def deliver():
            await bridge.deliver(delivery())
            done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(deliver)
            record = await client.hear()
            await trio.sleep(3600)
            assert not done.is_set()
            await client.say("delivered", id=record["id"])
            await done.wait()

    async def test_what_is_told(self, virtual_clock, connect, bridge, delivery, nursery):
        """All that a delivery has is told, whether it has it or not."""
        client = connect()
        await client.ask("subscribe")
        nursery.start_soon(bridge.deliver, delivery())
        assert await client.hear() == {
            "type": "delivery",
            "id": "d1",
            "kind": "answer",
            "chatJid": "tg:1",
            "groupFolder": "family",
            "text": "Hello",
            "sender": None,
            "inReplyTo": [],
            "taskId": None,
            "messages": [],
            "createdAt": "2026-02-01T15:30:00.000Z",
        }
        await client.say("delivered", id="d1")

    async def test_a_failure(self, virtual_clock, connect, bridge, delivery, nursery):
        """What was given up comes with the messages themselves."""
        client = connect()
        await client.ask("subscribe")
        lost = ChatMessage(
            chat_jid="tg:1", id="m1", sender="s", sender_name="S", text="Hi", timestamp=MOMENT
        )
        nursery.start_soon(bridge.deliver, delivery(kind=DeliveryKind.FAILURE, messages=(lost,)))
        record = await client.hear()
        assert (record["kind"], record["messages"]) == (
            "failure",
            [
                {
                    "chatJid": "tg:1",
                    "id": "m1",
                    "sender": "s",
                    "senderName": "S",
                    "text": "Hi",
                    "timestamp": "2026-02-01T15:30:00.000Z",
                }
            ],
        )
        await client.say("delivered", id="d1")

    async def test_undeliverable(self, virtual_clock, connect, bridge, delivery):
        """What the client says will never go is not tried again."""
        client = connect()
        await client.ask("subscribe")

        async def refuse():
            record = await client.hear()
            await client.say("undeliverable", id=record["id"], why="the chat is gone")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuse)
            with pytest.raises(Undeliverable, match="the chat is gone"):
                await bridge.deliver(delivery())

    async def test_without_a_subscriber(self, virtual_clock, connect, bridge, delivery, nursery):
        """A delivery waits until somebody subscribes; who only asks isn't given any."""
        asker = connect()
        nursery.start_soon(bridge.deliver, delivery())
        await trio.sleep(3600)
        assert (await asker.ask("groups"))["type"] == "groups"
        client = connect()
        await client.ask("subscribe")
        assert (await client.hear())["id"] == "d1"
        await client.say("delivered", id="d1")

    async def test_a_connection_that_breaks(
        self, virtual_clock, connect, bridge, delivery, nursery
    ):
        """What a client had in its hands when it broke off is given to the next subscriber."""
        first, second = connect(), connect()
        await first.ask("subscribe")
        await second.ask("subscribe")
        nursery.start_soon(bridge.deliver, delivery())
        assert (await first.hear())["id"] == "d1"
        await first.stream.aclose()
        assert (await second.hear())["id"] == "d1"
        await second.say("delivered", id="d1")

    async def test_a_subscriber_that_comes_later(
        self, virtual_clock, connect, bridge, delivery, nursery
    ):
        """The same, where the next one has yet to come; the id is the same, too."""
        first = connect()
        await first.ask("subscribe")
        nursery.start_soon(bridge.deliver, delivery())
        assert (await first.hear())["id"] == "d1"
        await first.stream.aclose()
        await trio.sleep(60)
        second = connect()
        await second.ask("subscribe")
        assert (await second.hear())["id"] == "d1"
        await second.say("delivered", id="d1")

    async def test_one_that_is_cut_off(self, virtual_clock, connect, bridge, delivery):
        """A delivery that is given up by the engine isn't in the client's hands any more."""
        client = connect()
        await client.ask("subscribe")
        with trio.move_on_after(1):
            await bridge.deliver(delivery())
        assert (await client.hear())["id"] == "d1"
        error = await client.ask("delivered", id="d1")
        assert "isn't in this connection's hands" in error["problem"]

    async def test_the_first_subscriber_has_them(
        self, virtual_clock, connect, bridge, delivery, nursery
    ):
        """Of several subscribers the first takes deliveries; typing and notices go to all."""
        first, second = connect(), connect()
        for client in (first, second, second):
            await client.ask("subscribe")
        nursery.start_soon(bridge.deliver, delivery())
        assert (await first.hear())["type"] == "delivery"
        await bridge.set_typing("tg:1", is_typing=False)
        for client in (first, second):
            assert await client.hear() == {"type": "typing", "chatJid": "tg:1", "isTyping": False}
        await first.say("delivered", id="d1")

    async def test_many_at_once(self, virtual_clock, connect, bridge, delivery):
        """Deliveries to many chats are in a client's hands at once, and are settled in any order."""
        client = connect()
        await client.ask("subscribe")
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(bridge.deliver, delivery(f"d{number}"))
            ids = {(await client.hear())["id"] for _ in range(100)}
            assert len(ids) == 100
            for each in sorted(ids):
                await client.say("delivered", id=each)

    async def test_the_end_without_a_subscriber(self, virtual_clock, bridge, delivery):
        """Once the server ends, a delivery that nobody is there for fails, and is kept."""
        async with trio.open_nursery() as nursery:

            async def deliver():
                with pytest.raises(NoSubscriber, match="no client has subscribed"):
                    await bridge.deliver(delivery())

            nursery.start_soon(deliver)
            await trio.sleep(1)
            bridge.expect_nobody()
        with pytest.raises(NoSubscriber):
            await bridge.deliver(delivery())


class TestMentions:
    async def test_a_notice(self, virtual_clock, connect, bridge):
        """The operator's notices go to those who have subscribed."""
        client = connect()
        await client.ask("subscribe")
        await bridge.notice(Notice(kind=NoticeKind.RUNTIME_DOWN, text="docker is down"))
        assert await client.hear() == {
            "type": "notice",
            "kind": "runtime_down",
            "text": "docker is down",
        }

    async def test_a_group_that_an_agent_registered(
        self, virtual_clock, connect, bridge, registration
    ):
        """So does the registration of a chat by an agent."""
        client = connect()
        await client.ask("subscribe")
        await bridge.group_registered(registration())
        record = await client.hear()
        assert (record["type"], record["group"]["jid"]) == ("group_registered", "tg:1")

    async def test_nobody_waits_for_a_client_that_does_not_read(
        self, virtual_clock, bridge, engine, nursery
    ):
        """What isn't worth waiting for is dropped where a client doesn't read; the engine goes on."""
        ours, theirs = trio.testing.lockstep_stream_pair()
        serve = partial(attend, bridge=bridge, engine=engine, trigger="@Andy")
        nursery.start_soon(serve, ours)
        await theirs.send_all(b'{"type": "subscribe"}\n')
        for number in range(10 * BACKLOG):
            await bridge.set_typing(f"tg:{number}", is_typing=True)
        heard = b""
        while heard.count(b"\n") < BACKLOG // 2:
            heard += bytes(await theirs.receive_some())
        assert heard.startswith(b'{"type":"subscribed"}\n')
        await theirs.aclose()


async def test_a_client_that_reads_nothing(virtual_clock, bridge, engine):
    """One that has said all and reads nothing isn't waited for longer than its bound."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:

        async def say():
            await theirs.send_all(b'{"type": "groups"}\n')
            await theirs.send_stream.aclose()

        nursery.start_soon(say)
        await attend(ours, bridge=bridge, engine=engine, trigger="@Andy")
    assert trio.current_time() == LAST_WORDS_BOUND


async def test_a_slow_client_slows_itself(virtual_clock, bridge, engine, connect):
    """While one client doesn't read its answers, the others are answered."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(attend, ours, bridge=bridge, engine=engine, trigger="@Andy"))

        async def flood():
            await theirs.send_all(b'{"type": "groups"}\n' * (10 * BACKLOG))

        nursery.start_soon(flood)
        await trio.sleep(60)
        quick = connect()
        assert (await quick.ask("groups"))["type"] == "groups"
        nursery.cancel_scope.cancel()
