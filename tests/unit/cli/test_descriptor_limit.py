"""A host of many groups may open as many files as the system allows."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from nanoclaw_trio.cli.descriptor_limit import MOST, limit_within

ALL = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "asked"),
    [
        (1024, 4096, 4096),
        (1024, 1_048_576, MOST),
        (1024, ALL, MOST),
        (100_000, 1_048_576, 100_000),
        (100_000, ALL, 100_000),
        (ALL, ALL, ALL),
        (512, 512, 512),
    ],
)
def test_what_is_asked_for(soft, hard, asked):
    """As many as the system allows, up to a bound, and never fewer than there were."""
    assert limit_within(soft, hard) == asked


FOR_REAL = """
import resource, sys
from nanoclaw_trio.cli.descriptor_limit import raise_descriptor_limit

resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
if sys.argv[1] == "refused":
    def refuse(*_):
        raise ValueError("current limit exceeds maximum limit")
    resource.setrlimit = refuse
raise_descriptor_limit()
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("way", "limits"), [("taken", "(200, 200)"), ("refused", "(100, 200)")])
def test_for_real(way, limits):
    """The kernel knows it; where it refuses, all stays as it was."""
    program = [sys.executable, "-c", FOR_REAL, way]
    said = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert said == f"{limits}\n"
