"""What groups use of the API, in the engine's statistics and metrics."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import httpx
import pytest
import trio
from attrs import evolve
from prometheus_client.parser import text_string_to_metric_families

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.chat.bridge import Bridge
from nanoclaw_trio.engine.metrics import prometheus_text
from nanoclaw_trio.engine.open_engine import open_engine
from nanoclaw_trio.protocol.models import ContainerOutput, RegisteredGroup
from nanoclaw_trio.proxy.usage import ApiUsage
from nanoclaw_trio.store.models import ChatMessage, Registration
from nanoclaw_trio.testing.fake import open_fake_runtime
from nanoclaw_trio.testing.messages_api import Text, open_messages_api, scripted

GUARD = 120

CALL = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


class Listener(Bridge):
    """Takes the first answer."""

    def __init__(self):
        self.answered = trio.Event()

    async def deliver(self, delivery):
        await trio.lowlevel.checkpoint()
        self.answered.set()


@pytest.fixture
def runtime_home(monkeypatch):
    """A short directory for sockets."""
    home = Path(tempfile.mkdtemp(prefix="nc", dir="/tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    yield home
    shutil.rmtree(home)


def samples(statistics):
    """The samples about the API, by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(prometheus_text(statistics))
        for sample in family.samples
        if sample.name.startswith("nanoclaw_api_")
    }


async def call_api(container):
    """An agent that asks the API by its socket, once, and answers."""
    request = await container.read_input()
    (mount,) = [m for m in container.spec.mounts if m.container_path == "/run/nanoclaw"]
    transport = httpx.AsyncHTTPTransport(uds=str(mount.host_path / "api.sock"))
    headers = {"x-api-key": request["secrets"]["ANTHROPIC_API_KEY"]}
    async with httpx.AsyncClient(transport=transport, timeout=GUARD) as client:
        response = await client.post("http://api/v1/messages", json=CALL, headers=headers)
    text = response.json()["content"][0]["text"]
    await container.write_output(
        ContainerOutput(status="success", result=text, new_session_id="s1")
    )


async def test_an_engines_counts(settings, runtime_home):
    """The engine counts what each group has used; a group without requests has zeros."""
    root = settings.project_root
    bridge = Listener()
    with trio.fail_after(GUARD):
        async with (
            open_messages_api(scripted(Text("Hi.", input_tokens=77))) as api,
            open_fake_runtime(call_api) as runtime,
        ):
            (root / ".env").write_text(f"ANTHROPIC_API_KEY=sk-1234\nANTHROPIC_BASE_URL={api.url}\n")
            changed = evolve(settings, credential_proxy="socket")
            async with open_engine(changed, runtime=runtime, bridge=bridge) as engine:
                for folder in ("family", "neighbour"):
                    group = RegisteredGroup(name=folder, folder=folder, requires_trigger=False)
                    await engine.register_group(Registration(jid=f"{folder}@chat", group=group))
                await engine.send_message(
                    ChatMessage(
                        chat_jid="family@chat",
                        id="1",
                        sender="a",
                        sender_name="A",
                        text="Hello",
                        timestamp=utc_now(),
                    )
                )
                await bridge.answered.wait()
                seen = engine.statistics()
    usage = {group.folder: group.api for group in seen.groups}
    assert usage["neighbour"] == ApiUsage()
    assert (usage["family"].requests, usage["family"].input_tokens) == (1, 77)
    found = samples(seen)
    assert found["nanoclaw_api_requests_total", "family"] == 1
    assert found["nanoclaw_api_tokens_total", "family", "input"] == 77
    assert found["nanoclaw_api_tokens_total", "neighbour", "output"] == 0
    assert found["nanoclaw_api_errors_total", "family"] == 0


async def test_without_the_proxy(settings):
    """Without the proxy nobody counts, and there are no samples."""
    async with (
        open_fake_runtime(call_api) as runtime,
        open_engine(settings, runtime=runtime, bridge=Listener()) as engine,
    ):
        group = RegisteredGroup(name="Family", folder="family")
        await engine.register_group(Registration(jid="family@chat", group=group))
        seen = engine.statistics()
    assert [group.api for group in seen.groups] == [None]
    assert samples(seen) == {}
