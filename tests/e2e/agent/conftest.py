"""The real Claude agent in real runtimes, and an imitation of its API for it to talk to."""

from __future__ import annotations

import importlib.util
import json
import os
from contextlib import asynccontextmanager

import pytest
import trio
from attrs import evolve, field, frozen

from nanoclaw_trio.protocol.models import ContainerInput, RegisteredGroup
from nanoclaw_trio.run.open_run import open_run
from nanoclaw_trio.runtimes.abc import INSTALL_LABEL
from nanoclaw_trio.runtimes.choose import open_runtime
from nanoclaw_trio.testing.messages_api import open_messages_api
from nanoclaw_trio.workspace.directories import CLAUDE_SETTINGS
from nanoclaw_trio.workspace.folders import GroupPaths
from nanoclaw_trio.workspace.install import install_id

GUARD = 120
"""Seconds; it guards against a hang and measures nothing."""

POLL = 0.02

KEY = "sk-canary-5e6a1c00"

FAMILY = RegisteredGroup(name="Family", folder="family")

HOST_PACKAGES = ("claude_agent_sdk", "mcp", "watchfiles")
"""What bubblewrap needs of this Python for the agent: `pip install 'nanoclaw-trio[agent]'`."""

QUICK_FAILURES = {"CLAUDE_CODE_MAX_RETRIES": "1"}
"""By default the CLI asks again for more than half a minute."""


@frozen
class Place:
    """Where agents run, and the address of this host as they reach it."""

    runtime: str
    host: str
    settings: dict = field(factory=dict)


@pytest.fixture(scope="session")
def agent_in_docker(docker_gateway, agent_image):
    """The agent's image in docker, whose containers reach this host by their gateway."""
    return Place("docker", docker_gateway, {"container_image": agent_image})


@pytest.fixture(scope="session")
def agent_in_bubblewrap(bubblewrap):
    """The agent in sandboxes, which share this host's network."""
    missing = [name for name in HOST_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        why = f"this Python has no {', '.join(missing)}: install nanoclaw-trio[agent]"
        if os.environ.get("NANOCLAW_REQUIRE_AGENT") == "1":
            pytest.fail(f"NANOCLAW_REQUIRE_AGENT=1, but {why}")
        pytest.skip(why)
    return Place(bubblewrap, "127.0.0.1")


@pytest.fixture(params=["docker", "bubblewrap"])
def place(request):
    """Each of the two in turn."""
    return request.getfixturevalue(f"agent_in_{request.param}")


@frozen
class Exchange:
    """What came of one prompt.

    Attributes:
        heard: The outputs.
        result: The run's.
        requests: What the API was asked.
    """

    heard: list
    result: object
    requests: tuple

    @property
    def answers(self):
        """The texts of the answers."""
        return [output.result for output in self.heard if output.result is not None]


class Project:
    """A project with a key, whose agents run in one place."""

    def __init__(self, place, settings, runtime):
        self.place = place
        self.settings = settings
        self.runtime = runtime
        self.secrets = {"ANTHROPIC_API_KEY": KEY}

    @property
    def root(self):
        """Where it is."""
        return self.settings.project_root

    def paths(self, folder="family"):
        """A group's places."""
        return GroupPaths(project_root=self.root, folder=folder)

    def write(self, path, content):
        """A file below the project, with its directories."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
        return target

    def configure_claude(self, folder="family", **changes):
        """Write the CLI's settings of a group, with more than they begin with."""
        environment = CLAUDE_SETTINGS["env"] | QUICK_FAILURES
        path = f"data/sessions/{folder}/.claude/settings.json"
        self.write(path, json.dumps({"env": environment, **changes}))

    @asynccontextmanager
    async def serve(self, model):
        """Serve a model to the agents, by the project's .env."""
        with trio.fail_after(GUARD):
            async with open_messages_api(model, host=self.place.host) as api:
                variables = {"ANTHROPIC_BASE_URL": api.url, **self.secrets}
                self.write(".env", "".join(f"{key}={text}\n" for key, text in variables.items()))
                yield api

    def run(self, prompt="Hello", *, group=FAMILY, settings=None, **fields):
        """Open a run of a group's agent."""
        values = {"group_folder": group.folder, "chat_jid": "1@chat", "is_main": False, **fields}
        return open_run(
            group,
            ContainerInput(prompt=prompt, **values),
            settings=settings or self.settings,
            runtime=self.runtime,
        )

    async def ask(self, model, prompt="Hello", **fields):
        """Give an agent one prompt, and close its mailbox after the first query."""
        heard = []
        async with self.serve(model) as api:
            async with self.run(prompt, **fields) as run:
                async for output in run:
                    heard.append(output)
                    if output.is_session_update:
                        await run.close()
            return Exchange(heard, run.result, api.requests)


@pytest.fixture
def wait_for():
    """Wait for a file of another process, which nothing but looking can tell."""

    async def wait(path):
        while not path.exists():  # noqa: ASYNC110 - nothing here could set an event
            await trio.sleep(POLL)

    return wait


@pytest.fixture
async def project(place, settings):
    """A project in each of the places; no container of it is left in the end."""
    settings = evolve(settings, agent="claude", **place.settings)
    runtime = await open_runtime(place.runtime, settings)
    project = Project(place, settings, runtime)
    project.configure_claude()
    yield project
    assert await runtime.list({INSTALL_LABEL: install_id(project.root)}) == ()
