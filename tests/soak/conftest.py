"""The soak's own modules, which are a program and no package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="module", autouse=True)
def _unmeasured(unmeasured_children):
    """No process that is started here is measured."""
