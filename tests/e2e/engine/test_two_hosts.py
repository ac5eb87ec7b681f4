"""Two processes that want the same: a project, or a group of it."""

from __future__ import annotations

import signal
import subprocess
from functools import partial

import trio

GUARD = 120
"""Seconds; it guards against a hang and measures nothing."""


async def test_the_second_engine_on_a_project(bubblewrap_site, platform):
    """It says who has the project, and exits with status 4; the first is not disturbed. Once that
    one was killed, the next one starts."""
    site = bubblewrap_site
    with trio.fail_after(GUARD):
        await site.add_group("a@chat", "a")
        async with site.serving() as first, platform.connected(site.socket):
            async with site.serving() as second:
                assert await second.end() == 4
            (said,) = second.own_words
            assert f"process {first.pid}" in said
            await platform.say("a@chat")
            await platform.until(lambda: platform.is_answered)
            first.send(signal.SIGKILL)
            await first.end()
        async with site.serving() as third, platform.connected(site.socket):
            await platform.say("a@chat")
            await platform.until(lambda: platform.is_answered)
            third.send(signal.SIGTERM)
            assert await third.end() == 143
        platform.check()
        await site.check_nothing_left()


async def test_a_chat_has_the_group(bubblewrap_site, platform):
    """The engine lets a person's `chat` end, however long that takes, and answers after it."""
    site = bubblewrap_site
    with trio.fail_after(GUARD):
        await site.add_group("a@chat", "a")
        async with trio.open_nursery() as nursery:
            options = ("--runtime", site.runtime_name, *site.options, "--group", "a")
            chat = await nursery.start(
                partial(
                    trio.run_process,
                    site.argv("chat", *options, "Hello"),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=site.environment,
                )
            )
            assert await chat.stdout.receive_some() == b"echo: Hello\n"
            async with site.serving() as host, platform.connected(site.socket):
                await platform.say("a@chat")
                await site.wait_for_journal("message_put_back")
                assert not platform.deliveries
                await chat.stdin.aclose()
                await platform.until(lambda: platform.is_answered)
                await site.wait_until_told(platform)
                host.send(signal.SIGTERM)
                assert await host.end() == 143
        platform.check()
        await site.check_nothing_left()
        assert await site.journal_findings() == []
