"""Two bridges as one."""

from __future__ import annotations

from nanoclaw_trio.cli.bridges.combined import CombinedBridge
from nanoclaw_trio.engine.chat.bridge import Bridge, Notice, NoticeKind
from nanoclaw_trio.store.models import Chat


class Recorder(Bridge):
    """Remembers what it was told."""

    def __init__(self, name):
        self.name = name
        self.told = []

    async def deliver(self, delivery):
        self.told.append(delivery.id)

    async def set_typing(self, chat_jid, *, is_typing):
        self.told.append((chat_jid, is_typing))

    async def notice(self, notice):
        self.told.append(notice.text)

    async def list_chats(self):
        return (Chat(jid=self.name, name=self.name),)

    async def group_registered(self, registration):
        self.told.append(registration.jid)


async def test_each_chat_has_its_bridge(delivery, registration):
    """What is about a chat goes to its bridge alone; a notice goes to both."""
    first, second = Recorder("a"), Recorder("b")
    bridge = CombinedBridge(first, second, lambda jid: jid.startswith("a:"))
    for jid in ("a:1", "b:1"):
        await bridge.deliver(delivery(f"d-{jid}", chat_jid=jid))
        await bridge.set_typing(jid, is_typing=True)
        await bridge.group_registered(registration(jid=jid))
    await bridge.notice(Notice(kind=NoticeKind.RUNTIME_BACK, text="back"))
    assert first.told == ["d-a:1", ("a:1", True), "a:1", "back"]
    assert second.told == ["d-b:1", ("b:1", True), "b:1", "back"]


async def test_the_chats_of_both():
    """The chats that could be registered are those of both."""
    bridge = CombinedBridge(Recorder("a"), Recorder("b"), str.isalpha)
    assert [chat.jid for chat in await bridge.list_chats()] == ["a", "b"]
