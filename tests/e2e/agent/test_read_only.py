"""The real agent where the image's own files can't be changed."""

from __future__ import annotations

import pytest
from attrs import evolve

from nanoclaw_trio.testing.messages_api import Text, ToolUse, scripted


@pytest.mark.parametrize("place", ["docker"], indirect=True)
async def test_the_agent_works_on_a_read_only_root(project):
    """With CONTAINER_READ_ONLY it answers, runs commands, writes in its folder and builds a program
    in /tmp, as ever; and can't change the image."""
    command = (
        "echo three > made; printf '#!/bin/sh\\necho built\\n' > /tmp/p; chmod +x /tmp/p; /tmp/p; "
        "touch /app/x 2>&1; touch ~/kept && echo home"
    )
    project.settings = evolve(project.settings, read_only=True)
    done = await project.ask(scripted(ToolUse("Bash", {"command": command}), Text("Done.")))
    assert done.answers == ["Done."]
    lines = done.requests[1].last_tool_result.splitlines()
    assert (lines[0], lines[-1]) == ("built", "home")
    assert "Read-only file system" in lines[1]
    assert (project.paths().group_dir / "made").read_text() == "three\n"
