"""The public API in a project that is typed with trio-typing.

Its stubs take the place of Trio's own types wherever it is installed, so this is about such an
environment and skips in any other.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

BRIDGE = Path(__file__).with_name("bridge_with_trio_typing.py")

pytestmark = pytest.mark.skipif(
    find_spec("trio_typing") is None,
    reason="trio-typing isn't installed; an environment with it needs mypy and this package",
)


def run_python(*arguments, directory):
    """A Python program in a folder without any configuration of ours; its exit status and words."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env={name: value for name, value in os.environ.items() if name != "MYPYPATH"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_bridge_typed_with_trio_typing_is_checked(tmp_path):
    """A strict mypy finds nothing wrong with a bridge that uses trio-typing's types."""
    pytest.importorskip("mypy", reason="mypy isn't installed")
    options = ("--strict", "--config-file=", f"--cache-dir={tmp_path}", "--no-error-summary")
    assert run_python("-m", "mypy", *options, str(BRIDGE), directory=tmp_path) == (0, "", "")


def test_the_same_bridge_runs(tmp_path):
    """That bridge gets its answer and the word that its container is gone; and an engine's too."""
    status, said, problems = run_python("-W", "error", str(BRIDGE), directory=tmp_path)
    assert status == 0, problems
    assert said.splitlines() == [
        "nanoclaw-family echo: Hello",
        "completed True",
        "answer ('Hello again',) 1",
    ]
