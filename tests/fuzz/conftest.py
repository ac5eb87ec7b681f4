"""How long to fuzz: some seconds as a part of all tests, and any time by `fuzz.py`."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent

# For documents.py, which the tests in here share, and the agent-runner, no installed package.
sys.path += [str(HERE), str(HERE.parents[1] / "container" / "agent-runner" / "src")]

EXAMPLES = "NANOCLAW_FUZZ_EXAMPLES"
"""The variable by which fuzz.py asks for a number of examples, others for each seed."""

NO_ANSWER = timedelta(seconds=30)
"""What takes longer than this hasn't slowed down but run away: a guard, and no measurement."""

COMMON = settings(
    deadline=NO_ANSWER,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def pytest_collection_modifyitems(items):
    """Give each fuzzer its settings; those of other tests are their own."""
    chosen = int(os.environ.get(EXAMPLES, "0"))
    mine = (
        settings(COMMON, max_examples=chosen, print_blob=True)
        if chosen
        else settings(COMMON, max_examples=100, derandomize=True)
    )
    for item in items:
        if item.path.is_relative_to(HERE) and hasattr(item.obj, "hypothesis"):
            mine(item.obj)
