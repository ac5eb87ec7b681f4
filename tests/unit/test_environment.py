"""The process's environment, and what of it a child inherits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nanoclaw_trio.environment import (
    SECRET_VARIABLES,
    child_environment,
    process_environment,
    programs_home,
)


def test_secrets_are_those_of_the_format() -> None:
    """These four variables, and no others, count as secrets (wire-formats 9)."""
    assert set(SECRET_VARIABLES) == {
        "CLAUDE_CODE_OAUTH_TOKEN",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_AUTH_TOKEN",
    }


def test_process_environment_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that changes after the call is seen through what the call returned."""
    environment = process_environment()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary")
    assert environment["ANTHROPIC_API_KEY"] == "canary"


def test_child_inherits_everything_but_the_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child's environment lacks the secrets and nothing else (Trap A17)."""
    for name in SECRET_VARIABLES:
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("SOME_OTHER_VARIABLE", "kept")
    child = child_environment()
    assert child["SOME_OTHER_VARIABLE"] == "kept"
    assert set(process_environment()) - set(child) == set(SECRET_VARIABLES)
    assert "canary" not in child.values()


def test_child_environment_is_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a caller adds for its child doesn't land in this process's environment."""
    monkeypatch.delenv("ADDED_FOR_THE_CHILD", raising=False)
    child_environment()["ADDED_FOR_THE_CHILD"] = "1"
    assert "ADDED_FOR_THE_CHILD" not in process_environment()


def test_real_child_sees_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is started with it finds no secret in its environment (Trap A17)."""
    for name in SECRET_VARIABLES:
        monkeypatch.setenv(name, "canary-4711")
    seen = subprocess.run(
        [sys.executable, "-c", "import os; print(dict(os.environ))"],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "canary-4711" not in seen.stdout


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"XDG_CACHE_HOME": "/var/cache/me"}, "/var/cache/me/nanoclaw-trio/programs"),
        ({"XDG_CACHE_HOME": "not/absolute"}, "~/.cache/nanoclaw-trio/programs"),
        ({"XDG_CACHE_HOME": ""}, "~/.cache/nanoclaw-trio/programs"),
        ({}, "~/.cache/nanoclaw-trio/programs"),
    ],
)
def test_where_the_programs_are(environ: dict[str, str], expected: str) -> None:
    """In the user's cache, as the XDG specification has it."""
    assert programs_home(environ) == Path(expected).expanduser()
