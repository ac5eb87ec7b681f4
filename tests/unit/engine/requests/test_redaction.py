"""What an agent asks of the host is kept and shown without the keys that it may quote."""

from __future__ import annotations

import pytest
import trio

from nanoclaw_trio.engine.requests.redaction import without_keys
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.mailbox.requests import (
    PauseTask,
    RefreshGroups,
    RegisterGroup,
    ScheduleTask,
    SendMessage,
    UpdateTask,
)
from nanoclaw_trio.workspace.secrets import REDACTED, Secrets

KEY = "sk-canary-4711"


def requests_with(text):
    """Requests with this in each text that an agent is free to choose."""
    schedule = {"schedule_type": "interval", "schedule_value": "60000", "target_jid": "home@chat"}
    return [
        SendMessage(chat_jid="home@chat", text=text, sender=text),
        ScheduleTask(prompt=text, task_id=text, **schedule),
        UpdateTask(prompt=text, task_id=text),
        PauseTask(task_id=text),
        RegisterGroup(jid="new@chat", name=text, folder="new", trigger=text),
    ]


@pytest.mark.parametrize(
    ("request_", "redacted"),
    list(zip(requests_with(f"a {KEY}."), requests_with(f"a {REDACTED}."), strict=True)),
)
def test_free_texts_are_redacted(request_, redacted):
    """A key is replaced in each of a request's texts, and the rest of it is left alone."""
    assert without_keys(request_, Secrets({"KEY": KEY})) == redacted


@pytest.mark.parametrize(
    "request_",
    [
        RefreshGroups(),
        SendMessage(chat_jid="home@chat", text="hi"),
        SendMessage(chat_jid="home@chat", text="hi", sender=""),
        UpdateTask(task_id="t1"),
    ],
)
def test_what_has_no_key_is_left_alone(request_):
    """What isn't said stays unsaid, and what has no key in it is as it was."""
    assert without_keys(request_, Secrets({"KEY": KEY})) == request_


async def put_key(world):
    dotenv = world.settings.project_root / ".env"
    await in_thread(dotenv.write_text, f"ANTHROPIC_API_KEY={KEY}\n")


async def test_a_key_in_a_message_does_not_reach_the_chat(virtual_clock, home):
    """What an agent says in the middle of its work is redacted as its answer is."""

    async def quote(turn):
        jid = turn.asked.request["chatJid"]
        message = {"type": "message", "chatJid": jid, "text": f"the key is {KEY}"}
        await turn.put("messages/1.json", message)
        await turn.answer(f"the key is {KEY}")
        await turn.update()

    await put_key(home)
    home.agent.script["!quote"] = quote
    await home.say("home", "!quote")
    await trio.sleep(20)
    assert [said.text for said in home.platform.said] == [f"the key is {REDACTED}"] * 2


async def test_a_key_in_a_stray_follow_up_is_not_kept(virtual_clock, home):
    """What an agent leaves in its own mailbox becomes a message of the chat, without its key."""

    async def stray(turn):
        await turn.put("input/1.json", {"type": "message", "text": f"the key is {KEY}"})
        await turn.answer()
        await turn.update()
        return 0

    await put_key(home)
    home.agent.script["!stray"] = stray
    await home.say("home", "!stray")
    await trio.sleep(20)
    asked = [asked.text for asked in home.agent.asked]
    assert asked[1:] == [f"the key is {REDACTED}"]
