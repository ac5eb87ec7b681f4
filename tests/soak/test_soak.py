"""A short soak, of both worlds, and the rule by which the long one says what grew."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from growth import Allowance, judge

SOAK = Path(__file__).with_name("soak.py")

GUARD = 600
"""Seconds after which a soak has hung; one of these takes twenty."""

SHORT = {
    "fake": ["--virtual", "--minutes", "1.5", "--pause", "20"],
    "processes": ["--minutes", "0.12", "--settle", "0", "--pause", "2", "--interval", "1"],
}


@pytest.fixture(scope="module")
def soaks():
    """Both worlds side by side: what each has printed, and its exit status."""
    command = [sys.executable, str(SOAK), "--agents", "20", "--seed", "7"]
    started = {
        world: subprocess.Popen(
            [*command, "--world", world, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for world, options in SHORT.items()
    }
    return {
        world: (process.communicate(timeout=GUARD)[0].decode(), process.returncode)
        for world, process in started.items()
    }


@pytest.mark.parametrize("world", SHORT)
def test_nothing_is_left_and_nothing_lost(soaks, world):
    """After a short time of twenty agents and mishaps of all kinds each message was answered or
    told as failed once, or waits in the store; the journal shows no broken promise; and no task,
    thread, descriptor, child or process is left."""
    printed, status = soaks[world]
    assert status == 0, printed
    assert "all is well" in printed
    said = int(printed.split(" messages, ")[0].rsplit("\n", 1)[-1])
    assert said > 20, printed


ALLOWANCE = Allowance(number=10, part=0.05)


def noisy(level, *, slope=0.0, count=360):
    """Samples around a level that rises by `slope` a sample, with a burst in the last quarter."""
    random = Random(5)  # noqa: S311 - noise
    values = [level + slope * n + random.gauss(0, 20) for n in range(count)]
    values[300:340] = [value + 100 for value in values[300:340]]
    return values


def test_a_burst_is_no_growth():
    """A quantity that is as large at the end as before, but for its noise and a burst, didn't
    grow."""
    assert not judge(noisy(500), ALLOWANCE).grew


@pytest.mark.parametrize("slope", [0.3, 1.0])
def test_a_leak_is_growth(slope):
    """A quantity that rises steadily grew, however slowly, once it rose by more than is allowed."""
    assert judge(noisy(500, slope=slope), ALLOWANCE).grew


def test_what_fills_at_the_beginning_is_no_growth():
    """What rises in the first quarter and stays there, as a cache does, didn't grow."""
    values = [min(n, 80) * 10.0 for n in range(360)]
    assert not judge(values, ALLOWANCE).grew


def test_what_is_allowed_is_a_number_or_a_part():
    """Of a small quantity a number is allowed, of a large one a part."""
    assert ALLOWANCE.of(20) == 10
    assert ALLOWANCE.of(1000) == 50
