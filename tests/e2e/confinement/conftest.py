"""Groups whose agent tells how far it is confined, in real runtimes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.protocol.models import ContainerInput, RegisteredGroup
from nanoclaw_trio.run.open_run import open_run
from nanoclaw_trio.run.outcome import Cause
from nanoclaw_trio.runtimes.choose import open_runtime

GUARD = 120
"""Seconds; it guards against a hang and measures nothing."""

PROBE = Path(__file__).with_name("look_around.py")


@pytest.fixture
def project(real_settings):
    """A project whose agent-runner is the probe."""
    source = real_settings.project_root / "container" / "agent-runner" / "src" / "nanoclaw_agent"
    source.mkdir(parents=True)
    (source / "__init__.py").touch()
    shutil.copyfile(PROBE, source / "__main__.py")
    return real_settings.project_root


@pytest.fixture
def look_around(project, real_settings):
    """Run a group's agent in a runtime, and have it look at these things; what it found."""

    async def look(runtime, asked, *, config=None, is_main=False, **changes):
        settings = evolve(real_settings, **changes)
        group = RegisteredGroup(name="Family", folder="family", container_config=config)
        question = ContainerInput(
            prompt=json.dumps(asked), group_folder="family", chat_jid="c", is_main=is_main
        )
        engine = await open_runtime(runtime, settings)
        with trio.fail_after(GUARD):
            async with open_run(group, question, settings=settings, runtime=engine) as run:
                answers = [output.result async for output in run]
            assert run.result.cause is Cause.COMPLETED, run.result
        return json.loads(answers[0])

    return look
