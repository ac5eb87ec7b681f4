"""The whole command, for users who aren't root; root runs all the other tests here."""

from __future__ import annotations

import json
import os

import pytest


@pytest.mark.parametrize("runtime", ["docker", "bubblewrap"])
def test_an_answer_for_another_user(request, runtime, other_user, python, run_as):
    """Uid 1000, whom the image knows, and another: an answer, and every file is that user's own. Trap B5."""
    request.getfixturevalue(runtime)
    uid, home = other_user
    project = home / "project"
    project.mkdir()
    os.chown(project, uid, uid)
    words = ("run", "--agent", "echo", "--runtime", runtime, "--image", "nanoclaw-echo:test")
    done = run_as(
        uid,
        [python, "-m", "nanoclaw_trio", *words, "--project", str(project), "--json", "Hello"],
        home,
    )
    assert done.returncode == 0, done.stderr.decode()
    first, *_, last = (json.loads(line) for line in done.stdout.splitlines())
    assert first["result"] == "echo: Hello"
    assert (last["cause"], last["gone"]) == ("completed", True)
    assert {path.stat().st_uid for path in project.rglob("*")} == {uid}
