"""An engine above a `docker` in which seeds choose what goes wrong: real processes, and a clock that
is faster than the real one, so that no back-off takes long.

`NANOCLAW_FAULTS=START:COUNT` plays those seeds, and a plan's own text in it that plan. Which group's
call comes first is the system's, so a plan may show something in one of several tries only.
"""

from __future__ import annotations

import gc
import os
from collections import defaultdict

import pytest
import trio
import trio.testing
from attrs import define, field

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.chat.bridge import Bridge
from nanoclaw_trio.engine.journal.invariants import describe, examine_journal
from nanoclaw_trio.engine.journal.journal import read_journal
from nanoclaw_trio.engine.open_engine import open_engine
from nanoclaw_trio.protocol.models import RegisteredGroup
from nanoclaw_trio.runtimes.docker import DockerRuntime
from nanoclaw_trio.settings import GracePeriods, Settings
from nanoclaw_trio.store.models import ChatMessage, Registration
from nanoclaw_trio.testing.docker_stand_in import (
    Scenario,
    kill_containers,
    known_containers,
    living_containers,
    write_docker_stand_in,
)
from nanoclaw_trio.testing.faults import read_plans, replayable

TEST = "tests/unit/engine/test_faulty_docker.py::test_an_engine_whose_docker_fails_as_seeds_say"

SEEDS = range(3)
"""Those that are played each time."""

PLANS = read_plans(os.environ.get("NANOCLAW_FAULTS"), default=SEEDS)

AT_ONCE = 3
"""Worlds that are played at a time."""

RATE = 20.0
"""Seconds on the clock in one real second."""

GRACE = GracePeriods(
    start=60.0, close=1.0, stop=1.0, command=20.0, settle=5.0, drain=10.0, log=100.0, conclude=200.0
)
"""Of the clock's seconds, for commands that take a twentieth of a real one, or never end."""

GUARD = 20_000.0
"""Of the clock's seconds; it guards against a hang and measures nothing."""

FOLDERS = ("a", "b", "c")

FAULTY_FOR = 60.0

AGENT = """
import json, sys
print("---NANOCLAW_OUTPUT_START---")
print(json.dumps({"status": "success", "result": json.load(sys.stdin)["prompt"]}))
print("---NANOCLAW_OUTPUT_END---", flush=True)
"""
"""An agent that answers what it was asked, and ends."""


@define
class Platform(Bridge):
    """What was said, by chat; notices are remembered by nobody."""

    settled: dict = field(factory=lambda: defaultdict(list))

    async def deliver(self, delivery):
        await trio.lowlevel.checkpoint()
        self.settled[delivery.chat_jid] += delivery.in_reply_to


async def play(plan, directory):
    """Talk to groups while docker fails, then to all once more; all must be well in the end."""
    docker, platform = directory / "docker", Platform()
    scenario = Scenario(agent=("/usr/bin/env", "python3", "-ISc", AGENT), faults=plan.faults)
    program = write_docker_stand_in(docker, scenario)
    settings = Settings(
        project_root=directory,
        allowlist_path=directory / "allowlist.json",
        timezone="UTC",
        container_timeout=60.0,
        idle_timeout=None,
        grace=GRACE,
    )
    runtime = DockerRuntime(settings, executable=str(program))
    sent = defaultdict(list)
    try:
        with trio.fail_after(GUARD):
            async with open_engine(settings, runtime=runtime, bridge=platform) as engine:
                await register(engine)
                for number in range(3):
                    await say(engine, sent, number)
                    await trio.sleep(FAULTY_FOR / 3)
                write_docker_stand_in(docker, Scenario(agent=scenario.agent))
                await say(engine, sent, "last")
                await until_settled(platform, sent)
        assert platform.settled == sent
        assert (known_containers(docker), living_containers(docker)) == ((), ())
    finally:
        kill_containers(docker)
    examination = examine_journal(read_journal(directory / "data" / "journal.jsonl"))
    assert not examination.violations, describe(examination.violations)


async def register(engine):
    for folder in FOLDERS:
        group = RegisteredGroup(name=folder, folder=folder, requires_trigger=False)
        await engine.register_group(Registration(jid=f"{folder}@chat", group=group))


async def say(engine, sent, number):
    """Say something in each chat."""
    for folder in FOLDERS:
        message = ChatMessage(
            chat_jid=f"{folder}@chat",
            id=f"m{number}",
            sender="ada@chat",
            sender_name="Ada",
            text="hello",
            timestamp=utc_now(),
        )
        await engine.send_message(message)
        sent[message.chat_jid].append(message.id)


async def until_settled(platform, sent):
    """Until each message was answered or told as failed."""

    def is_settled():
        return all(len(platform.settled[jid]) >= len(ids) for jid, ids in sent.items())

    while not is_settled():  # noqa: ASYNC110 - of many things
        await trio.sleep(1)


async def play_all(directory):
    """All plans, some at a time: most of their time they wait."""
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def play_one(number, plan):
        place = directory / str(number)
        place.mkdir()
        async with limiter:
            with replayable(plan, TEST):
                await play(plan, place)

    async with trio.open_nursery() as nursery:
        for number, plan in enumerate(PLANS):
            nursery.start_soon(play_one, number, plan)


# On a clock that is twenty times as quick, a client that was killed may need longer than its bound to
# be gone, and is then let go of.
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_an_engine_whose_docker_fails_as_seeds_say(tmp_path):
    """Trap A23. Whatever goes wrong with docker's commands for a while: each message is answered
    once or told as failed, in order, and no container is left."""
    trio.run(play_all, tmp_path, clock=trio.testing.MockClock(rate=RATE))
    # What was let go of is warned of here, and not in some other test.
    gc.collect()
