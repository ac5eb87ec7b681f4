"""What the workloads of ours and of Trio alone have in common, and what is told of them."""

from __future__ import annotations

import os
import resource
import time
from array import array
from pathlib import Path

import trio

from nanoclaw_trio.cli.heap import calm_collector

RAM_DISK = Path("/dev/shm")


class Workloads:
    """Runs agents; a subclass says what a run is. `delays` are its frames' in nanoseconds."""

    def __init__(self):
        # Eight bytes for each, so that what is noted isn't a part of what is measured.
        self.delays = array("q")

    async def run(self, *words, index=0):
        """One run of an agent with these words; `index` tells those of a crowd apart."""
        raise NotImplementedError

    def note(self, answer):
        """Note how long an answer was under way, if it is the time of its writing."""
        if answer.isdecimal():
            self.delays.append(time.monotonic_ns() - int(answer))

    async def sequence(self, count, *words):
        """So many, one after the other."""
        for _ in range(int(count)):
            await self.run(*words)

    async def crowd(self, count, *words):
        """So many at once; each agent gets its number."""
        async with trio.open_nursery() as nursery:
            for index in range(int(count)):
                nursery.start_soon(self.run_numbered, index, words)

    async def run_numbered(self, index, words):
        """One of a crowd."""
        await self.run(*words, str(index), index=index)

    async def measure(self, name, words):
        """A workload's figures, without those of what was imported and of a first run."""
        await self.run("true")
        calm_collector()
        base, cpu, wall = _peak(), _processor_seconds(), time.perf_counter()
        await getattr(self, name)(*words)
        return {
            "wall": time.perf_counter() - wall,
            "cpu": _processor_seconds() - cpu,
            "base": base,
            "peak": _peak(),
            **_percentiles(self.delays),
        }


def _peak():
    """KiB that were resident at most of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _processor_seconds():
    """CPU seconds of this process and of those that it has waited for."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _percentiles(delays):
    """Milliseconds at p50 and p99 of delays in nanoseconds; nothing for none."""
    if not delays:
        return {}
    ordered = sorted(delays)
    at = {f"p{part}": ordered[len(ordered) * part // 100] / 1e6 for part in (50, 99)}
    return {"heard": len(ordered), **at}


def project_home():
    """Where a project is made: in memory, where that can be, so that no disk is measured.

    An ext4 without a journal looks at each inode that was freed in the last minute before it gives
    one out, which in a benchmark costs more than everything else.
    """
    return str(RAM_DISK) if os.access(RAM_DISK, os.W_OK | os.X_OK) else None
