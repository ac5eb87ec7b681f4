"""Agents are held to the protocol, in real runtimes: that of docs/agents, and this project's own.

What holds them is the module that docs/agents gives to its readers.
"""

from __future__ import annotations

import ast
import importlib.util
import shutil
import uuid
from pathlib import Path

import pytest
import trio
from attrs import evolve, field, frozen

from nanoclaw_trio.run.open_run import open_run
from nanoclaw_trio.run.outcome import Cause
from nanoclaw_trio.runtimes.abc import INSTALL_LABEL
from nanoclaw_trio.runtimes.choose import open_runtime
from nanoclaw_trio.workspace.install import install_id

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
AGENT = EXAMPLES / "agent.py"

GUARD = 120
"""Seconds; it guards against a hang and measures nothing."""

MOST_LINES = 30


def load(path):
    """A module by its path."""
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


conformance = load(EXAMPLES / "test_agent.py")


@frozen
class Case:
    """An agent, and what it runs in."""

    runtime: str
    agent: str
    settings: dict = field(factory=dict)

    def __str__(self):
        return f"{self.agent}-{self.runtime}"


CAPITALS = "capitals"
"""The agent of docs/agents, as a project's agent-runner."""

IN_ITS_IMAGE = "capitals-image"
"""The same in the image of docs/agents."""

CASES = (
    Case("docker", IN_ITS_IMAGE),
    Case("docker", CAPITALS),
    Case("podman", CAPITALS),
    Case("bubblewrap", CAPITALS),
    Case("docker", "echo", {"agent": "echo"}),
    Case("bubblewrap", "echo", {"agent": "echo"}),
)


@pytest.fixture(params=CASES, ids=str)
def case(request):
    """Each agent in each of its runtimes."""
    request.getfixturevalue(request.param.runtime)
    return request.param


@pytest.fixture(scope="module")
def image(docker_engine, docker, tmp_path_factory):
    """The image of docs/agents, on a base that takes no registry."""
    del docker
    context = tmp_path_factory.mktemp("image")
    for path in (AGENT, EXAMPLES / "Dockerfile"):
        shutil.copy(path, context)
    tag = f"nanoclaw-capitals:{uuid.uuid4().hex[:8]}"
    docker_engine.run("build", "-t", tag, "--build-arg", "BASE_IMAGE=nanoclaw-echo:test", context)
    yield tag
    docker_engine.run("image", "rm", tag)


@pytest.fixture
def settings(case, real_settings, request):
    """An empty project's, with the agent."""
    if case.agent == CAPITALS:
        package = real_settings.project_root / "container/agent-runner/src/nanoclaw_agent"
        package.mkdir(parents=True)
        shutil.copy(AGENT, package / "__main__.py")
    elif case.agent == IN_ITS_IMAGE:
        tag = request.getfixturevalue("image")
        return evolve(real_settings, agent="claude", container_image=tag)
    return evolve(real_settings, **{"agent": "claude", **case.settings})


@pytest.fixture
async def runtime(case, settings):
    """A real runtime, of which no container of this test's project is left in the end."""
    runtime = await open_runtime(case.runtime, settings)
    yield runtime
    identity = install_id(settings.project_root)
    assert await runtime.list({INSTALL_LABEL: identity}) == ()


class TestConformance(conformance.TestAgent):
    """Each agent does what a host relies on."""


@pytest.mark.parametrize("case", CASES[:4], ids=str, indirect=True)
async def test_the_example_of_the_documentation(case, group, container_input, settings, runtime):
    """A prompt and a follow-up in capitals, and a close: exit 0, and the receipt says gone."""
    heard = []
    with trio.fail_after(GUARD):
        async with open_run(group, container_input, settings=settings, runtime=runtime) as run:
            async for output in run:
                heard.append(output.result)
                if heard == ["HELLO", None]:
                    await run.send_message("and more")
                elif output.is_session_update:
                    await run.close()
    assert heard == ["HELLO", None, "AND MORE", None]
    assert (run.result.cause, run.result.exit_code) == (Cause.COMPLETED, 0)
    assert run.result.gone
    assert run.receipt.steps == ()


@pytest.mark.parametrize("case", CASES[:4], ids=str, indirect=True)
async def test_the_example_is_stopped(case, group, container_input, settings, runtime):
    """SIGTERM ends it with its own exit status, within the second that the engine waits."""
    with trio.fail_after(GUARD):
        async with open_run(group, container_input, settings=settings, runtime=runtime) as run:
            async for output in run:
                if output.is_session_update:
                    assert await runtime.stop(run.container_name, 1.0)
    assert (run.result.cause, run.result.exit_code) == (Cause.KILLED_FROM_OUTSIDE, 143)
    assert run.result.gone


def test_the_example_has_thirty_lines_at_most():
    """Without docstrings and blank lines, and from the standard library alone."""
    tree = ast.parse(AGENT.read_text())
    docstrings = {
        node.value.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    lines = enumerate(AGENT.read_text().splitlines(), start=1)
    assert len([line for number, line in lines if line and number not in docstrings]) <= MOST_LINES
    assert "import trio" not in AGENT.read_text()
