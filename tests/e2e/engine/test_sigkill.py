"""SIGKILL of the engine's process, again and again: nothing is lost and nothing is doubled."""

from __future__ import annotations

import random
import shutil
import signal
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio

from nanoclaw_trio.store.models import TaskRunStatus

GUARD = 500
"""Seconds; it guards against a hang and measures nothing."""

SEED = 20260201

KILLS = 50

RUNNER = Path(__file__).parents[3] / "container/agent-runner/src"

CHATS = {"a@chat": "a", "b@chat": "b", "c@chat": "c"}


async def chatter(site, platform, host, chance):
    """Talk to a host: a message at once, and then follow-ups."""
    await host.ready.wait()
    try:
        async with platform.connected(site.socket):
            while True:
                await platform.say(chance.choice([*CHATS]))
                await trio.sleep(chance.uniform(0.02, 0.4))
    except OSError:
        # It was killed before it took the connection up.
        return


async def starting(host, platform, chance):
    """Wait for a moment of the engine's start."""
    await trio.sleep(chance.uniform(0, 0.6))


async def reaping(host, platform, chance):
    """Wait for a moment after it: orphans are stopped then, and containers started."""
    await host.ready.wait()
    await trio.sleep(chance.uniform(0, 1.2))


async def answering(host, platform, chance):
    """Wait for a moment after the first answer: others come then, and follow-ups go in."""
    heard = len(platform.deliveries)
    await platform.until(lambda: len(platform.deliveries) > heard)
    await trio.sleep(chance.uniform(0, 0.3))


MOMENTS = (starting, reaping, reaping, answering, answering)
"""When an engine is killed. By events, so that a slow machine kills none before it has begun."""


async def live_and_die(site, platform, chance):
    """One engine from its start to its SIGKILL."""
    moment = chance.choice(MOMENTS)
    async with (
        site.serving("--limit", "2", until_ready=False) as host,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(chatter, site, platform, host, chance)
        await moment(host, platform, chance)
        host.send(signal.SIGKILL)
        await host.end()
        nursery.cancel_scope.cancel()


def answers_by_container(platform, task_id):
    """How many answers of a task each of its containers gave."""
    ids = [each["id"] for each in platform.deliveries.values() if each["taskId"] == task_id]
    return Counter(id_.rpartition(":")[0] for id_ in ids)


async def check_occurrences(site, platform, task_id):
    """Each time that a task was due was completed by exactly one of its runs; the times."""
    answers = answers_by_container(platform, task_id)
    runs = defaultdict(list)
    for run in await site.task_runs(task_id):
        runs[run.scheduled_for].append(run)
        if run.status is TaskRunStatus.SUCCESS:
            assert answers[run.container] == 1
    given = {moment: [answers[run.container] for run in those] for moment, those in runs.items()}
    assert sum(answers.values()) == sum(map(sum, given.values()))
    *earlier, last = given
    assert {sum(given[moment]) for moment in earlier} <= {1}
    # The last one may be under way.
    assert sum(given[last]) <= 1
    return [moment for moment in given if sum(given[moment])]


def looks_for_orphans(site):
    """The last engine's looks for orphans: at its start, and some seconds later for what docker was
    just making then."""
    last = site.journal("engine_started")[-1].engine
    return [entry for entry in site.journal("orphans_reaped") if entry.engine == last]


def in_seconds(seconds):
    """A local time, as a task that runs once has it."""
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def use_runner_without_lease(site, folder):
    """Give a group an agent-runner that takes no lease: its containers outlive their host."""
    copy = site.root / "data/sessions" / folder / "agent-runner-src"
    shutil.copytree(RUNNER, copy, ignore=shutil.ignore_patterns("__pycache__"))
    module = copy / "nanoclaw_agent/lease.py"
    package = module.with_suffix("")
    package.mkdir()
    module.rename(package / "__init__.py")


async def test_fifty_kills(docker_site, platform, wait_for):
    """After fifty SIGKILLs at random moments, amid messages, follow-ups and tasks, and a last
    start: no container is left, each message is answered once, and each task's time is once.
    Two groups' containers outlive their host, the third's end with it."""
    site, chance = docker_site, random.Random(SEED)  # noqa: S311 - nothing is secret here
    print(f"seed {SEED}")
    with trio.fail_after(GUARD):
        for jid, folder in CHATS.items():
            await site.add_group(jid, folder)
        for folder in ("a", "c"):
            use_runner_without_lease(site, folder)
        often = await site.add_task("c", "Look around", "interval", "3000")
        once = await site.add_task("b", "Wake me", "once", in_seconds(10))
        started = trio.current_time()
        for _ in range(KILLS):
            await live_and_die(site, platform, chance)
        print(f"{trio.current_time() - started:.1f} s, {len(platform.deliveries)} deliveries")
        async with site.serving("--limit", "3") as host, platform.connected(site.socket):
            await platform.until(lambda: platform.is_answered)
            await platform.until(lambda: platform.has_answers_of({often, once}))
            await wait_for(lambda: len(looks_for_orphans(site)) == 2)
            host.send(signal.SIGTERM)
            assert await host.end() == 128 + signal.SIGTERM
        print(f"{trio.current_time() - started:.1f} s, {platform.repeats} repeats")
        await site.check_nothing_left()
        assert [*site.root.glob("data/ipc/*/input/*.json")] == []
        platform.check()
        assert await check_occurrences(site, platform, often)
        assert len(await check_occurrences(site, platform, once)) == 1
        findings = await site.journal_findings()
        assert [each for each in findings if each["type"] == "violation"] == []
        # It was worth the while.
        assert any(entry.fields["containers"] for entry in site.journal("orphans_reaped"))


SLOW_CLIENT = """#!/bin/sh
if [ "$1" = run ] && mv "{hold}" "{held}" 2>/dev/null; then
    while [ -e "{held}" ]; do sleep 0.02; done
fi
exec {docker} "$@"
"""
"""A client of docker's that waits with its first container, for as long as a file is there."""


async def test_a_start_under_way(docker_site, platform, tmp_path, wait_for):
    """A container whose client was started before its host's SIGKILL, and that isn't there yet when
    the next engine looks for orphans, doesn't come after all."""
    site = docker_site
    hold, held, client = tmp_path / "hold", tmp_path / "held", tmp_path / "bin" / "docker"
    client.parent.mkdir()
    client.write_text(SLOW_CLIENT.format(hold=hold, held=held, docker=shutil.which("docker")))
    client.chmod(0o755)
    hold.touch()
    site.environment["PATH"] = f"{client.parent}:{site.environment['PATH']}"
    with trio.fail_after(GUARD):
        await site.add_group("a@chat", "a")
        async with site.serving() as host, platform.connected(site.socket):
            await platform.say("a@chat")
            await wait_for(held.exists)
            # A line of the journal reaches the disk on its own time.
            await site.wait_for_journal("run_started")
            host.send(signal.SIGKILL)
            await host.end()
        (started,) = (entry.fields["container"] for entry in site.journal("run_started"))
        async with site.serving() as host, platform.connected(site.socket):
            await platform.until(lambda: platform.is_answered)
            await wait_for(lambda: not any(started in line for line in site.processes()))
            held.unlink()
            host.send(signal.SIGTERM)
            assert await host.end() == 128 + signal.SIGTERM
        await site.check_nothing_left()
        platform.check()
