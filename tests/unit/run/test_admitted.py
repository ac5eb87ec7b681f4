"""A run whose agent calls the API through the proxy."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.errors import InvalidSetting
from nanoclaw_trio.proxy.errors import ProxyUnusable
from nanoclaw_trio.proxy.open_proxy import open_proxy
from nanoclaw_trio.run.open_run import open_run
from nanoclaw_trio.testing.fake import FakeRuntime, open_fake_runtime

KEY = "sk-canary-77aa01"


@pytest.fixture
def runtime_home(monkeypatch):
    """A short directory for sockets."""
    home = Path(tempfile.mkdtemp(prefix="nc", dir="/tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    yield home
    shutil.rmtree(home)


@pytest.fixture
def with_key(settings):
    """Settings of a project whose .env has a key and an address of the API's."""
    lines = f"ANTHROPIC_API_KEY={KEY}\nANTHROPIC_BASE_URL=http://gateway.test/secret\n"
    (settings.project_root / ".env").write_text(lines)
    return settings


@pytest.fixture
def agent(say):
    """An agent that says what it was given, and the key if it knew it."""

    class Agent:
        def __init__(self):
            self.secrets = None
            self.mounts = None

        async def __call__(self, container):
            request = await container.read_input()
            self.secrets = request["secrets"]
            await container.write_output(say.answer(f"I have {KEY} and {self.secrets}"))

    return Agent()


async def ask(agent, group, container_input, settings, **options):
    """Run the agent; its answers, the spec, and what lay at the socket meanwhile."""
    async with (
        open_fake_runtime(agent) as runtime,
        open_run(group, container_input, settings=settings, runtime=runtime, **options) as run,
    ):
        (spec,) = runtime.started
        mounts = {mount.container_path: mount for mount in spec.mounts}
        mount = mounts.get("/run/nanoclaw")
        found = mount and [path.name for path in mount.host_path.iterdir()]
        answers = [output.result async for output in run]
    return answers, spec, mount, found


@pytest.mark.parametrize("is_shared", [False, True])
async def test_by_a_socket(runtime_home, group, container_input, with_key, agent, is_shared):
    """With `socket` a run's input has a placeholder and the socket's address, its container the
    socket's directory; the host's key is redacted as ever, and so is the placeholder."""
    settings = evolve(with_key, credential_proxy="socket")
    if is_shared:
        async with open_proxy(settings) as proxy:
            done = await ask(agent, group, container_input, settings, proxy=proxy)
    else:
        done = await ask(agent, group, container_input, settings)
    ((answer,), spec, mount, found) = done
    assert agent.secrets.keys() == {"ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"}
    assert agent.secrets["ANTHROPIC_API_KEY"].startswith("sk-nanoclaw-")
    assert agent.secrets["ANTHROPIC_BASE_URL"] == "unix:/run/nanoclaw/api.sock"
    assert (mount.readonly, found) == (True, ["api.sock"])
    assert answer.startswith("I have [redacted] and")
    assert agent.secrets["ANTHROPIC_API_KEY"] not in answer
    assert KEY not in f"{spec!r}{agent.secrets}"
    assert [*(runtime_home / "nanoclaw").iterdir()] == []


async def test_at_an_address(group, container_input, with_key, agent):
    """With an address there is no mount; each run has another placeholder."""
    settings = evolve(with_key, credential_proxy="tcp:127.0.0.1")
    seen = []
    for _ in range(2):
        _, _, mount, _ = await ask(agent, group, container_input, settings)
        assert mount is None
        seen.append(agent.secrets["ANTHROPIC_API_KEY"])
        assert agent.secrets["ANTHROPIC_BASE_URL"].startswith("http://127.0.0.1:")
    assert len({*seen}) == 2


async def test_off(group, container_input, with_key, agent):
    """By default the agent gets the host's key, as an original one expects it."""
    await ask(agent, group, container_input, with_key)
    assert agent.secrets["ANTHROPIC_API_KEY"] == KEY


async def test_a_proxy_that_cannot_be(group, container_input, with_key, agent):
    """Where the proxy can't be opened, or a secret can't be used, nothing is started, and the group
    is free again."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    settings = evolve(with_key, credential_proxy=f"tcp:127.0.0.1:{port}")
    async with listener:
        with pytest.raises(ProxyUnusable):
            await ask(agent, group, container_input, settings)
    await ask(agent, group, container_input, settings)
    (with_key.project_root / ".env").write_text("ANTHROPIC_API_KEY='sk canary'\n")
    agent.secrets = None
    with pytest.raises(InvalidSetting):
        await ask(agent, group, container_input, settings)
    assert agent.secrets is None


async def test_a_runtime_that_mounts_no_sockets(
    runtime_home, group, container_input, with_key, agent, nursery
):
    """Where containers can't connect to the socket that is said at once, and what to set instead."""

    class FarRuntime(FakeRuntime):
        mounts_sockets = False

    settings = evolve(with_key, credential_proxy="socket")
    with pytest.raises(ProxyUnusable, match="set CREDENTIAL_PROXY to tcp:ADDRESS"):
        async with open_run(
            group, container_input, settings=settings, runtime=FarRuntime(agent, nursery)
        ):
            pytest.fail("nothing can be started")
    assert agent.secrets is None
    assert [*(runtime_home / "nanoclaw").iterdir()] == []


async def test_an_exception_of_the_callers(runtime_home, group, container_input, with_key, agent):
    """The caller's exception goes on as it is, and no socket stays."""
    settings = evolve(with_key, credential_proxy="socket")
    with pytest.raises(KeyError, match="mine"):
        async with (
            open_fake_runtime(agent) as runtime,
            open_run(group, container_input, settings=settings, runtime=runtime),
        ):
            raise KeyError("mine")
    assert [*(runtime_home / "nanoclaw").iterdir()] == []
