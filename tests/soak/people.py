"""The world around the engine: a platform that counts, people who talk, and mishaps."""

from __future__ import annotations

from functools import partial

import script
import trio

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.chat.bridge import Bridge, Undeliverable
from nanoclaw_trio.errors import RuntimeCommandFailed, RuntimeUnavailable, StartFailed
from nanoclaw_trio.store.database import StoreFailed
from nanoclaw_trio.store.models import ChatMessage, DeliveryKind

MOST_OPEN = 12
"""Messages of a group without an answer after which its people wait: the load stays the same."""


class Ledger:
    """How often each message was answered or told as failed, a byte for each."""

    def __init__(self):
        self.fates = bytearray()
        self.ended = 0
        self.failed = 0

    def new_message(self):
        self.fates.append(0)
        return len(self.fates) - 1

    def end(self, ids, *, failed):
        for id_ in ids:
            number = int(id_.removeprefix("m"))
            self.fates[number] += 1
            self.ended += 1
            self.failed += failed

    @property
    def outstanding(self):
        return self.fates.count(0)

    @property
    def doubled(self):
        return [number for number, fate in enumerate(self.fates) if fate > 1]

    @property
    def missing(self):
        return [number for number, fate in enumerate(self.fates) if fate == 0]


class Platform(Bridge):
    """Where answers go. It fails with `failing`, is slow now and then, and keeps nothing."""

    def __init__(self, random, ledger):
        self.failing = 0.0
        self.random = random
        self.ledger = ledger
        self.open = {}

    async def deliver(self, delivery):
        await trio.sleep(self.random.choice([0, 0, 0.05, 0.3]))
        if self.random.random() < self.failing:
            raise OSError("no connection")
        if delivery.kind is not DeliveryKind.MESSAGE and delivery.task_id is None:
            is_failure = delivery.kind is DeliveryKind.FAILURE
            self.ledger.end(delivery.in_reply_to, failed=is_failure)
            self.open[delivery.chat_jid] -= len(delivery.in_reply_to)
        if self.random.random() < self.failing / 50:
            raise Undeliverable("this chat is gone")

    async def set_typing(self, chat_jid, *, is_typing):
        await trio.lowlevel.checkpoint()
        if self.random.random() < self.failing:
            raise OSError("no connection")


class People:
    """Those who talk in the groups' chats."""

    def __init__(self, engine, random, ledger, platform, *, pause):
        """`pause`: seconds between two conversations of a group, in the mean."""
        self.engine = engine
        self.random = random
        self.ledger = ledger
        self.platform = platform
        self.pause = pause

    async def talk(self, folder):
        """One conversation after the other, until cancelled."""
        jid = f"{folder}@chat"
        self.platform.open[jid] = 0
        while True:
            await trio.sleep(self.random.expovariate(1 / self.pause))
            for _ in range(self.random.choice([1, 1, 1, 2, 4])):
                if self.platform.open[jid] < MOST_OPEN:
                    await self.say(jid)
                await trio.sleep(self.random.choice([0, 0, 0.5, 3]))
            if self.random.random() < 0.02:
                await self.engine.close_group(folder)

    async def say(self, jid):
        """As a bridge does: what the engine doesn't take is handed in again; some of it twice."""
        number = self.ledger.new_message()
        self.platform.open[jid] += 1
        message = ChatMessage(
            chat_jid=jid,
            id=f"m{number}",
            sender="ada@chat",
            sender_name="Ada",
            text=f"message {number} {script.chosen_word(self.random)}",
            timestamp=utc_now(),
        )
        # What the engine once had in its hands is its own, also when the people go.
        with trio.CancelScope(shield=True):
            for _ in range(1 + (self.random.random() < 0.05)):
                await self.hand_in(message)

    async def hand_in(self, message):
        while True:
            try:
                await self.engine.send_message(message)
            except StoreFailed:
                await trio.sleep(1)
            else:
                return


class Mishaps:
    """What goes wrong besides: rare failures all the time, and great ones now and then.

    `scale` is the seconds between two great ones, in the mean.
    """

    def __init__(self, engine, runtime, platform, random, *, scale, end):
        """`end` ends containers that it is given, from outside."""
        self.engine = engine
        self.runtime = runtime
        self.platform = platform
        self.random = random
        self.scale = scale
        self.end = end

    def fail_seldom(self):
        """Some calls of the runtime fail or hang, and some deliveries."""
        failures = {
            "start": (0.01, partial(StartFailed, "one", "no luck")),
            "stop": (0.02, partial(RuntimeCommandFailed, "stop", "failed")),
            "kill": (0.02, partial(RuntimeCommandFailed, "kill", "failed")),
            "inspect": (0.03, partial(RuntimeCommandFailed, "inspect", "answered garbage")),
            "list": (0.05, partial(RuntimeCommandFailed, "list", "failed")),
        }
        for method, (ratio, make) in failures.items():
            hangs = 0.01 if method in {"start", "stop"} else 0.0
            self.runtime.before[method] = partial(self._seldom, ratio, make, hangs)
        self.platform.failing = 0.01

    async def _seldom(self, ratio, make, hangs):
        chance = self.random.random()
        if chance < ratio:
            raise make()
        if chance < ratio + hangs:
            await trio.sleep_forever()

    def relent(self):
        """Nothing goes wrong any more."""
        self.runtime.before.clear()
        self.platform.failing = 0.0

    async def suffer(self):
        """One great mishap after the other, until cancelled; then all is well."""
        kinds = [self.lose_runtime, self.lose_connection, self.fill_disk, self.end_many]
        try:
            self.fail_seldom()
            while True:
                await trio.sleep(self.random.expovariate(1 / self.scale))
                await self.random.choice(kinds)()
        finally:
            self.relent()

    async def end_one_by_one(self):
        """Containers are killed from outside, until cancelled."""
        while True:
            await trio.sleep(self.random.expovariate(4 / self.scale))
            names = list(self.runtime.containers)
            if names:
                self.end([self.random.choice(names)])

    async def end_many(self):
        """Each third container is killed at once."""
        names = list(self.runtime.containers)
        self.end(self.random.sample(names, len(names) // 3))
        await trio.lowlevel.checkpoint()

    async def lose_runtime(self):
        """The runtime's daemon is restarted: what ran is killed, and nothing starts for a while."""

        async def refuse():
            raise RuntimeUnavailable("soak", "nobody answers", "wait")

        async def say_nothing():
            raise RuntimeCommandFailed("command", "failed: nobody answers")

        for method in ("check", "start"):
            self.runtime.before[method] = refuse
        for method in ("list", "stop", "kill", "remove", "inspect"):
            self.runtime.before[method] = say_nothing
        self.end(list(self.runtime.containers))
        await self._for_a_while()
        self.runtime.before.clear()
        self.fail_seldom()

    async def lose_connection(self):
        """The platform is out of reach, or answers with errors now and then."""
        self.platform.failing = self.random.choice([0.5, 1.0])
        await self._for_a_while()
        self.platform.failing = 0.01

    async def fill_disk(self):
        """The disk is full for some seconds."""
        await self._set_query_only("ON")
        try:
            await self._for_a_while()
        finally:
            with trio.CancelScope(shield=True):
                await self._set_query_only("OFF")

    async def _for_a_while(self):
        await trio.sleep(self.random.uniform(0.02, 0.1) * self.scale)

    async def _set_query_only(self, value):
        store = self.engine._context.store
        async with store._lock:
            store._database._connection.execute(f"PRAGMA query_only = {value}")
