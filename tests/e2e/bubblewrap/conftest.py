"""Real sandboxes with little agents in them, each written for its test."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path  # noqa: TC003 - attrs reads it

import pytest
import trio
from attrs import frozen

from nanoclaw_trio.errors import AgentNotInstalled, RuntimeUnavailable
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.runtimes.abc import ContainerSpec
from nanoclaw_trio.runtimes.bubblewrap import BubblewrapRuntime
from nanoclaw_trio.runtimes.bubblewrap_agent import find_claude
from nanoclaw_trio.runtimes.bubblewrap_host import collect_python
from nanoclaw_trio.runtimes.bubblewrap_processes import Role, find_sandboxes
from nanoclaw_trio.runtimes.proc import children_of, wait_for_end
from nanoclaw_trio.settings import Settings

GUARD = 60.0
"""Seconds after which a test is given up; none needs more than a few."""

ANOTHER_AGENT = {"NANOCLAW_AGENT": "echo"}
"""Says that an agent isn't Claude, and needs nothing of it."""

HOST_PROGRAM = """
import json, sys
from pathlib import Path
import trio
from nanoclaw_trio.errors import NanoclawError
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.runtimes.abc import ContainerSpec
from nanoclaw_trio.runtimes.bubblewrap import BubblewrapRuntime
from nanoclaw_trio.settings import Settings

async def main():
    task = json.loads(sys.argv[1])
    runtime = BubblewrapRuntime(Settings(project_root=Path(task["project"])))
    try:
        with trio.fail_after(60):
            print(json.dumps(await globals()[task["do"]](runtime, task)), flush=True)
    except NanoclawError as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}))

async def run(runtime, task):
    "Run an agent to its end."
    container = await start(runtime, task)
    await container.stdin.send_all(task.get("stdin", "").encode())
    await container.stdin.aclose()
    output = b"".join([chunk async for chunk in container.stdout])
    problems = b"".join([chunk async for chunk in container.stderr])
    status = await container.wait()
    await container.aclose()
    gone = await runtime.inspect(task["name"]) is None
    return {"status": status, "output": output.decode(), "problems": problems.decode(), "gone": gone}

async def hold(runtime, task):
    "Start an agent, say so when it has said something, and never end."
    container = await start(runtime, task)
    print(json.dumps((await container.stdout.receive_some()).decode()), flush=True)
    await trio.sleep_forever()

async def start(runtime, task):
    mounts = tuple(
        VolumeMount(host_path=Path(host), container_path=inside, readonly=readonly)
        for host, inside, readonly in task["mounts"]
    )
    return await runtime.start(
        ContainerSpec(
            name=task["name"],
            image="none",
            environment=task.get("environment", {"NANOCLAW_AGENT": "echo"}),
            mounts=mounts,
            labels=task.get("labels", {}),
        )
    )

async def list_names(runtime, task):
    return [state.name for state in await runtime.list(task["labels"])]

async def inspect(runtime, task):
    state = await runtime.inspect(task["name"])
    return None if state is None else state.phase.value

async def stop(runtime, task):
    return await runtime.stop(task["name"], task["grace"])

async def kill(runtime, task):
    return await runtime.kill(task["name"])

trio.run(main)
"""


@frozen
class Agents:
    """Writes agents and starts them; what is left of them at a test's end is killed."""

    runtime: BubblewrapRuntime
    directory: Path
    started: list

    def new_name(self):
        """A name that no other sandbox has."""
        return f"nanoclaw-test-{os.getpid()}-{secrets.token_hex(4)}"

    def write(self, code):
        """The mount of an agent's source with this program."""
        package = self.directory / secrets.token_hex(4) / "nanoclaw_agent"
        package.mkdir(parents=True)
        (package / "__main__.py").write_text(code)
        return VolumeMount(host_path=package.parent, container_path="/app/src", readonly=True)

    def make_spec(self, code, *, mounts=(), environment=ANOTHER_AGENT, **values):
        """A spec of this agent, with a name of its own."""
        return ContainerSpec(
            name=self.new_name(),
            image="none",
            environment=environment,
            mounts=(self.write(code), *mounts),
            **values,
        )

    async def start(self, code, **values):
        """A started agent."""
        container = await self.runtime.start(self.make_spec(code, **values))
        self.started.append(container)
        return container

    async def run(self, code, *, stdin=b"", **values):
        """Run an agent to its end: exit status, standard output, standard error."""
        container = await self.start(code, **values)
        heard = {"stdout": b"", "stderr": b""}

        async def listen(name):
            async for chunk in getattr(container, name):
                heard[name] += chunk

        with trio.fail_after(GUARD):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen, "stdout")
                nursery.start_soon(listen, "stderr")
                await container.stdin.send_all(stdin)
                await container.stdin.aclose()
            return await container.wait(), heard["stdout"].decode(), heard["stderr"].decode()


def skip_or_fail(reason):
    """Skip where sandboxes can't work, and fail where they must."""
    if os.environ.get("NANOCLAW_REQUIRE_BUBBLEWRAP") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
async def runtime(tmp_path):
    """A runtime that works here."""
    project = tmp_path / "project"
    project.mkdir()
    runtime = BubblewrapRuntime(Settings(project_root=project))
    try:
        await runtime.check()
    except RuntimeUnavailable as error:
        skip_or_fail(str(error))
    return runtime


@pytest.fixture
async def agents(runtime, tmp_path):
    """Starts agents in sandboxes, and leaves none behind."""
    agents = Agents(runtime, tmp_path / "agents", [])
    yield agents
    with trio.CancelScope(shield=True, deadline=trio.current_time() + GUARD):
        for container in agents.started:
            await runtime.kill(container.name)
            await container.aclose()


@pytest.fixture(scope="session")
def claude_sdk():
    """The Claude agent's packages in this environment, with the program `claude`."""
    try:
        return find_claude(collect_python())
    except AgentNotInstalled as error:
        if os.environ.get("NANOCLAW_REQUIRE_AGENT") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def host_program():
    """Argv of another host's program: `host_program(do=…, name=…, …)` prints what came of it."""

    def make(**task):
        return [sys.executable, "-c", HOST_PROGRAM, json.dumps({"mounts": [], **task})]

    return make


@frozen
class AnotherHost:
    """Another host that has started an agent, and never ends by itself.

    Attributes:
        process: Its own.
        name: The sandbox's.
        said: What the agent said first.
    """

    process: trio.Process
    name: str
    said: str

    async def kill(self):
        """Kill it outright, and wait until its sandbox and the agent have ended."""
        parts = {part.role: part.process for part in find_sandboxes() if part.name == self.name}
        (agent,) = children_of([parts[Role.INIT].pid])
        self.process.kill()
        await self.process.wait()
        for process in (*parts.values(), agent):
            await wait_for_end(process)


@pytest.fixture
def open_another_host(agents, host_program, tmp_path):
    """Opens a host that holds an agent with this program."""

    @asynccontextmanager
    async def opened(code):
        name = agents.new_name()
        mount = [str(agents.write(code).host_path), "/app/src", True]
        argv = host_program(do="hold", project=str(tmp_path), name=name, mounts=[mount])
        with trio.fail_after(GUARD):
            process = await trio.lowlevel.open_process(argv, stdout=subprocess.PIPE)
            async with process.stdout:
                said = json.loads(await process.stdout.receive_some())
                yield AnotherHost(process, name, said)

    return opened


def pytest_configure(config):
    """Know the marker of the tests that take their time."""
    config.addinivalue_line("markers", "slow: takes more than ten seconds, for a reason it tells")
