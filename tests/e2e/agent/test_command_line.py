"""The agent from the command line."""

from __future__ import annotations

import json
import os
import sys

import pytest
import trio

from nanoclaw_trio.environment import SECRET_VARIABLES
from nanoclaw_trio.testing.messages_api import echo


@pytest.fixture
def run_command(project):
    """Run the agent from the command line: standard output, and what the API was asked."""

    async def run(*options):
        image = project.settings.container_image
        command = [sys.executable, "-m", "nanoclaw_trio", "run", "--agent", "claude"]
        command += ["--runtime", project.place.runtime, "--image", image, *options, "Grüße"]
        environment = {k: text for k, text in os.environ.items() if k not in SECRET_VARIABLES}
        async with project.serve(echo) as api:
            done = await trio.run_process(
                command,
                cwd=project.root,
                env=environment,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        assert done.returncode == 0, done.stderr.decode()
        assert project.secrets["ANTHROPIC_API_KEY"].encode() not in done.stdout + done.stderr
        assert [request.prompt for request in api.requests] == ["Grüße"]
        return done.stdout.decode()

    return run


async def test_run(run_command):
    """`run --agent claude` prints the answer and nothing else, and exits with 0."""
    assert await run_command() == "echo: Grüße\n"


@pytest.mark.parametrize("place", ["bubblewrap"], indirect=True)
async def test_run_with_json(run_command):
    """With --json each output is a line, and the last line says that nothing is left."""
    *outputs, end = map(json.loads, (await run_command("--json")).splitlines())
    assert [output["result"] for output in outputs] == ["echo: Grüße", None]
    assert (end["cause"], end["gone"]) == ("completed", True)
