"""Fuzzes for as long as you let it, each round with another seed.

    python tests/fuzz/fuzz.py --seconds 600
    python tests/fuzz/fuzz.py --seconds 600 test_frames.py

What follows the options goes to pytest. A failure ends it: hypothesis shows its smallest example,
and the last line is the command that plays it again.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent

PYTEST = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]


def fuzz(seed, examples, targets):
    """Whether a round with this seed finds nothing."""
    command = [*PYTEST, f"--hypothesis-seed={seed}", *targets]
    environment = {**os.environ, "NANOCLAW_FUZZ_EXAMPLES": str(examples)}
    return subprocess.run(command, env=environment, cwd=HERE, check=False).returncode == 0


def main():
    """Round after round until the time is over, or something is found."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seconds", type=float, default=60.0, help="how long (default 60)")
    options.add_argument("--seed", type=int, default=0, help="where to begin (default 0)")
    options.add_argument("--examples", type=int, default=1000, help="of each claim in a round")
    chosen, targets = options.parse_known_args()
    end = time.monotonic() + chosen.seconds
    seed = chosen.seed
    while True:
        print(f"seed {seed}", flush=True)
        if not fuzz(seed, chosen.examples, targets):
            again = ["--seconds", "0", "--seed", str(seed), "--examples", str(chosen.examples)]
            sys.exit(f"again: {shlex.join(['python', 'tests/fuzz/fuzz.py', *again, *targets])}")
        if time.monotonic() >= end:
            return
        seed += 1


if __name__ == "__main__":
    main()
