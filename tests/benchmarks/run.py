"""Measures this engine beside bare baselines, in one run, and prints ratios.

    python tests/benchmarks/run.py [--rounds N]

Absolute times say little: the machine's speed and load are in them. Each workload alternates with
its baseline, so that both see the same of that. Times are wall seconds of a whole process, medians;
memory is the peak of what was resident of the process that runs the engine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

WORKLOADS = Path(__file__).with_name("workloads.py")

PAIRS = [
    ("one frame of 1 MiB", "frame", "frame_bare", 1),
    ("one frame of 8 MiB", "frame", "frame_bare", 8),
    ("one frame of 64 MiB", "frame", "frame_bare", 64),
    ("256 MiB of noise", "noise", "noise_bare", 256),
    ("1 GiB of noise", "noise", "noise_bare", 1024),
    ("200 runs in sequence", "sequence", "sequence_bare", 200),
]


def measure(name, size):
    """One run of a workload: wall seconds and peak resident MiB of its process."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, str(WORKLOADS), name, str(size)])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{name} failed with exit status {process.returncode}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def compare(name, baseline, size, rounds):
    """Medians of a workload and its baseline, measured in turn."""
    pairs = [(measure(name, size), measure(baseline, size)) for _ in range(rounds)]
    ours = statistics.median(ours[0] for ours, _ in pairs)
    theirs = statistics.median(theirs[0] for _, theirs in pairs)
    memory = max(ours[1] for ours, _ in pairs)
    return ours, theirs, memory


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    empty, empty_memory = measure("nothing", 0)
    print(f"start-up (imports, an empty project): {empty:.2f} s, {empty_memory:.0f} MiB\n")
    print("| workload | ours, less start-up | bare | ratio | peak memory |")
    print("| --- | --- | --- | --- | --- |")
    for label, name, baseline, size in PAIRS:
        ours, theirs, memory = compare(name, baseline, size, rounds)
        ours -= empty
        row = (
            f"| {label} | {ours:.2f} s | {theirs:.2f} s | {ours / theirs:.1f} | {memory:.0f} MiB |"
        )
        print(row, flush=True)


if __name__ == "__main__":
    main()
