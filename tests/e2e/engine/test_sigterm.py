"""An orderly end by a signal: nothing is left when the process ends, and nothing is lost."""

from __future__ import annotations

import signal

import pytest
import trio

GUARD = 120
"""Seconds; it guards against a hang and measures nothing."""

CHATS = {"a@chat": "a", "b@chat": "b"}


@pytest.fixture
async def busy_site(site):
    """A project with two groups, whose agents work until they are let go on."""
    site.use_worker()
    for jid, folder in CHATS.items():
        await site.add_group(jid, folder)
    return site


async def check_next_start(site, platform):
    """What was not answered is answered by the next one, and nothing twice."""
    site.let_go_on(*CHATS.values())
    async with site.serving() as host, platform.connected(site.socket):
        await platform.until(lambda: platform.is_answered)
        host.send(signal.SIGTERM)
        assert await host.end() == 143
    platform.check()
    await site.check_nothing_left()


async def check_journal(site):
    """Each container that was started was seen gone; what is under way are the messages."""
    findings = await site.journal_findings()
    assert {(each["type"], each["rule"]) for each in findings} <= {("open", "message-settled-once")}
    started = {entry.fields["container"] for entry in site.journal("run_started")}
    ended = {
        entry.fields["container"]: entry.fields["gone"]
        for event in ("run_ended", "run_cut_off")
        for entry in site.journal(event)
    }
    assert ended == dict.fromkeys(started, True)


@pytest.mark.parametrize(
    ("runtime_name", "number"),
    [("docker", signal.SIGTERM), ("bubblewrap", signal.SIGINT)],
    indirect=["runtime_name"],
)
async def test_a_signal_while_agents_work(busy_site, platform, number):
    """The process ends with 128 and the signal's number; no container, process or socket is left
    then, the journal says so, and the next start answers."""
    site = busy_site
    with trio.fail_after(GUARD):
        async with site.serving() as host:
            async with platform.connected(site.socket):
                for chat in CHATS:
                    await platform.say(chat)
                await site.wait_for_work(*CHATS.values())
                host.send(number)
                assert await host.end() == 128 + number
            await site.check_nothing_left()
            assert host.own_words[1:] == [
                f"{number.name}: stopping all containers; once more: without a grace",
                f"stopped by {number.name}",
            ]
        await check_journal(site)
        assert platform.deliveries == {}
        await check_next_start(site, platform)


async def test_a_signal_amid_a_start(busy_site, platform):
    """A container whose start is under way is gone as well."""
    site = busy_site
    with trio.fail_after(GUARD):
        async with site.serving() as host, platform.connected(site.socket):
            for chat in CHATS:
                await platform.say(chat)
            # The client of the engine's was started, and there may be no container yet.
            await site.wait_for_journal("run_started")
            host.send(signal.SIGTERM)
            assert await host.end() == 143
        await site.check_nothing_left()
        await check_journal(site)
        await check_next_start(site, platform)


async def test_a_second_signal(busy_site, platform):
    """It kills agents that don't heed the first one, though they have an hour to."""
    site = busy_site
    site.environment["CONTAINER_STOP_GRACE"] = "3600000"
    with trio.fail_after(GUARD):
        async with site.serving() as host, platform.connected(site.socket):
            await platform.say("a@chat", "stubborn")
            await site.wait_for_work("a")
            host.send(signal.SIGTERM)
            await host.until_said("SIGTERM: stopping all containers")
            host.send(signal.SIGTERM)
            assert await host.end() == 143
        assert host.own_words[2:] == [
            "SIGTERM again: killing all containers",
            "stopped by SIGTERM",
        ]
        await site.check_nothing_left()
        await check_journal(site)
        await check_next_start(site, platform)
