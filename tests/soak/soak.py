"""One engine, many agents, mishaps of all kinds, for as long as you like: does anything grow?

    python tests/soak/soak.py --minutes 60 --agents 50 --seed 1

It runs two worlds side by side, each in a process of its own: in one the agents are functions on the
fake runtime, in the other they are processes with pipes. People talk in more chats than there are
places for agents; agents crash, hang, flood, answer garbage, run out of memory and are killed; the
runtime, the chat platform and the disk fail, seldom all the time and wholly now and then.

Every ten seconds it takes a sample, and each minute it prints one. At the end everybody behaves, and
what is open is waited for. It fails (exit status 1) if

- a quantity grew (see growth.py for the rule, samples.py for what is allowed),
- a message was not answered or told as failed exactly once,
- the journal shows a broken promise, or anything open,
- a task, thread, descriptor, child or process is left when the engine is.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

import structlog
import trio
import trio.testing
from attrs import frozen
from growth import judge
from people import Ledger, Mishaps, People, Platform
from samples import ALLOWANCES, TABLES, count_places, leftovers, process, take
from worlds import WORLDS

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.journal.invariants import describe, examine_journal
from nanoclaw_trio.engine.journal.journal import read_journal
from nanoclaw_trio.engine.open_engine import open_engine
from nanoclaw_trio.engine.recovery import REMEMBERED, forget_old
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.protocol.models import RegisteredGroup
from nanoclaw_trio.settings import GracePeriods, Settings
from nanoclaw_trio.store.database import StoreFailed, open_store
from nanoclaw_trio.store.models import Registration
from nanoclaw_trio.testing.clock import VirtualClock

KIB = 1024

FORGOTTEN_AFTER = 120.0
"""Seconds after which the store forgets what is done, instead of thirty days: so that it doesn't
grow in an hour, and so that what never can be forgotten shows."""

ALLOCATOR = {"MALLOC_ARENA_MAX": "1"}
"""What the GNU C library is told: otherwise it keeps up to eight heaps for each processor, each as
large as what any thread had in there at a time, and their filling up takes an hour and looks like a
leak. Others ignore it."""

FEWEST_SAMPLES = 24
"""Below that nothing is said of growth."""

GRACE = GracePeriods(start=10, close=1, stop=2, command=2, settle=1, drain=2, log=5, conclude=10)


@frozen(kw_only=True)
class Plan:
    """What is to be done.

    Attributes:
        world: Which.
        seconds: How long people talk.
        settle: Seconds for what is open after that.
        agents: How many containers there are at a time.
        pause: Seconds between two conversations of a group.
        interval: Seconds between two samples.
        seed: Of all that is drawn.
        is_virtual: Whether time jumps.
    """

    world: str
    seconds: float
    settle: float
    agents: int
    pause: float
    interval: float
    seed: int
    is_virtual: bool

    @property
    def folders(self):
        """More groups than agents: some wait in line."""
        return [f"group{number:03}" for number in range(self.agents * 6 // 5)]

    def settings(self, project):
        return Settings(
            project_root=project,
            allowlist_path=project.with_name("allowlist.json"),
            max_concurrent_containers=self.agents,
            container_timeout=20.0,
            idle_timeout=15.0,
            startup_timeout=10.0,
            max_lifetime=90.0,
            max_frame_bytes=1024 * KIB,
            max_output_bytes=256 * KIB,
            log_keep_files=5,
            log_keep_bytes=1024 * KIB,
            grace=GRACE,
        )


class Soak:
    """A soak under way, and what it has seen.

    Attributes:
        samples: Every sample.
        problems: What is wrong, one line each.
    """

    def __init__(self, plan, project):
        self.plan = plan
        self.project = project
        self.random = Random(plan.seed)  # noqa: S311 - no secret
        self.ledger = Ledger()
        self.samples = []
        self.problems = []
        self.logged = Counter()
        self.platform = Platform(self.random, self.ledger)

    # The course of it

    async def run(self):
        structlog.configure(processors=[self._count_log], cache_logger_on_first_use=False)
        # The clock's own task is there only then.
        await trio.testing.wait_all_tasks_blocked()
        tasks = trio.lowlevel.current_statistics().tasks_living
        async with WORLDS[self.plan.world](self.project, self.random) as world:
            await self._serve(world)
        await trio.testing.wait_all_tasks_blocked()
        left = trio.lowlevel.current_statistics().tasks_living - tasks
        if left:
            self.problems.append(f"{left} tasks are left")
        await self._examine()

    async def _serve(self, world):
        async with open_engine(
            self.plan.settings(self.project),
            runtime=world.runtime,
            bridge=self.platform,
            drain_timeout=120,
            reap_interval=60,
        ) as engine:
            for folder in self.plan.folders:
                await engine.register_group(registration(folder))
            await self._make_tasks(engine)
            await self._live(engine, world)
            world.calm()
            for task in await engine.tasks.list():
                await engine.tasks.cancel(task.id)
            await self._settle()
            print(f"counted: {engine.statistics().counters}", flush=True)

    async def _make_tasks(self, engine):
        for number, folder in enumerate(self.plan.folders[::3]):
            interval = str(20_000 + 1000 * number)
            kind, value = ("interval", interval) if number % 3 else ("cron", "* * * * *")
            await engine.tasks.schedule(
                folder, f"task {number} !slow", schedule_type=kind, schedule_value=value
            )

    async def _live(self, engine, world):
        random, plan = self.random, self.plan
        people = People(engine, random, self.ledger, self.platform, pause=plan.pause)
        mishaps = Mishaps(
            engine,
            world.runtime,
            self.platform,
            random,
            scale=min(90.0, plan.seconds / 4),
            end=world.end,
        )
        async with trio.open_nursery() as nursery:
            for folder in plan.folders:
                nursery.start_soon(people.talk, folder)
            nursery.start_soon(mishaps.suffer)
            nursery.start_soon(mishaps.end_one_by_one)
            nursery.start_soon(self._sample, engine, world)
            await trio.sleep(plan.seconds)
            nursery.cancel_scope.cancel()

    async def _settle(self):
        with trio.move_on_after(self.plan.settle):
            while self.ledger.outstanding:  # noqa: ASYNC110 - of minutes, half a second is nothing
                await trio.sleep(0.5)

    # What is seen

    async def _sample(self, engine, world):
        start = trio.current_time()
        print(header(), flush=True)
        for number in range(1, 1_000_000):
            await trio.sleep_until(start + number * self.plan.interval)
            world.tidy()
            values, rows = await self._take(engine._context.store)
            self.samples.append(values)
            if number % max(1, round(60 / self.plan.interval)) == 0:
                self._print_row(trio.current_time() - start, values, rows)

    async def _take(self, store):
        while True:
            try:
                await store.transact(forget_old, utc_now() + REMEMBERED - FORGOTTEN_AFTER * SECOND)
                return await take(self.project, store, self.ledger.outstanding)
            except StoreFailed:
                # The disk is full just now.
                await trio.sleep(0.5)

    def _print_row(self, seconds, values, rows):
        cells = [f"{seconds / 60:.1f}", len(self.ledger.fates), self.ledger.failed]
        cells += [values[name] for name in ALLOWANCES]
        cells.append(" ".join(f"{table}={rows[table]}" for table in TABLES))
        print(f"| {' | '.join(map(str, cells))} |", flush=True)

    def _count_log(self, _, level, event):
        self.logged[level, event["event"]] += 1
        raise structlog.DropEvent

    # What is said of it

    async def _examine(self):
        async with open_store(self.project) as store:
            kept = await store.transact(unanswered)
        missing = {f"m{number}" for number in self.ledger.missing}
        if missing != kept:
            lost, again = sorted(missing - kept), sorted(kept - missing)
            self.problems.append(f"lost: {lost}; kept though answered: {again}")
        if kept and self.plan.settle:
            self.problems.append(f"unanswered after {self.plan.settle:g} s: {sorted(kept)}")
        if self.ledger.doubled:
            self.problems.append(f"answered more than once: {self.ledger.doubled}")
        path = self.project / "data" / "journal.jsonl"
        examination = await in_thread(lambda: examine_journal(read_journal(path)))
        self.problems += describe(examination.violations).splitlines()
        if not kept:
            self.problems += [f"open in the journal: {item}" for item in examination.open_items]
        print(f"journal: {examination.entries} entries", flush=True)

    def judge(self):
        """The verdicts, printed; what grew is a problem."""
        if len(self.samples) < FEWEST_SAMPLES:
            return
        print("| quantity | second quarter | last quarter | rise by slope | allowed | |")
        print("| --- | --- | --- | --- | --- | --- |")
        for name, allowance in ALLOWANCES.items():
            verdict = judge([sample[name] for sample in self.samples], allowance)
            word = "GROWS" if verdict.grew else "flat"
            figures = (verdict.second, verdict.last, verdict.rise, verdict.allowed)
            print(f"| {name} | {' | '.join(f'{figure:.0f}' for figure in figures)} | {word} |")
            if verdict.grew:
                self.problems.append(f"{name} grew from {verdict.second} to {verdict.last}")


SECOND = REMEMBERED / REMEMBERED.total_seconds()


def header():
    names = ["minute", "said", "failed", *ALLOWANCES, "tables"]
    return f"| {' | '.join(names)} |\n|{' --- |' * len(names)}"


def registration(folder):
    group = RegisteredGroup(name=folder.title(), folder=folder, requires_trigger=False)
    return Registration(jid=f"{folder}@chat", group=group)


def unanswered(tx):
    """The ids of the messages that wait, and of those whose answer waits for the bridge."""
    waiting = tx.rows("SELECT id FROM messages WHERE state IN ('waiting', 'asked')")
    unsaid = tx.rows("SELECT in_reply_to FROM deliveries WHERE state = 'pending'")
    return {row["id"] for row in waiting}.union(*(json.loads(row["in_reply_to"]) for row in unsaid))


def soak(plan):
    """Soak one world in this process; whether all is well."""
    with tempfile.TemporaryDirectory(prefix="nanoclaw-soak-") as directory:
        project = Path(directory, "project")
        project.mkdir()
        before = process()
        one = Soak(plan, project)
        clock = VirtualClock() if plan.is_virtual else None
        trio.run(one.run, clock=clock)
        one.judge()
        one.problems += left_over(before, directory)
        print(f"files: {dict(count_places(project))}")
    print(f"logged: {dict(one.logged.most_common())}")
    ledger = one.ledger
    print(f"{len(ledger.fates)} messages, {ledger.failed} of them told as failed")
    for problem in one.problems:
        print(f"PROBLEM: {problem}")
    print("all is well" if not one.problems else f"{len(one.problems)} problems", flush=True)
    return not one.problems


def left_over(before, mark):
    """What is there and wasn't before; idle worker threads and orphans get their time to end."""
    for _ in range(200):
        gc.collect()
        after = process()
        left = leftovers(mark)
        if all(after[name] <= before[name] for name in before) and not left:
            return []
        time.sleep(0.1)
    return [f"left: {after} of {before}, processes {left}"]


def soak_all(plans, arguments):
    """Each world in a process of its own; whether all is well in all of them."""
    command = [sys.executable, __file__, *arguments]
    environment = {**os.environ, **ALLOCATOR}
    worlds = [
        subprocess.Popen([*command, "--world", plan.world], env=environment) for plan in plans
    ]
    statuses = [world.wait() for world in worlds]
    return not any(statuses)


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="how long people talk")
    parser.add_argument("--settle", type=float, default=15.0, help="minutes for what is open then")
    parser.add_argument("--agents", type=int, default=50, help="containers at a time")
    parser.add_argument("--pause", type=float, default=15.0, help="seconds between conversations")
    parser.add_argument("--interval", type=float, default=10.0, help="seconds between samples")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--world", choices=WORLDS, action="append", help="only this one")
    parser.add_argument("--virtual", action="store_true", help="let time jump in the fake world")
    return parser.parse_args(arguments)


def main(arguments):
    """Soak, and say by the exit status whether all is well."""
    chosen = parse(arguments)
    plans = [
        Plan(
            world=world,
            seconds=60 * chosen.minutes,
            settle=60 * chosen.settle,
            agents=chosen.agents,
            pause=chosen.pause,
            interval=chosen.interval,
            seed=chosen.seed,
            is_virtual=chosen.virtual and world == "fake",
        )
        for world in chosen.world or WORLDS
    ]
    return soak(plans[0]) if len(plans) == 1 else soak_all(plans, arguments)


if __name__ == "__main__":
    sys.exit(not main(sys.argv[1:]))
