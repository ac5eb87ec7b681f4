"""The engine with Claude's own agent in sandboxes, and an imitation of the Messages API."""

from __future__ import annotations

import importlib.util
import os
import signal
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import trio
from attrs import frozen

from nanoclaw_trio.testing.messages_api import Text, ToolUse, open_messages_api

GUARD = 120
"""Seconds; it guards against a hang and measures nothing."""

HOST_PACKAGES = ("claude_agent_sdk", "mcp", "watchfiles")
"""What bubblewrap needs of this Python for the agent: `pip install 'nanoclaw-trio[agent]'`."""

CHAT = "family@chat"

PAUSE = ToolUse("Bash", {"command": "sleep 0.1"})


@frozen
class Assistant:
    """A project whose agent is Claude, in the group `family`."""

    site: object
    platform: object

    @asynccontextmanager
    async def serving(self, model):
        """Serve the group, and a model to its agent."""
        with trio.fail_after(GUARD):
            async with open_messages_api(model) as api:
                variables = f"ANTHROPIC_BASE_URL={api.url}\nANTHROPIC_API_KEY=sk-canary-5e6a1c00\n"
                (self.site.root / ".env").write_text(variables)
                site, platform = self.site, self.platform
                async with site.serving() as host, platform.connected(site.socket):
                    yield api
                    host.send(signal.SIGTERM)
                    assert await host.end() == 143
            await self.site.check_nothing_left()

    async def answer_to(self, *ids):
        """Wait for the answer to these messages; its text."""
        await self.platform.until(lambda: {*ids} <= self.platform.answered.keys())
        (text,) = {
            delivery["text"]
            for delivery in self.platform.deliveries.values()
            if {*ids} & {*delivery["inReplyTo"]}
        }
        return text


@pytest.fixture
async def assistant(bubblewrap, make_site, platform):
    """A project whose agent is Claude."""
    missing = [name for name in HOST_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        why = f"this Python has no {', '.join(missing)}: install nanoclaw-trio[agent]"
        if os.environ.get("NANOCLAW_REQUIRE_AGENT") == "1":
            pytest.fail(f"NANOCLAW_REQUIRE_AGENT=1, but {why}")
        pytest.skip(why)
    site = make_site(bubblewrap, options=())
    await site.add_group(CHAT, "family")
    return Assistant(site, platform)


def use(tool, **arguments):
    """One of the chat tools."""
    return ToolUse(f"mcp__nanoclaw__{tool}", arguments)


async def test_chat_tools(assistant):
    """What the model says by `send_message` comes before its answer; what it schedules runs at its
    time, and is answered in the chat. After a new start the conversation goes on."""

    def model(request):
        if "Wake up" in request.prompt:
            return Text("Good morning.")
        if request.last_tool_result is None:
            return use("send_message", text="One moment…", sender="Clock")
        if "Wake up" in request.last_tool_result or len(request.tool_results) > 1:
            return Text("It is set.")
        # What is left of a second is cut off, and a moment that has passed is refused.
        moment = (datetime.now(UTC) + timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%S")
        return use(
            "schedule_task",
            prompt="Wake up",
            schedule_type="once",
            schedule_value=moment,
            context_mode="isolated",
        )

    platform = assistant.platform
    async with assistant.serving(model) as api:
        asked = await platform.say(CHAT, "Wake me")
        assert await assistant.answer_to(asked) == "It is set."
        await platform.until(lambda: len(platform.deliveries) == 3)
        scheduled = api.requests[-1]
    said = [
        (each["kind"], each["text"], each["sender"], each["inReplyTo"])
        for each in platform.deliveries.values()
    ]
    assert said == [
        ("message", "One moment…", "Clock", []),
        ("answer", "It is set.", None, [asked]),
        ("answer", "Good morning.", None, []),
    ]
    # In a conversation of its own.
    assert not any("Wake me" in text for text in scheduled.texts)

    async with assistant.serving(lambda request: Text("Still here.")) as api:
        again = await platform.say(CHAT, "Are you there?")
        assert await assistant.answer_to(again) == "Still here."
        first, second = api.requests[-1].texts
    assert ("Wake me" in first, "Are you there?" in second) == (True, True)
    assert platform.answered == {asked: 1, again: 1}


async def test_a_follow_up_in_the_middle_of_a_turn(assistant):
    """It joins the turn, whose one answer settles both messages; one after it gets its own."""

    def model(request):
        if "And now?" in request.prompt:
            return Text("Now this.")
        # It uses tools until it hears of the follow-up, however long that takes.
        brief = any("Be brief" in text for text in request.mid_turn_texts)
        return Text("Shortly, then.") if brief else PAUSE

    platform = assistant.platform
    async with assistant.serving(model) as api:
        first = await platform.say(CHAT, "Tell me")
        await api.wait_for_requests(2)
        second = await platform.say(CHAT, "Be brief")
        assert await assistant.answer_to(first, second) == "Shortly, then."
        third = await platform.say(CHAT, "And now?")
        assert await assistant.answer_to(third) == "Now this."
    in_reply_to = [delivery["inReplyTo"] for delivery in platform.deliveries.values()]
    assert in_reply_to == [[first, second], [third]]
    containers = {delivery["id"].rpartition(":")[0] for delivery in platform.deliveries.values()}
    assert len(containers) == 1
    assert await assistant.site.journal_findings() == []
