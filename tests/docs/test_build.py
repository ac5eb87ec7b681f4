"""The documentation can be built."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_sphinx_builds_it_without_a_warning(tmp_path):
    """Every page is in the table of contents, and every reference leads somewhere."""
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "-q", "--keep-going"]
    done = subprocess.run(
        [*command, "-d", str(tmp_path / "doctrees"), str(DOCS), str(tmp_path / "html")],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert (done.returncode, done.stderr) == (0, "")
