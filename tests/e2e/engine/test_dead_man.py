"""SIGKILL of the host leaves nothing running, and nobody has to come and look."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from nanoclaw_trio.runtimes.abc import OWNER_LABEL, Phase
from nanoclaw_trio.runtimes.bubblewrap_check import find_executables

GUARD = 120
"""Seconds; it guards against a hang and measures nothing."""

PROMISE = 10
"""Seconds after which nothing runs any more; it takes one or two."""

RUNNER = Path(__file__).parents[3] / "container/agent-runner/src"

AGENT = """
import hashlib, subprocess, sys, time
from pathlib import Path
import trio
from nanoclaw_agent.container_output import answer, session_update

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"

class EchoAgent:
    def __init__(self, session_id):
        pass

    async def converse(self, prompts, respond):
        async for prompt in prompts:
            await self.work(prompt, respond)

    async def work(self, prompt, respond):
        if "rest" in prompt:
            await respond(answer("resting", "s"))
            await respond(session_update("s"))
        Path("at-work").touch()
        if "query" in prompt:
            subprocess.Popen([sys.executable, "-c", DEAF], start_new_session=True)
            with trio.CancelScope(shield=True):
                await trio.sleep_forever()
        if "sleep" in prompt:
            time.sleep(3600)
        if "compute" in prompt:
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""
"""An agent that does one thing and never ends: it rests, is at a query that can't be cancelled and
has a child that can't be asked to end, or has blocked its main thread, with and without an ear for
signals."""

WORK = ("rest", "query", "sleep", "compute")


@pytest.fixture(params=["docker", "docker-api", "bubblewrap"])
def runtime_name(request):
    """Each of the three in turn, where it works."""
    request.getfixturevalue(request.param.removesuffix("-api"))
    return request.param


def put_agent(site):
    """Put the agent in the echo agent's place, in a runner that is ours otherwise."""
    source = site.root / "container/agent-runner/src"
    shutil.copytree(RUNNER, source, ignore=shutil.ignore_patterns("__pycache__"))
    (source / "nanoclaw_agent/agents/echo.py").write_text(AGENT)


async def until_nothing_runs(site):
    """Wait until there is no container and no process, for as long as was promised."""
    begun = trio.current_time()
    with trio.fail_after(PROMISE):
        while site.processes() or await site.containers():  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.02)
    print(f"nothing runs after {trio.current_time() - begun:.2f} s")


async def test_serve_is_killed(site, platform):
    """Within ten seconds after the SIGKILL of `serve` no container and no process of it is left,
    whatever its agents were doing."""
    put_agent(site)
    with trio.fail_after(GUARD):
        for work in WORK:
            await site.add_group(f"{work}@chat", work)
        async with site.serving("--limit", "4") as host, platform.connected(site.socket):
            for work in WORK:
                await platform.say(f"{work}@chat", work)
            await site.wait_for_work(*WORK)
            assert len(await site.containers()) == len(WORK)
            host.send(signal.SIGKILL)
            await host.end()
            await until_nothing_runs(site)


@asynccontextmanager
async def running(site, prompt):
    """A `run` of one agent; it is killed in the end."""
    words = ("--runtime", site.runtime_name, *site.options, "--group", "a", prompt)
    process = await trio.lowlevel.open_process(
        site.argv("run", *words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=site.root,
        env=site.environment,
    )
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def test_run_is_killed(site):
    """The same of `run`, with an agent in the middle of its query."""
    put_agent(site)
    with trio.fail_after(GUARD):
        async with running(site, "query") as process:
            await site.wait_for_work("a")
            process.kill()
            await process.wait()
            await until_nothing_runs(site)


HELD_PROGRAM = """#!{python} -IS
import os, sys, time
if any({mark!r} in word for word in sys.argv):
    open({held!r}, "w").close()
    while os.path.exists({held!r}):
        time.sleep(0.02)
os.execv({program!r}, sys.argv)
"""
"""A client of docker's, or a bwrap, that waits before it starts an agent, while a file is there."""


@pytest.fixture
def hold_start(site, tmp_path):
    """Let the program that starts containers wait with that; the file to remove for it to go on."""
    real = find_executables()[0] if site.runtime_name == "bubblewrap" else shutil.which("docker")
    held, program = tmp_path / "held", tmp_path / "bin" / Path(real).name
    program.parent.mkdir()
    program.write_text(
        HELD_PROGRAM.format(python=sys.executable, mark=OWNER_LABEL, held=str(held), program=real)
    )
    program.chmod(0o755)
    site.environment["PATH"] = f"{program.parent}:{site.environment['PATH']}"
    return held


@pytest.mark.parametrize("runtime_name", ["docker", "bubblewrap"], indirect=True)
async def test_killed_amid_a_start(site, hold_start, wait_for):
    """A container whose host is gone before it is there ends as soon as it comes."""
    put_agent(site)
    with trio.fail_after(GUARD):
        async with running(site, "query") as process:
            await wait_for(hold_start.exists)
            process.kill()
            await process.wait()
            hold_start.unlink()
            await until_nothing_runs(site)


@asynccontextmanager
async def killed_before_its_start(site, relay):
    """A `run` by docker's socket, killed when its container has been made and isn't started yet."""
    put_agent(site)
    site.environment["DOCKER_HOST"] = f"unix://{relay.path}"
    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            await nursery.start(relay.serve)
            async with running(site, "query") as process:
                await relay.is_holding.wait()
                process.kill()
                await process.wait()
                yield
            nursery.cancel_scope.cancel()


@pytest.fixture
def api_site(docker, make_site):
    """A project that is served by docker's socket."""
    return make_site(f"{docker}-api")


async def test_killed_while_docker_is_to_start(api_site, holding_relay):
    """An order to start a container that docker gets from a host which is gone by then: the
    container's input has ended when it comes, and so it ends."""
    async with killed_before_its_start(api_site, holding_relay):
        holding_relay.may_start.set()
        await until_nothing_runs(api_site)


async def reap(site):
    """What a person can do."""
    status, said, _ = await site.call("reap", "--runtime", site.runtime_name)
    assert (status, said.count(" is gone: ")) == (0, 1)


async def serve(site):
    """What the next engine does by itself."""
    async with site.serving():
        await site.wait_for_journal("orphans_reaped")


@pytest.mark.parametrize("clear", [serve, reap])
async def test_killed_before_docker_is_to_start(api_site, holding_relay, clear):
    """An order that docker never gets leaves a container which was made, doesn't run and won't: the
    next engine removes it, and so does `reap`."""
    async with killed_before_its_start(api_site, holding_relay):
        pass
    del api_site.environment["DOCKER_HOST"]
    assert [state.phase for state in await api_site.states()] == [Phase.CREATED]
    assert api_site.processes() == []
    with trio.fail_after(GUARD):
        await clear(api_site)
    assert await api_site.containers() == []
